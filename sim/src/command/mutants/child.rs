//! A program with a planted bug, which may hang: it has its time, then it is ended.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What a program has come to.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// What it wrote to its standard output.
    pub(super) text: String,
}

/// Runs a program until it ends, which it has `time` for. `None`: it did not, and was killed. Its output goes to a file in
/// `home`: a pipe that nobody reads meanwhile would stop it.
pub(super) fn run(command: &mut Command, home: &Path, time: Duration) -> Result<Option<Ended>, String> {
    let path = home.join("output.txt");
    let output = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |e: io::Error| format!("{program}: {e}");
    let mut child = command.stdout(output).stderr(Stdio::null()).spawn().map_err(failed)?;
    let ends = ends_within(&child, time);
    if !matches!(ends, Ok(true)) {
        // Fails only if it has ended, which is what we want.
        let _ended = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    if !ends.map_err(failed)? {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Some(Ended { status, text: String::from_utf8_lossy(&text).into_owned() }))
}

fn ends_within(child: &Child, time: Duration) -> io::Result<bool> {
    let id = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::from_borrowed_fd(id.as_fd(), PollFlags::IN)], Some(&left)) {
            Ok(ended) => return Ok(ended > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, time: Duration) -> Option<Ended> {
        let home = tempfile::tempdir().expect("a scratch folder");
        run(Command::new("sh").args(["-c", script]), home.path(), time).expect("there is a shell")
    }

    #[test]
    fn a_program_that_ends_leaves_its_output_and_its_status() {
        let ended = shell("echo one; echo two; exit 3", Duration::from_secs(60)).expect("it ends");
        assert_eq!((ended.text.as_str(), ended.status.code()), ("one\ntwo\n", Some(3)));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        assert!(shell("while :; do :; done", Duration::from_millis(50)).is_none());
    }
}
