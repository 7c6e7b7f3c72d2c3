//! The page on histories holds what it shows: its example is judged clean, and so is what its script records of qemu-nbd.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use sim::judge::{Verdict, judge};
use std::fs;
use std::path::Path;
use support::tools;

const LINES_MAX: usize = 60;

/// What stands on the page in a block of this language.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/history.md");
    let page = fs::read_to_string(page).expect("the page");
    let (_, block) = page.split_once(&format!("\n```{language}\n")).expect("the block is there");
    block.split_once("\n```").expect("the block has an end").0.to_owned()
}

#[test]
fn the_example_is_clean_and_its_spoilt_twin_is_not() {
    let example = block("jsonl");
    assert_eq!(example.lines().count(), 10);
    assert_eq!(judge(example.as_bytes(), None).verdict, Verdict::Clean);
    let spoilt = example.replace(
        r#""recovered":{"file":"disk","values":[7,7"#,
        r#""recovered":{"file":"disk","values":[7,0"#,
    );
    let judged = judge(spoilt.as_bytes(), None);
    assert!(matches!(judged.verdict, Verdict::Broken { line: 10, .. }), "{judged:?}");
}

#[test]
fn the_script_records_a_server_that_is_killed_and_the_record_is_clean() {
    let script = block("python");
    assert!(script.lines().count() <= LINES_MAX);
    if !tools::have(&["python3", "qemu-nbd", "qemu-io", "qemu-img"], "the script of docs/history.md") {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("record.py");
    fs::write(&file, script).expect("room for a script");
    let history = tools::run("python3", &[file.to_str().expect("a plain path"), "7"]);
    let judged = judge(history.as_bytes(), None);
    assert_eq!(judged.verdict, Verdict::Clean, "{history}");
    let seen = |what: &str| history.matches(&format!("{{\"{what}\":")).count();
    assert_eq!((seen("crash"), seen("recovered")), (2, 2));
    assert!(seen("ended") > 10 && judged.checks > 2 * 64, "{judged:?}");
}
