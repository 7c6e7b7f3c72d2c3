//! Memory that NBD clients make us hold. Each has a little of its own; what large requests need beyond that comes out of the
//! budget, and waits while there is none.
//!
//! So that not everybody waits for everybody (each with half of a write, say), one client at a time goes on whatever the
//! budget says.

use super::ClientSerial;
use crate::budget::{Budget, Share};
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

/// What a client may hold without asking: enough for the guests of every day.
const OWN_BYTES: u64 = 1 << 20;

/// What all clients hold.
#[derive(Debug)]
pub struct Memory {
    budget: Budget,
    /// The client that goes on whatever the budget says.
    first: Mutex<Option<ClientSerial>>,
    changed: Signal,
}

impl Memory {
    /// Nothing is held.
    pub fn new(budget: &Budget) -> Arc<Memory> {
        Arc::new(Memory { budget: budget.clone(), first: Mutex::default(), changed: Signal::new() })
    }

    /// What a client will hold.
    pub fn claim(self: &Arc<Self>, client: ClientSerial) -> Claim {
        Claim { memory: Arc::clone(self), client, share: self.budget.nothing() }
    }
}

/// What one client holds.
#[derive(Debug)]
pub struct Claim {
    memory: Arc<Memory>,
    client: ClientSerial,
    share: Share,
}

impl Claim {
    /// Holds so much from now on. False: there is no room for more, and as much is held as before.
    pub fn hold(&mut self, bytes: u64) -> bool {
        let before = self.share.bytes();
        if bytes <= before {
            self.share.shrink(before - bytes);
            if bytes <= OWN_BYTES {
                self.step_back();
            }
            if before > OWN_BYTES && bytes < before {
                self.memory.changed.notify();
            }
            return true;
        }
        let more = bytes - before;
        if bytes <= OWN_BYTES || (!self.share.grow_cache(more) && self.is_first()) {
            self.share.grow_anyway(more);
        }
        self.share.bytes() == bytes
    }

    /// How many changes there were, to be read before `hold`.
    pub fn changes(&self) -> u64 {
        self.memory.changed.changes()
    }

    /// Whether anybody gave something back since `seen`; if not, `context` is woken by the next one.
    pub(crate) fn poll_changed(&self, seen: u64, context: &mut Context<'_>) -> bool {
        pin!(self.memory.changed.changed_since(seen)).poll(context).is_ready()
    }

    /// Whether it goes on whatever the budget says: nobody else does.
    fn is_first(&self) -> bool {
        *self.memory.first.lock().get_or_insert(self.client) == self.client
    }

    fn step_back(&self) {
        let mut first = self.memory.first.lock();
        if *first == Some(self.client) {
            *first = None;
            drop(first);
            self.memory.changed.notify();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn large_requests_wait_for_each_other_and_small_ones_for_nobody() {
        let budget = Budget::new(40 * MIB);
        let memory = Memory::new(&budget);
        let mut claims = [1, 2, 3].map(|client| memory.claim(ClientSerial(client)));
        // A quarter of the budget is left to images.
        assert!(claims[0].hold(28 * MIB));
        assert!(claims[1].hold(10 * MIB), "one goes on whatever the budget says");
        let seen = claims[2].changes();
        assert!(!claims[2].hold(2 * MIB));
        assert!(claims[2].hold(MIB));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(!claims[2].poll_changed(seen, &mut context));
        assert!(claims[1].hold(12 * MIB), "the same goes on");
        assert!(claims[1].hold(MIB));
        assert!(claims[2].poll_changed(seen, &mut context));
        assert!(claims[2].hold(32 * MIB), "now another one does");
        drop(claims);
        assert_eq!(budget.held(), 0);
    }
}
