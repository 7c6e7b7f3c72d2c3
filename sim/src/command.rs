//! The command: one small file per subcommand, and how each can end.

/// Writes a line to the standard output.
macro_rules! say {
    ($($text:tt)*) => { midstream::terminal::out(format_args!("{}\n", format_args!($($text)*))) };
}

/// Writes a text to the standard output as it is.
macro_rules! put {
    ($($text:tt)*) => { midstream::terminal::out(format_args!($($text)*)) };
}

/// Writes a line to the standard error.
macro_rules! complain {
    ($($text:tt)*) => { midstream::terminal::complain(format_args!($($text)*)) };
}

mod attack;
mod conform;
mod disk;
mod doctor;
mod document;
pub mod explore;
mod export;
mod fuzz;
mod judge;
mod laws;
mod limits;
mod merge;
mod minimise;
mod mistaken;
mod mutants;
mod replay;
mod reported;
mod rounds;
mod rules;
mod seeds;
mod show;
mod view;

use crate::layer::Ours;
use crate::live::target::{Recorded, Target};
use clap::{Parser, Subcommand};
use midstream::campaign::Subject;
use midstream::check::with_explored;
use midstream::panics::quietly;
use midstream::scenario::ScenarioFile;
use midstream::terminal::shown;
use midstream::trace::Trace;
use seam::escape::one_line;
use std::path::Path;
use std::process::ExitCode;

/// How the command ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Nothing broke.
    Clean,
    /// A law broke.
    Broken,
    /// The command line or a file makes no sense.
    Usage,
    /// The same choices gave two histories.
    Nondeterministic,
    /// A goal was never reached or a law never checked, in a campaign that should have.
    Vacuous,
    /// Somebody asked to stop; the campaign can be resumed.
    Early,
    /// The harness itself panicked.
    Panicked,
}

impl Exit {
    /// What the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Clean => 0,
            Exit::Broken => 1,
            Exit::Usage => 2,
            Exit::Nondeterministic => 3,
            Exit::Vacuous => 4,
            Exit::Early => 5,
            Exit::Panicked => 101,
        }
    }
}

/// Looks for orders of commands, guest I/O, faults and crashes that break a law of block jobs.
///
/// Exit codes: 0 clean, 1 a law broke, 2 usage, 3 not deterministic, 4 vacuous or inconclusive, 5 ended early, 101 a
/// panic of the harness.
#[derive(Parser, Debug)]
#[command(name = "midstream", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Fuzz(fuzz::Fuzz),
    Explore(explore::Explore),
    Replay(replay::Replay),
    Minimise(minimise::Minimise),
    Show(show::Show),
    Mutants(mutants::Mutants),
    Conform(conform::Conform),
    Export(export::Export),
    Document(document::Document),
    Disk(disk::Disk),
    Judge(judge::Judge),
    Attack(attack::AttackArgs),
    Rounds(rounds::RoundsArgs),
    Laws(laws::Laws),
    Merge(merge::Merge),
    View(view::View),
    Doctor(doctor::Doctor),
}

/// Runs the command of this process.
pub fn main(subject: &Subject) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return said(&error),
    };
    let exit = match &cli.command {
        Command::Fuzz(fuzz) => fuzz.run(subject),
        Command::Explore(explore) => explore.run(),
        Command::Replay(replay) => replay.run(subject),
        Command::Minimise(minimise) => minimise.run(subject),
        Command::Show(show) => show.run(subject),
        Command::Mutants(mutants) => mutants.run(subject),
        Command::Conform(conform) => conform.run(),
        Command::Export(export) => export.run(),
        Command::Document(document) => document.run(),
        Command::Disk(disk) => disk.run(),
        Command::Judge(judge) => judge.run(),
        Command::Attack(attack) => attack.run(subject),
        Command::Rounds(rounds) => rounds.run(),
        Command::Laws(laws) => laws.run(subject),
        Command::Merge(merge) => merge.run(subject),
        Command::View(view) => view.run(subject),
        Command::Doctor(doctor) => doctor.run(),
    };
    ExitCode::from(exit.code())
}

/// What clap has to say, which quotes words of the command line: some may be names of files that others chose.
fn said(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        put!("{}", error.render());
        return ExitCode::SUCCESS;
    }
    let words = std::env::args_os().map(|word| one_line(&word.to_string_lossy()).into_owned());
    let usage = Cli::try_parse_from(words).err().map(|error| error.render().to_string());
    complain!("{}", usage.unwrap_or_else(|| error.render().to_string()).trim_end());
    ExitCode::from(Exit::Usage.code())
}

/// Reads a trace, or says what is wrong with it.
fn read(path: &Path) -> Result<Trace, Exit> {
    let problem = |error| format!("{}: {error}{}", path.display(), mistaken::not_a_trace(path));
    Trace::read(path).map_err(|error| refuse(&problem(error)))
}

/// Does something with the runs that a trace is one of: those of the scenario in it, or of `subject`.
fn on_its_subject<T>(
    path: &Path,
    trace: &Trace,
    subject: &Subject,
    work: impl FnOnce(&Subject) -> T,
) -> Result<T, Exit> {
    let Some(text) = &trace.scenario else { return Ok(work(subject)) };
    let problem =
        |error: &dyn std::fmt::Display| refuse(&format!("{}: its scenario: {error}", path.display()));
    let file = ScenarioFile::parse(text).map_err(|error| problem(&error))?;
    with_explored(Ours::<true>, file.scenario, &file.bounds, work).map_err(|failure| problem(&failure))
}

/// Takes a recorded run; a panic of the harness ends the command with the file and the seed that did it.
fn guarded<T>(path: &Path, trace: &Trace, run: impl FnOnce() -> T) -> Result<T, Exit> {
    quietly(run).map_err(|panic| {
        let seed = trace.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        complain!("FAIL  the harness panicked\n{}{seed}: {panic}", shown(path));
        Exit::Panicked
    })
}

/// What a live trace says of its daemon, or why it is none.
fn recorded(path: &Path, trace: &Trace) -> Result<Recorded, Exit> {
    let target = trace.target.as_deref().ok_or_else(|| "this is no trace of a live daemon".to_owned());
    let recorded = target.and_then(|target| target.parse());
    recorded.map_err(|problem: String| refuse(&format!("{}: {problem}", path.display())))
}

/// The daemon a live trace is taken again on: the one asked for, or any of the kind it was recorded on.
fn live_target(asked: Option<&Target>, path: &Path, trace: &Trace) -> Result<Target, Exit> {
    let recorded = recorded(path, trace)?;
    let target = match asked {
        Some(target) => target.placed_as(&recorded),
        None => recorded.find().map_err(|problem| refuse(&format!("{}: {problem}", path.display())))?,
    };
    target.check().map_err(|problem| refuse(&format!("--target: {problem}")))?;
    Ok(target)
}

/// Says what is wrong with the command line or a file.
fn refuse(what: &str) -> Exit {
    complain!("midstream: {}", one_line(what));
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_end_has_its_own_code() {
        let ends = [
            Exit::Clean,
            Exit::Broken,
            Exit::Usage,
            Exit::Nondeterministic,
            Exit::Vacuous,
            Exit::Early,
            Exit::Panicked,
        ];
        assert_eq!(ends.map(Exit::code), [0, 1, 2, 3, 4, 5, 101]);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_panic_of_the_harness_is_its_own_end() {
        let trace = Trace::of(&midstream::toy::first_failure().1, Some(7));
        let exit = guarded(Path::new("7.json"), &trace, || panic!("the world fell over"));
        assert_eq!(exit, Err::<(), Exit>(Exit::Panicked));
        assert_eq!(guarded(Path::new("7.json"), &trace, || 3), Ok(3));
    }

    #[test]
    fn limits_are_read_and_contradictions_refused() {
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--seed", "7", "--runs", "1"]).is_ok());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--seed", "random"]).is_ok());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--seed", "soon"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--runs", "1", "--seconds", "1"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--jobs", "0"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--law", "every job ends"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "replay"]).is_err());
    }

    #[test]
    fn a_limit_of_nothing_is_refused_with_its_name() {
        for (command, limit) in
            [("fuzz", "--runs"), ("fuzz", "--seconds"), ("minimise", "--runs"), ("mutants", "--seconds")]
        {
            let refused = Cli::try_parse_from(["midstream", command, limit, "0"]).expect_err(limit);
            assert_eq!(refused.exit_code(), 2);
            let said = refused.to_string();
            assert!(said.contains("invalid value '0'") && said.contains(limit), "{said}");
        }
    }
}
