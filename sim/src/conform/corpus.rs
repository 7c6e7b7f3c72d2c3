//! Reads the corpus: recorded cases, each with its recorded result.
//!
//! The format is described in `tests/conformance/README.md`. The model's tests read the same files through this file, so
//! it knows nothing of engine, model or world.

use serde_json::Value;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;

/// What a file of the corpus may unpack to; the largest is far smaller.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// One recorded case, as it stands in the corpus.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What was done.
    pub case: Value,
    /// What came of it.
    pub result: Value,
}

impl Recording {
    /// The case's name.
    pub fn name(&self) -> &str {
        self.case["name"].as_str().unwrap_or_default()
    }

    /// The case's category.
    pub fn category(&self) -> &str {
        self.case["category"].as_str().unwrap_or_default()
    }
}

/// Why a corpus cannot be read: the file, and what is wrong with it.
#[derive(Debug)]
pub struct CorpusError(String);

impl fmt::Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CorpusError {}

/// Every recording of a folder, ordered by name. A folder without any is an error.
pub fn read(folder: &Path) -> Result<Vec<Recording>, CorpusError> {
    let wrong = |what: &dyn fmt::Display| CorpusError(format!("{}: {what}", folder.display()));
    let mut recordings = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| wrong(&error))? {
        let path = entry.map_err(|error| wrong(&error))?.path();
        if path.to_str().is_some_and(|path| path.ends_with(".jsonl.zst")) {
            read_file(&path, &mut recordings)
                .map_err(|what| CorpusError(format!("{}: {what}", path.display())))?;
        }
    }
    if recordings.is_empty() {
        return Err(wrong(&"no recorded cases (*.jsonl.zst)"));
    }
    recordings.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(recordings)
}

fn read_file(path: &Path, recordings: &mut Vec<Recording>) -> Result<(), String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let unpacked = zstd::Decoder::new(file).map_err(|error| error.to_string())?;
    let mut text = String::new();
    unpacked.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &dyn fmt::Display| format!("line {}: {what}", number + 1);
        let mut value: Value = serde_json::from_str(line).map_err(|error| wrong(&error))?;
        let recording = Recording { case: value["case"].take(), result: value["result"].take() };
        if recording.name().is_empty() || recording.category().is_empty() || !recording.result.is_object() {
            return Err(wrong(&"not a case with its result"));
        }
        recordings.push(recording);
    }
    Ok(())
}
