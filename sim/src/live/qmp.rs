//! A QMP connection as lines of text with deadlines: what the model is shown is exactly what was on the wire.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// More than this without a line end is nobody's answer.
const LINE_BYTES_MAX: usize = 64 << 20;

/// Why no line comes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The other side has closed the connection.
    Closed,
    /// Nothing came until the deadline.
    Silent,
    /// Events without end.
    Flooding,
}

/// The connection.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    read: Vec<u8>,
    /// Where the next line begins.
    from: usize,
}

impl Qmp {
    /// A connection on which nothing was said yet.
    pub fn new(stream: UnixStream) -> Qmp {
        Qmp { stream, read: Vec::with_capacity(1 << 14), from: 0 }
    }

    /// Sends one text.
    pub fn send(&mut self, text: &str) -> Result<(), Lost> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).map_err(|_| Lost::Closed)
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
        match deadline {
            None => self.stream.set_nonblocking(true).map_err(|_| Lost::Closed)?,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(Lost::Silent);
                }
                // A timeout of less than a microsecond would be none at all.
                let left = left.max(Duration::from_micros(10));
                self.stream.set_read_timeout(Some(left)).map_err(|_| Lost::Closed)?;
            }
        }
        let mut piece = [0; 1 << 14];
        let read = self.stream.read(&mut piece);
        if deadline.is_none() {
            self.stream.set_nonblocking(false).map_err(|_| Lost::Closed)?;
        }
        match read {
            Ok(0) => Err(Lost::Closed),
            Ok(len) => {
                self.read.extend_from_slice(&piece[..len]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Lost::Silent),
                ErrorKind::Interrupted => Ok(()),
                _ => Err(Lost::Closed),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(qmp.line(None), Err(Lost::Closed));
    }
}
