//! An exploration that was left before its end, as numbers in a text, to be gone on with.
//!
//! What is read again is checked for its form alone: whoever changes the file, or the layer since, gets other counts, and
//! no failure that does not replay.

use super::Counts;
use super::pilot::{Branch, Sleeper};
use seam::footprint::{Access, Footprint, Touch};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An exploration under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub(super) frontier: Vec<SavedBranch>,
    pub(super) states: BTreeMap<u64, Vec<u64>>,
    pub(super) crash_points: BTreeSet<u64>,
    pub(super) left: BTreeMap<u64, u64>,
    pub(super) last_contents: BTreeSet<u64>,
    pub(super) counts: Counts,
}

/// A run to be taken: the choices before it, those at it, and what sleeps there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct SavedBranch(Vec<u16>, Vec<u16>, Vec<(u64, Vec<SavedTouch>)>);

/// A touch: object, access, from, to, by value.
type SavedTouch = (u64, u8, u64, u64, bool);

impl SavedBranch {
    pub(super) fn of(branch: &Branch) -> SavedBranch {
        let touch = |touch: &Touch| (touch.object, touch.access as u8, touch.from, touch.to, touch.by_value);
        let sleeper = |sleeper: &Sleeper| (sleeper.id, sleeper.footprint.touches.iter().map(touch).collect());
        SavedBranch(branch.prefix.clone(), branch.todo.clone(), branch.asleep.iter().map(sleeper).collect())
    }

    pub(super) fn branch(self) -> Branch {
        let SavedBranch(prefix, todo, asleep) = self;
        let touch = |(object, access, from, to, by_value): SavedTouch| {
            let access = [Access::Read, Access::Add][..].get(usize::from(access)).copied();
            // Of a sleeper nobody asks how much it added, or to what it set something.
            Touch { object, access: access.unwrap_or(Access::Write), from, to, amount: 0, by_value }
        };
        let sleeper = |(id, touches): (u64, Vec<SavedTouch>)| {
            let touches = touches.into_iter().map(touch).collect();
            Sleeper { id, footprint: Footprint { touches, ..Footprint::default() } }
        };
        Branch { prefix, todo, asleep: asleep.into_iter().map(sleeper).collect() }
    }
}
