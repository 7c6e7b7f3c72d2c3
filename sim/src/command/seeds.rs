//! Which seeds a campaign begins with: the one that was named, or a fresh one after those that failed before.

use crate::report::text::{counted, grouped};
use midstream::trace::{PASSED, Trace};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Of a folder with more files than this, only the first are looked at.
const FILES_MAX: usize = 1_000;
/// So many seeds are named on one line.
const NAMED_MAX: usize = 8;

/// The seed of the first run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Seed {
    /// The number.
    pub(super) number: u64,
    /// Nobody has named it: whoever asks for a plain run wants something new.
    pub(super) is_fresh: bool,
}

impl Seed {
    /// A number, or a fresh one.
    pub(super) fn parse(text: &str) -> Result<Seed, String> {
        if text != "random" {
            let number = text.parse().map_err(|_| "neither a number nor `random`".to_owned())?;
            return Ok(Seed { number, is_fresh: false });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        // Short enough to be read aloud.
        Ok(Seed { number: now.as_micros() as u64 % 1_000_000_000_000, is_fresh: true })
    }

    /// The same, for whoever does not care who has named it.
    pub(super) fn number(text: &str) -> Result<u64, String> {
        Seed::parse(text).map(|seed| seed.number)
    }
}

/// The seeds of the runs that failed before, by the traces that campaigns have left in a folder; those of simulated worlds,
/// or of live daemons of one kind. What is no such trace is passed over.
pub(super) fn failed_before(folder: &Path, target: Option<&str>) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(FILES_MAX);
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_trace = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let traces = paths.filter(is_trace).filter_map(|path| Trace::read(&path).ok());
    let failed = traces.filter(|trace| trace.expect != PASSED && trace.target.as_deref() == target);
    let mut seeds: Vec<u64> = failed.filter_map(|trace| trace.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds
}

/// What is said before they run: `3 seeds that failed before, first: 5, 17, 99`.
pub(super) fn announced(seeds: &[u64]) -> String {
    let named: Vec<String> = seeds.iter().take(NAMED_MAX).map(u64::to_string).collect();
    let more = if seeds.len() > NAMED_MAX { ", ..." } else { "" };
    format!("{} that failed before, first: {}{more}", counted(seeds.len() as u64, "seed"), named.join(", "))
}

/// What is said when they have run.
pub(super) fn concluded(seeds: usize, failed: u64, folder: &Path) -> String {
    let seeds = counted(seeds as u64, "seed");
    match failed {
        0 => format!(
            "{seeds} that failed before: none fails any more; delete its trace in {} to have it forgotten",
            folder.display()
        ),
        failed => format!("{seeds} that failed before: {} failed again", grouped(failed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::toy;

    fn leave(folder: &Path, name: &str, change: impl FnOnce(&mut Trace)) {
        let (seed, outcome) = toy::first_failure();
        let mut trace = Trace::of(&outcome, Some(seed));
        change(&mut trace);
        trace.write(&folder.join(name)).expect("a scratch folder");
    }

    #[test]
    fn seeds_that_failed_are_known_by_the_traces_they_left() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let folder = folder.path();
        assert!(failed_before(&folder.join("nowhere"), None).is_empty());
        leave(folder, "a.json", |trace| trace.seed = Some(99));
        leave(folder, "b.json", |trace| trace.seed = Some(5));
        leave(folder, "the-same-again.json", |trace| trace.seed = Some(5));
        leave(folder, "mended.json", |trace| trace.expect = PASSED.to_owned());
        leave(folder, "by-hand.json", |trace| trace.seed = None);
        leave(folder, "live.json", |trace| (trace.seed, trace.target) = (Some(7), Some("qemu".to_owned())));
        fs::write(folder.join("broken.json"), "{").expect("room");
        fs::write(folder.join("note.txt"), "no trace").expect("room");
        assert_eq!(failed_before(folder, None), [5, 99]);
        assert_eq!(failed_before(folder, Some("qemu")), [7]);
    }

    #[test]
    fn seeds_that_failed_before_are_announced_and_counted() {
        assert_eq!(announced(&[5, 17, 99]), "3 seeds that failed before, first: 5, 17, 99");
        let many: Vec<u64> = (1..=9).collect();
        assert!(announced(&many).ends_with("first: 1, 2, 3, 4, 5, 6, 7, 8, ..."));
        assert_eq!(concluded(3, 2, Path::new("new")), "3 seeds that failed before: 2 failed again");
        assert!(concluded(1, 0, Path::new("new")).starts_with("1 seed that failed before: none fails"));
    }

    #[test]
    fn a_seed_that_nobody_names_is_fresh() {
        assert!(Seed::parse("random").expect("the clock runs").is_fresh);
        assert_eq!(Seed::parse("7"), Ok(Seed { number: 7, is_fresh: false }));
        assert_eq!(Seed::parse("soon"), Err("neither a number nor `random`".to_owned()));
    }
}
