//! Which tasks are ready to run: one bit each, which their wakers set.
//!
//! A world runs on one thread, so a bit is set and cleared without regard to other threads: every step of every task does both.

use crate::world::notes::Shared;
use seam::footprint::Access;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};

/// No world has more tasks than this, over its whole life.
pub(super) const TASKS_MAX: usize = 64 * WORDS;
const WORDS: usize = 32;

/// A bit for each task.
struct Bits([AtomicU64; WORDS]);

impl Bits {
    fn none() -> Bits {
        Bits([const { AtomicU64::new(0) }; WORDS])
    }

    fn word(&self, word: usize) -> u64 {
        self.0[word].load(Ordering::Relaxed)
    }

    fn has(&self, task: usize) -> bool {
        self.word(task / 64) & 1 << (task % 64) != 0
    }

    fn set(&self, task: usize) {
        self.0[task / 64].store(self.word(task / 64) | 1 << (task % 64), Ordering::Relaxed);
    }

    fn clear(&self, task: usize) {
        self.0[task / 64].store(self.word(task / 64) & !(1 << (task % 64)), Ordering::Relaxed);
    }
}

/// Which tasks are ready.
pub(super) struct ReadySet {
    ready: Bits,
    /// Those that have not ended.
    live: Bits,
}

impl ReadySet {
    /// Nobody is ready.
    pub(super) fn new() -> Arc<ReadySet> {
        Arc::new(ReadySet { ready: Bits::none(), live: Bits::none() })
    }

    /// What wakes this task.
    pub(super) fn waker(self: &Arc<Self>, task: usize) -> Waker {
        Waker::from(Arc::new(TaskWaker { ready: self.clone(), task }))
    }

    /// There is such a task from now on.
    pub(super) fn begin(&self, task: usize) {
        self.live.set(task);
    }

    /// The task has ended, and does not run again, whoever wakes it.
    pub(super) fn end(&self, task: usize) {
        self.live.clear(task);
    }

    fn word(&self, word: usize) -> u64 {
        self.ready.word(word) & self.live.word(word)
    }

    /// Visits those of the first so many tasks that can run, the oldest first.
    pub(super) fn visit(&self, tasks: usize, mut visit: impl FnMut(usize)) {
        for word in 0..tasks.div_ceil(64) {
            let mut bits = self.word(word);
            while bits != 0 {
                visit(word * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// How many of the first so many tasks can run.
    pub(super) fn count(&self, tasks: usize) -> usize {
        (0..tasks.div_ceil(64)).map(|word| self.word(word).count_ones() as usize).sum()
    }

    /// Of the tasks that can run, `but` left out, the one before which so many stand.
    pub(super) fn nth(&self, before: usize, but: Option<usize>) -> usize {
        let mut before = before;
        for word in 0..WORDS {
            let mut bits = self.word(word);
            if let Some(but) = but.filter(|but| but / 64 == word) {
                bits &= !(1 << (but % 64));
            }
            while bits != 0 {
                if before == 0 {
                    return word * 64 + bits.trailing_zeros() as usize;
                }
                before -= 1;
                bits &= bits - 1;
            }
        }
        panic!("fewer tasks can run than were counted");
    }

    /// Whether somebody has woken this task since it ran.
    pub(super) fn has(&self, task: usize) -> bool {
        self.ready.has(task)
    }

    /// Whether this task can run.
    pub(super) fn can_run(&self, task: usize) -> bool {
        self.ready.has(task) && self.live.has(task)
    }

    /// This task runs now, and is ready again when somebody wakes it.
    pub(super) fn clear(&self, task: usize) {
        Shared::Ready(task).touch(Access::Write);
        self.ready.clear(task);
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
        self.ready.ready.set(self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_can_run_are_counted_and_found_by_age() {
        let all = ReadySet::new();
        let tasks = [0, 1, 5, 63, 64, 130];
        for task in tasks {
            all.begin(task);
            all.waker(task).wake();
        }
        all.end(5);
        all.clear(64);
        let expected = [0, 1, 63, 130];
        let mut visited = Vec::new();
        all.visit(131, |task| visited.push(task));
        assert_eq!(visited, expected);
        assert_eq!(all.count(131), expected.len());
        assert_eq!((0..4).map(|before| all.nth(before, None)).collect::<Vec<_>>(), expected);
        assert_eq!((0..3).map(|before| all.nth(before, Some(63))).collect::<Vec<_>>(), [0, 1, 130]);
    }

    // A wake-up that comes too late must not bring a task back.
    #[test]
    fn a_task_that_has_ended_does_not_run_again() {
        let all = ReadySet::new();
        all.begin(3);
        let waker = all.waker(3);
        waker.wake_by_ref();
        assert!(all.can_run(3));
        all.clear(3);
        all.end(3);
        waker.wake();
        assert!(all.has(3) && !all.can_run(3));
        assert_eq!(all.count(4), 0);
    }
}
