//! A program that is started here may change nothing outside its folder, and reaches no network.
//!
//! What a daemon does follows from traces, cases and images that others wrote, and no look at those can know all that
//! a header may make it do. So the kernel forbids it (Landlock). It holds for the program and whatever it starts. On a
//! kernel without Landlock there is no fence; reading is not fenced, for programs lie in many places.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Output};

/// What is known to this program; a kernel that knows less fences what it can.
const KNOWN: ABI = ABI::V5;

/// Starts it.
pub fn spawn(command: &mut Command, folder: &Path) -> io::Result<Child> {
    fenced(folder, || command.spawn())
}

/// Runs it to its end.
pub fn output(command: &mut Command, folder: &Path) -> io::Result<Output> {
    fenced(folder, || command.output())
}

/// The fence stands around a thread and what it starts, for good; so a thread of its own is given up for it.
fn fenced<T: Send>(folder: &Path, start: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            put_up(folder).map_err(io::Error::other)?;
            start()
        });
        started.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn put_up(folder: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let all: BitFlags<AccessFs> = AccessFs::from_all(KNOWN);
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let mut fence = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(KNOWN))?
        .create()?
        .add_rule(PathBeneath::new(PathFd::new("/")?, AccessFs::from_read(KNOWN)))?
        .add_rule(PathBeneath::new(PathFd::new(folder)?, all))?;
    for name in ["/dev/null", "/dev/zero"] {
        if let Ok(there) = PathFd::new(name) {
            fence = fence.add_rule(PathBeneath::new(there, device))?;
        }
    }
    // What the kernel cannot hold back is not held back.
    let _status = fence.restrict_self()?;
    Ok(())
}

/// Whether this kernel puts up fences at all.
pub fn stands() -> bool {
    let made = Ruleset::default().handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create);
    let status =
        made.and_then(|made| std::thread::spawn(|| made.restrict_self()).join().expect("it does not panic"));
    status.is_ok_and(|status| status.ruleset != landlock::RulesetStatus::NotEnforced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn nothing_outside_the_folder_is_changed() {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let (own, other) = (scratch.path().join("own"), scratch.path().join("other"));
        for folder in [&own, &other] {
            fs::create_dir(folder).expect("a fresh folder");
        }
        fs::write(other.join("there"), "there").expect("room");
        let run = |script: &str| {
            let mut command = Command::new("sh");
            output(command.args(["-c", script]).current_dir(&own), &own).expect("a shell").status.success()
        };
        assert!(run("echo a > a && mv a b && cat ../other/there > /dev/null && rm b && mkdir c"));
        // We ourselves stay outside the fence.
        fs::write(other.join("ours"), "ours").expect("room");
        if !stands() {
            eprintln!("SKIPPED: this kernel has no Landlock");
            return;
        }
        for script in
            ["echo a > ../other/a", "echo a >> ../other/there", "rm ../other/there", "mkdir ../other/d"]
        {
            assert!(!run(script), "{script}");
        }
        assert_eq!(fs::read_to_string(other.join("there")).expect("it is there"), "there");
    }
}
