//! The architecture's absences, checked: file headers, crate arrows, banned names.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder of the workspace")
        .map(|e| e.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in folders {
        sources(&root.join(folder), &mut found);
    }
    assert!(found.len() > 3, "no sources below {folders:?}");
    found.into_iter().map(|p| (p.clone(), fs::read_to_string(p).expect("UTF-8"))).collect()
}

#[test]
fn every_file_says_what_it_is() {
    for (path, text) in all(&["model/src", "impl/src", "sim/src", "tests"]) {
        assert!(text.starts_with("//! "), "{} has no header", path.display());
    }
}
