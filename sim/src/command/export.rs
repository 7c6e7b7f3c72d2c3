//! `midstream export`: a failing live sequence as a shell script that needs no midstream.

use super::limits::check_file;
use super::{Exit, live_target, read, refuse};
use crate::live::again::{Retaken, retake};
use crate::live::repro::{Iotests, Verdict, shortest};
use crate::live::script::{Driver, Fails, NoScript, script};
use crate::live::sequence::Record;
use crate::live::target::Target;
use clap::{Args, ValueEnum};
use midstream::trace::PASSED;
use midstream::verdict::Detail;
use std::cell::RefCell;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A sequence that fails in none of so many tries does not fail any more.
const TRIES_MAX: u32 = 60;

/// Write a trace of a live daemon as a shell script, ready for a bug report: it needs the daemon, qemu-img and python3,
/// prints what happens, and ends with 1 if the defect shows.
#[derive(Args, Debug)]
pub(super) struct Export {
    /// The trace file.
    trace: PathBuf,
    /// What kind of script: for a reader, or with everything that was done.
    #[arg(long = "as", value_name = "FORM", default_value = "full")]
    form: Form,
    /// Where to write it; to the standard output when not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The live daemon: `qemu` or `midstreamd`, with `:PATH` if it is not on the search path.
    #[arg(long, value_name = "KIND[:PATH]")]
    target: Option<Target>,
    /// For `--as iotest`: the folder tests/qemu-iotests of QEMU's source, to run the test with.
    #[arg(long, value_name = "DIR")]
    iotests: Option<PathBuf>,
}

/// The form of a script.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
enum Form {
    /// A few lines of qemu-img, qemu-io and QMP in common sizes, minimised as long as they show the defect.
    Sh,
    /// A test for QEMU's own package `iotests`, which fails where the defect is.
    Iotest,
    /// Everything that was done, with a driver in Python.
    Full,
}

impl Export {
    pub(super) fn run(&self) -> Exit {
        self.write().unwrap_or_else(|exit| exit)
    }

    fn write(&self) -> Result<Exit, Exit> {
        if let Some(out) = &self.out {
            check_file("--out", out).map_err(|problem| refuse(&problem))?;
        }
        let iotests = match &self.iotests {
            Some(folder) => {
                Some(Iotests::of(folder).map_err(|problem| refuse(&format!("--iotests: {problem}")))?)
            }
            None => None,
        };
        let trace = read(&self.trace)?;
        let target = live_target(self.target.as_ref(), &self.trace, &trace)?;
        let is_same = |record: &Record| trace.law != PASSED && record.outcome.verdict.law() == trace.law;
        let Retaken { failed, failures, times } =
            retake(&target, &trace.choices, Detail::Quiet, TRIES_MAX, &is_same);
        let Some(record) = failed else {
            return Err(refuse(&format!("{} does not fail any more", self.trace.display())));
        };
        let fails = if failures == times { Fails::Always } else { Fails::Sometimes };
        let text = match self.form {
            Form::Full => script(&trace.law, &record, fails, Driver::Within),
            Form::Sh => shortest(&record, &target).map(|shortest| shortest.sh(&[&trace.law])),
            Form::Iotest => self.iotest(&trace.law, &record, &target, iotests.as_ref()),
        };
        let text = text.map_err(|problem| refuse_with_script(&problem.0))?;
        match &self.out {
            None => put!("{text}"),
            Some(path) => {
                write_program(path, &text).map_err(|error| refuse(&format!("{}: {error}", path.display())))?
            }
        }
        Ok(Exit::Clean)
    }
}

impl Export {
    fn iotest(
        &self,
        law: &str,
        record: &Record,
        target: &Target,
        iotests: Option<&Iotests>,
    ) -> Result<String, NoScript> {
        let name = self.trace.file_stem().unwrap_or_default().to_string_lossy();
        let shortest = shortest(record, target)?;
        let Some(iotests) = iotests else {
            complain!("not run: --iotests DIR names the folder tests/qemu-iotests of QEMU's source");
            return shortest.iotest(&name, &[law], target, |_| true).ok_or_else(client_stays);
        };
        let last = RefCell::new(String::new());
        let fails = |text: &String| match iotests.run(text, target) {
            Verdict::Fails => true,
            Verdict::Passes => {
                last.replace(format!("the test passes\n{text}"));
                false
            }
            Verdict::Broken(said) => {
                last.replace(format!("the test cannot be run\n{text}\n{said}"));
                false
            }
        };
        let found = shortest.iotest(&name, &[law], target, fails);
        found.ok_or_else(|| if last.borrow().is_empty() { client_stays() } else { NoScript(last.take()) })
    }
}

fn client_stays() -> NoScript {
    NoScript("a client stays connected while other things are done, which only the shell can do".to_owned())
}

/// Says why there is no script in its first line, and before that shows the one that was tried, if one was.
fn refuse_with_script(problem: &str) -> Exit {
    let (why, tried) = problem.split_once('\n').unwrap_or((problem, ""));
    tried.lines().for_each(|line| complain!("{line}"));
    refuse(why)
}

/// Writes a script that whoever may read it may run.
pub(super) fn write_program(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    let mut permissions = fs::metadata(path)?.permissions();
    let readers = permissions.mode() & 0o444;
    permissions.set_mode(permissions.mode() | readers >> 2);
    fs::set_permissions(path, permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_can_be_run_by_whoever_can_read_it() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("defect.sh");
        write_program(&path, "#!/bin/sh\n").expect("room");
        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!((mode & 0o100, mode & 0o111), (0o100, (mode & 0o444) >> 2));
    }
}
