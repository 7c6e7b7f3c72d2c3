//! `midstream minimise`: makes a recorded failure shorter.

use super::{Exit, at_least_1, guarded, read, refuse};
use crate::campaign::Subject;
use crate::minimise::{Limits, entries, minimise};
use crate::report::text;
use crate::trace::Trace;
use crate::verdict::Detail;
use clap::Args;
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
    #[arg(long, value_name = "T", default_value_t = 300, value_parser = at_least_1())]
    seconds: u64,
}

impl Minimise {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        self.shorten(subject).unwrap_or_else(|exit| exit)
    }

    fn shorten(&self, subject: &Subject) -> Result<Exit, Exit> {
        let name = self.trace.display();
        let trace = read(&self.trace)?;
        let replayed = guarded(&self.trace, &trace, || trace.replay_somehow(subject, Detail::Quiet))?;
        if replayed.law() != trace.law {
            return Err(refuse(&format!(
                "{name}: gives {} instead of breaking `{}`",
                replayed.law(),
                trace.law
            )));
        }
        let limits = Limits { runs_max: self.runs, time_max: Duration::from_secs(self.seconds) };
        let run = |choices| subject.quiet(choices);
        let tape = &replayed.outcome.tape;
        let shorten = || minimise(&run, tape, &trace.law, subject.slots, limits);
        let least = guarded(&self.trace, &trace, shorten)?
            .ok_or_else(|| refuse(&format!("{name}: does not break `{}` when replayed", trace.law)))?;
        let path = self.out.as_ref().unwrap_or(&self.trace);
        let written = Trace::of(&least.outcome, trace.seed).write(path);
        written.map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
        put!("{}{}", text::failure(&least.outcome), text::repro(None, Some(path), subject.flag));
        let commands = entries(&least.outcome.tape, subject.command);
        let shortened = text::shortened(commands, [least.outcome.tape.len(), tape.len()], least.runs);
        say!("        {shortened}{}", if least.is_least { "" } else { "; a limit ended the search" });
        Ok(Exit::Broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;
    use crate::trace::PASSED;

    #[test]
    fn the_shorter_trace_breaks_the_same_law() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (long, short) = (folder.path().join("long.json"), folder.path().join("short.json"));
        let (seed, outcome) = toy::first_failure();
        Trace::of(&outcome, Some(seed)).write(&long).expect("writable");
        let minimise = Minimise { trace: long.clone(), out: Some(short.clone()), runs: 10_000, seconds: 60 };
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
        let minimise = Minimise { trace: path, out: None, runs: 10, seconds: 60 };
        assert_eq!(minimise.run(&toy::SUBJECT), Exit::Usage);
    }
}
