//! One run of an exploration: it follows the choices that lead to where it branches off, then goes where nobody has been,
//! and notes at each new state what else could have happened there.
//!
//! Sleep sets (Godefroid 1996, *Partial-order methods for the verification of concurrent systems*) keep it from steps that
//! would only come in another order than in a run before: a step that was taken from a state sleeps in the branches beside
//! it, until a step is taken that it does not commute with. They leave out orders, never states, so that a crash is tried in
//! every one. A state is known by its number (`known`, `state`); one that was reached before is not gone on from, unless
//! fewer steps sleep now than slept then.

use super::crashes::{CrashPoint, Crashes};
use super::known::Known;
use super::{Reduction, Visited};
use crate::choice::{Point, Strategy};
use crate::layer::BlockLayer;
use crate::world::notes::Shared;
use crate::world::probe::{Move, Probe, View};
use seam::footprint::{self, Access, Footprint, mixed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A step that was taken from a state before, and need not be taken again until one comes that it does not commute with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Sleeper {
    pub(super) id: u64,
    pub(super) footprint: Footprint,
}

/// A run to be taken.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Branch {
    /// The choices that lead to where it branches off.
    pub(super) prefix: Vec<u16>,
    /// What it takes there, and what is to be taken there after it. Nothing at the root.
    pub(super) todo: Vec<u16>,
    /// What sleeps there.
    pub(super) asleep: Vec<Sleeper>,
}

/// A state that a run was the first to reach.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) state: u64,
    pub(super) asleep: Vec<Sleeper>,
    /// What is to be taken from here, each with its name; the run took the first.
    pub(super) todo: Vec<(u16, u64)>,
    /// What the run's own step touched.
    pub(super) taken: Footprint,
    pub(super) crashes: Vec<CrashPoint>,
}

/// Why a run was left.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(super) enum Left {
    /// It came to its end.
    #[default]
    Over,
    /// Somebody had been in that state.
    Visited,
    /// Whatever could happen was asleep.
    Asleep,
}

/// What a run has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What the step at the branch touched, and its name.
    pub(super) branch: Option<Sleeper>,
    pub(super) nodes: Vec<Node>,
    pub(super) left: Left,
    /// A number for the contents of all files, where it came to its end.
    pub(super) last: u64,
    /// The choices made.
    pub(super) picks: Vec<u16>,
}

/// The run's own record.
struct Record {
    branch: Branch,
    reduction: Reduction,
    visited: Arc<Visited>,
    notes_what_it_shares: bool,
    known: Known,
    file_numbers: Vec<(u64, u64)>,
    asleep: Vec<Sleeper>,
    /// The step under way: its task, and its name.
    under_way: Option<Move>,
    /// What is chosen next.
    next: u16,
    found: Found,
}

/// One run's pilot: it looks, and it chooses.
pub(super) struct Pilot<L> {
    record: Arc<Mutex<Record>>,
    crashes: Crashes<L>,
}

/// The side of a pilot that chooses.
pub(super) struct Chooser(Arc<Mutex<Record>>);

impl<L: BlockLayer> Pilot<L> {
    /// The pilot of the run that this one chooses for.
    pub(super) fn new(chooser: &Chooser, crashes: Crashes<L>) -> Pilot<L> {
        Pilot { record: chooser.0.clone(), crashes }
    }
}

fn lock(record: &Mutex<Record>) -> MutexGuard<'_, Record> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Chooser {
    /// For a run of a layer that notes what it shares, or does not.
    pub(super) fn new(branch: Branch, reduction: Reduction, visited: Arc<Visited>, notes: bool) -> Chooser {
        let record = Record {
            asleep: branch.asleep.clone(),
            branch,
            reduction,
            visited,
            notes_what_it_shares: notes,
            known: Known::default(),
            file_numbers: Vec::new(),
            under_way: None,
            next: 0,
            found: Found::default(),
        };
        Chooser(Arc::new(Mutex::new(record)))
    }

    /// What the run has found; asked once it is over.
    pub(super) fn found(&self) -> Found {
        std::mem::take(&mut lock(&self.0).found)
    }

    /// Another that chooses the same.
    pub(super) fn twin(&self) -> Chooser {
        Chooser(self.0.clone())
    }
}

impl Strategy for Chooser {
    fn choose(&mut self, _: Point, _: u32) -> u32 {
        0
    }

    fn pick(&mut self, _: Point, _: &[Point]) -> usize {
        usize::from(lock(&self.0).next)
    }
}

impl<L: BlockLayer> Probe for Pilot<L> {
    fn look(&mut self, view: &View<'_>) -> bool {
        let footprint = footprint::end();
        let mut record = lock(&self.record);
        record.finish(footprint, view);
        let at = record.found.picks.len();
        let (prefix, root) = (record.branch.prefix.len(), record.branch.todo.is_empty());
        let pick = if at < prefix {
            record.branch.prefix[at]
        } else if at == prefix && !root {
            record.branch.todo[0]
        } else {
            match record.arrive(view, &self.crashes) {
                Ok(pick) => pick,
                Err(left) => {
                    record.found.left = left;
                    record.next = 0;
                    return left == Left::Over;
                }
            }
        };
        record.take(pick, view);
        true
    }
}

impl Record {
    /// The step before is over.
    fn finish(&mut self, mut footprint: Footprint, view: &View<'_>) {
        let Some(done) = self.under_way.take() else {
            self.known.meet(view.tasks, 0);
            return;
        };
        if done.task.is_some() && !self.notes_what_it_shares {
            footprint.touches.push(Shared::Layer.whole(Access::Write));
        }
        let knows = self.known.step(done.task, done.id, &footprint);
        self.known.meet(view.tasks, knows);
        if self.found.picks.len() <= self.branch.prefix.len() {
            return;
        }
        self.asleep.retain(|sleeper| !sleeper.footprint.conflicts_with(&footprint));
        match self.found.nodes.last_mut() {
            Some(node) => node.taken = footprint,
            None => self.found.branch = Some(Sleeper { id: done.id, footprint }),
        }
    }

    /// The run is where its branch has not been: which step comes next, or why it is left here.
    fn arrive<L: BlockLayer>(&mut self, view: &View<'_>, crashes: &Crashes<L>) -> Result<u16, Left> {
        let core = view.host.core();
        let bytes = core.disks.byte_numbers(&mut self.file_numbers);
        let disks = mixed(core.disks.state(&bytes), core.now);
        drop(core);
        let judge = crashes.judge_number();
        let state = mixed(mixed(self.known.number(view.tasks), disks), judge);
        let all = (0..).zip(view.moves.iter().map(|moved| moved.id));
        let todo: Vec<(u16, u64)> = match self.visited.slept(state) {
            Some(slept) if self.reduction == Reduction::Full => {
                all.filter(|(_, id)| slept.contains(id) && !self.sleeps(*id)).collect()
            }
            _ => all.filter(|(_, id)| !self.sleeps(*id)).collect(),
        };
        let is_known = self.reduction == Reduction::Full && self.visited.slept(state).is_some();
        if is_known && todo.is_empty() {
            return Err(Left::Visited);
        }
        let crashes =
            if self.visited.slept(state).is_some() { Vec::new() } else { crashes.at(view, &bytes, judge) };
        self.found.last = bytes.iter().fold(0, |all, file| mixed(all, *file));
        let first = todo.first().copied();
        let asleep = self.asleep.clone();
        self.found.nodes.push(Node { state, asleep, todo, taken: Footprint::default(), crashes });
        match first {
            Some((first, _)) => Ok(first),
            None if view.moves.is_empty() => Err(Left::Over),
            None => Err(Left::Asleep),
        }
    }

    fn sleeps(&self, id: u64) -> bool {
        self.asleep.iter().any(|sleeper| sleeper.id == id)
    }

    /// This step comes next.
    fn take(&mut self, pick: u16, view: &View<'_>) {
        self.found.picks.push(pick);
        self.next = pick;
        let moved = view.moves[usize::from(pick)];
        let before = moved.task.map_or(0, |task| self.known.learned(task));
        self.under_way = Some(moved);
        footprint::begin(mixed(moved.id, before));
    }
}
