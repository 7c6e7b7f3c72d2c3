//! The recipes of `docs/scenario-cookbook.md`: each stands here word for word, is played, and breaks nothing in layers without
//! a bug.

#[path = "../examples/own_block_layer.rs"]
#[allow(dead_code)]
mod own_block_layer;

use midstream::scenario::{
    Scenario, cancel, commit, discard, eio, enospc, flush, kill, own, pause, power_cut, qmp, read, resize,
    resume, stream, write, write_zeroes,
};
use midstream::{BlockLayer, event_log, find};
use own_block_layer::Log;
use sim::layer::Ours;
use std::fs;
use std::path::Path;

const RUNS: u64 = 200;

fn overlap() -> Scenario {
    Scenario::chain(["disk dddd...."])
        .guest("disk", [write(0, 4), read(0, 8)])
        .guest("disk", [write(2, 4), read(0, 8)])
}

fn flushed() -> Scenario {
    Scenario::chain(["disk ........"])
        .guest("disk", [write(0, 2), flush(), write(1, 2), flush()])
        .crash(power_cut())
}

fn killed() -> Scenario {
    Scenario::chain(["disk dddddddd"])
        .guest("disk", [write_zeroes(0, 4), flush(), discard(4, 4), write(6, 1)])
        .crash(kill())
}

fn failed_flush() -> Scenario {
    Scenario::chain(["disk ...."])
        .guest("disk", [write(0, 4), flush(), flush()])
        .fault(eio("disk").on_flush().once())
        .crash(power_cut())
}

fn full() -> Scenario {
    Scenario::chain(["disk ........"])
        .guest("disk", [write(0, 8), write(0, 2), flush(), read(0, 8)])
        .fault(enospc("disk").after(2))
}

fn chain() -> Scenario {
    Scenario::chain(["base dddddddd", "mid  ..dd....", "top  ....dd.."])
        .guest("top", [write(1, 3), read(0, 8)])
        .guest("mid", [read(0, 8)])
        .guest("base", [read(0, 8)])
        .fault(eio("mid").on_read().once())
}

fn resized() -> Scenario {
    Scenario::chain(["disk dddddddd"])
        .guest("disk", [resize(4), resize(12), read(0, 12), flush()])
        .guest("disk", [write(2, 4), read(0, 4)])
        .crash(power_cut())
}

fn compacted() -> Scenario {
    Scenario::chain(["base dddddddd", "top  ..dd...."])
        .guest("top", [own(0)])
        .guest("top", [write(0, 3), flush(), read(0, 8)])
        .crash(power_cut())
}

fn jobs() -> Scenario {
    Scenario::chain(["base dddddddd", "mid  ..dd....", "top  d......."])
        .client(stream("mid").base("base").job("s"))
        .client([pause("s"), resume("s"), cancel("s")])
        .client(commit("top").top("mid").job("c"))
        .guest("mid", [read(0, 8)])
        .guest("top", [write(0, 8), read(0, 8)])
}

fn snapshot() -> Scenario {
    let query = r#"{"execute": "query-block-jobs"}"#;
    Scenario::chain(["base dddddddd", "top  ....dd.."])
        .client([stream("top").job("s"), qmp(query), qmp(query)])
        .client(qmp(r#"{"execute": "block_resize", "arguments": {"node-name": "top", "size": 8192}}"#))
        .fault(eio("base").on_read().once())
        .crash(power_cut())
}

#[track_caller]
fn holds<L: BlockLayer>(layer: L, scenario: Scenario) {
    let found = find(layer, scenario, RUNS);
    assert!(found.is_ok(), "{}", found.expect_err("it was said to be one"));
}

#[test]
fn recipes_for_one_image_hold_in_a_log_and_in_our_engine() {
    for recipe in [overlap, flushed, killed, failed_flush, full] {
        holds(Log { flushes_data_first: true }, recipe());
        holds(Ours::<false>, recipe());
    }
    holds(Ours::<false>, resized());
}

#[test]
fn recipes_for_chains_and_for_clients_hold_in_our_engine() {
    for recipe in [chain, compacted, jobs, snapshot] {
        holds(Ours::<true>, recipe());
    }
}

#[test]
fn what_recipes_are_about_happens_in_them() {
    let happens = |recipe: fn() -> Scenario, what: &str| {
        let log = |seed| event_log(Ours::<true>, recipe(), seed).expect("it is played");
        assert!((1..20).flat_map(log).any(|line| line.contains(what)), "no `{what}`");
    };
    happens(failed_flush, "fails: Input/output error");
    happens(full, "fails: No space left on device");
    happens(resized, "Resize to 12 sectors");
    happens(compacted, "block-stream");
    happens(jobs, "block-commit");
    happens(snapshot, "block_resize");
}

#[test]
fn the_page_has_what_is_played_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/scenario-cookbook.md")).expect("the page");
    let played = include_str!("cookbook.rs");
    let recipes: Vec<&str> =
        page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert_eq!(recipes.len(), 10);
    for recipe in recipes {
        assert!(played.contains(recipe), "this is not what is played:\n{recipe}");
    }
}
