//! What must not happen, and a finding as a file: the kind of input, why it is one, and the inputs themselves.

use super::Kind;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The daemon ended by itself, or not as it should.
pub const ABORT: &str = "abort";
/// Somebody else waited too long.
pub const LATE: &str = "late";
/// The daemon held more than it may.
pub const MEMORY: &str = "memory";
/// A reader of ours panicked.
pub const PANIC: &str = "panic";

/// A longer run of zeroes is not written down.
const HOLE_BYTES_MIN: usize = 16;
/// No finding is larger.
const LEN_BYTES_MAX: usize = 64 << 20;

/// Something that must not happen, with what makes it happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The kind of the inputs.
    pub kind: Kind,
    /// One of the words above.
    pub verdict: String,
    /// What was seen.
    pub detail: String,
    /// The inputs, in their order.
    pub inputs: Vec<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    kind: String,
    verdict: String,
    detail: String,
    inputs: Vec<Input>,
}

/// An input: a text, or bytes in hexadecimal between holes of zeroes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, untagged)]
enum Input {
    Text { text: String },
    Bytes { len: usize, at: Vec<(usize, String)> },
}

impl Finding {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Finding, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let file: File = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let inputs = file.inputs.into_iter().map(Input::bytes).collect::<Result<_, _>>()?;
        Ok(Finding { kind: file.kind.parse()?, verdict: file.verdict, detail: file.detail, inputs })
    }

    /// Writes one into a folder, under a name that follows from what is in it.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, String> {
        let file = File {
            kind: self.kind.name().to_owned(),
            verdict: self.verdict.clone(),
            detail: self.detail.clone(),
            inputs: self.inputs.iter().map(|bytes| Input::of(bytes)).collect(),
        };
        let text = serde_json::to_string_pretty(&file).expect("text and numbers are always JSON") + "\n";
        let hash = xxhash_rust::xxh3::xxh3_64(self.inputs.concat().as_slice());
        let path = folder.join(format!("{}-{}-{:08x}.json", self.kind, self.verdict, hash as u32));
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        fs::write(&path, text).map_err(|error| error.to_string())?;
        Ok(path)
    }
}

impl Input {
    fn of(bytes: &[u8]) -> Input {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Input::Text { text: text.to_owned() },
            _ => Input::Bytes { len: bytes.len(), at: pieces(bytes) },
        }
    }

    fn bytes(self) -> Result<Vec<u8>, String> {
        let (len, at) = match self {
            Input::Text { text } => return Ok(text.into_bytes()),
            Input::Bytes { len, at } => (len, at),
        };
        if len > LEN_BYTES_MAX {
            return Err(format!("an input of {len} bytes"));
        }
        let mut bytes = vec![0; len];
        for (from, hex) in at {
            let piece = unhex(&hex).ok_or_else(|| format!("`{hex}` is not hexadecimal"))?;
            let place = from.checked_add(piece.len()).and_then(|to| bytes.get_mut(from..to));
            place.ok_or_else(|| format!("bytes at {from} of {len}"))?.copy_from_slice(&piece);
        }
        Ok(bytes)
    }
}

/// Where there is something between the holes.
fn pieces(bytes: &[u8]) -> Vec<(usize, String)> {
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for at in (0..bytes.len()).filter(|at| bytes[*at] != 0) {
        match pieces.last_mut() {
            Some((_, end)) if at - *end < HOLE_BYTES_MIN => *end = at + 1,
            _ => pieces.push((at, at + 1)),
        }
    }
    pieces.into_iter().map(|(from, to)| (from, hex(&bytes[from..to]))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes any text");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_comes_back_from_its_file() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let mut image = vec![0; 5000];
        image[..3].copy_from_slice(&[0xff, 0, 7]);
        image[4999] = 0x80;
        let finding = Finding {
            kind: Kind::ImageFields,
            verdict: ABORT.to_owned(),
            detail: "signal 6".to_owned(),
            inputs: vec![image, b"{\"execute\": 1}".to_vec(), Vec::new()],
        };
        let path = finding.write(folder.path()).expect("room");
        assert_eq!(Finding::read(&path), Ok(finding));
        assert!(fs::metadata(&path).expect("it is there").len() < 600);
    }
}
