//! The examples do what their headers say.

#![allow(clippy::duplicate_mod, reason = "each example brings the layer that it is about")]

#[path = "../examples/own_block_layer.rs"]
#[allow(dead_code)]
mod own_block_layer;

#[path = "../examples/custom_scenario.rs"]
#[allow(dead_code)]
mod custom_scenario;

#[path = "../examples/event_log_snapshot.rs"]
#[allow(dead_code)]
mod event_log_snapshot;

#[path = "../examples/one_order.rs"]
#[allow(dead_code)]
mod one_order;

#[path = "../examples/replay_trace.rs"]
#[allow(dead_code)]
mod replay_trace;

use midstream::check::End;
use midstream::{Profile, find};
use own_block_layer::Log;

#[test]
fn the_bug_of_the_own_block_layer_is_found_and_made_small() {
    let found = find(Log { flushes_data_first: false }, Profile::default(), 2_000).expect_err("it has a bug");
    assert_eq!(found.law.as_deref(), Some("what was flushed survives a power cut"), "{found}");
    let requests = found.steps.iter().filter(|step| step.contains(" of ")).count();
    assert!(requests <= 4, "{found}");
    assert!(found.steps.iter().any(|step| step.ends_with("power cut")), "{found}");
}

#[test]
fn the_mended_layer_breaks_nothing() {
    let found = find(Log { flushes_data_first: true }, Profile::default(), 2_000);
    assert!(found.is_ok(), "{}", found.err().map(|failure| failure.to_string()).unwrap_or_default());
}

#[test]
fn the_custom_scenario_breaks_the_log_and_not_the_mended_one() {
    let found = custom_scenario::played(false, 1_000).expect("the bug is found");
    assert_eq!(found.law.as_deref(), Some("what was flushed survives a power cut"), "{found}");
    let mended = custom_scenario::played(true, 1_000);
    assert!(mended.is_none(), "{}", mended.map(|failure| failure.to_string()).unwrap_or_default());
}

#[test]
fn a_trace_plays_the_failure_again() {
    let found = replay_trace::found();
    let path = found.trace.clone().expect("its trace was left");
    let again = replay_trace::played(&path);
    assert!(found.law.is_some() && !found.steps.is_empty(), "{found}");
    assert_eq!((&again.law, &again.steps), (&found.law, &found.steps));
}

#[test]
fn the_event_log_is_what_the_example_shows() {
    event_log_snapshot::check();
}

#[test]
fn the_one_order_that_loses_a_write_is_found_for_certain() {
    assert_eq!(one_order::explored(true).end, End::Broken);
    assert_eq!(one_order::explored(false).end, End::Complete, "without the bug no order loses anything");
}

/// Every example is linked from the README, which says how to run it.
#[test]
fn the_readme_names_every_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).expect("a file of the workspace");
    let mut examples = 0;
    for entry in std::fs::read_dir(root.join("examples")).expect("a folder of the workspace") {
        let path = entry.expect("an entry").path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if let Some(name) = path.file_stem().filter(|_| is_source).and_then(|name| name.to_str()) {
            assert!(readme.contains(&format!("(examples/{name}.rs)")), "the README does not link {name}");
            examples += 1;
        }
    }
    assert!(examples >= 4, "{examples} examples");
}
