//! Somebody who looks at a world before each of its steps: how an exploration knows where a run is.

use crate::choice::Point;
use crate::world::host::SimHost;

/// What may happen next: a task is polled, or a request completes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// Its name, the same in every run in which the same has happened before it came up.
    pub id: u64,
    /// Index of the task; none if a request completes.
    pub task: Option<usize>,
}

/// A task, as far as it can be seen from outside.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TaskView {
    /// Its name, the same in every run in which the same has happened before it was made.
    pub id: u64,
    /// Whether it has not ended.
    pub is_live: bool,
    /// Whether it can go on.
    pub is_ready: bool,
}

/// A world between two steps.
#[derive(Debug)]
pub struct View<'a> {
    /// Disks and time.
    pub host: &'a SimHost,
    /// What may happen, in the order in which choices know it. None: the run is over but for its end.
    pub moves: &'a [Move],
    /// All tasks, the oldest first.
    pub tasks: &'a [TaskView],
}

/// What looks.
pub trait Probe: Send {
    /// Before a choice; false ends the run. What the step touches is noted from here on.
    fn look(&mut self, view: &View<'_>) -> bool;
}

/// How a run that may end at any step goes.
#[derive(Default)]
pub struct Watch {
    /// The ways to end it, offered behind whatever else may happen.
    pub ends: Vec<Point>,
    /// Which of them was taken.
    pub ended: Option<usize>,
    /// Who looks.
    pub probe: Option<Box<dyn Probe>>,
}

impl Watch {
    /// Whether nobody looks, and the run ends in no other way than by itself.
    pub(super) fn is_off(&self) -> bool {
        self.ends.is_empty() && self.probe.is_none()
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("ends", &self.ends).field("ended", &self.ended).finish_non_exhaustive()
    }
}
