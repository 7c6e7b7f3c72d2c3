//! Which states are kept: of equal ones one, and none that a kept one still leads to by silent steps.

use super::{Candidate, Concern};
use crate::law::Broken;
use crate::step::seen::Seen;
use crate::step::silent::Silent;
use crate::step::sketch::Sketched;
use crate::step::state::State;

/// States that are all different.
#[derive(Default)]
struct Kept {
    states: Vec<Sketched>,
    controls: Vec<u64>,
}

/// The states that the observation leaves. Where it leaves none, the one that explained most with the fewest silent steps
/// says why, and stands for what was known then.
pub(super) fn sort_out(
    candidates: Vec<Candidate>,
    seen: &Seen<'_>,
    concern: Concern<'_>,
) -> (Vec<State>, Result<(), Broken>) {
    let mut left: Vec<Vec<State>> = Vec::with_capacity(candidates.len());
    let mut kept = Kept::default();
    let mut is_parent = vec![false; candidates.len()];
    candidates.iter().filter_map(|candidate| candidate.from).for_each(|(parent, _)| is_parent[parent] = true);
    // What the step by which the last candidate came leads to from what is left of its parent.
    let mut again: (Option<(usize, Silent)>, Vec<State>) = (None, Vec::new());
    let mut failed: Option<(usize, Broken, State)> = None;
    for Candidate { sketched, from } in candidates {
        let mut state = sketched.state;
        let mut after = Vec::new();
        let before = state.marks.laws.len();
        match state.step(seen, &mut after) {
            Ok(()) => after.insert(0, state),
            Err(broken) => {
                // So many checks it passed before one failed.
                let explained = state.marks.laws.len() - before;
                if failed.as_ref().is_none_or(|(most, ..)| explained > *most) {
                    failed = Some((explained, broken, state));
                }
            }
        }
        // Whoever comes from another one only by a silent step that can still be taken is not kept.
        let may_come_again = from.filter(|(parent, _)| !after.is_empty() && !left[*parent].is_empty());
        if let Some((parent, step)) = may_come_again {
            if !left[parent][0].footprint_of(step).meets(concern.footprint) {
                left.push(after);
                continue;
            }
            // One step may lead to several states, one after the other.
            if again.0 != from {
                again = (from, left[parent].iter().flat_map(|state| state.silently(step)).collect());
                again.1.iter_mut().for_each(|state| state.note_answers(concern.footprint, None));
            }
        }
        // Only what others come from is looked at again.
        left.push(if is_parent[left.len()] { after.clone() } else { Vec::new() });
        for state in after {
            if may_come_again.is_none() || !again.1.iter().any(|other| other.covers(&state)) {
                kept.take(state);
            }
        }
    }
    if !kept.states.is_empty() {
        return (kept.states.into_iter().map(|kept| kept.state).collect(), Ok(()));
    }
    let (_, broken, state) = failed.expect("a state that is not left says why");
    (vec![state], Err(broken))
}

/// The places of those that may be equal to one with this sketch. The sketches stand side by side: with many states, what
/// is slow is to go through them.
pub(super) fn alike(controls: &[u64], control: u64) -> impl Iterator<Item = usize> {
    controls.iter().enumerate().filter(move |(_, other)| **other == control).map(|(at, _)| at)
}

impl Kept {
    /// One more, unless it is there already: then what both allow is added up.
    fn take(&mut self, state: State) {
        let state = Sketched::of(state);
        let same = alike(&self.controls, state.of_control()).find(|at| self.states[*at].is(&state));
        match same {
            Some(same) => self.states[same].state.take_answers(&state.state),
            None => {
                self.controls.push(state.of_control());
                self.states.push(state);
            }
        }
    }
}
