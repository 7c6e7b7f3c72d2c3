//! `midstream mutants`: does the harness find the bugs it should?
//!
//! Each mutant is built into a scratch copy and fuzzed. It is caught if one of its own laws breaks in time, if the
//! minimised trace has few commands and breaks the same law again, and if the true engine passes the same trace.

mod page;

use super::laws::{check_law, meant};
use super::limits::{at_least_1, check_folder, seconds};
use super::reported::write_outcomes;
use super::{Exit, refuse};
use crate::mutants::masked::Masked;
use crate::mutants::{Mutant, tree};
use crate::report::junit::{Case, End};
use clap::{Args, ValueEnum};
use midstream::campaign::Subject;
use midstream::minimise::entries;
use midstream::panics::quietly;
use midstream::trace::Trace;
use midstream::verdict::Detail;
use serde_json::Value;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

/// A trace of one bug needs no more commands.
const COMMANDS_MAX: usize = 12;

/// The profile of the workspace that mutants are built in.
const PROFILE: &str = "mutant";

/// Of what there are mutants.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
enum Of {
    /// Of the engine: each has a planted bug.
    Engine,
    /// Of the specification: each lacks a permissive rule.
    Model,
}

/// Plant known bugs in a scratch copy of the engine and check that each is found.
#[derive(Args, Debug)]
pub(super) struct Mutants {
    /// Mutants of the engine, or of the specification it is judged by.
    #[arg(long, value_enum, default_value_t = Of::Engine)]
    of: Of,
    /// Only these.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Seconds of fuzzing for each.
    #[arg(long, value_name = "T", default_value_t = 60, value_parser = seconds())]
    seconds: u64,
    /// Of the model: runs that may need a rule, where nothing that was kept does.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = at_least_1())]
    seeds: u64,
    /// Of the model: more histories that may need a rule, in this folder.
    #[arg(long, value_name = "DIR")]
    histories: Vec<PathBuf>,
    /// Say of each mutant how many of its failures known defects of QEMU explain: as many a campaign on a live daemon,
    /// which allows those, would not count as new.
    #[arg(long)]
    masking: bool,
    /// Keep each mutant's command beside its trace, below target/mutants.
    #[arg(long)]
    keep: bool,
    /// Write a report to DIR, a page and JUnit XML.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Of the engine: write the table to this file, in Markdown.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

impl Mutants {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        if self.of == Of::Model {
            return super::rules::run(&self.names, self.seeds, &self.histories, self.report.as_deref());
        }
        self.all(subject).unwrap_or_else(|problem| refuse(&problem))
    }

    fn all(&self, subject: &Subject) -> Result<Exit, String> {
        let here = env::current_dir().map_err(|e| e.to_string())?;
        let root = tree::workspace(&here).ok_or("no workspace with tests/mutants around here")?;
        let mutants = self.selected(root)?;
        for mutant in &mutants {
            let named = mutant.laws.iter().try_for_each(|law| check_law(subject, law));
            named.map_err(|problem| format!("{}: {problem}", mutant.name))?;
        }
        self.report.iter().try_for_each(|folder| check_folder("--report", folder))?;
        let (began, mut cases, mut rows) = (Instant::now(), Vec::new(), Vec::new());
        let mut all_caught = true;
        say!("{:<32} {:<10} {:>9} {:>6} {:>8}  law", "mutant", "caught", "runs", "CPU s", "commands");
        for mutant in &mutants {
            complain!("{}: {} ({})", mutant.name, mutant.bug, mutant.source);
            let row = self.judge(mutant, root, subject);
            all_caught &= row.is_ok();
            say!("{}", line(&mutant.name, &row));
            cases.push((case(&mutant.name, &row), cells(&mutant.bug, &row)));
            rows.push((mutant, row));
        }
        if let Some(folder) = &self.report {
            let heads = ["bug", "law", "runs", "processor s", "commands"];
            let index = write_outcomes(folder, "planted bugs", &heads, &cases, began.elapsed())?;
            say!("report  {}", index.display());
        }
        if let Some(path) = &self.page {
            fs::write(path, page::page(&rows)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(if all_caught { Exit::Clean } else { Exit::Broken })
    }

    fn selected(&self, root: &Path) -> Result<Vec<Mutant>, String> {
        let all = Mutant::read_all(&root.join("tests/mutants"))
            .map_err(|(path, error)| format!("{}: {error}", path.display()))?;
        if all.is_empty() {
            return Err(format!("no mutant in {}", root.join("tests/mutants").display()));
        }
        let known: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
        if let Some(unknown) = self.names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("no mutant is called `{unknown}`{}", meant(unknown, &known)));
        }
        Ok(all.into_iter().filter(|m| self.names.is_empty() || self.names.contains(&m.name)).collect())
    }

    fn judge(&self, mutant: &Mutant, root: &Path, subject: &Subject) -> Result<Caught, Missed> {
        let scratch = root.join("target/mutants");
        let home = scratch.join(&mutant.name);
        fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
        let binary = build(mutant, root, &scratch)?;
        if self.keep {
            let kept = home.join(binary.file_name().expect("a program has a name"));
            fs::copy(&binary, &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        }
        let mut caught = self.fuzz(&binary, &home, &mutant.laws)?;
        if self.masking {
            caught.masked = Some(self.mask(&binary, &home)?);
        }
        let trace = Trace::read(&caught.trace).map_err(|e| format!("{}: {e}", caught.trace.display()))?;
        caught.commands = entries(&trace.choices, subject.command);
        if caught.commands > COMMANDS_MAX {
            return Err(
                format!("the trace has {} commands, more than {COMMANDS_MAX}", caught.commands).into()
            );
        }
        if trace.law != caught.law {
            return Err(format!("the trace is of `{}`, the law broken `{}`", trace.law, caught.law).into());
        }
        let again = output(Command::new(&binary).args(["replay", "--expect"]).arg(&caught.trace))?;
        if !again.status.success() {
            return Err(format!("the mutant does not repeat its trace: {}", first_line(&again.stdout)).into());
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
    fn mask(&self, binary: &Path, home: &Path) -> Result<Masked, Missed> {
        let folder = home.join("histories");
        let problem = |e: std::io::Error| format!("{}: {e}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(problem)?;
        }
        let seconds = self.seconds.to_string();
        let mut fuzz = Command::new(binary);
        fuzz.args(["fuzz", "--seed", "1", "--seconds", &seconds, "--out"]).arg(home.join("masking"));
        output(fuzz.arg("--history").arg(&folder))?;
        Ok(Masked::of(&folder).map_err(problem)?)
    }

    fn fuzz(&self, binary: &Path, home: &Path, laws: &[String]) -> Result<Caught, Missed> {
        let seconds = self.seconds.to_string();
        let out = home.join("traces");
        let mut fuzz = Command::new(binary);
        fuzz.args(["fuzz", "--seed", "1", "--until-failure", "--json", "--seconds", &seconds, "--out"])
            .arg(&out);
        for law in laws {
            fuzz.args(["--law", law]);
        }
        let output = output(fuzz.stderr(Stdio::null()))?;
        let said = last_line(&output.stdout);
        let totals: Value =
            serde_json::from_str(&said).map_err(|_| format!("fuzz ended with {}: {said}", output.status))?;
        Caught::of(&totals, laws)
    }
}

fn case(name: &str, row: &Result<Caught, Missed>) -> Case {
    let end = match row {
        Ok(_) => End::Passed,
        Err(Missed::OtherLaw(law)) => End::Failed("caught by another law".to_owned(), law.clone()),
        Err(Missed::Because(reason)) => End::Failed("not caught".to_owned(), reason.clone()),
    };
    Case { class: "mutant", name: name.to_owned(), end }
}

fn cells(bug: &str, row: &Result<Caught, Missed>) -> Vec<String> {
    let mut cells = vec![bug.to_owned()];
    match row {
        Ok(caught) => cells.extend([
            caught.law.clone(),
            caught.runs.to_string(),
            format!("{:.1}", caught.cpu_seconds),
            caught.commands.to_string(),
        ]),
        Err(_) => cells.extend([const { String::new() }; 4]),
    }
    cells
}

/// How a mutant was found.
#[derive(Debug)]
struct Caught {
    law: String,
    runs: u64,
    cpu_seconds: f64,
    commands: usize,
    trace: PathBuf,
    /// How often the true engine did not fit the trace.
    drifts: u64,
    /// What known defects of QEMU explain of it.
    masked: Option<Masked>,
}

/// How a mutant was not found.
#[derive(Debug)]
enum Missed {
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

impl Caught {
    /// Reads it from the totals of a campaign that was to break one of `laws`.
    fn of(totals: &Value, laws: &[String]) -> Result<Self, Missed> {
        let runs = totals["runs"].as_u64().unwrap_or(0);
        let cpu_seconds = totals["cpu_seconds"].as_f64().unwrap_or(0.0);
        let broken = &totals["laws_broken"];
        let Some(law) = laws.iter().find(|law| !broken[law.as_str()].is_null()) else {
            return Err(missed(totals, &format!("in {runs} runs, {cpu_seconds:.1} CPU s")));
        };
        let trace = broken[law.as_str()]["trace"].as_str();
        let trace = PathBuf::from(trace.ok_or("a law broke, but no trace was written".to_owned())?);
        Ok(Caught { law: law.clone(), runs, cpu_seconds, commands: 0, trace, drifts: 0, masked: None })
    }
}

/// Why a campaign broke none of the laws it was to break.
fn missed(totals: &Value, effort: &str) -> Missed {
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

fn line(name: &str, row: &Result<Caught, Missed>) -> String {
    match row {
        Ok(c) => {
            let drifts = match c.drifts {
                0 => String::new(),
                drifts => format!("; the true engine passes with {drifts} drifts"),
            };
            let Caught { law, runs, cpu_seconds, commands, .. } = c;
            let masked = c.masked.as_ref().map_or(String::new(), masked_lines);
            format!(
                "{name:<32} {:<10} {runs:>9} {cpu_seconds:>6.1} {commands:>8}  {law}{drifts}{masked}",
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

/// Builds the mutated command. All mutants share one copy and one target folder, so that little is built twice.
fn build(mutant: &Mutant, root: &Path, scratch: &Path) -> Result<PathBuf, String> {
    let copy = scratch.join("tree");
    tree::refresh(root, &copy).map_err(|e| format!("{}: {e}", copy.display()))?;
    mutant.apply(&copy).map_err(|e| e.to_string())?;
    let target = scratch.join("target");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut complaint = String::new();
    // What this workspace was built from is at hand, so the network is only the second try.
    for offline in [&["--offline"][..], &[]] {
        let mut build = Command::new(&cargo);
        build.current_dir(&copy).args([
            "build",
            "--profile",
            PROFILE,
            "--quiet",
            "--bin",
            "midstream",
            "--target-dir",
        ]);
        let built = output(build.arg(&target).args(offline))?;
        if built.status.success() {
            return Ok(target.join(PROFILE).join(format!("midstream{}", env::consts::EXE_SUFFIX)));
        }
        complaint = first_error(&built.stderr);
    }
    Err(format!("does not build: {complaint}"))
}

fn output(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|e| format!("{}: {e}", command.get_program().to_string_lossy()))
}

fn last_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().last().unwrap_or_default().to_owned()
}

fn first_line(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned()
}

fn first_error(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().filter(|line| line.starts_with("error"));
    lines.next().or_else(|| text.lines().last()).unwrap_or("without a word").to_owned()
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
        let text = line("late-flush", &Ok(Caught { drifts: 2, ..caught }));
        let row: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(row[..7], ["late-flush", "yes", "17", "0.5", "0", "another", "law;"]);
        assert!(text.ends_with("; the true engine passes with 2 drifts"), "{text}");
    }

    #[test]
    fn a_mutant_that_survives_says_how_long_it_was_looked_for() {
        let totals = json!({ "runs": 1000, "cpu_seconds": 60.0, "laws_broken": {} });
        let problem = Caught::of(&totals, &laws()).expect_err("nothing broke");
        let text = line("late-flush", &Err(problem));
        assert!(text.contains(" NO ") && text.ends_with(" no law broken in 1000 runs, 60.0 CPU s"), "{text}");
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

    #[test]
    fn a_workspace_without_mutants_is_an_error() {
        let root = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir_all(root.path().join("tests/mutants")).expect("a folder");
        let mutants = Mutants {
            of: Of::Engine,
            names: Vec::new(),
            seconds: 1,
            seeds: 1,
            histories: Vec::new(),
            masking: false,
            keep: false,
            report: None,
            page: None,
        };
        assert!(mutants.selected(root.path()).expect_err("none").starts_with("no mutant in "));
    }

    #[test]
    fn what_a_compiler_says_first_is_the_reason() {
        assert_eq!(first_error(b"warning: x\nerror[E1]: y\nerror: z\n"), "error[E1]: y");
        assert_eq!(first_error(b""), "without a word");
    }
}
