//! Mutants: bugs put back into a scratch copy of the engine, which the harness must find.
//!
//! A mutant is a unified diff under `tests/mutants/`, with lines above it: `name:`, `bug:`, `source:`, `law:` for
//! each law that may catch it, and perhaps `scenario:`, one of `tests/scenarios` of which some schedule breaks one of them. The engine itself stays clean; the copy lives below `target/mutants/`.

pub mod kept;
pub mod masked;
pub mod rules;
pub mod tree;

use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use thiserror::Error;

/// One planted bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutant {
    /// Short, in words with hyphens.
    pub name: String,
    /// What it does to a user.
    pub bug: String,
    /// Where it comes from.
    pub source: String,
    /// The laws it breaks. A harness that sees only another one broken has not understood it.
    pub laws: Vec<String>,
    /// The scenario that shows it for certain, by the name of its file.
    pub scenario: Option<String>,
    diff: String,
}

/// Why a mutant cannot be used.
#[derive(Error, Debug)]
pub enum MutantError {
    /// A file could not be read or written.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// The lines above the diff.
    #[error("header: {0}")]
    Header(String),
    /// The diff cannot be read.
    #[error("diff: {0}")]
    Diff(#[from] diffy::patch_set::PatchSetParseError),
    /// It may only change files of the engine.
    #[error("{0}: a mutant changes existing files below impl/ and nothing else")]
    Elsewhere(String),
    /// The engine has changed since; the text names the hunk.
    #[error("{0}: {1}")]
    Hunk(PathBuf, diffy::ApplyError),
}

impl Mutant {
    /// Reads all mutants of a folder, by name.
    pub fn read_all(folder: &Path) -> Result<Vec<Mutant>, (PathBuf, MutantError)> {
        let file = |error| (folder.to_owned(), MutantError::File(folder.to_owned(), error));
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(file)? {
            let path = entry.map_err(file)?.path();
            if path.extension().is_some_and(|e| e == "patch") {
                paths.push(path);
            }
        }
        paths.sort();
        paths.into_iter().map(|path| Mutant::read(&path).map_err(|error| (path, error))).collect()
    }

    /// Reads one file.
    pub fn read(path: &Path) -> Result<Mutant, MutantError> {
        let text = fs::read_to_string(path).map_err(|error| MutantError::File(path.to_owned(), error))?;
        Mutant::parse(&text)
    }

    /// Reads the text of one file.
    pub fn parse(text: &str) -> Result<Mutant, MutantError> {
        let start = if text.starts_with("--- ") { Some(0) } else { text.find("\n--- ").map(|i| i + 1) };
        let start = start.ok_or_else(|| MutantError::Header("no diff below it".to_owned()))?;
        let (head, diff) = text.split_at(start);
        let (mut name, mut bug, mut source, mut scenario, mut laws) = (None, None, None, None, Vec::new());
        for line in head.lines().filter(|line| !line.trim().is_empty()) {
            let (key, value) = line
                .split_once(": ")
                .ok_or_else(|| MutantError::Header(format!("`{line}` is no `key: value`")))?;
            let place = match key {
                "law" if laws.iter().any(|law| law == value.trim()) => {
                    return Err(MutantError::Header(format!("law `{}` twice", value.trim())));
                }
                "law" => {
                    laws.push(value.trim().to_owned());
                    continue;
                }
                "name" => &mut name,
                "bug" => &mut bug,
                "source" => &mut source,
                "scenario" => &mut scenario,
                _ => return Err(MutantError::Header(format!("unknown key `{key}`"))),
            };
            if place.replace(value.trim().to_owned()).is_some() {
                return Err(MutantError::Header(format!("`{key}` twice")));
            }
        }
        let needed = |value: Option<String>, key: &str| {
            value.ok_or_else(|| MutantError::Header(format!("`{key}` is missing")))
        };
        let name = needed(name, "name")?;
        // The name is also the name of a folder.
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(MutantError::Header(format!(
                "name `{name}` is not made of letters, digits and hyphens"
            )));
        }
        if laws.is_empty() {
            return Err(MutantError::Header("`law` is missing".to_owned()));
        }
        Ok(Mutant {
            name,
            laws,
            scenario,
            bug: needed(bug, "bug")?,
            source: needed(source, "source")?,
            diff: diff.to_owned(),
        })
    }

    /// Puts the bug into the workspace at `root`: every hunk with exactly its context, or nothing.
    pub fn apply(&self, root: &Path) -> Result<(), MutantError> {
        let mut changed = Vec::new();
        for patch in PatchSet::parse(&self.diff, ParseOptions::unidiff()) {
            let patch = patch?;
            let path = engine_file(patch.operation())?;
            let full = root.join(&path);
            let before = fs::read_to_string(&full).map_err(|error| MutantError::File(path.clone(), error))?;
            let text =
                patch.patch().as_text().ok_or_else(|| MutantError::Elsewhere(path.display().to_string()))?;
            let after =
                diffy::apply(&before, text).map_err(|error| MutantError::Hunk(path.clone(), error))?;
            changed.push((full, after));
        }
        if changed.is_empty() {
            return Err(MutantError::Header("the diff below it changes nothing".to_owned()));
        }
        for (full, after) in changed {
            fs::write(&full, after).map_err(|error| MutantError::File(full, error))?;
        }
        Ok(())
    }
}

fn engine_file(operation: &FileOperation<'_, str>) -> Result<PathBuf, MutantError> {
    let FileOperation::Modify { modified, .. } = operation.strip_prefix(1) else {
        return Err(MutantError::Elsewhere("a file that is new, gone or renamed".to_owned()));
    };
    let path = PathBuf::from(modified.as_ref());
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if is_plain && path.starts_with("impl") {
        Ok(path)
    } else {
        Err(MutantError::Elsewhere(modified.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "\
name: late-flush
bug: data is lost after a crash
source: a test
law: what was flushed survives
law: no image is corrupt

--- a/impl/src/flush.rs
+++ b/impl/src/flush.rs
@@ -1,3 +1,2 @@
 first
-flush
 last
";

    fn tree(content: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a scratch folder");
        fs::create_dir_all(root.path().join("impl/src")).expect("a folder");
        fs::write(root.path().join("impl/src/flush.rs"), content).expect("a file");
        root
    }

    #[test]
    fn a_mutant_puts_its_bug_into_the_copy() {
        let mutant = Mutant::parse(PATCH).expect("well formed");
        assert_eq!(
            (mutant.name.as_str(), mutant.bug.as_str(), mutant.source.as_str()),
            ("late-flush", "data is lost after a crash", "a test")
        );
        assert_eq!(mutant.scenario, None);
        assert_eq!(mutant.laws, ["what was flushed survives", "no image is corrupt"]);
        // Further down than the diff says: lines were added above since.
        let root = tree("new\nfirst\nflush\nlast\n");
        mutant.apply(root.path()).expect("it applies");
        let after = fs::read_to_string(root.path().join("impl/src/flush.rs")).expect("still there");
        assert_eq!(after, "new\nfirst\nlast\n");
    }

    #[test]
    fn a_hunk_that_does_not_fit_is_named_and_changes_nothing() {
        let two = format!("{PATCH}@@ -10,2 +9,2 @@\n x\n-y\n+z\n");
        let root = tree("first\nflush\nlast\n");
        let error = Mutant::parse(&two).expect("well formed").apply(root.path()).expect_err("no x there");
        assert_eq!(error.to_string(), "impl/src/flush.rs: error applying hunk #2");
        let after = fs::read_to_string(root.path().join("impl/src/flush.rs")).expect("still there");
        assert_eq!(after, "first\nflush\nlast\n");
    }

    #[test]
    fn only_the_engine_is_changed() {
        for path in ["model/src/law.rs", "impl/../sim/src/x.rs", "/etc/passwd"] {
            let patch = PATCH.replace("a/impl/src/flush.rs", &format!("a/{path}"));
            let patch = patch.replace("b/impl/src/flush.rs", &format!("b/{path}"));
            let error = Mutant::parse(&patch).expect("well formed").apply(tree("").path()).expect_err(path);
            assert!(matches!(error, MutantError::Elsewhere(_)), "{error}");
        }
        let created = PATCH.replace("--- a/impl/src/flush.rs", "--- /dev/null");
        assert!(Mutant::parse(&created).expect("well formed").apply(tree("").path()).is_err());
    }

    #[test]
    fn headers_are_strict() {
        let error = |text: &str| Mutant::parse(text).expect_err("refused").to_string();
        assert_eq!(error(&PATCH.replace("bug: ", "bag: ")), "header: unknown key `bag`");
        assert_eq!(error(&PATCH.replace("source: a test\n", "")), "header: `source` is missing");
        assert_eq!(error(&PATCH.replace("law: ", "laws: ")), "header: unknown key `laws`");
        let same = PATCH.replace("no image is corrupt", "what was flushed survives");
        assert_eq!(error(&same), "header: law `what was flushed survives` twice");
        let lawless = PATCH.replace("law: what was flushed survives\nlaw: no image is corrupt\n", "");
        assert_eq!(error(&lawless), "header: `law` is missing");
        assert_eq!(error(&PATCH.replace("bug:", "name:")), "header: `name` twice");
        let named = PATCH.replace("source: ", "scenario: stream-write\nsource: ");
        assert_eq!(Mutant::parse(&named).expect("well formed").scenario.as_deref(), Some("stream-write"));
        assert!(error(&PATCH.replace("late-flush", "../x")).contains("letters, digits and hyphens"));
        assert_eq!(error("name: x\n"), "header: no diff below it");
    }
}
