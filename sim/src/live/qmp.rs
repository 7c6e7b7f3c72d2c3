//! A QMP connection as lines of text with deadlines: what the model is shown is exactly what was on the wire.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// More than this without a line end is nobody's answer.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Why no line comes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The other side has closed the connection.
    Closed,
    /// Nothing came until the deadline.
    Silent,
    /// Nothing came, and the other side was busy all the while.
    Spinning,
    /// Events without end.
    Flooding,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lost::Closed => "the monitor was closed",
            Lost::Silent => "the monitor does not answer",
            Lost::Spinning => "the daemon is busy without end",
            Lost::Flooding => "events without end",
        })
    }
}

/// The connection.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    read: Vec<u8>,
    /// Where the next line begins.
    from: usize,
    /// How many bytes were read from the connection.
    taken: Arc<Mutex<u64>>,
}

impl Qmp {
    /// A connection on which nothing was said yet.
    pub fn new(stream: UnixStream) -> Qmp {
        Qmp { stream, read: Vec::with_capacity(1 << 14), from: 0, taken: Arc::default() }
    }

    /// Shows anybody how many bytes the other side has said, whether or not they were read yet.
    pub fn watch(&self) -> io::Result<impl Fn() -> u64 + Send + Sync + 'static> {
        let (stream, taken) = (self.stream.try_clone()?, Arc::clone(&self.taken));
        Ok(move || {
            // Held while it is asked, so that no byte is counted as waiting and as read.
            let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            *taken + rustix::io::ioctl_fionread(&stream).unwrap_or(0)
        })
    }

    /// How many bytes had been said when the line ended that was given last.
    pub fn said_bytes(&self) -> u64 {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken - (self.read.len() - self.from) as u64
    }

    /// Sends one text.
    pub fn send(&mut self, text: &str) -> Result<(), Lost> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).map_err(|_| Lost::Closed)
    }

    /// Whether a whole line is there that was read and not given yet.
    pub fn has_line(&self) -> bool {
        self.read[self.from..].contains(&b'\n')
    }

    /// The next line, so long waited for. With no time at all, only what is already there.
    pub fn line(&mut self, deadline: Option<Instant>) -> Result<String, Lost> {
        loop {
            while let Some(end) = self.read[self.from..].iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.read[self.from..self.from + end]).trim().to_owned();
                self.from += end + 1;
                if !line.is_empty() {
                    return Ok(line);
                }
            }
            self.read.drain(..self.from);
            self.from = 0;
            self.more(deadline)?;
        }
    }

    fn more(&mut self, deadline: Option<Instant>) -> Result<(), Lost> {
        if self.read.len() > LINE_BYTES_MAX {
            return Err(Lost::Flooding);
        }
        if let Some(deadline) = deadline {
            self.wait(deadline)?;
        }
        let mut piece = [0; 1 << 14];
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match recv(&self.stream, &mut piece, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Lost::Closed),
            Ok((len, _)) => {
                *taken += len as u64;
                self.read.extend_from_slice(&piece[..len]);
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            // Something came, and was nothing.
            Err(rustix::io::Errno::AGAIN) if deadline.is_some() => Ok(()),
            Err(rustix::io::Errno::AGAIN) => Err(Lost::Silent),
            Err(_) => Err(Lost::Closed),
        }
    }

    /// Waits until something comes.
    fn wait(&self, deadline: Instant) -> Result<(), Lost> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::Silent);
            }
            let left = Timespec::try_from(left).map_err(|_| Lost::Silent)?;
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return Err(Lost::Silent),
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(_) => return Err(Lost::Closed),
            }
        }
    }
}

impl AsFd for Qmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn lines_come_whole_and_silence_has_an_end() {
        let (mut there, here) = UnixStream::pair().expect("a pair of sockets");
        let mut qmp = Qmp::new(here);
        assert_eq!(qmp.line(None), Err(Lost::Silent));
        there.write_all(b"{\"a\":1}\r\n\r\n{\"b\"").expect("somebody listens");
        assert_eq!(qmp.line(None).as_deref(), Ok("{\"a\":1}"));
        assert_eq!(qmp.line(Some(Instant::now() + Duration::from_millis(1))), Err(Lost::Silent));
        there.write_all(b":2}\n").expect("somebody listens");
        assert_eq!(qmp.line(None).as_deref(), Ok("{\"b\":2}"));
        drop(there);
        // A process that another test starts just now has a copy of that end until it becomes its program.
        assert_eq!(qmp.line(Some(Instant::now() + Duration::from_secs(60))), Err(Lost::Closed));
    }
}
