//! Real sockets: lines of QMP, bytes of NBD, each with a deadline.

use crate::conform::nbd::Wire;
use crate::conform::subject::{Disconnected, Lost};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A line longer than this is nobody's answer.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Waits for whoever connects, so long at most.
pub fn accept(listener: UnixListener, path: &Path, max: Duration) -> Option<UnixStream> {
    let (sender, receiver) = mpsc::channel();
    let waiting = std::thread::spawn(move || {
        // Nobody waits any more once the time is over.
        let _nobody = sender.send(listener.accept());
    });
    let accepted = receiver.recv_timeout(max);
    if accepted.is_err() {
        // Ends the thread's wait; what it gets is thrown away.
        let _ours = UnixStream::connect(path);
    }
    waiting.join().ok()?;
    Some(accepted.ok()?.ok()?.0)
}

/// A QMP connection.
#[derive(Debug)]
pub struct QmpSocket {
    stream: UnixStream,
    read: Vec<u8>,
}

impl QmpSocket {
    /// A connection whose greeting has not been read yet.
    pub fn new(stream: UnixStream) -> QmpSocket {
        QmpSocket { stream, read: Vec::new() }
    }

    /// Sends one text.
    pub fn send(&mut self, text: &str) -> Result<(), Lost> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).map_err(|_| Lost::Died)
    }

    /// The next message. `Hung`: none until the deadline.
    pub fn message(&mut self, deadline: Instant) -> Result<Value, Lost> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if !line.trim_ascii().is_empty() {
                    return serde_json::from_slice(&line).map_err(|_| Lost::Died);
                }
            }
            self.more(deadline)?;
        }
    }

    fn more(&mut self, deadline: Instant) -> Result<(), Lost> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || self.read.len() > LINE_BYTES_MAX {
            return Err(Lost::Hung);
        }
        self.stream.set_read_timeout(Some(left)).map_err(|_| Lost::Died)?;
        let mut piece = [0; 1 << 14];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Lost::Died),
            Ok(len) => {
                self.read.extend_from_slice(&piece[..len]);
                Ok(())
            }
            Err(error) if is_late(&error) => Err(Lost::Hung),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Lost::Died),
        }
    }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// An NBD connection.
#[derive(Debug)]
pub struct NbdSocket {
    stream: UnixStream,
    /// How long an answer may take.
    max: Duration,
    /// The first byte of an answer, if it was seen to come.
    first: Option<u8>,
}

impl NbdSocket {
    /// A connection on which no answer may take longer than `max`.
    pub fn new(stream: UnixStream, max: Duration) -> io::Result<NbdSocket> {
        stream.set_read_timeout(Some(max))?;
        stream.set_write_timeout(Some(max))?;
        Ok(NbdSocket { stream, max, first: None })
    }

    /// Whether anything comes from the other side within `max`.
    pub(crate) fn comes(&mut self, max: Duration) -> bool {
        if self.first.is_some() {
            return true;
        }
        let mut byte = [0];
        let waited = self.stream.set_read_timeout(Some(max)).and_then(|()| self.stream.read(&mut byte));
        let is_set = self.stream.set_read_timeout(Some(self.max));
        match (waited, is_set) {
            (Ok(1), Ok(())) => {
                self.first = Some(byte[0]);
                true
            }
            // The end of the connection comes too, and is found out by whoever reads.
            (waited, _) => waited.is_ok(),
        }
    }

    /// Whether the first byte of an answer was seen.
    pub(crate) fn has_first(&self) -> bool {
        self.first.is_some()
    }

    /// Whether an answer has begun to come, or the connection has ended.
    pub(crate) fn has_come(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        self.first.is_some() || poll(&mut fds, Some(&now)).is_ok_and(|come| come > 0)
    }

    /// Ends it.
    pub fn close(&mut self) {
        // The other side may have ended it already.
        let _ended = self.stream.shutdown(Shutdown::Both);
    }
}

impl AsFd for NbdSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Wire for NbdSocket {
    fn send(&mut self, data: &[u8]) -> Result<(), Disconnected> {
        self.stream.write_all(data).map_err(|error| Disconnected(error.to_string()))
    }

    fn receive(&mut self, len: usize) -> Result<Vec<u8>, Disconnected> {
        let mut bytes = vec![0; len];
        let mut from = 0;
        if let (Some(place), Some(byte)) = (bytes.first_mut(), self.first) {
            *place = byte;
            self.first = None;
            from = 1;
        }
        self.stream.read_exact(&mut bytes[from..]).map_err(|error| {
            let gone = error.kind() == ErrorKind::UnexpectedEof;
            Disconnected(if gone { "disconnected".to_owned() } else { error.to_string() })
        })?;
        Ok(bytes)
    }
}
