//! `midstream merge`: one result and one report of what the parts of a campaign have left.

use super::limits::check_folder;
use super::reported::{self, Failed};
use super::{Exit, refuse};
use crate::html::campaign::Report;
use crate::report::{Cost, text};
use crate::shard::merged::Merged;
use crate::shard::result::{Kept, MERGED, Results, Seen};
use clap::Args;
use midstream::campaign::Subject;
use midstream::coverage::Totals;
use midstream::terminal::shown;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Put together what the parts of a campaign (`fuzz --shard`) have left.
///
/// In any order, in any groups, and a part as often as one likes: it counts once. Writes `merged.json`, which can be merged
/// again, the shortest trace of each law and bucket, and a report.
///
/// Ends with 1 if a law broke, with 5 if a part is missing or was ended early, with 4 if the whole is vacuous.
#[derive(Args, Debug)]
pub(super) struct Merge {
    /// Folders with results of parts, or with what was merged before.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Where to put it all.
    #[arg(long, value_name = "DIR", default_value = "merged")]
    out: PathBuf,
    /// End with one line of JSON on stdout; everything else goes to stderr.
    #[arg(long)]
    json: bool,
}

impl Merge {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        self.merged(subject).unwrap_or_else(|problem| refuse(&problem))
    }

    fn merged(&self, subject: &Subject) -> Result<Exit, String> {
        check_folder("--out", &self.out)?;
        let mut merged = Merged::default();
        for folder in &self.folders {
            Results::read_all(folder)?.into_iter().for_each(|results| merged.add(results));
        }
        if merged.parts().next().is_none() {
            return Err("none of these folders has the result of a part".to_owned());
        }
        let totals = merged.totals(subject.laws);
        let mut missing = merged.missing();
        missing.extend(merged.overlaps());
        missing.extend(merged.parts().filter_map(|(runs, seen)| {
            let trouble = seen.trouble.as_ref()?;
            Some(format!("part {}/{}: {trouble}", runs.part, runs.of))
        }));
        self.write(&merged, &totals, &missing, subject)?;
        missing.iter().for_each(|line| self.say(&format!("MISSING  {line}")));
        let wall = longest(&merged);
        let cost = Cost { wall, ..Cost::default() };
        let seed = merged.parts().next().map_or(0, |(runs, _)| runs.campaign);
        self.say(&text::totals(&totals, subject.laws, seed, cost));
        if self.json {
            let summary = serde_json::json!({
                "parts": merged.parts().count(),
                "missing": missing,
                "traces": merged.traces().count(),
                "totals": Seen::of(&totals, subject.laws),
            });
            say!("{summary}");
        }
        Ok(exit(&merged, &totals, &missing, subject))
    }

    fn write(
        &self,
        merged: &Merged,
        totals: &Totals,
        missing: &[String],
        subject: &Subject,
    ) -> Result<(), String> {
        let problem = |error| format!("--out {}: {error}", self.out.display());
        merged.results().write(&self.out, MERGED).map_err(problem)?;
        let mut failures = Vec::new();
        for (number, kept) in merged.traces().enumerate() {
            let trace = self.write_trace(number, kept)?;
            let repro = text::repro(None, Some(&trace));
            let failed = Failed { law: kept.law.clone(), trace, repro };
            let mut failure = reported::failure(&self.out, &failed, subject)?;
            failure.note = kept.bucket.clone();
            failures.push(failure);
        }
        let name = format!("{} merged", text::counted(merged.parts().count() as u64, "part"));
        let wall = longest(merged);
        let laws = subject.laws;
        let report = Report {
            name: &name,
            totals,
            laws,
            wall,
            cpu_seconds: None,
            points: &[],
            failures: &failures,
            missing,
            is_live: false,
        };
        let written = reported::write(&self.out, &report, |_| None)?;
        self.say(&format!("report  {}", shown(&written)));
        Ok(())
    }

    fn write_trace(&self, number: usize, kept: &Kept) -> Result<PathBuf, String> {
        let folder = self.out.join("traces");
        let path = folder.join(format!("{number}.json"));
        let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&path, &kept.trace));
        written.map_err(|error| format!("--out {}: {error}", path.display()))?;
        Ok(path)
    }

    /// People read stdout unless a program does.
    fn say(&self, text: &str) {
        if self.json {
            complain!("{text}");
        } else {
            say!("{text}");
        }
    }
}

/// Parts run beside each other: the longest says how long it took at least.
fn longest(merged: &Merged) -> Duration {
    let longest = merged.parts().map(|(_, seen)| seen.milliseconds).max();
    Duration::from_millis(longest.unwrap_or(0))
}

fn exit(merged: &Merged, totals: &Totals, missing: &[String], subject: &Subject) -> Exit {
    if !totals.broken.is_empty() {
        Exit::Broken
    } else if merged.parts().any(|(_, seen)| seen.trouble.is_some()) {
        Exit::Panicked
    } else if !missing.is_empty() {
        Exit::Early
    } else if !totals.vacuous(subject.laws).is_empty() {
        Exit::Vacuous
    } else {
        Exit::Clean
    }
}
