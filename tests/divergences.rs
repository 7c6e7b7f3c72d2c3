//! Where the real qemu-storage-daemon 10.0.2 goes wrong, we are right: one test for each of its known defects.
//!
//! Chains are drawn as text, the lowest layer first, one character for each cluster of 1 KiB. The oracle watches
//! every read and what is on the disks afterwards. What a kill after completion leaves is shown on real files, by
//! `a_kill_right_after_completion_loses_nothing` in `real_files.rs`.

use midstream::request::Operation;
use midstream::verdict::Verdict;
use midstream::world::fault::Fault;
use sim::workload::image::{Cluster, Format};
use sim::workload::scenario::Scenario;
use sim::world::World;

const DONE: &str = r#"{"return": {}}"#;

fn stream(arguments: &str) -> String {
    format!(r#"{{"execute":"block-stream","arguments":{{"job-id":"s",{arguments}}}}}"#)
}

fn node(world: &mut World, name: &str) -> String {
    let nodes = world.execute(r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#);
    let mut nodes: serde_json::Value = serde_json::from_str(&nodes).expect("a reply is JSON");
    let nodes = nodes["return"].as_array_mut().expect("the query is answered");
    let found = nodes.iter_mut().find(|node| node["node-name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is not in the graph"));
    // What was copied before an end takes space, whatever the end.
    let image = found["image"].as_object_mut().expect("a node shows its image");
    image.remove("actual-size").expect("and of its size");
    found.to_string()
}

fn was_emitted(world: &World, words: &[&str]) -> bool {
    world.log().iter().any(|line| words.iter().all(|word| line.contains(word)))
}

#[track_caller]
fn assert_passed(world: World) {
    let log = world.log().join("\n");
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed, "{log}");
}

// Q1: the real daemon crashes when the nodes are asked for while a stream that is over waits to be dismissed.
#[test]
fn nodes_are_shown_while_a_stream_waits_to_be_dismissed() {
    let endings: [(&str, Option<&str>); 3] = [
        (r#""device":"n2","auto-dismiss":false"#, None),
        (r#""device":"n1","base-node":"n0","filter-node-name":"filt","auto-dismiss":false"#, None),
        (
            r#""device":"n1","speed":1,"auto-dismiss":false"#,
            Some(r#"{"execute":"job-cancel","arguments":{"id":"s"}}"#),
        ),
    ];
    for (arguments, then) in endings {
        let mut world = World::open(Scenario::chain(&["dddd", ".dd.", "..d."]));
        assert_eq!(world.execute(&stream(arguments)), DONE);
        if let Some(then) = then {
            assert_eq!(world.execute(then), DONE);
        }
        world.settle();
        let jobs = world.execute(r#"{"execute":"query-jobs"}"#);
        assert!(jobs.contains("concluded"), "the set-up is wrong: {jobs}");
        node(&mut world, "n0");
        assert_eq!(world.execute(r#"{"execute":"job-dismiss","arguments":{"id":"s"}}"#), DONE);
        assert_passed(world);
    }
}

/// A guest reads the whole of the top layer before and after a stream, and from the disks once more at the end.
#[track_caller]
fn assert_zeroes_are_kept(scenario: Scenario, arguments: &str) {
    let top = scenario.images.len() - 1;
    let sectors = scenario.images[top].sectors();
    let mut world = World::open(scenario);
    let mut guest = world.attach(1, &format!("n{top}"), true).expect("nobody forbids a guest at the top");
    world.request(&mut guest, Operation::Read, 0, sectors);
    assert_eq!(world.execute(&stream(arguments)), DONE);
    world.settle();
    assert!(was_emitted(&world, &["BLOCK_JOB_COMPLETED"]), "the set-up is wrong: {}", world.log().join("\n"));
    world.request(&mut guest, Operation::Read, 0, sectors);
    world.detach(guest);
    assert_passed(world);
}

// Q2: past the end of a short layer the guest reads zeroes; with a base below, they are data that must be kept.
#[test]
fn zeroes_past_the_end_of_a_short_layer_are_kept() {
    let to_base = r#""device":"n2","base-node":"n0""#;
    let by_bottom = r#""device":"n2","bottom":"n1""#;
    for layers in [["ddddd", "dd", "....."], ["ddddd", "d", ".d..."], ["ddddd", "", "....."]] {
        assert_zeroes_are_kept(Scenario::chain(&layers), to_base);
        assert_zeroes_are_kept(Scenario::chain(&layers), by_bottom);
        let below_another = [layers[0], layers[1], layers[2], "..d.."];
        assert_zeroes_are_kept(Scenario::chain(&below_another), to_base);
        let over_another = [layers[0], layers[1], ".....", "....."];
        assert_zeroes_are_kept(Scenario::chain(&over_another), r#""device":"n3","base-node":"n0""#);
    }
}

#[test]
fn zeroes_past_a_layer_that_ends_inside_a_cluster_are_kept() {
    let mut scenario = Scenario::chain(&["ddddd", "dd", "....."]);
    scenario.images[1].size_bytes -= 512;
    assert_zeroes_are_kept(scenario, r#""device":"n2","base-node":"n0""#);
}

#[test]
fn zeroes_past_a_short_raw_layer_are_kept() {
    let mut scenario = Scenario::chain(&["dd", "....."]);
    scenario.images[0].format = Format::Raw;
    scenario.images[0].clusters = vec![Cluster::Data; 4];
    assert_zeroes_are_kept(scenario, r#""device":"n1""#);
}

// The real daemon names the format of the overlay, and nobody can open that any more.
#[test]
fn a_changed_backing_name_has_the_format_of_what_it_names() {
    let mut scenario = Scenario::chain(&["dd", "...."]);
    scenario.images[0].format = Format::Raw;
    scenario.images[0].clusters = vec![Cluster::Data; 4];
    let known = scenario.images[0].path.clone();
    let mut world = World::open(scenario);
    for name in [known.as_str(), "/elsewhere.raw"] {
        let arguments = format!(r#"{{"device":"n1","image-node-name":"n1","backing-file":"{name}"}}"#);
        assert_eq!(
            world.execute(&format!(r#"{{"execute":"change-backing-file","arguments":{arguments}}}"#)),
            DONE
        );
        let shown = world.execute(r#"{"execute":"query-named-block-nodes"}"#).replace(' ', "");
        assert!(shown.contains(r#""backing-filename-format":"raw""#), "{name}: {shown}");
    }
}

// Q5: the header cannot be written. The real daemon has changed its graph by then.
#[test]
fn a_header_that_cannot_be_written_leaves_the_graph_as_it_was() {
    let mut world = World::open(Scenario::chain(&["dddd", ".dd.", "...."]));
    let mut guest = world.attach(1, "n2", true).expect("nobody forbids a guest at the top");
    let before = node(&mut world, "n2");
    world.arm(Fault { file: 2, range: Some((0, 512)), ..Fault::new(seam::Errno::ENOSPC) });
    assert_eq!(world.execute(&stream(r#""device":"n2","base-node":"n0""#)), DONE);
    world.settle();
    assert!(
        was_emitted(&world, &["BLOCK_JOB_COMPLETED", "No space left on device"]),
        "{}",
        world.log().join("\n")
    );
    assert_eq!(node(&mut world, "n2"), before);
    world.request(&mut guest, Operation::Read, 0, 8);
    world.detach(guest);
    assert_passed(world);
}

#[test]
fn a_backing_file_that_fits_no_header_leaves_the_graph_as_it_was() {
    let mut world = World::open(Scenario::chain(&["dddd", ".dd.", "...."]));
    let before = node(&mut world, "n2");
    let long = "x".repeat(1100);
    let asked = stream(&format!(r#""device":"n2","base-node":"n0","backing-file":"{long}""#));
    assert_eq!(world.execute(&asked), DONE);
    world.settle();
    assert!(was_emitted(&world, &["BLOCK_JOB_COMPLETED", "Invalid argument"]), "{}", world.log().join("\n"));
    assert_eq!(node(&mut world, "n2"), before);
    assert_passed(world);
}

// Q6: the link to base is not frozen. What is taken away under a stream is gone for readers from then on, and the
// stream's end changes nothing of what they read.
#[test]
fn a_base_taken_away_or_put_under_a_stream_changes_nothing_at_its_end() {
    let reopen = |backing: &str| {
        format!(
            r#"{{"execute":"blockdev-reopen","arguments":{{"options":[{{"driver":"qcow2","node-name":"n1","file":"f1","backing":{backing},"read-only":true}}]}}}}"#
        )
    };
    // (the first two backings of n1: before and while the stream runs)
    for (first, then) in [(r#""n0""#, "null"), ("null", r#""n0""#)] {
        let mut world = World::open(Scenario::chain(&["ddddd", "dd", "....."]));
        if first == "null" {
            assert_eq!(world.execute(&reopen(first)), DONE);
        }
        assert_eq!(world.execute(&stream(r#""device":"n2","bottom":"n1","auto-finalize":false"#)), DONE);
        world.settle();
        assert_eq!(world.execute(&reopen(then)), DONE);
        let mut guest = world.attach(1, "n2", true).expect("nobody forbids a guest at the top");
        world.request(&mut guest, Operation::Read, 0, 10);
        assert_eq!(world.execute(r#"{"execute":"job-finalize","arguments":{"id":"s"}}"#), DONE);
        world.settle();
        world.request(&mut guest, Operation::Read, 0, 10);
        world.detach(guest);
        let reads: Vec<String> = world.log().into_iter().filter(|line| line.contains("read")).collect();
        assert!(!reads.is_empty(), "nobody has read");
        assert_passed(world);
    }
}
