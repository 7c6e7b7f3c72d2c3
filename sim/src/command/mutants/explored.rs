//! How a mutant was found in every schedule of the scenario that it names: for certain, and without a seed.

use super::caught::Hunt;
use crate::mutants::tree::SCENARIOS;
use crate::report::junit::{Case, End};
use midstream::trace::Trace;
use std::path::Path;

/// A law that broke in a scenario.
#[derive(Debug)]
pub(super) struct Explored {
    /// The scenario's name.
    pub(super) scenario: String,
    pub(super) law: String,
    /// Runs until it broke.
    pub(super) runs: u64,
}

impl Hunt<'_> {
    /// Explores a scenario of the workspace at `root` until one of the mutant's laws breaks. The true engine breaks none there:
    /// docs/exhaustive.md says so.
    pub(super) fn explore(&self, root: &Path, scenario: &str) -> Result<Explored, String> {
        let path = root.join(SCENARIOS).join(format!("{scenario}.toml"));
        let out = self.home.join("explored");
        let mut explore = self.command("explore");
        explore.arg(path).args(["--seconds", &self.seconds.to_string(), "--out"]).arg(&out);
        let ended = self.run(&mut explore)?;
        let said = ended.text.lines().next().unwrap_or_default();
        if ended.status.code() != Some(1) {
            return Err(format!("explore ended with {}: {said}", ended.status));
        }
        let kept = out.join(format!("explored-{scenario}.json"));
        let trace = Trace::read(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        if !self.laws.contains(&trace.law) {
            return Err(format!("explore broke `{}`", trace.law));
        }
        Ok(Explored { scenario: scenario.to_owned(), law: trace.law, runs: runs(said) })
    }
}

/// The schedules and the runs that were left, as `explore` counts them.
fn runs(line: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let before = |unit: &str| {
        let counts = words.windows(2).filter(|pair| pair[1] == unit);
        counts.filter_map(|pair| pair[0].parse::<u64>().ok()).sum::<u64>()
    };
    before("schedules") + before("pruned")
}

/// For a report.
pub(super) fn case(name: &str, row: &Result<Explored, String>) -> Case {
    let end = match row {
        Ok(_) => End::Passed,
        Err(reason) => End::Failed("not found in every schedule".to_owned(), reason.clone()),
    };
    Case { class: "explored mutant", name: name.to_owned(), end }
}

pub(super) fn cells(bug: &str, row: &Result<Explored, String>) -> Vec<String> {
    let mut cells = vec![bug.to_owned()];
    match row {
        Ok(found) => cells.extend([found.law.clone(), found.runs.to_string(), String::new(), String::new()]),
        Err(_) => cells.extend([const { String::new() }; 4]),
    }
    cells
}

/// What is said of it.
pub(super) fn line(name: &str, row: &Result<Explored, String>) -> String {
    match row {
        Ok(Explored { scenario, law, runs }) => {
            format!("{name:<32} {:<10} {runs:>9} {:>24}  {law}", "explored", scenario)
        }
        Err(reason) => format!("{name:<32} {:<10} {reason}", "NO"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_of_an_exploration_are_read_from_its_line() {
        let line =
            "a/b.toml: FAIL: 12 schedules, 3 pruned, 400 states, 9 crash points, 7 contents judged, 0.1 s";
        assert_eq!(runs(line), 15);
    }
}
