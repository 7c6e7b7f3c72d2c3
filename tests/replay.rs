//! Every recorded failure replays: strictly, and to the verdict it must have today.

use midstream::strategy::replay::strict;
use midstream::trace::Trace;
use sim::subject::subject;
use std::path::{Path, PathBuf};

fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("traces");
    let entries = std::fs::read_dir(folder).expect("the folder of traces");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut traces: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    traces.sort();
    traces
}

#[test]
fn every_trace_has_the_verdict_it_expects() {
    let traces = recorded();
    assert!(!traces.is_empty(), "no trace to replay");
    for path in traces {
        let trace = Trace::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (outcome, divergence) = strict(|choices| subject().quiet(choices), &trace.choices);
        assert_eq!(divergence.map(|d| d.to_string()), None, "{}", path.display());
        assert_eq!(outcome.verdict.law(), trace.expect, "{}: {:?}", path.display(), outcome.verdict);
    }
}
