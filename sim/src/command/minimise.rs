//! `midstream minimise`: makes a recorded failure shorter.

use super::limits::{at_least_1, check_file, seconds};
use super::{Exit, guarded, live_target, on_its_subject, read, refuse};
use crate::live::campaign::COMMAND;
use crate::live::minimise::{Effort, minimise as minimise_live};
use crate::live::sequence::Record;
use crate::live::target::Target;
use crate::report::text;
use clap::{Args, value_parser};
use midstream::campaign::Subject;
use midstream::minimise::{Limits, entries, minimise};
use midstream::trace::Trace;
use midstream::verdict::Detail;
use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::Duration;

/// Make a recorded failure shorter while the same law breaks. Ends with 1, for it still breaks.
#[derive(Args, Debug)]
pub(super) struct Minimise {
    /// The trace file.
    trace: PathBuf,
    /// Where to write the shorter one; over the old one when not given.
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stop after so many runs.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = at_least_1())]
    runs: u64,
    /// Stop after so many seconds.
    #[arg(long, value_name = "T", default_value_t = 300, value_parser = seconds())]
    seconds: u64,
    /// What a live daemon does may depend on timing: a shorter sequence is taken at most so often.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=100_000))]
    tries: u32,
    /// Of its tries a shorter sequence must fail so often; more than once, so that not only rare failures are left over.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..=100_000))]
    failures: u32,
    /// The live daemon, for a trace of one: `qemu` or `midstreamd`, with `:PATH` if it is not on the search path.
    #[arg(long, value_name = "KIND[:PATH]")]
    target: Option<Target>,
}

impl Minimise {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        if self.failures > self.tries {
            return refuse(&format!("{} failures do not come from {} tries", self.failures, self.tries));
        }
        self.minimise(subject).unwrap_or_else(|exit| exit)
    }

    fn limits(&self) -> Limits {
        Limits { runs_max: self.runs, time_max: Duration::from_secs(self.seconds) }
    }

    /// A live sequence: the daemon decides much by itself, so what fails by another name is another failure.
    fn live(&self, trace: &Trace) -> Result<Exit, Exit> {
        let target = live_target(self.target.as_ref(), &self.trace, trace)?;
        let first_name = OnceCell::new();
        let is_same = |record: &Record| {
            let name = || record.name();
            record.outcome.verdict.law() == trace.law && *first_name.get_or_init(name) == name()
        };
        let effort = Effort { limits: self.limits(), tries: self.tries, failures: self.failures };
        let least = minimise_live(&target, &trace.choices, &is_same, &effort);
        let Some(least) = least else {
            return Err(refuse(&format!(
                "{}: does not break `{}` often enough when replayed",
                self.trace.display(),
                trace.law
            )));
        };
        let (outcome, path) = (&least.outcome, self.out.as_ref().unwrap_or(&self.trace));
        let shorter = Trace { target: Some(target.name()), ..Trace::of(outcome, trace.seed) };
        shorter.write(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
        put!("{}{}", text::failure(outcome), text::repro(None, Some(path)));
        let commands = entries(&outcome.tape, COMMAND);
        let minimised = text::minimised(commands, [outcome.tape.len(), trace.choices.len()], least.took);
        say!("        {minimised}; reproduced {} of {}", least.reproduced, least.times);
        Ok(Exit::Broken)
    }

    fn minimise(&self, subject: &Subject) -> Result<Exit, Exit> {
        if let Some(out) = &self.out {
            check_file("--out", out).map_err(|problem| refuse(&problem))?;
        }
        let trace = read(&self.trace)?;
        if trace.target.is_some() {
            return self.live(&trace);
        }
        on_its_subject(&self.trace, &trace, subject, |subject| self.simulated(&trace, subject))?
    }

    fn simulated(&self, trace: &Trace, subject: &Subject) -> Result<Exit, Exit> {
        let name = self.trace.display();
        let replayed = guarded(&self.trace, trace, || trace.replay_somehow(subject, Detail::Quiet))?;
        if replayed.law() != trace.law {
            return Err(refuse(&format!(
                "{name}: gives {} instead of breaking `{}`",
                replayed.law(),
                trace.law
            )));
        }
        let limits = self.limits();
        let run = |choices| subject.quiet(choices);
        let tape = &replayed.outcome.tape;
        let search = || minimise(&run, tape, &trace.law, subject.slots, limits);
        let least = guarded(&self.trace, trace, search)?
            .ok_or_else(|| refuse(&format!("{name}: does not break `{}` when replayed", trace.law)))?;
        let path = self.out.as_ref().unwrap_or(&self.trace);
        let shorter = Trace { scenario: trace.scenario.clone(), ..Trace::of(&least.outcome, trace.seed) };
        shorter.write(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
        put!("{}{}", text::failure(&least.outcome), text::repro(None, Some(path)));
        let commands = entries(&least.outcome.tape, subject.command);
        let minimised = text::minimised(commands, [least.outcome.tape.len(), tape.len()], least.runs);
        say!("        {minimised}{}", if least.is_least { "" } else { "; a limit ended the search" });
        Ok(Exit::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::toy;
    use midstream::trace::PASSED;

    fn of(trace: PathBuf) -> Minimise {
        Minimise { trace, out: None, runs: 10_000, seconds: 60, tries: 1, failures: 1, target: None }
    }

    #[test]
    fn the_shorter_trace_breaks_the_same_law() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (long, short) = (folder.path().join("long.json"), folder.path().join("short.json"));
        let (seed, outcome) = toy::first_failure();
        Trace::of(&outcome, Some(seed)).write(&long).expect("writable");
        let minimise = Minimise { out: Some(short.clone()), ..of(long.clone()) };
        assert_eq!(minimise.run(&toy::SUBJECT), Exit::Broken);
        let (long, short) = (Trace::read(&long).expect("kept"), Trace::read(&short).expect("written"));
        assert!(short.choices.len() < long.choices.len());
        let replayed = short.replay(&toy::SUBJECT, Detail::Quiet);
        assert!(replayed.is_expected(&long) && replayed.divergence.is_none());
    }

    #[test]
    fn a_trace_that_passes_is_refused() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("1.json");
        let (_, outcome) = toy::first_failure();
        let choices = outcome.tape[..1].to_vec();
        let trace = Trace { choices, expect: PASSED.to_owned(), ..Trace::of(&outcome, None) };
        trace.write(&path).expect("writable");
        assert_eq!(of(path).run(&toy::SUBJECT), Exit::Usage);
    }

    #[test]
    fn more_failures_than_tries_are_refused() {
        let minimise = Minimise { failures: 2, ..of(PathBuf::from("no-such.json")) };
        assert_eq!(minimise.run(&toy::SUBJECT), Exit::Usage);
    }
}
