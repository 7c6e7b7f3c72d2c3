//! Every subcommand with every kind of wrong argument: it ends with 2 in under a second and says what is wrong, and where.

use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What is wrong is reported within this.
const SOON: Duration = Duration::from_secs(1);
/// A machine that does other things may be late now and then, but not so often in turn.
const TRIES: u32 = 5;

/// The command line, and what must be said.
type Row<'a> = (&'a str, &'a [&'a str]);

/// `file` is a file where a folder should be, `bad.json` is broken, `live.json` and `run.json` are traces, `run.jsonl` is a history, `corpus` has one
/// case, and `/bin/sh` is no daemon.
const ROWS: &[Row<'_>] = &[
    ("", &["Usage: midstream"]),
    ("fuz", &["'fuz'", "'fuzz'"]),
    ("laws every", &["'every'"]),
    ("explore", &["<SCENARIO>"]),
    ("laws --goals --live", &["--goals", "--live"]),
    ("fuzz --runs many", &["'many'", "--runs"]),
    ("fuzz --runs 0", &["'0'", "--runs"]),
    ("fuzz --runs 99999999999999999999", &["'99999999999999999999'", "--runs"]),
    ("fuzz --seconds 0", &["'0'", "--seconds"]),
    ("fuzz --seconds 99999999999", &["'99999999999'", "--seconds", "31536000"]),
    ("fuzz --jobs 0", &["'0'", "--jobs"]),
    ("fuzz --jobs 1000000", &["'1000000'", "--jobs", "256"]),
    ("fuzz --seed soon", &["'soon'", "--seed", "neither a number nor `random`"]),
    ("fuzz --law every-job-ends", &["--until-failure"]),
    ("fuzz --until-failure --law every-job-end", &["--law", "`every job end`", "`every job ends`"]),
    ("fuzz --until-failure --law xyzzy", &["--law", "`xyzzy`", "midstream laws"]),
    ("fuzz --until-failure --law daemon-crashed", &["--law", "`daemon crashed`", "midstream laws"]),
    ("fuzz --out file/new", &["--out file/new: Not a directory"]),
    ("fuzz --history file/new", &["--history file/new: Not a directory"]),
    ("fuzz --history-all", &["--history"]),
    ("fuzz --target xen", &["--target", "no target is called `xen`", "qemu and midstreamd"]),
    ("fuzz --target qemu:/nowhere/qsd", &["--target", "/nowhere/qsd was not found"]),
    ("fuzz --target qemu:file", &["--target", "/file: Permission denied"]),
    ("fuzz --target qemu:/bin/sh", &["--target", "sh is no qemu-storage-daemon"]),
    ("fuzz --target midstreamd:/bin/sh", &["--target", "sh is no midstreamd"]),
    ("fuzz --target midstreamd:/bin/sh --disk", &["no node that is an NBD client", "--target qemu"]),
    ("fuzz --target midstreamd+disk:/bin/sh", &["no node that is an NBD client", "--target qemu"]),
    ("fuzz --target qemu:/bin/sh --out file/new", &["--out file/new: Not a directory"]),
    ("fuzz --target qemu:/bin/sh --until-failure --law daemon-crash", &["--law", "`daemon crashed`"]),
    ("fuzz --disk", &["--target"]),
    ("fuzz --shard 3", &["--shard", "neither I/N nor `env`"]),
    ("fuzz --shard 3/3", &["--shard", "of 3 there is no part 3"]),
    ("fuzz --shard 1/3", &["--shard", "the same --seed"]),
    ("fuzz --result x", &["--shard"]),
    ("fuzz --report file/x", &["--report file/x: Not a directory"]),
    ("fuzz --json-events", &["--json"]),
    ("merge", &["<DIR>"]),
    ("merge nowhere", &["nowhere: No such file or directory"]),
    ("merge corpus", &["none of these folders has the result of a part"]),
    ("doctor --everything", &["--everything"]),
    ("view nowhere", &["nowhere: No such file or directory"]),
    ("show run.json --html file/x", &["--html file/x: Not a directory"]),
    ("show run.json --beside run.json", &["--html"]),
    ("show live.json --html x.html --beside nearest", &["no daemon is started to show a trace"]),
    ("show live.json --format jsonl", &["`replay --history DIR` records"]),
    ("show bad.json --html x.html", &["bad.json: invalid type: integer `7`, expected a string at line 3"]),
    ("explore --report file/x .", &["--report file/x: Not a directory"]),
    ("fuzz --strict", &["--target"]),
    ("replay", &["<TRACE>"]),
    ("replay nowhere.json", &["nowhere.json: No such file or directory"]),
    ("replay bad.json", &["bad.json: invalid type: integer `7`, expected a string at line 3"]),
    ("replay file", &["file: expected ident at line 1"]),
    ("replay .", &[".: Is a directory"]),
    ("replay --times 0 live.json", &["'0'", "--times"]),
    ("replay --times 99999999999 live.json", &["'99999999999'", "--times"]),
    ("replay --target qemu:/bin/sh live.json", &["--target", "sh is no qemu-storage-daemon"]),
    ("replay --dump file/x run.json", &["--dump file/x: Not a directory"]),
    ("replay --history file/x run.json", &["--history file/x: Not a directory"]),
    ("replay --dump x run.json run.json", &["--dump takes one trace"]),
    ("replay --dump x live.json", &["live.json: --dump is for simulated runs"]),
    ("minimise", &["<TRACE>"]),
    ("minimise nowhere.json", &["nowhere.json: No such file or directory"]),
    ("minimise bad.json", &["bad.json: ", "line 3"]),
    ("minimise run.json --out file/new.json", &["--out file/new.json: Not a directory"]),
    ("minimise run.json --out .", &["--out .: Is a directory"]),
    ("minimise run.json --out nowhere/new.json", &["--out nowhere/new.json: No such file or directory"]),
    ("minimise run.json --runs 0", &["'0'", "--runs"]),
    ("minimise run.json --seconds 99999999999", &["'99999999999'", "--seconds"]),
    ("minimise run.json --tries 0", &["'0'", "--tries"]),
    ("minimise run.json --tries 1000000", &["'1000000'", "--tries"]),
    ("minimise run.json --failures 2", &["2 failures", "1 tries"]),
    ("minimise live.json --target qemu:/bin/sh", &["--target", "sh is no qemu-storage-daemon"]),
    ("show", &["<TRACE>"]),
    ("show nowhere.json", &["nowhere.json: No such file or directory"]),
    ("show bad.json", &["bad.json: ", "line 3"]),
    ("mutants", &["no workspace"]),
    ("mutants --of nobody", &["'nobody'", "--of"]),
    ("mutants --seconds 0", &["'0'", "--seconds"]),
    ("mutants --of model no-rule", &["no rule is called `no-rule`"]),
    ("mutants --of model TornRed", &["no rule is called `TornRed`", "`TornRead`"]),
    ("conform nowhere", &["nowhere: No such file or directory"]),
    ("conform corpus --match (", &["--match"]),
    ("conform corpus --match nobody", &["no case is called like `nobody`"]),
    ("conform corpus --jobs 0", &["'0'", "--jobs"]),
    ("conform corpus --jobs 1000000", &["'1000000'", "--jobs"]),
    ("conform corpus --daemon nowhere", &["nowhere is not a file"]),
    ("conform corpus --daemon /bin/sh", &["/bin/sh is no qemu-storage-daemon or midstreamd"]),
    ("export nowhere.json", &["nowhere.json: No such file or directory"]),
    ("export bad.json", &["bad.json: ", "line 3"]),
    ("export run.json", &["run.json: ", "no trace of a live daemon"]),
    ("export live.json --out file/new.sh", &["--out file/new.sh: Not a directory"]),
    ("export live.json --target qemu:/bin/sh", &["--target", "sh is no qemu-storage-daemon"]),
    ("export live.json --as iotest --iotests nowhere", &["--iotests", "nowhere: No such file or directory"]),
    ("export live.json --as iotest --iotests corpus", &["--iotests", "corpus is no tests/qemu-iotests"]),
    ("document --target qemu:/bin/sh", &["--target", "sh is no qemu-storage-daemon"]),
    ("document --target qemu:/bin/sh --out file/docs", &["--out file/docs: Not a directory"]),
    ("disk --socket s", &["<NAME=FILE[,SIZE]>"]),
    ("disk --socket s a", &["'a'", "a device is NAME=SIZE or NAME=FILE"]),
    ("disk --socket s a=4T", &["'a=4T'", "`4T` is no size"]),
    ("disk --socket s a=nowhere.img", &["nowhere.img: No such file or directory"]),
    ("disk --socket s a=4K a=8K", &["two devices are called `a`"]),
    ("disk --socket nowhere/s a=4K", &["nowhere/s: No such file or directory"]),
    ("disk --socket s a=4K --faults 1000", &["'1000'", "--faults"]),
    ("disk --socket s a=4K --keep file/x", &["--keep file/x: Not a directory"]),
    ("disk --socket s a=4K --power-cut file/x", &["--power-cut file/x: Not a directory"]),
    ("judge nowhere.jsonl", &["nowhere.jsonl: No such file or directory"]),
    ("judge bad.json", &["bad.json: line 1"]),
    ("judge .", &[".: ", "Is a directory"]),
    ("judge bad.json --spec nobody", &["'nobody'", "--spec"]),
    ("judge run.json", &["run.json: line 1", "this is a trace", "midstream replay"]),
    ("replay run.jsonl", &["run.jsonl: ", "this is a history", "midstream judge"]),
    ("show run.jsonl", &["run.jsonl: ", "this is a history", "midstream judge"]),
    ("judge - --quirks", &["--quirks"]),
    ("attack --target midstreamd:/bin/sh", &["--target", "sh is no midstreamd"]),
    ("attack --target midstreamd:/bin/sh --out file/new", &["--out file/new: Not a directory"]),
    ("attack --target midstreamd:/bin/sh --replay nowhere", &["nowhere: No such file or directory"]),
    ("attack --target midstreamd:/bin/sh --replay bad.json", &["bad.json: "]),
    ("attack --target midstreamd:/bin/sh --kind nobody", &["'nobody'", "--kind"]),
    ("attack --target midstreamd:/bin/sh --seconds 0", &["'0'", "--seconds"]),
    ("attack --target midstreamd:/bin/sh --budget 99999999", &["'99999999'", "--budget"]),
    ("rounds --target midstreamd:/bin/sh", &["--target", "sh is no midstreamd"]),
    ("rounds --target midstreamd:/bin/sh --rounds 0", &["'0'", "--rounds"]),
    ("rounds --target midstreamd:/bin/sh --jobs 1000000", &["'1000000'", "--jobs"]),
];

fn prepare(here: &Path) {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces");
    fs::write(here.join("file"), "no folder").expect("room");
    fs::write(here.join("bad.json"), "{\n\"version\": 1,\n\"law\": 7\n}").expect("room");
    fs::copy(traces.join("live/no-flush.json"), here.join("live.json")).expect("a recorded trace");
    fs::copy(traces.join("pause-after-cancel.json"), here.join("run.json")).expect("a recorded trace");
    let histories = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/histories");
    fs::copy(histories.join("hand-lost-flush.jsonl"), here.join("run.jsonl")).expect("a recorded history");
    fs::create_dir(here.join("corpus")).expect("room");
    let case = json!({"name": "c-1", "category": "c", "blockdevs": [], "steps": [], "images": []});
    let line = json!({"case": case, "result": {}}).to_string();
    let packed = zstd::encode_all(line.as_bytes(), 0).expect("memory takes any bytes");
    fs::write(here.join("corpus/c.jsonl.zst"), packed).expect("room");
}

/// What came of it, and whether it came soon.
fn refused(here: &Path, line: &str) -> (Output, bool) {
    let mut tries = (1..=TRIES).map(|_| {
        let began = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
        // The dash stands for a space in what is one word.
        let words = line.split_whitespace().map(|word| {
            match word.starts_with("every-") || word.starts_with("daemon-") {
                true => word.replace('-', " "),
                false => word.to_owned(),
            }
        });
        let output =
            command.args(words).current_dir(here).stdin(Stdio::null()).output().expect("it was built");
        (output, began.elapsed() < SOON)
    });
    let first = tries.next().expect("there are some");
    if first.1 { first } else { tries.find(|(_, is_soon)| *is_soon).unwrap_or(first) }
}

#[test]
fn whatever_is_wrong_is_reported_at_once_with_its_place() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let here = folder.path();
    prepare(here);
    let mut wrong = Vec::new();
    for (line, reasons) in ROWS {
        let (output, is_soon) = refused(here, line);
        let said = String::from_utf8_lossy(&output.stderr);
        let is_reported = reasons.iter().all(|reason| said.contains(reason)) && output.stdout.is_empty();
        if output.status.code() != Some(2) || !is_reported || !is_soon {
            let soon = if is_soon { "soon" } else { "late" };
            wrong.push(format!("midstream {line}\n  {}, {soon}: {said}", output.status));
        }
    }
    assert!(wrong.is_empty(), "{} of {} lines:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
    assert!(!here.join("traces").exists(), "what was refused has left something");
}

#[test]
fn no_subcommand_is_left_out() {
    let help = Command::new(env!("CARGO_BIN_EXE_midstream")).arg("--help").output().expect("it was built");
    let help = String::from_utf8(help.stdout).expect("text");
    let list = help.split("Commands:").nth(1).expect("a list").split("\n\n").next().expect("its lines");
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        assert!(ROWS.iter().any(|(line, _)| line.split(' ').next() == Some(name)), "{name} is in no row");
    }
}

#[test]
fn laws_are_listed_as_campaigns_take_them() {
    let list = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_midstream")).args(arguments).output();
        let output = output.expect("it was built");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let [laws, live, goals] = [&["laws"][..], &["laws", "--live"], &["laws", "--goals"]].map(list);
    // A short name, and the law.
    assert!(laws.contains(&"job.end               every job ends".to_owned()), "{laws:?}");
    assert_eq!(live[..laws.len()], laws);
    assert!(live.contains(&"-                     daemon crashed".to_owned()), "{live:?}");
    assert!(goals.len() > 100 && goals.iter().all(|goal| !live.contains(goal)));
}

/// What follows the program's name in the lines of a document that run it, up to a comment.
fn commands(document: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    let after = |line: &str| {
        line.split_once("cargo midstream ").map(|(before, after)| (before.to_owned(), after.to_owned()))
    };
    // Where it stands in a sentence, it may be cut short.
    let is_run = |before: &str| before.trim().is_empty() || before.trim_end().ends_with("run:");
    let lines = document.lines().filter_map(after).filter(move |(before, _)| is_run(before));
    lines.map(|(_, after)| {
        let command = after.split(" #").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
        let seed = command.replace("${{ github.run_id }}", "7");
        let words = seed.split_whitespace().map(|word| word.trim_matches('\'').to_owned());
        // A daemon that the reader has somewhere is a file that is there.
        words.map(|word| if word.starts_with("qemu:") { "qemu:/bin/sh".to_owned() } else { word }).collect()
    })
}

#[test]
fn every_command_line_of_the_documents_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut count = 0;
    let documents =
        ["README.md", "docs/ci.md", "docs/security.md", "docs/history.md", "docs/how-to-read-a-failure.md"];
    for document in documents {
        let text = std::fs::read_to_string(root.join(document)).expect("a document of the project");
        for arguments in commands(&text) {
            let mut midstream = Command::new(env!("CARGO_BIN_EXE_midstream"));
            // What stands before is looked at, and then there is help instead of a run.
            let output = midstream.args(&arguments).arg("--help").output().expect("it was built");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}: cargo midstream {}: {said}", arguments.join(" "));
            count += 1;
        }
    }
    assert!(count >= 20, "only {count} command lines");
}
