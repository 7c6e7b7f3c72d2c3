//! The command: one small file per subcommand, and how each can end.

mod fuzz;
mod minimise;
mod mutants;
mod replay;
mod show;

use crate::campaign::Subject;
use crate::trace::Trace;
use clap::{Parser, Subcommand};
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
/// Exit codes: 0 clean, 1 a law broke, 2 usage, 3 not deterministic, 4 vacuous, 5 ended early, 101 a panic of the
/// harness.
#[derive(Parser, Debug)]
#[command(name = "midstream", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Fuzz(fuzz::Fuzz),
    Replay(replay::Replay),
    Minimise(minimise::Minimise),
    Show(show::Show),
    Mutants(mutants::Mutants),
}

/// Runs the command of this process.
pub fn main(subject: &Subject) -> ExitCode {
    let cli = Cli::parse();
    let exit = match &cli.command {
        Command::Fuzz(fuzz) => fuzz.run(subject),
        Command::Replay(replay) => replay.run(subject),
        Command::Minimise(minimise) => minimise.run(subject),
        Command::Show(show) => show.run(subject),
        Command::Mutants(mutants) => mutants.run(subject),
    };
    ExitCode::from(exit.code())
}

/// Reads a trace, or says what is wrong with it.
fn read(path: &Path) -> Result<Trace, Exit> {
    Trace::read(path).map_err(|error| refuse(&format!("{}: {error}", path.display())))
}

/// Says what is wrong with the command line or a file.
fn refuse(what: &str) -> Exit {
    eprintln!("midstream: {what}");
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
    fn limits_are_read_and_contradictions_refused() {
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--seed", "7", "--runs", "1"]).is_ok());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--seed", "random"]).is_ok());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--seed", "soon"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--runs", "1", "--seconds", "1"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "fuzz", "--jobs", "0"]).is_err());
        assert!(Cli::try_parse_from(["midstream", "replay"]).is_err());
    }
}
