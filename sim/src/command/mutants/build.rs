//! Builds the command with a bug in it. All mutants share one copy and one target folder, so that little is built twice.

use crate::mutants::{Mutant, tree};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The profile of the workspace that mutants are built in.
const PROFILE: &str = "mutant";

/// The program of a mutant of the workspace at `root`.
pub(super) fn build(mutant: &Mutant, root: &Path, scratch: &Path) -> Result<PathBuf, String> {
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

fn first_error(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().filter(|line| line.starts_with("error"));
    lines.next().or_else(|| text.lines().last()).unwrap_or("without a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_compiler_says_first_is_the_reason() {
        assert_eq!(first_error(b"warning: x\nerror[E1]: y\nerror: z\n"), "error[E1]: y");
        assert_eq!(first_error(b""), "without a word");
    }
}
