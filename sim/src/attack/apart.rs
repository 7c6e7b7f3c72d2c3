//! This command's own readers in a process of their own: what they read may be the end of them, and not of the attack.

use super::Kind;
use super::finding::{ABORT, Finding, LATE};
use super::round::Played;
use super::victim::{ended, how, open_stderr, stderr};
use crate::fence;
use crate::live::process::Scratch;
use crate::live::target::Target;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a round's inputs may take together. One alone that takes too long is late by the reader's own clock.
const READ_MAX: Duration = Duration::from_secs(60);
/// What `attack --replay` ends with where something is wrong: then it says what.
const FOUND: i32 = 1;

/// Has `command` read them as a finding that is played again. Fails if it cannot be started, or does not understand.
pub(super) fn read(
    command: &Path,
    target: &Target,
    kind: Kind,
    inputs: &[Vec<u8>],
) -> Result<Played, String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let round = Finding { kind, verdict: String::new(), detail: String::new(), inputs: inputs.to_vec() };
    let file = round.write(scratch.path())?;
    let mut reader =
        start(command, target, &file, &scratch).map_err(|error| format!("{}: {error}", command.display()))?;
    let wrong = |verdict: &str, detail: String| {
        let wrong = Some((verdict.to_owned(), detail));
        Ok(Played { inputs: inputs.len() as u64, wrong, ..Played::default() })
    };
    match ended(&mut reader, READ_MAX) {
        None => {
            // It may end just now; the next line takes leave of it either way.
            let _ended = reader.kill();
            reader.wait().map_err(|error| error.to_string())?;
            wrong(LATE, format!("{} inputs were not read within {} s", inputs.len(), READ_MAX.as_secs()))
        }
        Some(status) if status.success() || status.code() == Some(FOUND) => {
            let said = fs::read_to_string(scratch.path().join(STDOUT)).map_err(|error| error.to_string())?;
            serde_json::from_str(&said).map_err(|error| format!("a reader said `{said}`: {error}"))
        }
        Some(status) => wrong(ABORT, how(status, &stderr(&scratch))),
    }
}

const STDOUT: &str = "stdout.txt";

fn start(command: &Path, target: &Target, file: &Path, scratch: &Scratch) -> io::Result<Child> {
    let mut program = Command::new(command);
    program.args(["attack", "--json", "--out", ".", "--replay"]).arg(file);
    program.args(["--target", &format!("{}:{}", target.kind.name(), target.binary.display())]);
    program.current_dir(scratch.path()).env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    program.stdout(File::create(scratch.path().join(STDOUT))?).stderr(open_stderr(scratch)?);
    fence::spawn(&mut program, scratch.path())
}
