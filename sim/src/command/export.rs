//! `midstream export`: a failing live sequence as a shell script that needs no midstream.

use super::{Exit, live_target, read, refuse};
use crate::live::again::{Retaken, retake};
use crate::live::script::{Fails, script};
use crate::live::sequence::Record;
use crate::live::target::Target;
use clap::Args;
use midstream::trace::PASSED;
use midstream::verdict::Detail;
use std::path::PathBuf;

/// A sequence that fails in none of so many tries does not fail any more.
const TRIES_MAX: u32 = 60;

/// Write a trace of a live daemon as a shell script, ready for a bug report: it needs the daemon, qemu-img and python3,
/// prints what happens, and ends with 1 if the defect shows.
#[derive(Args, Debug)]
pub(super) struct Export {
    /// The trace file.
    trace: PathBuf,
    /// Where to write it; to the standard output when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The live daemon: `qemu` or `midstreamd`, with `:PATH` if it is not on the search path.
    #[arg(long, value_name = "KIND[:PATH]")]
    target: Option<Target>,
}

impl Export {
    pub(super) fn run(&self) -> Exit {
        self.write().unwrap_or_else(|exit| exit)
    }

    fn write(&self) -> Result<Exit, Exit> {
        let trace = read(&self.trace)?;
        let target = live_target(self.target.as_ref(), &self.trace, &trace)?;
        let is_same = |record: &Record| trace.law != PASSED && record.outcome.verdict.law() == trace.law;
        let Retaken { failed, failures, times } =
            retake(&target, &trace.choices, Detail::Quiet, TRIES_MAX, &is_same);
        let Some(record) = failed else {
            return Err(refuse(&format!("{} does not fail any more", self.trace.display())));
        };
        let fails = if failures == times { Fails::Always } else { Fails::Sometimes };
        let text = script(&trace.law, &record, fails).map_err(|problem| refuse(&problem.0))?;
        match &self.out {
            None => put!("{text}"),
            Some(path) => {
                std::fs::write(path, text).map_err(|error| refuse(&format!("{}: {error}", path.display())))?
            }
        }
        Ok(Exit::Clean)
    }
}
