//! The examples do what their headers say.

#[path = "../examples/own_block_layer.rs"]
#[allow(dead_code)]
mod own_block_layer;

use midstream::{Profile, find};
use own_block_layer::Log;

#[test]
fn the_bug_of_the_own_block_layer_is_found_and_made_small() {
    let found = find(Log { flushes_data_first: false }, Profile::default(), 2_000).expect_err("it has a bug");
    assert_eq!(found.law.as_deref(), Some("what was flushed survives a power cut"), "{found}");
    let requests = found.steps.iter().filter(|step| step.contains(" of ")).count();
    assert!(requests <= 4, "{found}");
    assert!(found.steps.iter().any(|step| step.ends_with("PowerCut")), "{found}");
}

#[test]
fn the_mended_layer_breaks_nothing() {
    let found = find(Log { flushes_data_first: true }, Profile::default(), 2_000);
    assert!(found.is_ok(), "{}", found.err().map(|failure| failure.to_string()).unwrap_or_default());
}
