//! `midstream mutants`: does the harness find the bugs it should?
//!
//! Each mutant is built into a scratch copy. Campaigns have caught it if one of its own laws breaks in time, if the
//! minimised trace has few commands and breaks the same law again, and if the true engine passes the same trace. One that
//! names a scenario is looked for in every schedule of that as well.

mod build;
mod caught;
mod child;
mod explored;
mod page;

use super::laws::{check_law, meant};
use super::limits::{at_least_1, check_folder, jobs, seconds};
use super::reported::write_outcomes;
use super::{Exit, refuse};
use crate::mutants::{Mutant, tree};
use crate::report::junit::{Case, End};
use caught::{Caught, Hunt, Missed};
use clap::{Args, ValueEnum};
use explored::Explored;
use midstream::campaign::Subject;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A trace of one bug needs no more commands.
const COMMANDS_MAX: usize = 12;

/// A mutant that is not at its end so long after it was to stop hangs. What it does then takes seconds: a failure is
/// minimised. That it hangs is no catch, for no harness has said so: one that did would have ended it by a verdict.
const HUNG: Duration = Duration::from_secs(60);

/// Of what there are mutants.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
enum Of {
    /// Of the engine: each has a planted bug.
    Engine,
    /// Of the specification: each lacks a permissive rule.
    Model,
}

/// By what a mutant is looked for.
#[derive(Copy, Clone, PartialEq, Eq, Debug, ValueEnum)]
enum By {
    /// Random runs.
    Fuzz,
    /// Every schedule of the scenario that it names; those that name none are left out.
    Explore,
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
    /// Campaigns of each, from different seeds: each has to find it, and the figures are their medians.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_1())]
    campaigns: u64,
    /// Threads; all cores when not given.
    #[arg(long, value_name = "N", value_parser = jobs())]
    jobs: Option<u64>,
    /// Of the engine: look for them by one of the two alone.
    #[arg(long, value_enum, value_name = "HOW")]
    by: Option<By>,
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
    /// Of the engine: write the table to this file, in Markdown; mutants that are not looked for stay in it as they were.
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
        let (began, mut rows) = (Instant::now(), Vec::new());
        say!(
            "{:<32} {:<10} {:>9} {:>6} {:>8} {:>8}  law",
            "mutant",
            "caught",
            "runs",
            "CPU s",
            "commands",
            "choices"
        );
        for mutant in &mutants {
            complain!("{}: {} ({})", mutant.name, mutant.bug, mutant.source);
            let row = self.judge(mutant, root, subject);
            row.lines().iter().for_each(|line| say!("{line}"));
            rows.push(row);
            self.page.iter().try_for_each(|path| self.write_page(path, root, &rows))?;
        }
        if let Some(folder) = &self.report {
            let heads = ["bug", "law", "runs", "processor s", "commands"];
            let cases: Vec<(Case, Vec<String>)> = rows.iter().flat_map(Row::cases).collect();
            let index = write_outcomes(folder, "planted bugs", &heads, &cases, began.elapsed())?;
            say!("report  {}", index.display());
        }
        Ok(if rows.iter().all(Row::is_caught) { Exit::Clean } else { Exit::Broken })
    }

    fn selected(&self, root: &Path) -> Result<Vec<Mutant>, String> {
        let all = read_all(root)?;
        if all.is_empty() {
            return Err(format!("no mutant in {}", root.join("tests/mutants").display()));
        }
        let known: Vec<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
        if let Some(unknown) = self.names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("no mutant is called `{unknown}`{}", meant(unknown, &known)));
        }
        let is_explored = |mutant: &Mutant| self.by != Some(By::Explore) || mutant.scenario.is_some();
        let is_named = |mutant: &Mutant| self.names.is_empty() || self.names.contains(&mutant.name);
        Ok(all.into_iter().filter(|mutant| is_named(mutant) && is_explored(mutant)).collect())
    }

    /// What was not looked for stays in the page.
    fn write_page(&self, path: &Path, root: &Path, rows: &[Row<'_>]) -> Result<(), String> {
        let all = read_all(root)?;
        let bugs: Vec<(&str, &str)> = all.iter().map(|mutant| (&*mutant.name, &*mutant.bug)).collect();
        let old = fs::read_to_string(path).unwrap_or_default();
        let page = page::page(&old, &bugs, rows, self.campaigns, self.seconds);
        fs::write(path, page).map_err(|e| format!("{}: {e}", path.display()))
    }

    fn judge<'a>(&self, mutant: &'a Mutant, root: &Path, subject: &Subject) -> Row<'a> {
        match self.build(mutant, root) {
            Ok((home, binary)) => self.hunt(mutant, root, &home, &binary, subject),
            Err(problem) => Row { mutant, caught: Some(Err(problem.into())), explored: None },
        }
    }

    /// The mutant's own folder, and its program.
    fn build(&self, mutant: &Mutant, root: &Path) -> Result<(PathBuf, PathBuf), String> {
        let scratch = root.join("target/mutants");
        let home = scratch.join(&mutant.name);
        fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
        let binary = build::build(mutant, root, &scratch)?;
        if self.keep {
            let kept = home.join(binary.file_name().expect("a program has a name"));
            fs::copy(&binary, &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        }
        Ok((home, binary))
    }

    fn hunt<'a>(
        &self,
        mutant: &'a Mutant,
        root: &Path,
        home: &Path,
        binary: &Path,
        subject: &Subject,
    ) -> Row<'a> {
        let hunt = Hunt { binary, home, laws: &mutant.laws, seconds: self.seconds, jobs: self.jobs };
        let campaigns = || {
            let mut caught = hunt.campaigns(self.campaigns, subject)?;
            caught.masked = if self.masking { Some(hunt.mask()?) } else { None };
            Ok(caught)
        };
        let scenario = mutant.scenario.as_ref().filter(|_| self.by != Some(By::Fuzz));
        Row {
            mutant,
            caught: (self.by != Some(By::Explore)).then(campaigns),
            explored: scenario.map(|scenario| hunt.explore(root, scenario)),
        }
    }
}

fn read_all(root: &Path) -> Result<Vec<Mutant>, String> {
    let all = Mutant::read_all(&root.join("tests/mutants"));
    all.map_err(|(path, error)| format!("{}: {error}", path.display()))
}

/// What became of a mutant: how it was looked for, it was found or not.
#[derive(Debug)]
struct Row<'a> {
    mutant: &'a Mutant,
    caught: Option<Result<Caught, Missed>>,
    explored: Option<Result<Explored, String>>,
}

impl Row<'_> {
    fn is_caught(&self) -> bool {
        self.caught.as_ref().is_none_or(Result::is_ok) && self.explored.as_ref().is_none_or(Result::is_ok)
    }

    fn lines(&self) -> Vec<String> {
        let name = &self.mutant.name;
        let caught = self.caught.iter().map(|row| caught::line(name, row));
        caught.chain(self.explored.iter().map(|row| explored::line(name, row))).collect()
    }

    /// For a report.
    fn cases(&self) -> Vec<(Case, Vec<String>)> {
        let (name, bug) = (&self.mutant.name, &self.mutant.bug);
        let caught = self.caught.iter().map(|row| (case(name, row), cells(bug, row)));
        let explored = self.explored.iter().map(|row| (explored::case(name, row), explored::cells(bug, row)));
        caught.chain(explored).collect()
    }
}

/// The middle of figures; of two, the larger one.
fn middle<T: PartialOrd + Copy>(figures: impl Iterator<Item = T>) -> T {
    let mut figures: Vec<T> = figures.collect();
    figures.sort_by(|a, b| a.partial_cmp(b).expect("a figure is a number"));
    figures[figures.len() / 2]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_two_is_the_larger_one() {
        assert_eq!([3, 1, 2].map(|last| middle([9, 1, last].into_iter())), [3, 1, 2]);
        assert_eq!(middle([4, 7].into_iter()), 7);
    }

    #[test]
    fn a_workspace_without_mutants_is_an_error() {
        let root = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir_all(root.path().join("tests/mutants")).expect("a folder");
        let mutants = Mutants {
            of: Of::Engine,
            names: Vec::new(),
            seconds: 1,
            campaigns: 1,
            jobs: None,
            by: None,
            seeds: 1,
            histories: Vec::new(),
            masking: false,
            keep: false,
            report: None,
            page: None,
        };
        assert!(mutants.selected(root.path()).expect_err("none").starts_with("no mutant in "));
    }
}
