//! Which runs are taken, in which order, and what they come to.

use super::crashes::Crashes;
use super::pilot::{Branch, Chooser, Found, Left, Node, Pilot, Sleeper};
use super::saved::{Saved, SavedBranch};
use super::{Counts, Effort, End, Reduction, Script, Visited, broken};
use crate::check::world::Prepared;
use crate::choice::Choices;
use crate::layer::BlockLayer;
use crate::scenario::Bounds;
use crate::verdict::Detail;
use seam::footprint;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// So many runs are taken before what they found is added up.
const BATCH: usize = 32;

/// A search.
pub(super) struct Search<L> {
    prepared: Arc<Prepared<L>>,
    bounds: Bounds,
    reduction: Reduction,
    /// What is to be taken, the next one last.
    frontier: Vec<Branch>,
    visited: Arc<Visited>,
    counts: Counts,
    pub(super) last_contents: BTreeSet<u64>,
    pub(super) broken: Option<Script>,
}

/// A run, and whether a law broke in it before it came to its end.
struct Taken {
    branch: Branch,
    found: Found,
    is_broken: bool,
    is_inconclusive: bool,
}

impl<L: BlockLayer> Search<L> {
    pub(super) fn new(prepared: Arc<Prepared<L>>, bounds: Bounds, reduction: Reduction) -> Search<L> {
        Search {
            prepared,
            bounds,
            reduction,
            frontier: vec![Branch::default()],
            visited: Arc::default(),
            counts: Counts::default(),
            last_contents: BTreeSet::new(),
            broken: None,
        }
    }

    /// Goes on where another was left.
    pub(super) fn resume(&mut self, saved: Saved) {
        let Saved { frontier, states, crash_points, left, last_contents, counts } = saved;
        self.frontier = frontier.into_iter().map(SavedBranch::branch).collect();
        self.visited = Arc::new(Visited { states, crash_points, left });
        self.last_contents = last_contents;
        self.counts = counts;
    }

    /// What is left to do, for another to go on with.
    pub(super) fn save(&self) -> Saved {
        let Visited { states, crash_points, left } = (*self.visited).clone();
        Saved {
            frontier: self.frontier.iter().map(SavedBranch::of).collect(),
            states,
            crash_points,
            left,
            last_contents: self.last_contents.clone(),
            counts: self.counts.clone(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            states: self.visited.states.len() as u64,
            crash_points: self.visited.crash_points.len() as u64,
            crashes: self.visited.left.len() as u64,
            ..self.counts.clone()
        }
    }

    pub(super) fn crash_contents(&self) -> BTreeSet<u64> {
        self.visited.left.values().copied().collect()
    }

    /// Goes on until nothing is left, a bound is reached, or a law breaks.
    pub(super) fn run(&mut self, effort: &Effort) -> Result<End, String> {
        loop {
            if self.broken.is_some() {
                return Ok(End::Broken);
            }
            if self.frontier.is_empty() {
                return Ok(End::Complete);
            }
            if self.counts.schedules + self.counts.pruned >= self.bounds.runs_max {
                return Ok(End::Runs);
            }
            if effort.stop.load(Ordering::Relaxed)
                || effort.until.is_some_and(|until| Instant::now() >= until)
            {
                return Ok(End::Stopped);
            }
            let batch = self.frontier.split_off(self.frontier.len().saturating_sub(BATCH));
            for taken in self.take_all(batch, effort.jobs)? {
                self.add(taken);
            }
        }
    }

    /// Takes the runs of a batch, the last of the frontier first.
    fn take_all(&self, batch: Vec<Branch>, jobs: usize) -> Result<Vec<Taken>, String> {
        let results: Vec<Mutex<Option<Taken>>> = batch.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(branch) = batch.len().checked_sub(index + 1).map(|at| &batch[at]) else { return };
                let taken = self.take(branch.clone());
                *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
            }
        };
        let ended: Vec<bool> = thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs.clamp(1, batch.len())).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().is_ok()).collect()
        });
        if ended.contains(&false) {
            return Err("the harness panicked".to_owned());
        }
        let taken = |place: Mutex<Option<Taken>>| {
            place.into_inner().unwrap_or_else(PoisonError::into_inner).expect("every run was taken")
        };
        Ok(results.into_iter().map(taken).collect())
    }

    fn take(&self, branch: Branch) -> Taken {
        let visited = self.visited.clone();
        let chooser = Chooser::new(branch.clone(), self.reduction, visited, L::NOTES_WHAT_IT_SHARES);
        let choices = Choices::new(Box::new(chooser.twin()));
        // What is made before the first step has its name, too.
        footprint::name_only(0);
        let outcome = self.prepared.run(choices, Detail::Quiet, |witness| {
            let crashes = Crashes {
                prepared: self.prepared.clone(),
                bounds: self.bounds.clone(),
                witness: witness.clone(),
                visited: self.visited.clone(),
            };
            Some(Box::new(Pilot::new(&chooser, crashes)))
        });
        footprint::end();
        let (is_broken, is_inconclusive) = (broken(&outcome), outcome.is_inconclusive);
        Taken { branch, found: chooser.found(), is_broken, is_inconclusive }
    }

    /// What a run found, in the order of the batch.
    fn add(&mut self, taken: Taken) {
        if self.broken.is_some() {
            return;
        }
        let Taken { branch, found, is_broken, is_inconclusive } = taken;
        let Found { branch: step, nodes, left, last, picks } = found;
        let depth = branch.prefix.len() + usize::from(!branch.todo.is_empty());
        if let Some(step) = step.filter(|_| branch.todo.len() > 1) {
            let asleep = self.asleep(&branch.asleep, step);
            self.frontier.push(Branch { todo: branch.todo[1..].to_vec(), asleep, prefix: branch.prefix });
        }
        for (index, node) in nodes.into_iter().enumerate() {
            if !self.add_node(node, &picks[..(depth + index).min(picks.len())]) {
                self.counts.pruned += 1;
                return;
            }
            if self.broken.is_some() {
                return;
            }
        }
        match left {
            _ if is_broken => self.broken = Some(Script { picks, end: None }),
            Left::Over => {
                self.counts.schedules += 1;
                self.counts.inconclusive += u64::from(is_inconclusive);
                self.last_contents.insert(last);
            }
            Left::Visited | Left::Asleep => self.counts.pruned += 1,
        }
    }

    /// A state that the run has reached by these choices; false, if what the run did there another has done meanwhile.
    fn add_node(&mut self, node: Node, path: &[u16]) -> bool {
        let Node { state, asleep, mut todo, taken, crashes } = node;
        let visited = Arc::get_mut(&mut self.visited).expect("the runs of the batch are over");
        for point in crashes {
            if visited.crash_points.insert(point.number) {
                visited.left.extend(point.left);
                self.counts.sampled_points += u64::from(!point.is_every);
                if point.broken.is_some() {
                    self.broken = Some(Script { picks: path.to_vec(), end: point.broken });
                    return true;
                }
            }
        }
        let ids: Vec<u64> = asleep.iter().map(|sleeper| sleeper.id).collect();
        let first = todo.first().copied();
        if let Some(slept) = visited.states.get(&state).filter(|_| self.reduction == Reduction::Full) {
            let awake: Vec<u64> = slept.iter().copied().filter(|id| !ids.contains(id)).collect();
            todo.retain(|(_, id)| awake.contains(id));
            let both = slept.iter().copied().filter(|id| ids.contains(id)).collect();
            visited.states.insert(state, both);
        } else {
            visited.states.insert(state, ids);
        }
        let rest: Vec<(u16, u64)> = match (todo.first(), first) {
            (None, None) => return true,
            (None, Some(_)) => return false,
            (Some(left), Some(first)) if *left == first => todo[1..].to_vec(),
            // The run took what is not wanted any more: what is, is taken from here.
            _ => {
                let todo = todo.iter().map(|(index, _)| *index).collect();
                self.frontier.push(Branch { prefix: path.to_vec(), todo, asleep });
                return false;
            }
        };
        if let (Some((_, id)), false) = (first, rest.is_empty()) {
            let asleep = self.asleep(&asleep, Sleeper { id, footprint: taken });
            let todo = rest.iter().map(|(index, _)| *index).collect();
            self.frontier.push(Branch { prefix: path.to_vec(), todo, asleep });
        }
        true
    }

    /// What sleeps beside a step that was taken.
    fn asleep(&self, before: &[Sleeper], step: Sleeper) -> Vec<Sleeper> {
        if self.reduction == Reduction::Nothing {
            return Vec::new();
        }
        before.iter().cloned().chain([step]).collect()
    }
}
