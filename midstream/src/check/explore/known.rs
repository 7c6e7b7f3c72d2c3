//! What is known of a run by its history: of each task, all that it has learned; of each object that tasks share, who
//! changed it when. Two runs in which the same is known are in the same state, in whatever order they came there
//! (Musuvathi and Qadeer 2007, *Partial-order reduction for context-bounded state exploration*, cache such histories).

use crate::world::probe::TaskView;
use seam::footprint::{Access, Footprint, Touch, mixed};
use std::collections::BTreeMap;

/// A part of an object, and a number for its history.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Part {
    from: u64,
    to: u64,
    version: u64,
}

/// What is known of a run.
#[derive(Debug, Default)]
pub(super) struct Known {
    objects: BTreeMap<u64, Vec<Part>>,
    /// The objects' numbers, added up.
    sum: u64,
    /// What each task has learned, by its index.
    learned: Vec<u64>,
}

impl Known {
    /// The tasks by now; those that are new know what whoever made them knew.
    pub(super) fn meet(&mut self, tasks: &[TaskView], by: u64) {
        let new = tasks[self.learned.len()..].iter().map(|task| mixed(task.id, by));
        self.learned.extend(new);
    }

    /// What names the things that a step of this task makes.
    pub(super) fn learned(&self, task: usize) -> u64 {
        self.learned[task]
    }

    /// A step is over: of this task, or of a request that goes by `id`. Gives what whoever made it knows now.
    pub(super) fn step(&mut self, task: Option<usize>, id: u64, footprint: &Footprint) -> u64 {
        let before = task.map_or(id, |task| self.learned[task]);
        let own = footprint.touches.iter().filter(|touch| !touch.by_value);
        let seen = own.clone().filter(|touch| touch.access != Access::Add);
        let learns = |all, touch: &Touch| mixed(mixed(all, touch.object), self.version(touch));
        let after = seen.fold(mixed(before, footprint.learned), learns);
        for touch in own {
            match touch.access {
                Access::Read => {}
                Access::Add => self.change(touch, |version| version.wrapping_add(touch.amount)),
                Access::Write => self.change(touch, |_| mixed(after, touch.object)),
                Access::Set => self.change(touch, |_| mixed(touch.amount, touch.object)),
            }
        }
        for object in &footprint.gone {
            self.forget(*object);
        }
        if let Some(task) = task {
            self.learned[task] = after;
        }
        after
    }

    /// A number for all of it. What a task that has ended knew is nobody's any more.
    pub(super) fn number(&self, tasks: &[TaskView]) -> u64 {
        let live = tasks.iter().zip(&self.learned).filter(|(task, _)| task.is_live);
        let of =
            |(task, learned): (&TaskView, &u64)| mixed(task.id, mixed(*learned, u64::from(task.is_ready)));
        live.map(of).fold(self.sum, u64::wrapping_add)
    }

    /// A number for the history of what a touch meets.
    fn version(&self, touch: &Touch) -> u64 {
        let parts = self.objects.get(&touch.object).map_or(&[][..], Vec::as_slice);
        let met = parts.iter().filter(|part| part.from < touch.to && touch.from < part.to);
        met.fold(0, |all, part| {
            let (from, to) = (part.from.max(touch.from), part.to.min(touch.to));
            mixed(all, mixed(mixed(from, to), part.version))
        })
    }

    /// Changes the versions of all that a touch meets; what was never touched has version 0.
    fn change(&mut self, touch: &Touch, new: impl Fn(u64) -> u64) {
        if touch.from >= touch.to {
            return;
        }
        let parts = self.objects.entry(touch.object).or_default();
        self.sum = self.sum.wrapping_sub(number_of(touch.object, parts));
        let mut changed: Vec<Part> = Vec::with_capacity(parts.len() + 2);
        let mut at = touch.from;
        for part in parts.drain(..) {
            if part.to <= touch.from || touch.to <= part.from {
                changed.push(part);
                continue;
            }
            let (from, to) = (part.from.max(touch.from), part.to.min(touch.to));
            changed.push(Part { from: part.from, to: from, ..part });
            changed.push(Part { from: at, to: from, version: new(0) });
            changed.push(Part { from, to, version: new(part.version) });
            changed.push(Part { from: to, to: part.to, ..part });
            at = to;
        }
        changed.push(Part { from: at, to: touch.to, version: new(0) });
        changed.retain(|part| part.from < part.to && part.version != 0);
        changed.sort_unstable_by_key(|part| part.from);
        // However it was cut, what has one history is one part.
        changed.dedup_by(|next, part| {
            let is_one = part.to == next.from && part.version == next.version;
            part.to = if is_one { next.to } else { part.to };
            is_one
        });
        *parts = changed;
        self.sum = self.sum.wrapping_add(number_of(touch.object, parts));
    }

    /// An object is no more, with all its aspects.
    fn forget(&mut self, object: u64) {
        let gone: Vec<u64> = self.objects.range(object..=object | 0xf).map(|(id, _)| *id).collect();
        for id in gone {
            let parts = self.objects.remove(&id).unwrap_or_default();
            self.sum = self.sum.wrapping_sub(number_of(id, &parts));
        }
    }
}

fn number_of(object: u64, parts: &[Part]) -> u64 {
    if parts.is_empty() {
        return 0;
    }
    let of = |all, part: &Part| mixed(all, mixed(mixed(part.from, part.to), part.version));
    mixed(object, parts.iter().fold(0, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(access: Access, from: u64, to: u64, amount: u64) -> Footprint {
        let touch = Touch { object: 16, access, from, to, amount, by_value: false };
        Footprint { touches: vec![touch], ..Footprint::default() }
    }

    fn after(steps: &[(u64, Footprint)]) -> u64 {
        let mut known = Known::default();
        for (id, footprint) in steps {
            known.step(None, *id, footprint);
        }
        known.sum
    }

    #[test]
    fn steps_that_commute_give_one_state_in_both_orders() {
        let apart = [(1, touch(Access::Write, 0, 8, 0)), (2, touch(Access::Write, 8, 16, 0))];
        let adding = [(1, touch(Access::Add, 0, 12, 3)), (2, touch(Access::Add, 8, 16, 5))];
        let meeting = [(1, touch(Access::Write, 0, 12, 0)), (2, touch(Access::Write, 8, 16, 0))];
        let both = |steps: &[(u64, Footprint)]| {
            let turned: Vec<(u64, Footprint)> = steps.iter().rev().cloned().collect();
            after(steps) == after(&turned)
        };
        assert!(both(&apart) && both(&adding) && !both(&meeting));
    }

    #[test]
    fn what_was_set_to_one_value_is_one_state_whoever_did_it() {
        let set = |value| touch(Access::Set, 0, u64::MAX, value);
        assert_eq!(after(&[(1, set(4)), (2, set(9))]), after(&[(3, set(9))]));
        assert_ne!(after(&[(1, set(4))]), after(&[(1, set(9))]));
    }

    #[test]
    fn what_is_added_and_taken_back_leaves_nothing() {
        let taken = 3_u64.wrapping_neg();
        let steps = [(1, touch(Access::Add, 0, 8, 3)), (2, touch(Access::Add, 0, 8, taken))];
        assert_eq!(after(&steps), after(&[]));
        let gone = Footprint { gone: vec![16], ..Footprint::default() };
        assert_eq!(after(&[(1, touch(Access::Write, 0, 8, 0)), (2, gone)]), after(&[]));
    }
}
