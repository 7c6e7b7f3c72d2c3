//! A trace taken again: strictly, and where the code has changed since, tolerantly.

use super::{PASSED, Trace};
use crate::campaign::Subject;
use crate::strategy::replay::{Divergence, Recording, strict, tolerant};
use crate::verdict::{Detail, Outcome};
use std::sync::Arc;

/// What became of a trace.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The run: the strict one, or the tolerant one if that diverged.
    pub outcome: Outcome,
    /// Where strict replay left the trace.
    pub divergence: Option<Divergence>,
    /// How often tolerant replay did not fit.
    pub drifts: u64,
}

impl Trace {
    /// Takes the run again. A trace that no longer fits is carried on tolerantly: that is how a mended bug looks.
    pub fn replay(&self, subject: &Subject, detail: Detail) -> Replayed {
        let run = |choices| (subject.run)(choices, detail);
        let (outcome, divergence) = strict(run, &self.choices);
        if divergence.is_none() {
            return Replayed { outcome, divergence, drifts: 0 };
        }
        let recording = Arc::new(Recording::new(self.choices.clone()));
        let (outcome, drifts) = tolerant(run, &recording, recording.values());
        Replayed { outcome, divergence, drifts }
    }
}

impl Replayed {
    /// The law that broke, or `passed`.
    pub fn law(&self) -> &str {
        self.outcome.verdict.law()
    }

    /// Whether a law broke.
    pub fn is_broken(&self) -> bool {
        self.law() != PASSED
    }

    /// Whether this is what the trace expects.
    pub fn is_expected(&self, trace: &Trace) -> bool {
        self.law() == trace.expect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choices;
    use crate::toy;
    use crate::verdict::Verdict;

    fn mended(choices: Choices, detail: Detail) -> Outcome {
        let mut outcome = toy::world(choices, detail);
        if outcome.verdict.law() == toy::LAW {
            // Mended code goes on where the broken one stopped, so it asks for more than the trace has.
            outcome.verdict = Verdict::Passed;
            outcome.tape.pop();
        }
        outcome
    }

    #[test]
    fn a_trace_of_a_bug_breaks_its_law_again() {
        let (seed, outcome) = toy::first_failure();
        let trace = Trace::of(&outcome, Some(seed));
        let replayed = trace.replay(&toy::SUBJECT, Detail::Full);
        assert_eq!((replayed.law(), replayed.drifts), (toy::LAW, 0));
        assert!(replayed.is_broken() && replayed.is_expected(&trace));
        assert_eq!(replayed.outcome.history.len() as u64, outcome.steps);
    }

    #[test]
    fn a_trace_of_a_mended_bug_says_where_it_left_and_passes() {
        let (seed, outcome) = toy::first_failure();
        let trace = Trace { expect: PASSED.to_owned(), ..Trace::of(&outcome, Some(seed)) };
        let subject = crate::campaign::Subject { run: mended, ..toy::SUBJECT };
        let replayed = trace.replay(&subject, Detail::Quiet);
        assert!(replayed.divergence.is_some() && !replayed.is_broken() && replayed.is_expected(&trace));
    }
}
