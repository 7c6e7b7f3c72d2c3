//! Runs a script, to see whether it shows what it is to show.

use super::super::process::Scratch;
use super::super::target::Target;
use crate::fence;
use std::env;
use std::ffi::OsString;
use std::process::{Command, Output, Stdio};

/// A script that takes longer shows nothing.
const SECONDS_MAX: &str = "20";

/// How a script ran. One that is shorter and runs otherwise does not show the same.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Ran {
    /// It ended with 1: the defect shows.
    pub(super) shows: bool,
    /// Commands that the daemon refused.
    refused: usize,
    /// Jobs that were made.
    made: usize,
    /// Jobs that ended well.
    completed: usize,
    /// Requests of clients that failed.
    failed: usize,
}

/// Whether a script shows its defect where `target` is the daemon on the search path.
pub fn shows(text: &str, target: &Target) -> bool {
    run(text, target).shows
}

/// Runs it.
pub(super) fn run(text: &str, target: &Target) -> Ran {
    let scratch = Scratch::new().expect("a folder for temporary files can be written to");
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", SECONDS_MAX, "sh", "-c", text])
        .current_dir(scratch.path())
        .env("TMPDIR", scratch.path())
        .env("PATH", search_path(target))
        .stdin(Stdio::null());
    match fence::output(&mut command, scratch.path()) {
        Ok(output) => ran(&output),
        Err(_) => Ran { shows: false, refused: 0, made: 0, completed: 0, failed: 0 },
    }
}

fn ran(output: &Output) -> Ran {
    let said = String::from_utf8_lossy(&output.stdout);
    let count = |has: &dyn Fn(&str) -> bool| said.lines().filter(|line| has(line)).count();
    Ran {
        shows: output.status.code() == Some(1),
        refused: count(&|line| line.contains(r#""error": {"#)),
        made: count(&|line| line.contains(r#""status": "created""#)),
        completed: count(&|line| line.contains("BLOCK_JOB_COMPLETED") && !line.contains(r#""error""#)),
        failed: String::from_utf8_lossy(&output.stderr).matches("failed:").count(),
    }
}

/// The search path with the daemon's folder before all others: its tools are of the same release.
fn search_path(target: &Target) -> OsString {
    let folder = target.binary.parent().map(ToOwned::to_owned);
    let others = env::var_os("PATH").unwrap_or_default();
    let all = folder.into_iter().chain(env::split_paths(&others));
    env::join_paths(all).unwrap_or(others)
}
