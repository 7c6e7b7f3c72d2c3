//! The file that explorations are resumed by: what is done, and what is left of the one that was under way.

use midstream::check::{Counts, Saved};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

const VERSION: u32 = 1;
/// No file of this kind is longer.
const LEN_BYTES_MAX: u64 = 1 << 30;

/// What was done by now. Scenarios go by their text.
#[derive(Serialize, Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    version: u32,
    done: BTreeMap<String, Counts>,
    left: BTreeMap<String, Saved>,
}

impl Default for Progress {
    fn default() -> Progress {
        Progress { version: VERSION, done: BTreeMap::new(), left: BTreeMap::new() }
    }
}

fn name(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Progress {
    /// Reads a file; one that is not there is a beginning.
    pub(super) fn read(path: &Path) -> Result<Progress, String> {
        if !path.exists() {
            return Ok(Progress::default());
        }
        let problem = |error: &dyn std::fmt::Display| format!("--resume {}: {error}", path.display());
        let mut text = String::new();
        let opened = File::open(path).and_then(|file| file.take(LEN_BYTES_MAX).read_to_string(&mut text));
        opened.map_err(|error| problem(&error))?;
        let progress: Progress = serde_json::from_str(&text).map_err(|error| problem(&error))?;
        match progress.version {
            VERSION => Ok(progress),
            other => Err(problem(&format!("version {other} is not {VERSION}"))),
        }
    }

    /// Writes the file.
    pub(super) fn write(&self, path: &Path) -> Result<(), String> {
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        fs::write(path, text).map_err(|error| format!("--resume {}: {error}", path.display()))
    }

    /// What an exploration of this scenario came to, if it is done.
    pub(super) fn counts(&self, text: &str) -> Option<&Counts> {
        self.done.get(&name(text))
    }

    /// Where an exploration of this scenario was left.
    pub(super) fn take(&mut self, text: &str) -> Option<Saved> {
        self.left.remove(&name(text))
    }

    pub(super) fn done(&mut self, text: &str, counts: Counts) {
        self.done.insert(name(text), counts);
    }

    pub(super) fn left(&mut self, text: &str, saved: Option<Saved>) {
        if let Some(saved) = saved {
            self.left.insert(name(text), saved);
        }
    }
}
