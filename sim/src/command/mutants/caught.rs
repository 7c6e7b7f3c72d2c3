//! How a mutant was found by campaigns, or was not.

use super::{COMMANDS_MAX, HUNG, child, middle};
use crate::mutants::masked::Masked;
use midstream::campaign::Subject;
use midstream::minimise::entries;
use midstream::panics::quietly;
use midstream::trace::Trace;
use midstream::verdict::Detail;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Campaigns begin so many seeds apart, so that none gets to the next one's.
const SEEDS_APART: u64 = 1_000_000_000;

/// How a mutant was found.
#[derive(Debug)]
pub(super) struct Caught {
    pub(super) law: String,
    pub(super) runs: u64,
    pub(super) cpu_seconds: f64,
    pub(super) commands: usize,
    /// Choices of the minimised trace that are not the default.
    pub(super) choices: usize,
    pub(super) trace: PathBuf,
    /// How often the true engine did not fit the trace.
    pub(super) drifts: u64,
    /// What known defects of QEMU explain of it.
    pub(super) masked: Option<Masked>,
}

/// How a mutant was not found.
#[derive(Debug)]
pub(super) enum Missed {
    /// It broke a law, but none of its own.
    OtherLaw(String),
    /// Anything else.
    Because(String),
}

impl From<String> for Missed {
    fn from(reason: String) -> Self {
        Missed::Because(reason)
    }
}

/// The program of a mutant, and how it is looked for.
pub(super) struct Hunt<'a> {
    pub(super) binary: &'a Path,
    /// The mutant's own folder.
    pub(super) home: &'a Path,
    pub(super) laws: &'a [String],
    pub(super) seconds: u64,
    pub(super) jobs: Option<u64>,
}

impl Hunt<'_> {
    /// So many campaigns, of which each has to find it: what the first one found, with the medians of all.
    pub(super) fn campaigns(&self, count: u64, subject: &Subject) -> Result<Caught, Missed> {
        let mut caught = Vec::new();
        for seed in (0..count).map(|campaign| 1 + campaign * SEEDS_APART) {
            let found = self.fuzz(seed).and_then(|found| self.confirm(found, subject));
            caught
                .push(found.map_err(|missed| if seed > 1 { missed.at(seed, caught.len()) } else { missed })?);
        }
        let runs = middle(caught.iter().map(|caught| caught.runs));
        let cpu_seconds = middle(caught.iter().map(|caught| caught.cpu_seconds));
        let commands = middle(caught.iter().map(|caught| caught.commands));
        let choices = middle(caught.iter().map(|caught| caught.choices));
        let first = caught.swap_remove(0);
        Ok(Caught { runs, cpu_seconds, commands, choices, ..first })
    }

    fn fuzz(&self, seed: u64) -> Result<Caught, Missed> {
        let mut fuzz = self.command("fuzz");
        fuzz.args(["--seed", &seed.to_string(), "--until-failure", "--json", "--seconds"]);
        fuzz.arg(self.seconds.to_string()).arg("--out").arg(self.home.join("traces"));
        for law in self.laws {
            fuzz.args(["--law", law]);
        }
        let ended = self.run(&mut fuzz)?;
        let said = ended.text.lines().last().unwrap_or_default();
        let totals: Value =
            serde_json::from_str(said).map_err(|_| format!("fuzz ended with {}: {said}", ended.status))?;
        Caught::of(&totals, self.laws)
    }

    /// One of the commands of the mutant.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.binary);
        command.arg(name);
        if let Some(jobs) = self.jobs {
            command.args(["--jobs", &jobs.to_string()]);
        }
        command
    }

    /// Runs a command that is to end by itself after the seconds of a hunt.
    pub(super) fn run(&self, command: &mut Command) -> Result<child::Ended, String> {
        let time = Duration::from_secs(self.seconds) + HUNG;
        let ended = child::run(command, self.home, time)?;
        ended.ok_or_else(|| format!("hung: not at its end after {} s", time.as_secs()))
    }

    /// The trace is short, the mutant repeats it, and the true engine passes it.
    fn confirm(&self, mut caught: Caught, subject: &Subject) -> Result<Caught, Missed> {
        let trace = Trace::read(&caught.trace).map_err(|e| format!("{}: {e}", caught.trace.display()))?;
        caught.commands = entries(&trace.choices, subject.command);
        caught.choices = trace.choices.iter().filter(|choice| choice.value() > 0).count();
        if caught.commands > COMMANDS_MAX {
            return Err(
                format!("the trace has {} commands, more than {COMMANDS_MAX}", caught.commands).into()
            );
        }
        if trace.law != caught.law {
            return Err(format!("the trace is of `{}`, the law broken `{}`", trace.law, caught.law).into());
        }
        let mut replay = Command::new(self.binary);
        let again = child::run(replay.args(["replay", "--expect"]).arg(&caught.trace), self.home, HUNG)?;
        let again = again.ok_or_else(|| "the mutant hangs in its own trace".to_owned())?;
        if !again.status.success() {
            let said = again.text.lines().next().unwrap_or_default();
            return Err(format!("the mutant does not repeat its trace: {said}").into());
        }
        let truth = quietly(|| trace.replay_somehow(subject, Detail::Quiet))
            .map_err(|panic| format!("the harness panicked on the same trace: {panic}"))?;
        if truth.is_broken() {
            return Err(format!("the true engine breaks `{}` on the same trace", truth.law()).into());
        }
        caught.drifts = truth.drifts;
        Ok(caught)
    }

    /// What known defects of QEMU make of the failures of a campaign.
    pub(super) fn mask(&self) -> Result<Masked, Missed> {
        let folder = self.home.join("histories");
        let problem = |e: std::io::Error| format!("{}: {e}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(problem)?;
        }
        let mut fuzz = self.command("fuzz");
        fuzz.args(["--seed", "1", "--seconds", &self.seconds.to_string(), "--out"]);
        self.run(fuzz.arg(self.home.join("masking")).arg("--history").arg(&folder))?;
        Ok(Masked::of(&folder).map_err(problem)?)
    }
}

impl Caught {
    /// Reads it from the totals of a campaign that was to break one of `laws`.
    pub(super) fn of(totals: &Value, laws: &[String]) -> Result<Self, Missed> {
        let runs = totals["runs"].as_u64().unwrap_or(0);
        let cpu_seconds = totals["cpu_seconds"].as_f64().unwrap_or(0.0);
        let broken = &totals["laws_broken"];
        let Some(law) = laws.iter().find(|law| !broken[law.as_str()].is_null()) else {
            return Err(Missed::of(totals, &format!("in {runs} runs, {cpu_seconds:.1} CPU s")));
        };
        let trace = broken[law.as_str()]["trace"].as_str();
        let trace = PathBuf::from(trace.ok_or("a law broke, but no trace was written".to_owned())?);
        let (law, masked) = (law.clone(), None);
        Ok(Caught { law, runs, cpu_seconds, commands: 0, choices: 0, trace, drifts: 0, masked })
    }
}

impl Missed {
    /// Why a campaign broke none of the laws it was to break.
    fn of(totals: &Value, effort: &str) -> Missed {
        if let Some(panic) = totals["panicked"].as_str() {
            return Missed::Because(format!("the harness panicked: {panic}"));
        }
        if let Some(difference) = totals["nondeterminism"].as_str() {
            let what = difference.lines().next().unwrap_or_default();
            return Missed::Because(format!("not deterministic: {what}"));
        }
        match totals["laws_broken"].as_object().and_then(|broken| broken.iter().next()) {
            Some((law, broken)) => Missed::OtherLaw(format!("{law} (seed {}), {effort}", broken["seed"])),
            None => Missed::Because(format!("no law broken {effort}")),
        }
    }

    /// The same, of a campaign that was not the first.
    fn at(self, seed: u64, before: usize) -> Missed {
        let of = |text: String| format!("{text}; from seed {seed}, after {before} campaigns that found it");
        match self {
            Missed::OtherLaw(text) => Missed::OtherLaw(of(text)),
            Missed::Because(text) => Missed::Because(of(text)),
        }
    }
}

/// What is said of a mutant.
pub(super) fn line(name: &str, row: &Result<Caught, Missed>) -> String {
    match row {
        Ok(c) => {
            let drifts = match c.drifts {
                0 => String::new(),
                drifts => format!("; the true engine passes with {drifts} drifts"),
            };
            let Caught { law, runs, cpu_seconds, commands, choices, .. } = c;
            let masked = c.masked.as_ref().map_or(String::new(), masked_lines);
            format!(
                "{name:<32} {:<10} {runs:>9} {cpu_seconds:>6.1} {commands:>8} {choices:>8}  {law}{drifts}{masked}",
                "yes"
            )
        }
        Err(Missed::OtherLaw(which)) => format!("{name:<32} {:<10} {which}", "other law"),
        Err(Missed::Because(reason)) => format!("{name:<32} {:<10} {reason}", "NO"),
    }
}

/// What is hidden, and what the real daemon does there as well, so that nobody can distinguish them.
fn masked_lines(masked: &Masked) -> String {
    let why = masked.quirks.iter().map(|quirk| format!("\n      {}: {}", quirk.name(), quirk.about().what));
    format!("\n    {}{}", masked.line(), why.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn laws() -> [String; 2] {
        ["a law", "another law"].map(str::to_owned)
    }

    #[test]
    fn a_caught_mutant_is_read_from_the_totals() {
        let broken = |seed: u64| json!({ "runs": 1, "seed": seed, "trace": format!("new/{seed}.json") });
        let totals = json!({
            "runs": 17, "cpu_seconds": 0.5,
            "laws_broken": { "a foreign law": broken(2), "another law": broken(3) },
        });
        let caught = Caught::of(&totals, &laws()).expect("a law broke");
        assert_eq!(caught.trace, Path::new("new/3.json"));
        let text = line("late-flush", &Ok(Caught { drifts: 2, choices: 4, ..caught }));
        let row: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(row[..8], ["late-flush", "yes", "17", "0.5", "0", "4", "another", "law;"]);
        assert!(text.ends_with("; the true engine passes with 2 drifts"), "{text}");
    }

    #[test]
    fn a_mutant_that_survives_says_how_long_it_was_looked_for() {
        let totals = json!({ "runs": 1000, "cpu_seconds": 60.0, "laws_broken": {} });
        let problem = Caught::of(&totals, &laws()).expect_err("nothing broke");
        let text = line("late-flush", &Err(problem.at(9, 1)));
        let said = " no law broken in 1000 runs, 60.0 CPU s; from seed 9, after 1 campaigns that found it";
        assert!(text.contains(" NO ") && text.ends_with(said), "{text}");
    }

    #[test]
    fn a_mutant_that_breaks_only_a_foreign_law_is_not_caught() {
        let totals = json!({
            "runs": 9, "cpu_seconds": 1.0,
            "laws_broken": { "a foreign law": { "runs": 2, "seed": 4, "trace": null } },
        });
        let problem = Caught::of(&totals, &laws()).expect_err("not its own law");
        let text = line("late-flush", &Err(problem));
        assert!(text.contains(" other law  a foreign law (seed 4), in 9 runs"), "{text}");
    }

    #[test]
    fn a_harness_that_panicked_has_caught_nothing() {
        let totals = json!({ "runs": 9, "laws_broken": {}, "panicked": "seed 9: the world fell over" });
        let problem = Caught::of(&totals, &laws()).expect_err("a panic");
        assert!(line("x", &Err(problem)).ends_with("the harness panicked: seed 9: the world fell over"));
    }
}
