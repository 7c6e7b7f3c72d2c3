//! The command as a shell sees it: what it prints, and how it ends.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn midstream(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    command.args(arguments).current_dir(folder).output().expect("the command was built for this test")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal ended it")
}

fn totals(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("the last line is one JSON object")
}

#[test]
fn one_seed_is_one_history_with_any_number_of_threads() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let fuzz = ["fuzz", "--seed", "7", "--runs", "100", "--json", "--jobs"];
    let [one, three] = ["1", "3"].map(|jobs| midstream(folder.path(), &[&fuzz[..], &[jobs]].concat()));
    let [first, second] = [totals(&one), totals(&three)];
    assert_eq!(first["history_hash"], second["history_hash"]);
    assert_eq!((&first["runs"], &first["steps"]), (&Value::from(100), &second["steps"]));
    let is_failed = first["failures"].as_u64() > Some(0);
    assert_eq!((code(&one), code(&three)), (i32::from(is_failed), i32::from(is_failed)));
}

#[test]
fn totals_of_parts_cover_the_whole() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let checked = |seed: &str, runs: &str| {
        let totals = totals(&midstream(folder.path(), &["fuzz", "--json", "--seed", seed, "--runs", runs]));
        totals["laws_checked"]
            .as_object()
            .expect("counts by name")
            .values()
            .filter_map(Value::as_u64)
            .sum::<u64>()
    };
    assert_eq!(checked("1", "30") + checked("31", "20"), checked("1", "50"));
}

#[test]
fn nonsense_ends_with_2_and_says_why() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    fs::write(folder.path().join("bad.json"), "{\n\"version\": 1,\n\"law\": 7\n}").expect("a file");
    for (arguments, reason) in [
        (&["fuzz", "--runs", "many"][..], "many"),
        (&["replay", "nowhere.json"], "nowhere.json: "),
        (&["replay", "bad.json"], "bad.json: invalid type: integer `7`, expected a string at line 3"),
        (&["show", "bad.json"], "bad.json: "),
        (&["mutants"], "no workspace"),
    ] {
        let output = midstream(folder.path(), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(reason), "{arguments:?} said {said}");
    }
}
