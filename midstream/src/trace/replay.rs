//! A trace taken again: strictly, or where the code has changed since, tolerantly.

use super::{PASSED, Trace};
use crate::campaign::Subject;
use crate::strategy::replay::{Divergence, Recording, strict, tolerant};
use crate::verdict::{Detail, Outcome};
use std::sync::Arc;

/// What became of a trace.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The run.
    pub outcome: Outcome,
    /// Where strict replay left the trace.
    pub divergence: Option<Divergence>,
    /// How often tolerant replay did not fit.
    pub drifts: u64,
}

impl Trace {
    /// Takes the run again, decision by decision, up to the first that is not on offer; after that and after the last
    /// one, option 0 is taken everywhere.
    pub fn replay(&self, subject: &Subject, detail: Detail) -> Replayed {
        let (outcome, divergence) = strict(|choices| (subject.run)(choices, detail), &self.choices);
        Replayed { outcome, divergence, drifts: 0 }
    }

    /// Takes the run again as far as it fits.
    pub fn replay_tolerantly(&self, subject: &Subject, detail: Detail) -> Replayed {
        let recording = Arc::new(Recording::new(self.choices.clone()));
        let run = |choices| (subject.run)(choices, detail);
        let (outcome, drifts) = tolerant(run, &recording, recording.values());
        Replayed { outcome, divergence: None, drifts }
    }

    /// Strictly if it fits, otherwise tolerantly.
    pub fn replay_somehow(&self, subject: &Subject, detail: Detail) -> Replayed {
        let replayed = self.replay(subject, detail);
        if replayed.fits() { replayed } else { self.replay_tolerantly(subject, detail) }
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

    /// Whether every decision of the trace was on offer. A run may go on after the last one: where a law broke, a
    /// mended engine does.
    pub fn fits(&self) -> bool {
        self.divergence.as_ref().is_none_or(|divergence| divergence.recorded.is_none())
    }

    /// Whether the trace still fits and this is what it expects.
    pub fn is_expected(&self, trace: &Trace) -> bool {
        self.fits() && self.law() == trace.expect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::{Choices, Point};
    use crate::toy;
    use crate::verdict::Verdict;

    /// Asks one more thing where the broken one stops.
    fn mended(choices: Choices, detail: Detail) -> Outcome {
        let mut outcome = toy::world(choices, detail);
        outcome.verdict = Verdict::Passed;
        outcome
    }

    fn changed(mut choices: Choices, detail: Detail) -> Outcome {
        choices.choose(Point::new("something new", [0; 3]), 2);
        toy::world(choices, detail)
    }

    fn trace() -> Trace {
        let (seed, outcome) = toy::first_failure();
        Trace::of(&outcome, Some(seed))
    }

    #[test]
    fn a_trace_of_a_bug_breaks_its_law_again() {
        let replayed = trace().replay(&toy::SUBJECT, Detail::Full);
        assert_eq!((replayed.law(), &replayed.divergence), (toy::LAW, &None));
        assert!(replayed.is_broken() && replayed.is_expected(&trace()));
        assert_eq!(replayed.outcome.history.entries.len() as u64, replayed.outcome.steps);
    }

    #[test]
    fn a_trace_of_a_mended_bug_may_go_on_after_its_end() {
        let subject = Subject { run: &mended, ..toy::SUBJECT };
        let mut trace = Trace { expect: PASSED.to_owned(), ..trace() };
        assert!(trace.replay(&subject, Detail::Quiet).is_expected(&trace));
        trace.choices.pop();
        let replayed = trace.replay(&subject, Detail::Quiet);
        assert!(replayed.divergence.is_some() && replayed.fits() && replayed.is_expected(&trace));
    }

    #[test]
    fn a_trace_that_does_not_fit_is_not_expected_but_can_be_carried_on() {
        let subject = Subject { run: &changed, ..toy::SUBJECT };
        let replayed = trace().replay(&subject, Detail::Quiet);
        assert!(!replayed.fits() && !replayed.is_expected(&trace()));
        let carried_on = trace().replay_somehow(&subject, Detail::Quiet);
        assert_eq!((carried_on.law(), carried_on.drifts), (toy::LAW, 1));
    }
}
