//! The command as a shell sees it: what it prints, and how it ends.

use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn midstream(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    command.args(arguments).current_dir(folder).output().expect("the command was built for this test")
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("a signal ended it: {output:?}"))
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
fn a_plain_run_says_which_seeds_failed_before_and_which_one_is_fresh() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let here = folder.path();
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/pause-after-cancel.json");
    let text = fs::read_to_string(recorded).expect("a recorded trace");
    let mut trace: Value = serde_json::from_str(&text).expect("JSON");
    (trace["seed"], trace["expect"]) = (json!(7), json!("every job ends"));
    fs::create_dir_all(here.join("traces/new")).expect("room");
    fs::write(here.join("traces/new/7.json"), trace.to_string()).expect("room");
    let output = midstream(here, &["fuzz", "--runs", "1"]);
    let [said, reported] =
        [&output.stderr, &output.stdout].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(said.starts_with("1 seed that failed before, first: 7\nfuzz from seed "), "{said}");
    assert!(said.contains(" (fresh), 1 run, "), "{said}");
    assert!(reported.starts_with("1 seed that failed before: none fails any more; "), "{reported}");
    let named = midstream(here, &["fuzz", "--seed", "5", "--runs", "1"]);
    let said = String::from_utf8_lossy(&named.stderr).into_owned();
    assert!(said.starts_with("fuzz from seed 5, 1 run, "), "{said}");
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

/// A recorded live trace that claims this target, and programs that kill whoever starts them.
fn hostile(folder: &Path, target: &str) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/live/no-flush.json");
    let text = fs::read_to_string(recorded).expect("a recorded trace");
    let mut trace: Value = serde_json::from_str(&text).expect("JSON");
    trace["target"] = json!(target);
    fs::write(folder.join("trace.json"), trace.to_string()).expect("room");
    for name in ["evil.sh", "qemu-storage-daemon", "midstreamd"] {
        let path = folder.join(name);
        fs::write(&path, "#!/bin/sh\nkill -9 $PPID\n").expect("room");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("our own file");
    }
}

#[test]
fn a_trace_names_no_program() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let here = folder.path();
    let absolute = format!("qemu:{}", here.join("evil.sh").display());
    let targets = [
        &absolute,
        "qemu:./evil.sh",
        "midstreamd:evil.sh",
        "qemu+disk:./evil.sh",
        "qemu:../a",
        "qemu:",
        "./evil.sh",
    ];
    for target in targets {
        hostile(here, target);
        for command in ["show", "replay", "minimise", "export"] {
            let output = midstream(here, &[command, "trace.json"]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code(&output), 2, "{command} {target}: {said}");
            assert!(said.starts_with("midstream: trace.json: "), "{said}");
        }
    }
    // The operator may name one.
    hostile(here, "qemu:./none");
    let output = midstream(here, &["replay", "--times", "1", "--target", "qemu:./evil.sh", "trace.json"]);
    assert_eq!(output.status.signal(), Some(9), "it was not run: {output:?}");
}

#[test]
fn to_show_a_live_trace_starts_nothing_and_shows_what_it_holds() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let here = folder.path();
    hostile(here, "qemu");
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    command.args(["show", "--decisions", "trace.json"]).current_dir(here).env("PATH", here);
    let output = command.output().expect("the command was built for this test");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(code(&output), 0, "{output:?}");
    let parts = [
        "law `the chain on disk",
        "live daemon: qemu",
        "block-stream",
        "FAIL  law `",
        "midstream replay trace.json",
    ];
    parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?} in {text}"));
    // A program in the working folder is not on the search path because that is empty.
    let mut command = Command::new(copied(here));
    command.args(["replay", "--times", "1", "trace.json"]).current_dir(here).env_remove("PATH");
    let output = command.output().expect("the command was built for this test");
    assert_eq!(code(&output), 2, "{output:?}");
}

/// The command in a folder where no daemon lies beside it.
fn copied(folder: &Path) -> PathBuf {
    let path = folder.join("alone").join("midstream");
    fs::create_dir(folder.join("alone")).expect("a fresh folder");
    fs::copy(env!("CARGO_BIN_EXE_midstream"), &path).expect("room");
    path
}

/// A corpus of one case.
fn corpus(folder: &Path, case: &Value) {
    let line = json!({"case": case, "result": {}}).to_string();
    let packed = zstd::encode_all(line.as_bytes(), 0).expect("memory takes any bytes");
    fs::write(folder.join("c.jsonl.zst"), packed).expect("room");
}

#[test]
fn a_recorded_case_names_no_program_and_no_file_elsewhere() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let here = folder.path();
    hostile(here, "qemu");
    let daemon = here.join("midstreamd");
    let daemon = daemon.to_str().expect("a plain path");
    let case = |change: &dyn Fn(&mut Value)| {
        let mut case = json!({"name": "c-1", "category": "c", "blockdevs": [], "steps": [],
                              "images": [{"file": "a.raw", "fmt": "raw", "size": 65536}]});
        change(&mut case);
        case
    };
    let evil = here.join("evil.sh").display().to_string();
    let changes: [&dyn Fn(&mut Value); 6] = [
        &|case| case["steps"] = json!([{"host": [evil]}]),
        &|case| case["steps"] = json!([{"host": ["chmod", "777", "/etc/none"]}]),
        &|case| case["images"][0]["file"] = json!("../outside.raw"),
        &|case| case["images"][0]["file"] = json!(here.join("outside.raw")),
        &|case| case["blockdevs"] = json!([{"driver": "file", "node-name": "n", "filename": "/etc/none"}]),
        &|case| case["qsd_args"] = json!(["--pidfile", "/none/pid"]),
    ];
    for (index, change) in changes.iter().enumerate() {
        corpus(here, &case(change));
        let output = midstream(here, &["conform", ".", "--daemon", daemon]);
        assert_eq!(code(&output), 2, "change {index}: {output:?}");
        assert!(!here.join("outside.raw").exists(), "change {index}");
    }
    // The flag lets programs run, and nothing else.
    let flags = ["conform", ".", "--run-programs", "--daemon", daemon];
    corpus(here, &case(changes[2]));
    assert_eq!(code(&midstream(here, &flags)), 2);
    corpus(here, &case(changes[0]));
    let output = midstream(here, &flags);
    let lacks_tools = String::from_utf8_lossy(&output.stderr).contains("is needed to make images");
    assert!(lacks_tools || output.status.signal() == Some(9), "the daemon was not started: {output:?}");
}

#[test]
fn nothing_from_outside_steers_the_terminal() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let here = folder.path();
    let evil = "e\u{1b}[31m\r\nFAIL\u{7f}\u{9b}2J\u{202e}\u{2066}.json";
    let bytes = [b"b\x1b]0;t\x07\n\xff".as_slice(), b".json"].concat();
    let names = [OsStr::new(evil), OsStr::from_bytes(&bytes)];
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
    let steers = |c: char| c != '\n' && seam::escape::steers(c);
    for source in [None, Some("live/no-flush.json"), Some("pause-after-cancel.json")] {
        for name in names {
            match source {
                None => fs::write(here.join(name), "{").expect("room"),
                Some(source) => drop(fs::copy(recorded.join(source), here.join(name)).expect("room")),
            }
            let commands: [&[&str]; 5] =
                [&["show"], &["replay"], &["replay", "--none"], &["minimise", "--runs", "1"], &[]];
            for command in commands {
                // No daemon is found, so what is live stops there.
                let mut run = Command::new(env!("CARGO_BIN_EXE_midstream"));
                let run = run.args(command).arg(name).current_dir(here).env("PATH", "").output();
                let output = run.expect("the command was built for this test");
                for said in [&output.stdout, &output.stderr] {
                    let said = String::from_utf8_lossy(said);
                    assert!(!said.contains(steers), "{command:?} {name:?} said {said:?}");
                    assert!(
                        !said.lines().any(|line| line.starts_with("FAIL\\u")),
                        "{command:?} forges {said:?}"
                    );
                }
            }
        }
    }
}
