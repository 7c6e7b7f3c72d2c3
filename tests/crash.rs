//! Small streams, ended without warning at every step, by a kill and by a power cut, with every kind of survivors.
//!
//! What was flushed before must be there afterwards, through the chain the headers on disk then name, and no image
//! may be corrupt. The oracle judges; here we only make sure that every point was struck.

use midstream::request::Operation;
use midstream::strategy::random::Random;
use midstream::verdict::Verdict;
use midstream::world::crash::Ending;
use sim::workload::scenario::Scenario;
use sim::world::World;
use sim::world::scripted::{First, Hand};

/// Ways in which unflushed writes survive, beside "none": drawn by these seeds, "all" and "torn" among them.
const SEEDS: std::ops::Range<u64> = 1..7;

/// A crash point lies so many steps after the stream was started.
fn at_every_step(layers: &[&str], arguments: &str, write_before: bool) {
    let start = || {
        let mut world = World::open(Scenario::chain(layers));
        let guest = write_before.then(|| unflushed_write(&mut world, layers.len() - 1));
        let reply = world.execute(&format!(r#"{{"execute":"block-stream","arguments":{{{arguments}}}}}"#));
        assert_eq!(reply, r#"{"return": {}}"#);
        (world, guest)
    };
    let mut struck = 0;
    for step in 0.. {
        let (mut world, _guest) = start();
        world.pass(step);
        let is_over = world.log().iter().any(|line| line.contains("status:null"));
        drop(world);
        for ending in [Ending::Kill, Ending::PowerCut] {
            let strike = |strategy| {
                let (mut world, _guest) = start();
                world.pass(step);
                let outcome = world.end(ending, strategy);
                assert_eq!(outcome.verdict, Verdict::Passed, "{ending:?} at step {step}, {arguments}");
            };
            strike(Box::new(First));
            SEEDS.for_each(|seed| strike(Box::new(Random::new(seed))));
            struck += 1;
        }
        if is_over {
            break;
        }
    }
    assert!(struck > 20, "only {struck} crash points in {arguments}");
}

/// A guest writes over the middle of the top image and does not flush.
fn unflushed_write(world: &mut World, top: usize) -> Hand {
    let mut guest = world.attach(1, &format!("n{top}"), true).expect("nobody forbids a writer at the top");
    world.request(&mut guest, Operation::Write, 3, 3);
    guest
}

#[test]
fn a_stream_of_the_whole_chain_into_the_active_layer() {
    at_every_step(&["dd..d", ".d.dd", "...d."], r#""job-id":"s","device":"n2""#, false);
}

#[test]
fn a_stream_down_to_a_base_node() {
    at_every_step(&["dd..d", ".d.dd", "...d."], r#""job-id":"s","device":"n2","base-node":"n0""#, false);
}

#[test]
fn a_stream_into_an_intermediate_read_only_node() {
    at_every_step(
        &["ddddd", ".d...", "..d..", "...dd"],
        r#""job-id":"s","device":"n2","base-node":"n0""#,
        false,
    );
}

#[test]
fn a_stream_past_the_end_of_a_short_layer() {
    at_every_step(
        &["ddddd", "dd", ".d...", "..d.."],
        r#""job-id":"s","device":"n2","base-node":"n0""#,
        false,
    );
}

#[test]
fn a_stream_of_zeroes() {
    at_every_step(&["ddddd", "zz0_z", "....."], r#""job-id":"s","device":"n2","base-node":"n0""#, false);
}

#[test]
fn a_stream_over_an_unflushed_guest_write() {
    at_every_step(&["ddddd", ".d.d.", "....."], r#""job-id":"s","device":"n2","base-node":"n0""#, true);
}

#[test]
fn a_stream_with_nothing_to_copy_that_rewrites_the_header() {
    at_every_step(&["ddddd", ".d.d."], r#""job-id":"s","device":"n1","base-node":"n0""#, true);
}
