//! The command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sim::command::main(&sim::subject::subject())
}
