//! Whether known defects of QEMU hide a bug: with all of them allowed, as when a live daemon is judged, is it still found?

use crate::judge::{Verdict, judge_with};
use crate::live::known::smallest_by;
use model::{Quirk, Release};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

/// What the failures of one bug look like to a judge that allows all quirks.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Masked {
    /// Failures that a history shows.
    pub failures: usize,
    /// How many of them each smallest set of quirks explains, by the names of the quirks.
    pub excused: BTreeMap<String, usize>,
    /// The quirks that occur in them.
    pub quirks: Vec<Quirk>,
    /// Failures that no history shows: what broke needs no model to be seen.
    pub beside: usize,
}

impl Masked {
    /// Judges every history in a folder, as a campaign left them there.
    pub fn of(folder: &Path) -> io::Result<Masked> {
        let mut masked = Masked::default();
        let mut paths: Vec<_> =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl")) {
            masked.take(path)?;
        }
        Ok(masked)
    }

    fn take(&mut self, path: &Path) -> io::Result<()> {
        let verdict = |quirks: &[Quirk]| -> io::Result<Verdict> {
            Ok(judge_with(BufReader::new(File::open(path)?), None, quirks).verdict)
        };
        match verdict(&[])? {
            Verdict::Broken { .. } => self.failures += 1,
            Verdict::Inconclusive { .. } => return Ok(()),
            _ => {
                self.beside += 1;
                return Ok(());
            }
        }
        let explains = |quirks: &[Quirk]| {
            verdict(quirks).is_ok_and(|v| matches!(v, Verdict::Clean | Verdict::Inconclusive { .. }))
        };
        if let Some(quirks) = smallest_by(&Quirk::of(Release::V10_0_2), &explains) {
            let names: Vec<&str> = quirks.iter().map(|quirk| quirk.name()).collect();
            *self.excused.entry(names.join(" + ")).or_default() += 1;
            let new: Vec<Quirk> = quirks.into_iter().filter(|quirk| !self.quirks.contains(quirk)).collect();
            self.quirks.extend(new);
        }
        Ok(())
    }

    /// Whether every failure is excused: the bug would not be found.
    pub fn is_hidden(&self) -> bool {
        let excused: usize = self.excused.values().sum();
        self.beside == 0 && excused == self.failures && excused > 0
    }

    /// In a line: `3 of 17 failures excused by ...`.
    pub fn line(&self) -> String {
        let Masked { failures, excused, beside, .. } = self;
        let sum: usize = excused.values().sum();
        let by: Vec<String> = excused.iter().map(|(names, count)| format!("{names} ({count})")).collect();
        let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
        let word = if self.is_hidden() { "HIDDEN" } else { "found" };
        format!("{word:<7} {sum} of {failures} failures excused{by}; {beside} beside the specification")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn kept(names: &[&str]) -> Masked {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let histories = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/histories");
        for name in names {
            fs::copy(histories.join(name), folder.path().join(name)).expect("a history");
        }
        Masked::of(folder.path()).expect("it can be read")
    }

    #[test]
    fn what_a_quirk_explains_is_excused_and_the_rest_is_found() {
        let masked = kept(&[
            "campaign-qemu-stream-not-flushed.jsonl",
            "campaign-sectors-exchanged.jsonl",
            "campaign-streams.jsonl",
        ]);
        assert_eq!((masked.failures, masked.beside), (2, 1));
        assert_eq!(masked.excused.values().sum::<usize>(), 1, "{masked:?}");
        assert!(!masked.is_hidden());
        assert!(masked.line().starts_with("found   1 of 2 failures excused by "), "{}", masked.line());
    }

    #[test]
    fn a_bug_is_hidden_if_every_failure_is_excused() {
        let masked = kept(&["campaign-qemu-stream-not-flushed.jsonl"]);
        assert!(masked.is_hidden(), "{masked:?}");
        assert!(!Masked::default().is_hidden());
    }
}
