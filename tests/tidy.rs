//! The architecture's absences, checked: file headers and lengths, crate arrows, banned names.

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this has taken in a second idea.
const LINES_MAX: usize = 450;

struct Source {
    /// Path from the root of the workspace.
    path: String,
    text: String,
}

impl Source {
    /// Lines with their numbers, comments left out.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(number, line)| (number + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Fails if any line of code contains one of `words`.
    fn must_not_say(&self, words: &[&str], why: &str) {
        for (number, line) in self.code() {
            for word in words {
                assert!(!line.contains(word), "{}:{number} says `{word}`: {why}", self.path);
            }
        }
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).expect("a folder of the workspace");
    for path in entries.map(|entry| entry.expect("an entry").path()) {
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    folders.iter().for_each(|folder| find(&root.join(folder), &mut paths));
    paths.sort();
    assert!(paths.len() > 3, "hardly any sources below {folders:?}");
    let read = |path: PathBuf| Source {
        text: fs::read_to_string(&path).expect("sources are UTF-8"),
        path: path.strip_prefix(root).expect("below the root").display().to_string(),
    };
    paths.into_iter().map(read).collect()
}

const EVERYTHING: [&str; 17] = [
    "seam/src",
    "model/src",
    "model/tests",
    "midstream/src",
    "midstream/tests",
    "impl/src",
    "impl/tests",
    "hostile/src",
    "sim/src",
    "sim/tests",
    "benches",
    "examples",
    "other-engines/src",
    "peers/src",
    "fuzz/src",
    "fuzz/fuzz_targets",
    "tests",
];

/// Our crates by folder, and which of ours each may use. `hostile` is for tests and for whoever attacks.
const ARROWS: [(&str, &[&str]); 6] = [
    ("seam", &[]),
    ("model", &[]),
    ("midstream", &["seam", "model"]),
    ("impl", &["seam"]),
    ("hostile", &[]),
    ("sim", &["seam", "midstream", "model", "block", "hostile"]),
];

#[test]
fn every_file_says_what_it_is() {
    for source in sources(&EVERYTHING) {
        assert!(source.text.starts_with("//! "), "{} does not open with what it is", source.path);
    }
}

#[test]
fn no_file_has_taken_in_a_second_idea() {
    for source in sources(&EVERYTHING) {
        let lines = source.text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, and may have {LINES_MAX}", source.path);
    }
}

/// The functions of a source and how many lines each takes: rustfmt puts the end below the beginning.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_function = |line: &str| {
        let start = line.trim_start();
        let words = ["pub ", "pub(crate) ", "pub(super) ", "const ", "async ", "unsafe "];
        let mut rest = start;
        while let Some(word) = words.iter().find(|word| rest.starts_with(**word)) {
            rest = &rest[word.len()..];
        }
        rest.starts_with("fn ")
    };
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| is_function(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let is_end = |line: &&str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with('}'));
        let is_short = line.ends_with(';') || line.ends_with('}');
        let len = if is_short { Some(0) } else { lines[start..].iter().position(is_end) };
        found.push((line.trim(), len.map_or(lines.len(), |len| len + 1)));
    }
    found
}

#[test]
fn every_function_fits_on_a_page() {
    const LINES: usize = 60;
    let mut seen = 0;
    for source in sources(&EVERYTHING) {
        for (function, lines) in functions(&source.text) {
            seen += 1;
            assert!(lines <= LINES, "{}: {lines} lines from `{function}` on", source.path);
        }
    }
    assert!(seen > 3000, "{seen} functions");
    let long = format!("impl A {{\n    fn b() {{\n{}    }}\n}}\n", "        c();\n".repeat(LINES));
    assert_eq!(functions(&long), [("fn b() {", LINES + 2)], "and a long one is seen");
}

#[test]
fn the_model_knows_neither_engine_nor_world() {
    for source in sources(&["model/src"]) {
        source.must_not_say(
            &["block::", "seam::", "midstream::", "sim::"],
            "the model shares nothing with what it judges",
        );
        let world =
            ["std::fs", "std::io", "std::net", "std::time", "std::thread", "std::env", "async fn", ".await"];
        source.must_not_say(&world, "the model is pure");
    }
}

#[test]
fn the_engine_knows_neither_model_nor_simulator() {
    for source in sources(&["impl/src"]) {
        source.must_not_say(&["model::", "midstream::", "sim::"], "judge and judged share nothing");
    }
}

#[test]
fn the_engine_meets_the_world_through_the_seam_only() {
    // recorded.rs is a test: it plays recorded replies over the real host.
    let real_world = ["impl/src/os", "impl/src/bin", "impl/src/qmp/recorded.rs"];
    let is_real_world = |path: &str| real_world.iter().any(|real| path.starts_with(real));
    for source in sources(&["impl/src"]).into_iter().filter(|source| !is_real_world(&source.path)) {
        let world =
            ["tokio", "rustix", "nix::", "std::fs", "std::net", "std::thread", "std::env", "std::process"];
        source.must_not_say(&world, "only os.rs and the daemon meet the real world");
        source.must_not_say(&["Instant", "SystemTime", "rand"], "time and chance come through the seam");
    }
}

#[test]
fn only_the_oracle_holds_both_judges() {
    let both: Vec<String> = sources(&["sim/src"])
        .into_iter()
        .filter(|source| source.code().any(|(_, line)| line.contains("model::")))
        .filter(|source| source.code().any(|(_, line)| line.contains("block::")))
        .map(|source| source.path)
        .collect();
    assert!(both.iter().all(|path| path.starts_with("sim/src/oracle")), "{both:?} know model and engine");
}

#[test]
fn crates_use_only_the_crates_that_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = ["seam", "model", "midstream", "block", "hostile", "sim"];
    for (folder, may) in ARROWS {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).expect("a manifest");
        let (_, after) = manifest.split_once("\n[dependencies]\n").unwrap_or(("", ""));
        let dependencies = after.split("\n[").next().unwrap_or_default();
        let uses = dependencies.lines().filter_map(|line| line.split([' ', '.']).next());
        for used in uses.filter(|used| ours.contains(used)) {
            assert!(may.contains(&used), "{folder} uses {used}");
        }
    }
}

#[test]
fn who_tests_a_layer_of_their_own_compiles_neither_our_engine_nor_its_host() {
    let mut tree = std::process::Command::new(env!("CARGO"));
    tree.args(["tree", "--package", "midstream-check", "--edges", "normal", "--prefix", "none", "--offline"]);
    let output = tree.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("names of packages");
    let packages: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(packages.contains(&"midstream-seam"), "{tree}");
    for package in ["tokio", "rustix", "nix", "midstream-block"] {
        assert!(!packages.contains(&package), "{package} is needed:\n{tree}");
    }
}

#[test]
fn chance_has_one_door() {
    for source in sources(&EVERYTHING) {
        let is_door =
            source.path.starts_with("midstream/src/strategy") || source.path == "hostile/src/random.rs";
        if !is_door && source.path != "tests/tidy.rs" {
            source.must_not_say(&["rand_chacha", "ChaCha"], "a world's chance comes through Choices");
        }
    }
}

#[test]
fn no_test_is_ignored_and_none_sleeps() {
    for source in sources(&["seam", "model", "midstream", "impl", "hostile", "sim", "tests"]) {
        if source.path != "tests/tidy.rs" {
            source.must_not_say(&["#[ignore"], "a known gap is a passing test that says so");
            source.must_not_say(&["thread::sleep"], "wait for what is waited for");
            source.must_not_say(&["HashMap", "HashSet"], "hash order is chance");
        }
    }
}

#[test]
fn every_dependency_stands_once_in_the_workspace_with_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, _) in ARROWS {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).expect("a manifest");
        let versions: Vec<&str> = manifest.lines().filter(|line| line.contains("version = \"")).collect();
        assert!(versions.is_empty(), "{folder}/Cargo.toml names versions of its own: {versions:?}");
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the workspace manifest");
    let (_, dependencies) = manifest.split_once("[workspace.dependencies]").expect("the section");
    let (dependencies, _) = dependencies.split_once("\n[").expect("a section after it");
    let mut reason = false;
    for line in dependencies
        .lines()
        .filter(|line| line.contains("version = ") || line.starts_with('#') || line.contains(" = \""))
    {
        reason |= line.starts_with('#');
        assert!(reason, "no reason above `{line}`");
    }
}

/// Where texts say which file does what, and how many they name at least.
const GUIDES: [(&str, usize); 6] = [
    ("ARCHITECTURE.md", 30),
    ("tests/README.md", 5),
    ("impl/src/lib.rs", 5),
    ("model/src/lib.rs", 5),
    ("midstream/src/lib.rs", 5),
    ("sim/src/lib.rs", 1),
];

#[test]
fn guides_name_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places: Vec<String> =
        sources(&EVERYTHING).into_iter().map(|source| format!("/{}", source.path)).collect();
    for (guide, least) in GUIDES {
        let text = fs::read_to_string(root.join(guide)).expect("a guide");
        let text: String =
            text.lines().take_while(|line| !line.starts_with("use ")).collect::<Vec<_>>().join("\n");
        let words = text.split(|c: char| c.is_whitespace() || "`,;:()[]|".contains(c));
        let is_path = |word: &&str| word.ends_with(".rs") || word.contains("src/");
        let paths: Vec<&str> = words.map(|word| word.trim_end_matches('.')).filter(is_path).collect();
        assert!(paths.len() >= least, "{guide} names {} files", paths.len());
        for path in paths {
            let is_named_from_its_room = |place: &String| place.ends_with(&format!("/{path}"));
            let exists = root.join(path).exists() || places.iter().any(is_named_from_its_room);
            assert!(exists, "{guide} names {path}");
        }
    }
}

// What Rust's Debug makes of a value is for whoever wrote its type: a panic's text may have it, and nothing that is output.
#[test]
fn nobody_reads_rusts_debug_text() {
    // From `impl fmt::Debug for` to its text.
    const LINES_OF_IMPL: usize = 12;
    for source in sources(&["model/src", "midstream/src", "sim/src"]) {
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = code.lines().collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(":?}")) {
            let is_panic = ["assert", "panic!", "unreachable!"].iter().any(|word| line.contains(word));
            let before = &lines[number.saturating_sub(LINES_OF_IMPL)..number];
            let is_debug = before.iter().any(|line| line.contains("Debug for "));
            let is_test = source.path.ends_with("/tests.rs");
            // Compared by a program and shown to nobody.
            let is_hashed =
                before.iter().any(|line| line.contains("fn write_states(") || line.contains("fn write_all("));
            assert!(is_panic || is_debug || is_test || is_hashed, "{}:{}: {line}", source.path, number + 1);
        }
    }
}

#[test]
fn nothing_is_printed_past_the_escape() {
    let doors = ["midstream/src/terminal.rs", "impl/src/os.rs", "impl/src/bin/midstreamd/main.rs"];
    for source in sources(&["seam/src", "midstream/src", "impl/src", "sim/src"])
        .into_iter()
        .filter(|s| !doors.contains(&&*s.path))
    {
        // What tests say comes after.
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let source = Source { text: code, ..source };
        source
            .must_not_say(&["println!", "print!(", "eprint!("], "names of others are escaped by terminal.rs");
    }
}

/// Words that are not the field's, and what is said instead. Of names, each part counts.
const NOT_THE_FIELDS: [(&[&str], &str); 25] = [
    (&["told", "tell", "tells", "telling"], "emit, report, show; a job is asked"),
    (&["hear", "hears", "heard", "ear", "ears"], "receive, be notified, learn"),
    (&["obey", "obeys", "obeyed"], "execute"),
    (&["let go", "lets go", "letting go", "bury", "buries", "buried"], "release"),
    (&["bring up", "brings up", "brought up"], "populate, copy-on-read"),
    (&["remnant", "remnants"], "orphan, orphaned node"),
    (&["trade", "trades"], "job type"),
    (&["stranger", "strangers", "tame"], "unmodelled, data-safe"),
    (&["vague", "vaguely"], "unmodelled; possible, where a set of values is meant"),
    (&["unsure", "doubt", "doubts", "judged in part"], "inconclusive, of a run; possible, of a state"),
    (&["blur", "blurs", "blurred"], "what happens: copies interfere"),
    (&["contested", "notion", "notions"], "state, step, quirk"),
    (&["let loose", "set loose", "unleash", "unleashes"], "run, execute"),
    (&["afresh"], "reopened"),
    (&["plainest"], "the strategy `first`, option 0"),
    (&["patience"], "timeout"),
    (&["meetings"], "overlap"),
    (&["unlisted"], "schema command"),
    (&["shorten", "shortens", "shortened", "shortening"], "minimise"),
    (&["make short", "makes short", "made short", "make shorter"], "minimise"),
    (&["set right", "sets right"], "repair"),
    (&["cross out", "crosses out", "crossed out"], "mark as copied"),
    (&["bear", "bears", "bearable", "unbearable"], "cannot, must not"),
    (&["cares", "minds"], "who looks at it, what depends on it"),
    (&["known divergence", "known divergences"], "known defect"),
];

const NAME_OF_LAW: &str = "laws are named in traces, verdicts and command lines that people have";
const NAME_OF_CHOICE: &str = "traces name the choices that they replay";
const FORM: &str = "a member of histories, which others record, too";

/// Where such a word stands all the same: how the path begins, the text it stands in, and why.
const STAYS: [(&str, &str, &str); 9] = [
    ("", "an event tells the job as it is", NAME_OF_LAW),
    ("", "ends once told to", NAME_OF_LAW),
    ("", "its end is told", NAME_OF_LAW),
    ("", "a query tells nodes and jobs as they are", NAME_OF_LAW),
    ("sim/src/live/", "live unlisted", NAME_OF_CHOICE),
    ("sim/src/live/", "# unlisted", NAME_OF_CHOICE),
    ("midstream/src/history/file/line.rs", "unlisted", FORM),
    ("midstream/src/history/file/line.rs", "Unlisted", FORM),
    ("docs/history.md", "`unlisted", FORM),
];

/// The words of a line, in lower case: names fall apart at underscores and capitals.
fn words_of(line: &str) -> Vec<String> {
    let (mut words, mut was_lower) = (vec![String::new()], false);
    for c in line.chars() {
        if !c.is_alphabetic() || c.is_uppercase() && was_lower {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().expect("there is one").extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The first word in a line of this file that is not the field's, and what to say instead.
fn not_the_fields(path: &str, line: &str) -> Option<(&'static str, &'static str)> {
    let stays = STAYS.iter().filter(|(beginning, ..)| path.starts_with(beginning));
    let words = words_of(&stays.fold(line.to_owned(), |line, (_, text, _)| line.replace(text, "")));
    let is_there = |phrase: &&str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.windows(phrase.len()).any(|window| window == phrase)
    };
    NOT_THE_FIELDS.into_iter().find_map(|(not, instead)| Some((not.iter().copied().find(is_there)?, instead)))
}

#[test]
fn names_and_texts_use_the_words_of_the_field() {
    let mut all = sources(&EVERYTHING);
    // This file has the list.
    all.retain(|source| source.path != "tests/tidy.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages =
        fs::read_dir(root.join("docs")).expect("the folder").map(|entry| entry.expect("an entry").path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let pages = pages.map(|path| path.strip_prefix(root).expect("below the root").display().to_string());
    for path in pages.chain(["README.md", "ARCHITECTURE.md"].map(str::to_owned)) {
        let text = fs::read_to_string(root.join(&path)).expect("documents are UTF-8");
        all.push(Source { path, text });
    }
    let mut wrong = Vec::new();
    for source in &all {
        for (number, line) in source.text.lines().enumerate() {
            if let Some((not, instead)) = not_the_fields(&source.path, line) {
                wrong.push(format!("{}:{}: `{not}`, say {instead}", source.path, number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "words of our own:\n{}", wrong.join("\n"));
}

#[test]
fn words_of_our_own_are_found_wherever_they_stand() {
    let found = |line| not_the_fields("model/src/law.rs", line).map(|(not, _)| not);
    assert_eq!(found("    /// The end is told"), Some("told"));
    assert_eq!(found("    let is_told_late = true;"), Some("told"));
    assert_eq!(found("    TradeOff,"), Some("trade"));
    assert_eq!(found("const PATIENCE: u32 = 4;"), Some("patience"));
    assert_eq!(found("    // Then it lets go of both."), Some("lets go"));
    assert_eq!(found("    unfold(\"clear years, let us go\"); // retold, ear-marked"), Some("ear"));
    assert_eq!(found("    \"a job changes the graph before its end is told\""), None);
    assert_eq!(found("    let bearing = household.shear();"), None);
    assert_eq!(not_the_fields("sim/src/live/turns.rs", "(\"live unlisted\", [0; 3])"), None);
    assert!(not_the_fields("sim/src/live/turns.rs", "let unlisted = 1;").is_some());
}
