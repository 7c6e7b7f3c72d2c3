//! What tasks of a world wait for: the answer of a disk, a moment, a step.

use crate::world::disk::Answer;
use crate::world::host::SimHost;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request under way.
pub(super) struct Asked {
    host: SimHost,
    id: Option<u64>,
}

impl Asked {
    /// Waits for the answer of this request.
    pub(super) fn new(host: SimHost, id: u64) -> Asked {
        Asked { host, id: Some(id) }
    }
}

impl Future for Asked {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let id = self.id.expect("a request is not polled after its answer");
        let answer = self.host.core().disks.answer(id, context.waker());
        match answer {
            Some(answer) => {
                self.id = None;
                Poll::Ready(answer)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.host.core().disks.abandon(id);
        }
    }
}

/// A wait for a moment or a step.
pub(super) struct Wait {
    host: SimHost,
    id: u64,
    steps: bool,
}

impl Wait {
    /// Waits for this alarm, which rings at a step or at a moment.
    pub(super) fn new(host: SimHost, id: u64, steps: bool) -> Wait {
        Wait { host, id, steps }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut core = self.host.core();
        let alarms = if self.steps { &mut core.thoughts } else { &mut core.moments };
        if alarms.has_rung(self.id, context.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut core = self.host.core();
        let alarms = if self.steps { &mut core.thoughts } else { &mut core.moments };
        alarms.drop_alarm(self.id);
    }
}
