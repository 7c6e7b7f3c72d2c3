//! What an operator sees of a job, from its start to its end: one snapshot for each way it can go.
//!
//! Chains are drawn lowest layer first, one letter a cluster: `.` unallocated, `d` data, `z` zeroes.

use midstream::verdict::Verdict;
use midstream::world::fault::{Fault, Kind, Often};
use seam::Errno;
use sim::workload::scenario::Scenario;
use sim::world::World;

/// base <- mid <- top
const THREE: [&str; 3] = ["dddd....", "..dd..dd", "d......."];
/// base <- a <- b <- c <- top
const FIVE: [&str; 5] = ["dddddddd", ".d......", "..d.....", "...d....", "....d..."];

/// Sets up a chain, drives it, snapshots what was said, then lives through the rest under the oracle's eyes.
fn check(name: &str, layers: &[&str], drive: impl FnOnce(&mut World)) {
    let mut world = World::open(Scenario::chain(layers));
    let before = world.log().len();
    drive(&mut world);
    insta::assert_snapshot!(name, world.log()[before..].join("\n"));
    assert_eq!(world.finish().verdict, Verdict::Passed, "{name}");
}

fn stream(world: &mut World, arguments: &str) {
    world.execute(&format!(r#"{{"execute":"block-stream","arguments":{{{arguments}}}}}"#));
}

fn command(world: &mut World, command: &str, member: &str) {
    world.execute(&format!(r#"{{"execute":"{command}","arguments":{{"{member}":"s"}}}}"#));
}

/// The top image's file fails, once, to take what is written to it.
fn write_error(errno: Errno) -> Fault {
    fault_on(2, Kind::Write, errno)
}

fn fault_on(file: u32, kind: Kind, errno: Errno) -> Fault {
    Fault { file, kind, often: Often::Once, ..Fault::new(errno) }
}

#[test]
fn a_stream_without_base_empties_the_chain_below_top() {
    check("success", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2""#);
        world.settle();
        world.execute(r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#);
    });
}

#[test]
fn a_stream_into_an_intermediate_node_leaves_the_layers_above_alone() {
    check("intermediate", &FIVE, |world| {
        stream(world, r#""job-id":"s","device":"n3","base-node":"n1""#);
        world.settle();
    });
}

#[test]
fn cancel_while_running_keeps_the_chain() {
    check("cancel", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2""#);
        world.pass(8);
        command(world, "block-job-cancel", "device");
        world.settle();
    });
}

#[test]
fn cancel_while_paused_lifts_the_pause_first() {
    check("cancel_paused", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2""#);
        command(world, "block-job-pause", "device");
        world.settle();
        command(world, "block-job-cancel", "device");
        command(world, "job-cancel", "id");
        world.settle();
    });
}

#[test]
fn a_paused_job_goes_on_where_it_was() {
    check("pause_resume", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2""#);
        world.pass(8);
        command(world, "job-pause", "id");
        command(world, "job-pause", "id");
        world.settle();
        world.execute(r#"{"execute":"query-block-jobs"}"#);
        command(world, "job-resume", "id");
        command(world, "job-resume", "id");
        world.settle();
    });
}

#[test]
fn an_error_ends_a_job_that_reports() {
    check("error_report", &THREE, |world| {
        world.arm(write_error(Errno::EIO));
        stream(world, r#""job-id":"s","device":"n2""#);
        world.settle();
    });
}

#[test]
fn an_ignored_error_fails_the_job_at_its_end() {
    check("error_ignore", &THREE, |world| {
        world.arm(write_error(Errno::EIO));
        stream(world, r#""job-id":"s","device":"n2","on-error":"ignore""#);
        world.settle();
    });
}

#[test]
fn a_full_disk_stops_the_job_until_it_is_resumed() {
    check("error_stop", &THREE, |world| {
        world.arm(write_error(Errno::ENOSPC));
        stream(world, r#""job-id":"s","device":"n2","on-error":"enospc""#);
        world.settle();
        world.execute(r#"{"execute":"query-block-jobs"}"#);
        command(world, "block-job-resume", "device");
        world.settle();
    });
}

#[test]
fn a_flush_that_fails_at_the_end_leaves_the_chain_as_it_was() {
    check("error_finalize", &THREE, |world| {
        world.arm(fault_on(2, Kind::Flush, Errno::EIO));
        stream(world, r#""job-id":"s","device":"n2","base-node":"n0""#);
        world.settle();
        world.execute(r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#);
    });
}

#[test]
fn a_stream_with_nothing_between_top_and_base_has_the_same_events() {
    check("no_op", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2","base-node":"n1""#);
        world.settle();
    });
}

#[test]
fn a_job_finalized_and_dismissed_by_hand_waits_twice() {
    check("finalize_dismiss", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2","auto-finalize":false,"auto-dismiss":false"#);
        world.settle();
        command(world, "job-dismiss", "id");
        command(world, "job-finalize", "id");
        world.execute(r#"{"execute":"query-jobs"}"#);
        command(world, "job-cancel", "id");
        command(world, "job-dismiss", "id");
    });
}

#[test]
fn a_pending_job_can_still_be_cancelled() {
    check("cancel_pending", &THREE, |world| {
        stream(world, r#""job-id":"s","device":"n2","auto-finalize":false"#);
        world.settle();
        command(world, "job-cancel", "id");
        world.settle();
    });
}

#[test]
fn two_streams_run_in_one_chain() {
    check("two_streams", &FIVE, |world| {
        stream(world, r#""job-id":"upper","device":"n4","bottom":"n3""#);
        stream(world, r#""job-id":"lower","device":"n2","base-node":"n0""#);
        world.settle();
    });
}

#[test]
fn a_stream_that_overlaps_another_is_refused_at_the_first_busy_node_from_the_top() {
    check("overlap", &FIVE, |world| {
        stream(world, r#""job-id":"s","device":"n3","base-node":"n0","filter-node-name":"filter""#);
        stream(world, r#""job-id":"t","device":"n4","base-node":"n2""#);
        stream(world, r#""job-id":"t","device":"n3","base-node":"n0""#);
        stream(world, r#""job-id":"t","device":"n2","base-node":"n0""#);
        stream(world, r#""job-id":"t","device":"n1","base-node":"n0""#);
        stream(world, r#""job-id":"s","device":"n0""#);
        world.settle();
    });
}
