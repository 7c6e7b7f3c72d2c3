//! `midstream replay`: takes recorded runs again and says whether the same law breaks.

use super::limits::{check_folder, tries};
use super::{Exit, guarded, live_target, on_its_subject, read, refuse};
use crate::live;
use crate::live::target::Target;
use crate::report::text;
use clap::Args;
use midstream::campaign::Subject;
use midstream::campaign::keep::Keep;
use midstream::terminal::shown;
use midstream::trace::{PASSED, Replayed, Trace};
use midstream::verdict::{Detail, Outcome};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Take recorded runs again, decision by decision.
///
/// Ends with 1 if a law breaks, with 3 if a decision is no longer on offer: then the engine has changed, or it is not
/// deterministic. A panic of the harness ends with 101.
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// Trace files.
    #[arg(required = true, value_name = "TRACE")]
    traces: Vec<PathBuf>,
    /// End with 0 exactly if every trace gives what it expects.
    #[arg(long)]
    expect: bool,
    /// Carry on where a decision is no longer on offer.
    #[arg(long)]
    tolerant: bool,
    /// Write the trace anew, as the run went now, expecting what it gave now; tolerantly where it does not fit.
    #[arg(long)]
    update: bool,
    /// A trace of a live daemon is taken again so often.
    #[arg(long, value_name = "N", default_value = "5", value_parser = tries())]
    times: u64,
    /// The live daemon, for a trace of one: `qemu` or `midstreamd`, with `:PATH` if it is not on the search path.
    #[arg(long, value_name = "KIND[:PATH]")]
    target: Option<Target>,
    /// Write the images into DIR as the run left them, to be looked at with qemu-img.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Write the history to DIR, for `midstream judge`; of a live daemon, that of every run that fails.
    #[arg(long, value_name = "DIR")]
    history: Option<PathBuf>,
}

impl Replay {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        let history = self.history.iter().try_for_each(|folder| check_folder("--history", folder));
        if let Err(problem) = self.may_dump().and(history) {
            return refuse(&problem);
        }
        let mut worst = Exit::Clean;
        for path in &self.traces {
            let exit = self.one(path, subject).unwrap_or_else(|exit| exit);
            worst = if worst.code() < exit.code() { exit } else { worst };
        }
        worst
    }

    /// One run leaves one set of images.
    fn may_dump(&self) -> Result<(), String> {
        match &self.dump {
            Some(_) if self.traces.len() > 1 => Err("--dump takes one trace".to_owned()),
            Some(folder) => check_folder("--dump", folder),
            None => Ok(()),
        }
    }

    fn one(&self, path: &Path, subject: &Subject) -> Result<Exit, Exit> {
        let trace = read(path)?;
        if trace.target.is_some() && self.dump.is_some() {
            return Err(refuse(&format!("{}: --dump is for simulated runs", path.display())));
        }
        if trace.target.is_some() {
            return guarded(path, &trace, || self.live(path, &trace))?;
        }
        let is_kept = self.dump.is_some() || self.history.is_some();
        let detail = if is_kept { Detail::Full } else { Detail::Quiet };
        let replay = |subject: &Subject| match (self.tolerant, self.update) {
            (true, _) => trace.replay_tolerantly(subject, detail),
            (false, true) => trace.replay_somehow(subject, detail),
            (false, false) => trace.replay(subject, detail),
        };
        let replayed = guarded(path, &trace, || on_its_subject(path, &trace, subject, replay))??;
        if let Some(folder) = &self.dump {
            write_files(folder, &replayed.outcome).map_err(|problem| refuse(&problem))?;
        }
        if let Some(keep) = self.keep(true)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            keep.keep_as(&name, &replayed.outcome).map_err(|error| self.unkept(&error))?;
        }
        put!("{}: {}", shown(path), summary(&trace, &replayed));
        if self.update {
            let (law, verdict) = (trace.law.clone(), trace.verdict.clone());
            let scenario = trace.scenario.clone();
            let new = Trace { law, verdict, scenario, ..Trace::of(&replayed.outcome, trace.seed) };
            new.write(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
        }
        Ok(self.exit(&trace, &replayed))
    }

    /// Where histories go: of all runs, or of those that fail.
    fn keep(&self, all: bool) -> Result<Option<Keep>, Exit> {
        let keep = self.history.as_ref().map(|folder| Keep::new(folder, all)).transpose();
        keep.map_err(|error| self.unkept(&error))
    }

    fn unkept(&self, error: &io::Error) -> Exit {
        let folder = self.history.as_deref().unwrap_or(Path::new("")).display();
        refuse(&format!("--history {folder}: {error}"))
    }

    /// Takes a live sequence again and again, and counts how often it fails as it did.
    fn live(&self, path: &Path, trace: &Trace) -> Result<Exit, Exit> {
        let target = live_target(self.target.as_ref(), path, trace)?;
        let keep = self.keep(false)?;
        let detail = if keep.is_some() { Detail::Full } else { Detail::Quiet };
        let mut last = None;
        let mut reproduced = 0;
        for time in 1..=self.times {
            let record = live::again::again(&target, &trace.choices, detail);
            if let Some(keep) = &keep {
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let kept = keep.keep_as(&format!("{name}-{time}"), &record.outcome);
                kept.map_err(|error| self.unkept(&error))?;
            }
            if record.outcome.verdict.law() == trace.law && trace.law != PASSED {
                reproduced += 1;
                last = Some(record);
            }
        }
        say!("{}: reproduced {reproduced} of {}", shown(path), self.times);
        if let Some(record) = &last {
            put!("{}", text::failure(&record.outcome));
            match &record.known {
                Some(known) => {
                    say!("      known as {}", known.name());
                    known.what().iter().for_each(|what| say!("      {what}"));
                }
                None => say!("      no known defect"),
            }
            if self.update {
                let new = Trace { target: trace.target.clone(), ..Trace::of(&record.outcome, trace.seed) };
                new.write(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
            }
        }
        let is_failed =
            if self.expect { (reproduced > 0) != (trace.expect != PASSED) } else { reproduced > 0 };
        Ok(if is_failed { Exit::Broken } else { Exit::Clean })
    }

    fn exit(&self, trace: &Trace, replayed: &Replayed) -> Exit {
        let is_failed = if self.expect { replayed.law() != trace.expect } else { replayed.is_broken() };
        match (replayed.fits(), is_failed) {
            (false, _) => Exit::Nondeterministic,
            (true, true) => Exit::Broken,
            (true, false) => Exit::Clean,
        }
    }
}

/// Writes what a run left, each file under its own name.
fn write_files(folder: &Path, outcome: &Outcome) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("--dump {}: {error}", folder.display()))?;
    for (name, bytes) in &outcome.files {
        let path = folder.join(name.trim_start_matches('/').replace('/', "-"));
        fs::write(&path, bytes).map_err(|error| format!("--dump {}: {error}", path.display()))?;
        say!("dumped  {}", shown(&path));
    }
    Ok(())
}

/// What became of the trace: one line, and the divergence or the failure.
fn summary(trace: &Trace, replayed: &Replayed) -> String {
    if let (false, Some(divergence)) = (replayed.fits(), &replayed.divergence) {
        return format!("{divergence}\n");
    }
    let result = match (replayed.is_broken(), replayed.law() == trace.law) {
        (false, _) => "passed".to_owned(),
        (true, true) => "reproduced".to_owned(),
        (true, false) => format!("another law than `{}`", trace.law),
    };
    let expected = if replayed.law() == trace.expect { "as expected" } else { "not as expected" };
    let drifts = match replayed.drifts {
        0 => String::new(),
        drifts => format!(", {drifts} drifts"),
    };
    let failure = if replayed.is_broken() { text::failure(&replayed.outcome) } else { String::new() };
    format!("{result}, {expected}{drifts}\n{failure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::toy;

    fn replay(trace: &Trace, change: impl FnOnce(&mut Replay)) -> (Exit, Trace) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("1.json");
        trace.write(&path).expect("writable");
        let mut replay = Replay {
            traces: vec![path.clone()],
            expect: false,
            tolerant: false,
            update: false,
            times: 5,
            target: None,
            dump: None,
            history: None,
        };
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
    fn a_trace_that_does_not_fit_is_refused_unless_asked_for() {
        let mut changed = trace();
        changed.choices.remove(5);
        assert_eq!(replay(&changed, |_| ()).0, Exit::Nondeterministic);
        assert_ne!(replay(&changed, |r| r.tolerant = true).0, Exit::Nondeterministic);
    }

    #[test]
    fn an_updated_trace_fits_and_expects_what_happens_now() {
        let mut changed = trace();
        changed.choices.truncate(10);
        changed.choices.remove(5);
        let (_, updated) = replay(&changed, |r| r.update = true);
        assert_eq!((updated.law.as_str(), updated.expect.as_str()), (toy::LAW, PASSED));
        assert_eq!(replay(&updated, |r| r.expect = true).0, Exit::Clean);
    }

    #[test]
    fn a_file_that_is_no_trace_is_a_usage_error() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let traces = vec![file.path().to_owned()];
        let replay = Replay {
            traces,
            expect: false,
            tolerant: false,
            update: false,
            times: 5,
            target: None,
            dump: None,
            history: None,
        };
        assert_eq!(replay.run(&toy::SUBJECT), Exit::Usage);
    }
}
