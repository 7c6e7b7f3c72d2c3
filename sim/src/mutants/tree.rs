//! The scratch copy of the workspace. Only files that differ are written, so that cargo builds again only those.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a build of the command and a replay need. Cargo builds nothing unless every member of the workspace is there.
const PARTS: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    ".cargo",
    "clippy.toml",
    "rustfmt.toml",
    "seam",
    "model",
    "midstream",
    "impl",
    "hostile",
    "sim",
    "benches",
    "tests",
    "traces",
];

/// The folder of the scenarios that mutants name.
pub const SCENARIOS: &str = "tests/scenarios";

/// The folder of the workspace around `start`: it has a lock file and mutants.
pub fn workspace(start: &Path) -> Option<&Path> {
    start
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file() && folder.join("tests/mutants").is_dir())
}

/// Makes `copy` what `workspace` is, as far as the parts go.
pub fn refresh(workspace: &Path, copy: &Path) -> io::Result<()> {
    for part in PARTS {
        let (from, to) = (workspace.join(part), copy.join(part));
        if from.is_dir() {
            refresh_folder(&from, &to)?;
        } else if from.is_file() {
            fs::create_dir_all(copy)?;
            refresh_file(&from, &to)?;
        }
    }
    Ok(())
}

fn refresh_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let wanted = names(from)?;
    for gone in names(to)?.difference(&wanted) {
        let path = to.join(gone);
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    for name in &wanted {
        let (from, to) = (from.join(name), to.join(name));
        if from.is_dir() { refresh_folder(&from, &to)? } else { refresh_file(&from, &to)? }
    }
    Ok(())
}

fn refresh_file(from: &Path, to: &Path) -> io::Result<()> {
    let content = fs::read(from)?;
    if fs::read(to).is_ok_and(|present| present == content) {
        return Ok(());
    }
    fs::write(to, content)
}

/// Build outputs that somebody left inside a part are not copied.
fn names(folder: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if name != Path::new("target") {
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn workspace_with(content: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a scratch folder");
        for folder in ["impl/src", "tests/mutants", "target"] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        for file in ["Cargo.toml", "Cargo.lock", "impl/src/lib.rs", "target/big"] {
            fs::write(root.path().join(file), content).expect("a file");
        }
        root
    }

    #[test]
    fn the_copy_follows_the_workspace() {
        let root = workspace_with("old");
        let copy = root.path().join("target/mutants/tree");
        refresh(root.path(), &copy).expect("copied");
        fs::write(copy.join("impl/src/lib.rs"), "mutated").expect("a file");
        fs::write(copy.join("impl/src/stray.rs"), "stray").expect("a file");
        let untouched = fs::metadata(copy.join("Cargo.toml")).and_then(|m| m.modified()).expect("a time");
        refresh(root.path(), &copy).expect("copied again");
        assert_eq!(fs::read_to_string(copy.join("impl/src/lib.rs")).expect("there"), "old");
        assert!(!copy.join("impl/src/stray.rs").exists());
        assert!(!copy.join("target").exists());
        let after = fs::metadata(copy.join("Cargo.toml")).and_then(|m| m.modified()).expect("a time");
        assert_eq!(untouched, after, "an equal file is not written");
    }

    #[test]
    fn cargo_finds_every_member_of_the_workspace_in_the_copy() {
        let root = workspace(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("this crate is in it");
        let copy = tempfile::tempdir().expect("a scratch folder");
        refresh(root, copy.path()).expect("copied");
        let mut metadata = Command::new(env!("CARGO"));
        metadata.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
        let output = metadata.current_dir(copy.path()).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    fn the_workspace_is_found_from_below() {
        let root = workspace_with("x");
        assert_eq!(workspace(&root.path().join("impl/src")), Some(root.path()));
        assert_eq!(workspace(Path::new("/nowhere")), None);
    }
}
