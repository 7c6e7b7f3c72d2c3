//! Going to the background without forking: we start ourselves again, and wait until that one says it is ready.
//!
//! The pipe between the two is the other's standard output. Its standard error stays ours until then, so that
//! whatever is wrong is said where the caller looks.

use crate::command_line::BACKGROUND;
use rustix::fs::{Mode, OFlags};
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// Starts the daemon in the background with our own arguments, and waits until it serves or has failed.
pub fn start() -> Result<ExitCode, String> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(name).arg(BACKGROUND).args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut daemon = command.spawn().map_err(|e| format!("cannot start in the background: {e}"))?;
    let mut pipe = daemon.stdout.take().expect("the pipe was asked for");
    let mut said = Vec::new();
    // A daemon that fails closes its end without a word.
    let read = pipe.read_to_end(&mut said).is_ok();
    if read && !said.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    // What was wrong has been said by the other.
    let _how = daemon.wait();
    Ok(ExitCode::FAILURE)
}

/// Leaves the terminal's session: its signals are not for us.
pub fn leave_session() {
    // Fails only for the leader of a group, who has nobody to leave.
    let _already_alone = rustix::process::setsid();
}

/// Notifies the one who waits that we serve, and releases everything that was theirs.
pub fn say_ready() -> Result<(), String> {
    let detach = || -> std::io::Result<()> {
        std::env::set_current_dir("/")?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        std::io::stdout().write_all(b"ready\n")?;
        std::io::stdout().flush()?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        // The last end of the pipe: now the other one leaves.
        rustix::stdio::dup2_stdout(&null)?;
        Ok(())
    };
    detach().map_err(|e| format!("cannot go to the background: {e}"))
}
