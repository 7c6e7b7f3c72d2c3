//! `midstream replay`: takes recorded runs again and says whether the same law breaks.

use super::{Exit, read, refuse};
use crate::campaign::Subject;
use crate::report::text;
use crate::trace::{Replayed, Trace};
use crate::verdict::Detail;
use clap::Args;
use std::path::{Path, PathBuf};

/// Take recorded runs again, decision by decision.
///
/// Ends with 1 if a law breaks. A trace that does not fit the code any more says where, and is carried on tolerantly.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// Trace files.
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// End with 0 exactly if every trace gives what it expects.
    #[arg(long)]
    expect: bool,
    /// A trace that does not fit any more is a failure: end with 3.
    #[arg(long)]
    strict: bool,
    /// Write the trace anew, as the run went now, expecting what it gave now.
    #[arg(long, conflicts_with = "strict")]
    update: bool,
}

impl Replay {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        let mut worst = Exit::Clean;
        for path in &self.traces {
            let exit = self.one(path, subject).unwrap_or_else(|exit| exit);
            worst = if worst.code() < exit.code() { exit } else { worst };
        }
        worst
    }

    fn one(&self, path: &Path, subject: &Subject) -> Result<Exit, Exit> {
        let trace = read(path)?;
        let replayed = trace.replay(subject, Detail::Quiet);
        println!("{}: {}", path.display(), summary(&trace, &replayed));
        if replayed.is_broken() {
            print!("{}", text::failure(&replayed.outcome));
        }
        if let Some(divergence) = &replayed.divergence {
            println!("      {}", divergence.to_string().replace('\n', "\n      "));
        }
        if self.update {
            let law = trace.law.clone();
            let verdict = trace.verdict.clone();
            let new = Trace { law, verdict, ..Trace::of(&replayed.outcome, trace.seed) };
            new.write(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
        }
        Ok(self.exit(&trace, &replayed))
    }

    fn exit(&self, trace: &Trace, replayed: &Replayed) -> Exit {
        let is_failed = if self.expect { !replayed.is_expected(trace) } else { replayed.is_broken() };
        match () {
            () if self.strict && replayed.divergence.is_some() => Exit::Nondeterministic,
            () if is_failed => Exit::Broken,
            () => Exit::Clean,
        }
    }
}

/// What became of the trace, in one line.
fn summary(trace: &Trace, replayed: &Replayed) -> String {
    let manner = match &replayed.divergence {
        None => String::new(),
        Some(_) => format!(", tolerantly with {} drifts", replayed.drifts),
    };
    let result = match (replayed.is_broken(), replayed.law() == trace.law) {
        (false, _) => "passed".to_owned(),
        (true, true) => "reproduced".to_owned(),
        (true, false) => format!("another law than `{}`", trace.law),
    };
    let expected = if replayed.is_expected(trace) { "as expected" } else { "not as expected" };
    format!("{result}{manner}, {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;
    use crate::trace::PASSED;

    fn replay(trace: &Trace, change: impl FnOnce(&mut Replay)) -> (Exit, Trace) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("1.json");
        trace.write(&path).expect("writable");
        let mut replay = Replay { traces: vec![path.clone()], expect: false, strict: false, update: false };
        change(&mut replay);
        (replay.run(&toy::SUBJECT), Trace::read(&path).expect("still a trace"))
    }

    fn trace() -> Trace {
        let (seed, outcome) = toy::first_failure();
        Trace::of(&outcome, Some(seed))
    }

    #[test]
    fn a_broken_law_ends_with_1_unless_it_is_expected() {
        assert_eq!(replay(&trace(), |_| ()).0, Exit::Broken);
        assert_eq!(replay(&trace(), |r| r.expect = true).0, Exit::Clean);
        let mended = Trace { expect: PASSED.to_owned(), ..trace() };
        assert_eq!(replay(&mended, |r| r.expect = true).0, Exit::Broken);
    }

    #[test]
    fn a_trace_that_does_not_fit_is_carried_on_or_refused() {
        let mut trace = trace();
        trace.choices.truncate(10);
        assert_eq!(replay(&trace, |_| ()).0, Exit::Clean);
        assert_eq!(replay(&trace, |r| r.strict = true).0, Exit::Nondeterministic);
    }

    #[test]
    fn an_updated_trace_fits_and_expects_what_happens_now() {
        let mut cut = trace();
        cut.choices.truncate(10);
        let (_, updated) = replay(&cut, |r| r.update = true);
        assert_eq!((updated.law.as_str(), updated.expect.as_str()), (toy::LAW, PASSED));
        assert_eq!(replay(&updated, |r| (r.strict, r.expect) = (true, true)).0, Exit::Clean);
    }

    #[test]
    fn a_file_that_is_no_trace_is_a_usage_error() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let traces = vec![file.path().to_owned()];
        let replay = Replay { traces, expect: false, strict: false, update: false };
        assert_eq!(replay.run(&toy::SUBJECT), Exit::Usage);
    }
}
