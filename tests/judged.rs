//! What a run once proved the judge wrong about: each is right, and a real daemon does the same.
//!
//! Chains are drawn as text, the lowest layer first, one character for each cluster of 1 KiB.

use midstream::verdict::Verdict;
use sim::workload::scenario::Scenario;
use sim::world::World;

const DONE: &str = r#"{"return": {}}"#;

fn backing(node: usize, backing: &str) -> String {
    format!(
        r#"{{"execute":"blockdev-reopen","arguments":{{"options":[{{"driver":"qcow2","node-name":"n{node}","file":"f{node}","backing":{backing},"read-only":true}}]}}}}"#
    )
}

// n1 <- n2, and a mirror of n0 into n2; then n1 is put on n0. When n2 takes the place of n0 it must not come to lie
// under itself.
#[test]
fn a_target_that_came_to_stand_on_its_source_stays_above_it_when_it_takes_its_place() {
    let mut world = World::open(Scenario::chain(&["dddd", ".dd.", "..d."]));
    let mirror = r#"{"execute":"blockdev-mirror","arguments":{"device":"n0","job-id":"m","target":"n2","sync":"none"}}"#;
    assert_eq!(world.execute(&backing(1, "null")), DONE);
    assert_eq!(world.execute(mirror), DONE);
    world.settle();
    assert_eq!(world.execute(&backing(1, r#""n0""#)), DONE);
    assert_eq!(world.execute(r#"{"execute":"job-complete","arguments":{"id":"m"}}"#), DONE);
    world.settle();
    let log = world.log().join("\n");
    assert!(log.contains("BLOCK_JOB_COMPLETED"), "the set-up is wrong: {log}");
    let nodes = world.execute(r#"{"execute":"query-named-block-nodes"}"#);
    assert!(nodes.contains(r#""n1""#), "{nodes}");
    let log = world.log().join("\n");
    assert_eq!(world.finish().verdict, Verdict::Passed, "{log}");
}
