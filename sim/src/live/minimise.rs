//! Minimises a failing live sequence. What depends on timing does not fail every time, so a shorter sequence may get
//! several tries, and may have to fail in several of them.

use super::again::{AGAIN, again};
use super::sequence::{Record, run};
use super::target::Target;
use midstream::choice::{Choices, Decision};
use midstream::history::History;
use midstream::minimise::{self, Limits};
use midstream::panics::quietly;
use midstream::strategy::replay::{Recording, tolerant};
use midstream::verdict::{Detail, Outcome, Verdict};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A sequence is tried so often before it is given up as one that does not fail again.
const FIRST_TRIES: u32 = 8;
/// The law of a run that failed in another way than the one that is being minimised.
const ANOTHER: &str = "another failure";

/// How much is done for a shorter sequence.
#[derive(Copy, Clone, Debug)]
pub struct Effort {
    /// When to stop.
    pub limits: Limits,
    /// A candidate is taken at most so often,
    pub tries: u32,
    /// and counts if it fails so often.
    pub failures: u32,
}

impl Default for Effort {
    /// What a campaign does for each kind of failure.
    fn default() -> Self {
        let limits = Limits { runs_max: 700, time_max: Duration::from_secs(25) };
        Effort { limits, tries: 1, failures: 1 }
    }
}

/// A minimised sequence.
#[derive(Debug)]
pub struct Least {
    /// How it failed.
    pub outcome: Outcome,
    /// It failed again so often,
    pub reproduced: u32,
    /// of so many times.
    pub times: u32,
    /// What was seen when it failed again, if it did.
    pub history: Option<History>,
    /// Candidates that were tried.
    pub took: u64,
    /// How others of them failed, by name: most likely one cause is behind all.
    pub others: BTreeSet<String>,
}

/// Minimises a sequence while `is_same` holds. `None` if it does not fail so again.
pub fn minimise(
    target: &Target,
    tape: &[Decision],
    is_same: &dyn Fn(&Record) -> bool,
    effort: &Effort,
) -> Option<Least> {
    let search = Search { target, is_same, law: RefCell::new(None), others: RefCell::default() };
    let run_one = |choices: Choices| search.candidate(choices, effort);
    let mut shorter = None;
    for _ in 0..FIRST_TRIES {
        let recording = Arc::new(Recording::new(tape.to_vec()));
        let (outcome, _) = tolerant(run_one, &recording, recording.values());
        let law = outcome.verdict.law().to_owned();
        if outcome.verdict != Verdict::Passed && law != ANOTHER {
            shorter =
                minimise::minimise(&run_one, &outcome.tape, &law, &super::campaign::SLOTS, effort.limits);
            if shorter.is_some() {
                break;
            }
        }
    }
    let shorter = shorter?;
    let times = AGAIN.max(effort.tries);
    let (mut reproduced, mut history) = (0, None);
    for _ in 0..times {
        let record = again(target, &shorter.outcome.tape, Detail::Full);
        if record.outcome.verdict != Verdict::Passed && is_same(&record) {
            reproduced += 1;
            history = Some(record.outcome.history);
        }
    }
    let others = search.others.take();
    Some(Least { outcome: shorter.outcome, reproduced, times, history, took: shorter.runs, others })
}

struct Search<'a> {
    target: &'a Target,
    is_same: &'a dyn Fn(&Record) -> bool,
    /// The law that the first failure broke: the others must break it too.
    law: RefCell<Option<String>>,
    /// The names of other failures.
    others: RefCell<BTreeSet<String>>,
}

impl Search<'_> {
    /// What a candidate gives: the failure, if it fails often enough.
    fn candidate(&self, choices: Choices, effort: &Effort) -> Outcome {
        let mut outcome = self.one(choices);
        let mut failures = 0;
        for left in (0..effort.tries).rev() {
            failures += u32::from(is_wanted(&outcome));
            let is_decided = failures >= effort.failures || failures + left < effort.failures;
            // Where the harness fell over, there is nothing to take again.
            if is_decided || outcome.tape.is_empty() {
                break;
            }
            let recording = Arc::new(Recording::new(outcome.tape));
            outcome = tolerant(|choices| self.one(choices), &recording, recording.values()).0;
        }
        if failures < effort.failures { Outcome { verdict: Verdict::Passed, ..outcome } } else { outcome }
    }

    /// One run; another failure than the wanted one has a law of its own.
    fn one(&self, choices: Choices) -> Outcome {
        let another = || Verdict::Broken { law: ANOTHER.to_owned(), detail: String::new() };
        let Ok(mut record) = quietly(|| run(self.target, choices, Detail::Quiet)) else {
            return Outcome::of(another());
        };
        if record.outcome.verdict != Verdict::Passed {
            let law = record.outcome.verdict.law().to_owned();
            let mut wanted = self.law.borrow_mut();
            if !(self.is_same)(&record) || wanted.as_ref().is_some_and(|wanted| *wanted != law) {
                self.others.borrow_mut().insert(record.name());
                record.outcome.verdict = another();
            } else {
                wanted.get_or_insert(law);
            }
        }
        record.outcome
    }
}

/// Whether a run failed in the way that is wanted.
fn is_wanted(outcome: &Outcome) -> bool {
    outcome.verdict != Verdict::Passed && outcome.verdict.law() != ANOTHER
}
