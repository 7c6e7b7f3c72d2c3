//! A node that grows over a longer layer below: what is new reads as zeroes from the first moment anybody can see it.
//!
//! Chains are drawn as text, the lowest layer first, one character for each cluster of 1 KiB.

use midstream::request::Operation;
use midstream::strategy::random::Random;
use midstream::verdict::Verdict;
use midstream::world::crash::Ending;
use midstream::world::fault::{Fault, Often};
use seam::Errno;
use sim::workload::scenario::Scenario;
use sim::world::World;

const DONE: &str = r#"{"return": {}}"#;
const GROW: &str = r#"{"execute":"block_resize","arguments":{"node-name":"n1","size":6144}}"#;

/// `n0 <- n1`, and n1 is the shorter one.
fn world() -> World {
    World::open(Scenario::chain(&["dddddd", ".d"]))
}

fn size(world: &mut World) -> u64 {
    let nodes = world.execute(r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#);
    let nodes: serde_json::Value = serde_json::from_str(&nodes).expect("a reply is JSON");
    let nodes = nodes["return"].as_array().expect("a list of nodes");
    let found = nodes.iter().find(|node| node["node-name"] == "n1").expect("n1 is in the graph");
    found["image"]["virtual-size"].as_u64().expect("a size")
}

#[test]
fn what_a_longer_layer_below_has_does_not_show() {
    let mut world = world();
    assert_eq!(world.execute(GROW), DONE);
    assert_eq!(size(&mut world), 6144);
    let mut guest = world.attach(1, "n1", true).expect("nobody forbids a guest at the top");
    world.request(&mut guest, Operation::Read, 0, 12);
    world.request(&mut guest, Operation::Write, 9, 1);
    world.request(&mut guest, Operation::Read, 0, 12);
    world.detach(guest);
    assert_eq!(world.finish().verdict, Verdict::Passed);
}

// Zeroes first, then the size: a write that fails in between must not leave the size without the zeroes.
#[test]
fn a_resize_that_fails_leaves_the_size_as_it_was() {
    let mut refused = 0;
    for after in 0.. {
        let mut world = world();
        world.arm(Fault { file: 1, after, often: Often::Once, ..Fault::new(Errno::EIO) });
        let reply = world.execute(GROW);
        let expected = if reply == DONE { 6144 } else { 2048 };
        assert_eq!(size(&mut world), expected, "the write that fails is number {after}: {reply}");
        let outcome = world.end(Ending::Kill, Box::new(Random::new(u64::from(after))));
        assert_eq!(outcome.verdict, Verdict::Passed, "the write that fails is number {after}");
        if reply == DONE {
            break;
        }
        refused += 1;
    }
    assert!(refused > 1, "a resize writes more than once: {refused}");
}
