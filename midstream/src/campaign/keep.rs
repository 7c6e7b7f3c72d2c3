//! Which runs of a campaign leave their history, and where.

use crate::verdict::{Outcome, Verdict};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file for each run that failed or was inconclusive, or for every run.
#[derive(Clone, Debug)]
pub struct Keep {
    folder: PathBuf,
    all: bool,
}

impl Keep {
    /// In a folder, which is made if it is not there.
    pub fn new(folder: &Path, all: bool) -> io::Result<Keep> {
        fs::create_dir_all(folder)?;
        Ok(Keep { folder: folder.to_owned(), all })
    }

    /// Writes down the run of a seed, if it is wanted. What broke stands in a note at its end.
    pub fn keep(&self, seed: u64, outcome: &Outcome) -> io::Result<()> {
        self.keep_as(&seed.to_string(), outcome)
    }

    /// The same, of a run that goes by another name.
    pub fn keep_as(&self, name: &str, outcome: &Outcome) -> io::Result<()> {
        let is_failed = outcome.verdict != Verdict::Passed;
        if !is_failed && !outcome.is_inconclusive && !self.all {
            return Ok(());
        }
        let broken = || format!("broke the law: {}, at step {}", outcome.verdict.law(), outcome.steps);
        let last = is_failed.then(broken);
        let mut out = BufWriter::new(File::create(self.folder.join(format!("{name}.jsonl")))?);
        outcome.history.write(last.as_deref(), &mut out)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{Campaign, Plan, Seeds, run};
    use crate::toy;
    use std::sync::atomic::AtomicBool;

    fn campaign(keep: Keep) -> Campaign {
        let plan = Plan {
            seeds: Seeds::From(1),
            runs: 2_000,
            time: None,
            jobs: 2,
            until_failure: false,
            ending_laws: Vec::new(),
            history: Some(keep),
        };
        run(&toy::SUBJECT, &plan, &AtomicBool::new(false), &mut |_, _| {})
    }

    #[test]
    fn runs_that_fail_leave_a_file_each_and_with_all_every_run_does() {
        for all in [false, true] {
            let folder = tempfile::tempdir().expect("a scratch folder");
            let found = campaign(Keep::new(folder.path(), all).expect("writable"));
            let files = fs::read_dir(folder.path()).expect("it is there").count() as u64;
            assert!(found.totals.failures() > 0);
            assert_eq!(files, if all { 2_000 } else { found.totals.failures() });
        }
    }

    #[test]
    fn a_history_that_cannot_be_written_ends_the_campaign() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let keep = Keep::new(&folder.path().join("gone"), true).expect("writable");
        fs::remove_dir(folder.path().join("gone")).expect("it is empty");
        let found = campaign(keep);
        let said = found.unwritten.expect("nowhere to write to");
        assert!(said.starts_with("of seed 1: "), "{said}");
    }
}
