//! The run that is most like another one and ends otherwise: it takes the same decisions for as long as possible, then one
//! other, then what the first one took where that is on offer.

use midstream::campaign::Subject;
use midstream::choice::Decision;
use midstream::strategy::replay::{Recording, tolerant};
use midstream::verdict::{Detail, Outcome};
use std::sync::Arc;

/// So many runs are tried.
const TRIES_MAX: usize = 2_000;
/// Of one decision so many other options.
const OPTIONS_MAX: u32 = 4;

/// A run, and how it came to be another one.
pub(super) struct Nearest {
    pub(super) outcome: Outcome,
    /// In words.
    pub(super) choice: String,
}

/// The nearest run, if one that was tried ends otherwise. The latest decisions are tried first.
pub(super) fn nearest(subject: &Subject, choices: &[Decision]) -> Option<Nearest> {
    let ends = |detail, values: Vec<u32>| {
        let recording = Arc::new(Recording::new(choices.to_vec()));
        tolerant(|choices| (subject.run)(choices, detail), &recording, values).0
    };
    let values = || -> Vec<u32> { Recording::new(choices.to_vec()).values() };
    let law = ends(Detail::Quiet, values()).verdict.law().to_owned();
    let mut tries = 0;
    for at in (0..choices.len()).rev() {
        // Named options are taken again by name: only the first is another one for certain.
        let of = match choices[at] {
            Decision::Number { of, .. } => of.min(OPTIONS_MAX),
            Decision::Option { .. } => 1,
        };
        for value in (0..of).filter(|value| *value != choices[at].value()) {
            tries += 1;
            if tries > TRIES_MAX {
                return None;
            }
            let mut other = values();
            other[at] = value;
            if ends(Detail::Quiet, other.clone()).verdict.law() != law {
                let outcome = ends(Detail::Full, other);
                let before = &choices[at];
                let choice =
                    format!("The other run decides otherwise from here on: {before}; there option {value}.");
                return Some(Nearest { outcome, choice });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::toy;
    use midstream::trace::PASSED;

    #[test]
    fn a_run_that_fails_has_one_beside_it_that_passes() {
        let (_, outcome) = toy::first_failure();
        let found = nearest(&toy::SUBJECT, &outcome.tape).expect("most runs pass");
        assert_eq!(found.outcome.verdict.law(), PASSED);
        assert!(found.choice.contains(" decides otherwise from here on: "), "{}", found.choice);
        assert!(!found.outcome.history.entries.is_empty(), "its history is there to be shown");
    }

    #[test]
    fn where_all_runs_end_alike_there_is_none() {
        let (_, outcome) = toy::first_failure();
        let broken = |choices, detail| Outcome {
            verdict: midstream::verdict::Verdict::Stuck { who: "everybody".to_owned() },
            ..toy::world(choices, detail)
        };
        let subject = Subject { run: &broken, ..toy::SUBJECT };
        assert!(nearest(&subject, &outcome.tape).is_none());
    }
}
