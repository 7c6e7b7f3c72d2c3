//! Programs that are not ours: found, or said aloud to be missing; run, and their output kept.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output};

/// Whether all of these programs are there; says aloud if a test is skipped for one.
pub fn have(programs: &[&str], test: &str) -> bool {
    let missing = |name: &&&str| {
        let found = Command::new(name).arg("--version").output();
        found.is_err_and(|e| e.kind() == ErrorKind::NotFound)
    };
    match programs.iter().find(missing) {
        None => true,
        Some(name) => {
            skip(test, &sim::programs::skipped(&[*name]).replacen("skipped: ", "", 1));
            false
        }
    }
}

/// Says that a test is skipped, past the capture of its output: somebody must see it.
pub fn skip(test: &str, why: &str) {
    writeln!(std::io::stderr(), "skipped: {test}: {why}").expect("standard error takes it");
}

/// Runs a program that must succeed, and gives what it said.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = output(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Runs a program that may fail.
pub fn output(program: &str, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().expect("the program was found before")
}
