//! The lines of a file, of bounded length, and what stands in one.

use super::Fault;
use serde::de::DeserializeOwned;
use std::io::{BufRead, Read};

/// Lines with their numbers; those without anything in them are passed over.
pub(super) struct Lines<R> {
    input: R,
    bytes_max: usize,
    line: Vec<u8>,
    /// The number of the last line, from 1.
    pub number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R, bytes_max: usize) -> Lines<R> {
        Lines { input, bytes_max, line: Vec::new(), number: 0 }
    }

    /// The next line, without its end.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        loop {
            self.line.clear();
            // One byte more than is allowed, and the end of the line.
            let mut bounded = (&mut self.input).take(self.bytes_max as u64 + 2);
            let read = bounded.read_until(b'\n', &mut self.line);
            let len = read.map_err(|error| (String::new(), format!("cannot be read: {error}")));
            if matches!(len, Ok(0)) {
                return Ok(None);
            }
            self.number += 1;
            len?;
            while matches!(self.line.last(), Some(b'\n' | b'\r' | b' ' | b'\t')) {
                self.line.pop();
            }
            if self.line.len() > self.bytes_max {
                return Err((String::new(), format!("longer than {} bytes", self.bytes_max)));
            }
            if !self.line.is_empty() {
                break;
            }
        }
        Ok(Some(&self.line))
    }
}

/// What stands in a line; or the member that is wrong, and why.
pub(super) fn parsed<T: DeserializeOwned>(line: &[u8]) -> Result<T, Fault> {
    // A parser would take a list for an object whose members have no names.
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err((String::new(), "not an object".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_slice(line);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        (field, reason(error.inner()))
    })?;
    json.end().map_err(|error| (String::new(), reason(&error)))?;
    Ok(parsed)
}

/// The number of the line is ours to say: every line is a text of its own to the parser.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} (column {})", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bounded_and_numbered() {
        let mut lines = Lines::new(&b"\n12345\r\n\n1234567\n"[..], 6);
        assert_eq!(lines.next(), Ok(Some(&b"12345"[..])));
        assert_eq!(lines.number, 2);
        let fault = lines.next().expect_err("too long");
        assert_eq!((lines.number, fault.1.as_str()), (4, "longer than 6 bytes"));
    }
}
