//! Recorded runs of the real daemon that are wrong, each with the smallest set of quirks that explains it.
//!
//! `tests/known/quirks.json` names every file with that set. Without quirks each breaks a law.

use model::{Quirk, Release};
use sim::judge::{Verdict, judge_with};
use sim::live::known::smallest_by;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/known")
}

#[test]
fn every_history_is_explained_by_its_quirks_and_by_no_fewer() {
    let table = fs::read(folder().join("quirks.json")).expect("the table");
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_slice(&table).expect("names of quirks");
    let files = fs::read_dir(folder()).expect("the folder").count();
    assert_eq!(files, expected.len() + 1, "every file stands in the table");
    for (name, quirks) in &expected {
        let text = fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let explains = |quirks: &[Quirk]| match judge_with(&text[..], None, quirks).verdict {
            Verdict::Clean | Verdict::Inconclusive { .. } => true,
            Verdict::Broken { .. } => false,
            other => panic!("{name}: {other:?}"),
        };
        assert!(!explains(&[]), "{name} is right");
        let is_newest = text.starts_with(br#"{"midstream-history":1,"spec":"qemu-11.1""#);
        let release = if is_newest { Release::NEWEST } else { Release::V10_0_2 };
        let found =
            smallest_by(&Quirk::of(release), &explains).unwrap_or_else(|| panic!("no quirks explain {name}"));
        let found: Vec<&str> = found.iter().map(|quirk| quirk.name()).collect();
        assert_eq!(&found, quirks, "{name}");
    }
}
