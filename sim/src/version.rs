//! Whether a program is the daemon that it is said to be, by its own word: anything else would only look like a finding.

use seam::escape::one_line;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A program that takes longer to say its version is no daemon. One that is takes some milliseconds.
const TIMEOUT: Duration = Duration::from_secs(3);
/// No version is longer.
const SAID_BYTES_MAX: u64 = 4 << 10;

/// Refuses a program whose `--version` names none of `names`.
pub fn check(program: &Path, names: &[&str]) -> Result<(), String> {
    let said = ask(program).map_err(|why| format!("{}: {why}", program.display()))?;
    if names.iter().any(|name| said.contains(name)) {
        return Ok(());
    }
    let first = said.lines().next().unwrap_or_default();
    let line = if first.is_empty() { "nothing".to_owned() } else { format!("`{}`", one_line(first)) };
    Err(format!("{} is no {}: to --version it says {line}", program.display(), names.join(" or ")))
}

/// The first number of three parts in what it says to `--version`.
pub fn number(program: &Path) -> Result<[u64; 3], String> {
    let said = ask(program).map_err(|why| format!("{}: {why}", program.display()))?;
    let number = |word: &str| {
        let mut parts = word.split('.').map(|part| part.parse::<u64>().ok());
        let number = [parts.next()??, parts.next()??, parts.next()??];
        parts.next().is_none().then_some(number)
    };
    let found = said.split_whitespace().find_map(number);
    found.ok_or_else(|| format!("{} says no number of a version: `{}`", program.display(), one_line(&said)))
}

/// What it says to `--version`.
fn ask(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let said = child.stdout.take().expect("it is piped");
    let (sender, receiver) = mpsc::channel();
    // Whoever still holds the other end when nobody listens any more keeps this thread alone.
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = said.take(SAID_BYTES_MAX).read_to_end(&mut text);
        let _late = sender.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
    });
    let answer = receiver.recv_timeout(TIMEOUT);
    // It may have ended by itself.
    let _ended = child.kill();
    let _gone = child.wait();
    match answer {
        Ok(said) => said.map_err(|error| error.to_string()),
        Err(_) => Err(format!("does not report its version within {} s", TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program, written by another process: one that is open for writing anywhere here could not be run.
    fn program(text: &str) -> tempfile::TempPath {
        let file = tempfile::NamedTempFile::new().expect("a scratch file").into_temp_path();
        let write = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(&*file).arg(text).status();
        assert!(written.expect("a shell").success());
        file
    }

    #[test]
    fn a_program_is_what_it_says() {
        let right = program("#!/bin/sh\necho midstreamd 1.2.3\n");
        assert_eq!(check(&right, &["qemu-storage-daemon", "midstreamd"]), Ok(()));
        let other = program("#!/bin/sh\necho something else\n");
        let refused = check(&other, &["midstreamd"]).expect_err("another program");
        assert!(refused.ends_with(" is no midstreamd: to --version it says `something else`"), "{refused}");
        let silent = check(&program("#!/bin/sh\n"), &["midstreamd"]).expect_err("it says nothing");
        assert!(silent.ends_with("it says nothing"), "{silent}");
        let text = check(&program("no program at all"), &["midstreamd"]).expect_err("a text");
        assert!(text.contains(": "), "{text}");
    }

    #[test]
    fn a_program_that_says_nothing_and_does_not_end_is_not_waited_for() {
        let refused = check(&program("#!/bin/sh\nexec tail -f /dev/null\n"), &["midstreamd"]);
        assert!(refused.expect_err("it waits").ends_with("does not report its version within 3 s"));
    }
}
