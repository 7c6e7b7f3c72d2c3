//! Which tasks are ready to run: one bit each, which their wakers set.

use crate::world::notes::Shared;
use seam::footprint::Access;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// No world has more tasks than this, over its whole life.
pub(super) const TASKS_MAX: usize = 64 * WORDS;
const WORDS: usize = 32;

/// Which tasks are ready.
pub(super) struct ReadySet {
    words: [AtomicU64; WORDS],
}

impl ReadySet {
    /// Nobody is ready.
    pub(super) fn new() -> Arc<ReadySet> {
        Arc::new(ReadySet { words: [const { AtomicU64::new(0) }; WORDS] })
    }

    /// What wakes this task.
    pub(super) fn waker(self: &Arc<Self>, task: usize) -> Waker {
        Waker::from(Arc::new(TaskWaker { ready: self.clone(), task }))
    }

    /// Visits those of the first so many tasks that are ready, the oldest first.
    pub(super) fn visit(&self, tasks: usize, mut visit: impl FnMut(usize)) {
        for word in 0..tasks.div_ceil(64) {
            let mut bits = self.words[word].load(Ordering::Relaxed);
            while bits != 0 {
                visit(word * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// Whether this task is ready.
    pub(super) fn has(&self, task: usize) -> bool {
        self.words[task / 64].load(Ordering::Relaxed) & 1 << (task % 64) != 0
    }

    /// This task runs now, and is ready again when somebody wakes it.
    pub(super) fn clear(&self, task: usize) {
        Shared::Ready(task).touch(Access::Write);
        self.words[task / 64].fetch_and(!(1 << (task % 64)), Ordering::Relaxed);
    }
}

/// Wakes one task.
struct TaskWaker {
    ready: Arc<ReadySet>,
    task: usize,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Shared::Ready(self.task).touch(Access::Add);
        self.ready.words[self.task / 64].fetch_or(1 << (self.task % 64), Ordering::Relaxed);
    }
}
