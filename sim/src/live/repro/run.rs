//! Runs a script, to see whether it shows what it is to show.

use super::super::process::Scratch;
use super::super::target::Target;
use super::iotest::{FROM_HERE, Refused};
use crate::fence;
use regex_lite::Regex;
use serde_json::Value;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

/// A script that takes longer shows nothing.
const SECONDS_MAX: &str = "20";
/// The same for a test of QEMU's package.
const IOTEST_SECONDS_MAX: &str = "60";

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

impl Ran {
    /// Whether it shows the same as another one. What was refused there may be missing here.
    pub(super) fn is_like(self, other: Ran) -> bool {
        let Ran { shows, refused, made, completed, failed } = self;
        let same =
            (shows, made, completed, failed) == (other.shows, other.made, other.completed, other.failed);
        same && refused <= other.refused
    }
}

/// Whether a script shows its defect where `target` is the daemon on the search path.
pub fn shows(text: &str, target: &Target) -> bool {
    run(text, target).shows
}

/// Runs it.
pub(super) fn run(text: &str, target: &Target) -> Ran {
    match output(text, target) {
        Some(output) => ran(&output),
        None => Ran { shows: false, refused: 0, made: 0, completed: 0, failed: 0 },
    }
}

/// What the daemon replied to the commands of a script, in their order.
pub(super) fn replies(text: &str, target: &Target) -> Vec<Refused> {
    let Some(output) = output(text, target) else { return Vec::new() };
    let said = String::from_utf8_lossy(&output.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reply = |message: Value| match (message.get("return"), &message["error"]["class"]) {
        (Some(_), _) => Some(None),
        (None, Value::String(class)) => Some(Some(class.clone())),
        _ => None,
    };
    // The first one is that to `qmp_capabilities`.
    messages.filter_map(reply).skip(1).collect()
}

fn output(text: &str, target: &Target) -> Option<Output> {
    let scratch = Scratch::new().expect("a folder for temporary files can be written to");
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", SECONDS_MAX, "sh", "-c", text])
        .current_dir(scratch.path())
        .env("TMPDIR", scratch.path())
        .env("PATH", search_path(target))
        .stdin(Stdio::null());
    fence::output(&mut command, scratch.path()).ok()
}

/// QEMU's own package for tests in Python, of its source tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iotests {
    /// `tests/qemu-iotests`
    folder: PathBuf,
}

/// How a test for that package ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// What ought to be true is.
    Passes,
    /// What ought to be true is not; all that comes before it is.
    Fails,
    /// Anything else, with what was printed.
    Broken(String),
}

impl Iotests {
    /// The package in this folder, `tests/qemu-iotests` of a source tree.
    pub fn of(folder: &Path) -> Result<Iotests, String> {
        let text = folder.display();
        let folder = folder.canonicalize().map_err(|error| format!("{text}: {error}"))?;
        let package = [folder.join("iotests.py"), folder.join("../../python/qemu/qmp")];
        match package.iter().all(|part| part.exists()) {
            true => Ok(Iotests { folder }),
            false => Err(format!("{text} is no tests/qemu-iotests of a source tree of QEMU")),
        }
    }

    /// Runs a test on a daemon, with the tools that lie beside it.
    pub fn run(&self, text: &str, target: &Target) -> Verdict {
        const FILE: &str = "defect.py";
        // The package asks a system emulator what it has, before any test, and none of ours needs one.
        const EMULATOR: &str = "#!/bin/sh\ncase \"$*\" in *format=help*) echo 'Supported formats: raw qcow2'\n\
            echo 'Supported formats (read-only): raw qcow2';; *) echo virtio-blk;; esac\n";
        let scratch = Scratch::new().expect("a folder for temporary files can be written to");
        let folder = scratch.path();
        let emulator = folder.join("emulator");
        let is_written = fs::write(folder.join(FILE), text)
            .and_then(|()| fs::write(&emulator, EMULATOR))
            .and_then(|()| fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755)));
        if let Err(error) = is_written {
            return Verdict::Broken(error.to_string());
        }
        let packages = [self.folder.clone(), self.folder.join("../../python")];
        let packages = env::join_paths(packages).unwrap_or_default();
        let tool = |name: &str| target.binary.with_file_name(name);
        let mut command = Command::new("timeout");
        command
            .args(["-s", "KILL", IOTEST_SECONDS_MAX, "python3", FILE])
            .current_dir(folder)
            .envs([("TEST_DIR", folder), ("SOCK_DIR", folder), ("SAMPLE_IMG_DIR", folder)])
            .envs([("TMPDIR", folder), ("QEMU_PROG", &emulator), ("QSD_PROG", &target.binary)])
            .envs([("QEMU_IMG_PROG", tool("qemu-img")), ("QEMU_IO_PROG", tool("qemu-io"))])
            .envs([("CACHEMODE", "writeback"), ("AIOMODE", "threads"), ("QEMU_DEFAULT_MACHINE", "none")])
            .envs([("IMGFMT", "qcow2"), ("IMGPROTO", "file"), ("PYTHONDONTWRITEBYTECODE", "1")])
            .env("PYTHONPATH", packages)
            .stdin(Stdio::null());
        match fence::output(&mut command, folder) {
            Ok(output) => verdict(text, &output),
            Err(error) => Verdict::Broken(error.to_string()),
        }
    }
}

/// It fails as it is to if the line of the test that failed stands below the one that says so.
fn verdict(text: &str, output: &Output) -> Verdict {
    static LINE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"line (\d+), in test_").expect("a pattern of ours"));
    // The package's runner writes to the one, and Python to the other.
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat();
    let failed_at = LINE.captures(&said).and_then(|found| found[1].parse::<usize>().ok());
    let from_here = text.lines().position(|line| line.trim() == FROM_HERE).map(|index| index + 1);
    let has_run = said.contains("Ran 1 test");
    match (output.status.code(), failed_at, from_here) {
        (Some(0), None, _) if has_run => Verdict::Passes,
        (Some(1), Some(at), Some(from)) if has_run && at > from => Verdict::Fails,
        _ => Verdict::Broken(said),
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
