//! What the page tells is so: every trace still breaks its law, and the page is made from them.

use midstream::campaign::{Plan, Seeds};
use midstream_other_engines::engine::Engine;
use midstream_other_engines::findings;
use midstream_other_engines::page;
use std::collections::BTreeSet;
use std::fs;

#[test]
fn the_page_tells_what_the_traces_show() {
    let page = page::text().expect("every trace breaks its law");
    let kept = fs::read_to_string(page::path()).expect("the page is there");
    assert_eq!(
        page, kept,
        "make it anew: cargo run --release --manifest-path other-engines/Cargo.toml -- --write-page"
    );
}

#[test]
fn every_trace_is_a_finding() {
    let kept = fs::read_dir(page::traces())
        .expect("the folder of traces")
        .map(|entry| entry.expect("an entry").path());
    let kept =
        kept.filter(|path| path.is_file()).filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let known = Engine::OTHERS.into_iter().flat_map(findings::of).map(|finding| finding.name.to_owned());
    assert_eq!(kept.collect::<BTreeSet<_>>(), known.collect::<BTreeSet<_>>());
}

#[test]
fn our_own_driver_breaks_nothing_at_the_levels_of_the_findings() {
    for finding in Engine::OTHERS.into_iter().flat_map(findings::of) {
        let plan = Plan {
            seeds: Seeds::From(1),
            runs: 300,
            time: None,
            jobs: 1,
            until_failure: true,
            ending_laws: Vec::new(),
            history: None,
        };
        let totals = Engine::Ours.survey(finding.breaks.0, &plan).expect("it can be judged");
        assert!(totals.broken.is_empty(), "{}: {:?}", finding.breaks.0, totals.broken);
    }
}
