//! What a campaign says of each law that it breaks: the run minimised, what it shows, and the commands that repeat it.

use super::Fuzz;
use crate::report::{story, text};
use midstream::campaign::Subject;
use midstream::minimise::{Limits, Minimised, entries, minimise};
use midstream::strategy::of_seed;
use midstream::strategy::replay::strict;
use midstream::terminal::shown;
use midstream::trace::Trace;
use midstream::verdict::{Detail, Outcome};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Traces are written for so many laws; the runs that break others are only counted.
const TRACES_MAX: usize = 10;
/// A failure is minimised for at most so long.
const MINIMISE_MAX: Duration = Duration::from_secs(10);

/// What was reported so far.
pub(super) struct Failures<'a> {
    fuzz: &'a Fuzz,
    pub(super) subject: &'a Subject<'a>,
    /// The trace that was written for a law.
    pub(super) traces: BTreeMap<String, PathBuf>,
    /// The laws whose failures were reported at length, with the seed of each.
    reported: BTreeMap<String, u64>,
    /// Laws that shorter forms of a run broke, with the law that was reported of it.
    seen: BTreeMap<String, String>,
}

impl<'a> Failures<'a> {
    pub(super) fn new(fuzz: &'a Fuzz, subject: &'a Subject<'a>) -> Failures<'a> {
        Failures { fuzz, subject, traces: BTreeMap::new(), reported: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// Minimises the run of `seed`, writes its trace, and reports all about it; briefly, if what broke was reported already by the
    /// name of another law.
    pub(super) fn block(&mut self, law: &str, seed: u64) -> String {
        let found = self.subject.quiet(of_seed(seed));
        // Those that somebody waits for always leave one; others only while nobody waits for anything else.
        let has_trace = self.fuzz.law.is_empty() && self.traces.len() < TRACES_MAX;
        if !has_trace && !self.fuzz.is_wanted(law) {
            return self.head(law, &found, &BTreeMap::new()) + &text::repro(Some(seed), None);
        }
        let path = self.fuzz.out.join(format!("{seed}.json"));
        let Least { outcome, runs, others } = self.least(&found, law, &path);
        let mut block = self.head(law, &outcome, &others);
        self.learn(law, seed, others);
        match Trace::of(&outcome, Some(seed)).write(&path) {
            Ok(()) => {
                block += &text::repro(Some(seed), Some(&path));
                self.traces.insert(law.to_owned(), path);
            }
            Err(error) => {
                block += &text::repro(Some(seed), None);
                block += &format!("trace   {}: not written: {error}\n", shown(&path));
            }
        }
        let commands = entries(&outcome.tape, self.subject.command);
        let decisions = [outcome.tape.len(), found.tape.len()];
        block + &format!("        {}\n", text::minimised(commands, decisions, runs))
    }

    /// The failure with what led to it; or two lines, if the same cause was reported for another law.
    fn head(&self, law: &str, outcome: &Outcome, others: &BTreeMap<String, u64>) -> String {
        if let Some((seed, other)) = self.same_as(law, others) {
            return text::reported_already(outcome, seed, other);
        }
        let (whole, _) = strict(|choices| self.subject.full(choices), &outcome.tape);
        let also = others.iter().map(|(law, count)| text::also(law, *count));
        story::screen(&whole) + &also.collect::<String>()
    }

    /// The law by which the cause of this failure was reported: shorter forms of the one run broke the other's law.
    fn same_as(&self, law: &str, others: &BTreeMap<String, u64>) -> Option<(u64, &str)> {
        let by_them = self.seen.get(law).and_then(|other| self.reported.get_key_value(other));
        let by_us = || others.keys().find_map(|other| self.reported.get_key_value(other));
        by_them.or_else(by_us).map(|(other, seed)| (*seed, other.as_str()))
    }

    fn learn(&mut self, law: &str, seed: u64, others: BTreeMap<String, u64>) {
        let first = self.seen.get(law).unwrap_or(&law.to_owned()).clone();
        if self.same_as(law, &others).is_none() {
            self.reported.insert(law.to_owned(), seed);
        }
        for other in others.into_keys() {
            self.seen.entry(other).or_insert_with(|| first.clone());
        }
    }

    /// The shortest form of a run. What an earlier campaign has left of it is as short as it gets, if it still breaks the law.
    fn least(&self, found: &Outcome, law: &str, path: &Path) -> Least {
        let left = Trace::read(path).ok().map(|trace| trace.replay(self.subject, Detail::Quiet));
        if let Some(replayed) = left.filter(|replayed| replayed.fits() && replayed.law() == law) {
            return Least { outcome: replayed.outcome, runs: 0, others: BTreeMap::new() };
        }
        let run = |choices| self.subject.quiet(choices);
        let limits = Limits { time_max: MINIMISE_MAX, ..Limits::default() };
        match minimise(&run, &found.tape, law, self.subject.slots, limits) {
            Some(Minimised { outcome, runs, others, .. }) => Least { outcome, runs, others },
            None => Least { outcome: found.clone(), runs: 1, others: BTreeMap::new() },
        }
    }
}

/// The shortest form of a run.
struct Least {
    outcome: Outcome,
    /// Runs it took to find it.
    runs: u64,
    /// The laws that others of its forms broke.
    others: BTreeMap<String, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fuzz::tests::fuzz;
    use midstream::choice::Choices;
    use midstream::toy;
    use midstream::verdict::{INVARIANTS, Verdict};

    #[test]
    fn a_law_that_nobody_waits_for_is_reported_without_a_trace() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let fuzz = Fuzz { law: vec![INVARIANTS.to_owned()], ..fuzz(folder.path().join("new")) };
        let mut failures = Failures::new(&fuzz, &toy::SUBJECT);
        let seed = toy::first_failure().0;
        let block = failures.block(toy::LAW, seed);
        assert!(block.ends_with(&format!("--seed {seed} --runs 1\n")), "{block}");
        assert!(failures.traces.is_empty() && !folder.path().join("new").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_reported_in_the_block() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let fuzz = fuzz(file.path().join("new"));
        let mut failures = Failures::new(&fuzz, &toy::SUBJECT);
        let block = failures.block(toy::LAW, toy::first_failure().0);
        assert!(block.contains("not written: "), "{block}");
    }

    /// The toy, of which every third failing run breaks a law of another name.
    fn two_names(choices: Choices, detail: Detail) -> Outcome {
        let mut outcome = toy::world(choices, detail);
        if let Verdict::Broken { law, .. } = &mut outcome.verdict
            && outcome.steps.is_multiple_of(3)
        {
            *law = OTHER.to_owned();
        }
        outcome
    }

    const OTHER: &str = "the same by another name";

    #[test]
    fn laws_that_one_cause_breaks_are_reported_once_and_named() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let fuzz = fuzz(folder.path().join("new"));
        let subject = Subject { run: &two_names, ..toy::SUBJECT };
        let first = |law: &str| {
            let breaks = |seed: &u64| subject.quiet(of_seed(*seed)).verdict.law() == law;
            (1..).find(breaks).expect("it breaks")
        };
        let (one, two) = (first(toy::LAW), first(OTHER));
        let mut failures = Failures::new(&fuzz, &subject);
        let blocks = [failures.block(toy::LAW, one), failures.block(OTHER, two)];
        assert!(blocks[0].starts_with(&format!("FAIL  law `{}`", toy::LAW)), "{}", blocks[0]);
        assert!(blocks[0].contains(&format!("\nalso    law `{OTHER}`, in ")), "{}", blocks[0]);
        assert!(blocks[1].starts_with(&format!("ALSO  law `{OTHER}`")), "{}", blocks[1]);
        assert!(blocks[1].contains(&format!("seed {one}: `{}`", toy::LAW)), "{}", blocks[1]);
        assert_eq!(failures.traces.len(), 2, "each leaves its trace");
    }

    #[test]
    fn a_trace_that_is_there_is_not_minimised_again() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let fuzz = fuzz(folder.path().join("new"));
        let seed = toy::first_failure().0;
        let block = || Failures::new(&fuzz, &toy::SUBJECT).block(toy::LAW, seed);
        assert!(block().contains(", minimised in "));
        assert!(block().contains(", as it was left before\n"));
    }
}
