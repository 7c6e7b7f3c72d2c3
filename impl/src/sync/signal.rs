//! A signal: somebody waits until something has changed since it last looked. No wake-up is ever lost.

use super::shim::Mutex;
use seam::footprint::{Access, Object};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Counts changes and wakes those who wait for the next one.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    noted: Object,
}

#[derive(Debug, Default)]
struct State {
    changes: u64,
    waiters: Vec<Waker>,
}

impl Signal {
    /// Nothing has changed yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// How many changes there were; look at what is watched *after* this, then wait with the number.
    pub(crate) fn changes(&self) -> u64 {
        self.noted.touch(Access::Read);
        self.state.lock_unnoted().changes
    }

    /// Something changed.
    pub(crate) fn notify(&self) {
        let waiters = {
            self.noted.touch(Access::Write);
            let mut state = self.state.lock_unnoted();
            state.changes += 1;
            std::mem::take(&mut state.waiters)
        };
        // Woken outside the lock: a waker may poll at once.
        waiters.into_iter().for_each(Waker::wake);
    }

    /// Waits until there were more than `seen` changes.
    pub(crate) fn changed_since(&self, seen: u64) -> Changed<'_> {
        Changed { signal: self, seen }
    }
}

/// Ready once something has changed.
#[derive(Debug)]
pub(crate) struct Changed<'a> {
    signal: &'a Signal,
    seen: u64,
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Whoever waits changes nothing that another who waits, or looks, can see.
        self.signal.noted.touch(Access::Read);
        let mut state = self.signal.state.lock_unnoted();
        if state.changes > self.seen {
            return Poll::Ready(());
        }
        if !state.waiters.iter().any(|w| w.will_wake(context.waker())) {
            state.waiters.push(context.waker().clone());
        }
        Poll::Pending
    }
}
