//! Hostile bytes and commands on a monitor. What is answered is nobody's business here, but something must be.
//!
//! A command may wait for as long as it was asked to (a latency, a limit): then the rest of the round is given up, and the
//! daemon is asked to end all the same.

use super::victim::Victim;
use crate::live::qmp::{Lost, Qmp};
use hostile::qmp_text::{PROBE, PROBED};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// So long a command of ours is waited for.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Sends bytes; after each a probe, whose answer says that the connection lives. Gives how many were sent.
pub(super) fn bytes(victim: &Victim, inputs: &[Vec<u8>]) -> Result<usize, String> {
    let stream = UnixStream::connect(victim.path("attack")).map_err(|error| error.to_string())?;
    let mut writer = stream.try_clone().map_err(|error| error.to_string())?;
    let mut qmp = Qmp::new(stream);
    for (sent, input) in inputs.iter().enumerate() {
        // Replies are taken while more is sent, or each side would wait for the other.
        let text = match sent {
            0 => [br#"{"execute":"qmp_capabilities"}"#, &input[..], PROBE].concat(),
            _ => [&input[..], PROBE].concat(),
        };
        let answered = std::thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write_all(&text).is_ok());
            let answered = probe_answered(&mut qmp);
            if answered != Ok(()) {
                // Nobody takes what is written any more.
                let _ended = writer_of(&qmp).map(|stream| stream.shutdown(std::net::Shutdown::Both));
            }
            writing.join().expect("a write does not panic");
            answered
        });
        match answered {
            Ok(()) => {}
            Err(Lost::Silent) => return Ok(sent + 1),
            Err(lost) => return Err(format!("the monitor was lost: {lost}")),
        }
    }
    Ok(inputs.len())
}

fn writer_of(qmp: &Qmp) -> std::io::Result<UnixStream> {
    use std::os::fd::AsFd;
    Ok(UnixStream::from(qmp.as_fd().try_clone_to_owned()?))
}

/// Waits for the answer to the probe, past whatever else is said.
fn probe_answered(qmp: &mut Qmp) -> Result<(), Lost> {
    let deadline = Some(Instant::now() + TIMEOUT);
    loop {
        if qmp.line(deadline)?.contains(PROBED) {
            return Ok(());
        }
        is_in_time(deadline)?;
    }
}

/// Sends commands, one after the other. Gives how many were sent.
pub(super) fn commands(victim: &Victim, inputs: &[Vec<u8>]) -> Result<usize, String> {
    let mut qmp = victim.monitor()?;
    for (sent, input) in inputs.iter().enumerate() {
        match execute(&mut qmp, &String::from_utf8_lossy(input)) {
            Ok(_) => {}
            Err(Lost::Silent) => return Ok(sent + 1),
            Err(lost) => return Err(format!("the monitor was lost: {lost}")),
        }
    }
    Ok(inputs.len())
}

/// Sends one command; its reply, past events.
pub(super) fn execute(qmp: &mut Qmp, command: &str) -> Result<String, Lost> {
    qmp.send(command)?;
    let deadline = Some(Instant::now() + TIMEOUT);
    loop {
        let line = qmp.line(deadline)?;
        is_in_time(deadline)?;
        if !line.starts_with(r#"{"event""#) && !line.starts_with(r#"{"timestamp""#) {
            return Ok(line);
        }
    }
}

/// Lines may come without end.
fn is_in_time(deadline: Option<Instant>) -> Result<(), Lost> {
    if deadline.is_some_and(|deadline| Instant::now() > deadline) { Err(Lost::Silent) } else { Ok(()) }
}
