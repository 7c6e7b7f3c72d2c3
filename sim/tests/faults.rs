//! What the engine makes of disks that do worse than fail once: each in a world driven by hand.

use midstream::request::Operation;
use midstream::strategy::random::Random;
use midstream::verdict::{Outcome, Verdict};
use midstream::world::crash::Ending;
use midstream::world::fault::{Effect, Fault, Kind, Often};
use midstream::world::struck::SORTS;
use seam::Errno;
use sim::subject::subject;
use sim::workload::scenario::Scenario;
use sim::world::World;

fn world() -> World {
    World::open(Scenario::chain(&["dddd", "...."]))
}

fn once(file: u32, kind: Kind, errno: Errno, effect: Effect) -> Fault {
    Fault { file, kind, effect, often: Often::Once, ..Fault::new(errno) }
}

/// Whether something of the sort went wrong in a run.
fn has_struck(outcome: &Outcome, goal: &str) -> bool {
    assert!(SORTS.into_iter().any(|(_, name)| name == goal), "nothing is called `{goal}`");
    let goals = subject().laws.iter().filter(|law| law.is_goal);
    goals.zip(&outcome.goals_reached).any(|(law, reached)| law.name == goal && *reached)
}

fn failed(world: &World) -> usize {
    world.log().iter().filter(|line| line.contains("fails: Input/output error")).count()
}

// The disk would answer the second flush with success, and lose the write all the same when the power is cut.
#[test]
fn a_flush_after_a_failed_one_fails_too_also_for_who_opens_the_file_anew() {
    let mut world = world();
    let mut guest = world.attach(1, "n1", true).expect("nobody forbids it");
    world.request(&mut guest, Operation::Write, 0, 2);
    world.arm(once(1, Kind::Flush, Errno::EIO, Effect::Forgets));
    world.request(&mut guest, Operation::Flush, 0, 0);
    world.request(&mut guest, Operation::Flush, 0, 0);
    world.detach(guest);
    for node in ["n1", "f1"] {
        world.execute(&format!(r#"{{"execute":"blockdev-del","arguments":{{"node-name":"{node}"}}}}"#));
    }
    world.execute(
        r#"{"execute":"blockdev-add","arguments":{"driver":"qcow2","node-name":"n1","backing":"n0","file":{"driver":"file","filename":"/n1.qcow2"}}}"#,
    );
    let mut guest = world.attach(2, "n1", true).expect("nobody forbids it");
    world.request(&mut guest, Operation::Write, 4, 1);
    world.request(&mut guest, Operation::Flush, 0, 0);
    assert_eq!(failed(&world), 3, "{}", world.log().join("\n"));
    let outcome = world.end(Ending::PowerCut, Box::new(Random::new(1)));
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(has_struck(&outcome, "a failed flush loses what it was to make durable"));
}

#[test]
fn a_file_that_somebody_else_has_locked_is_not_written_by_a_job() {
    let mut world = world();
    world.arm(once(0, Kind::Lock, Errno::EAGAIN, Effect::Fails));
    let stream = r#"{"execute":"block-stream","arguments":{"device":"n0","job-id":"s"}}"#;
    let refused = world.execute(stream);
    assert!(refused.contains("Failed to get \\\"write\\\" lock"), "{refused}");
    assert!(!world.execute(stream).contains("error"), "nobody has it any more");
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(has_struck(&outcome, "a file is locked by somebody else"));
}

#[test]
fn a_job_that_stops_at_a_full_disk_completes_once_there_is_room() {
    let mut world = world();
    let effect = Effect::Full { free_bytes: 1536, steps: u64::MAX };
    world.arm(once(1, Kind::Write, Errno::ENOSPC, effect));
    world.execute(
        r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":"s","on-error":"enospc"}}"#,
    );
    world.settle();
    let stopped = world.log().iter().any(|line| line.contains("nospace") || line.contains("action:stop"));
    assert!(stopped, "{}", world.log().join("\n"));
    // `finish` makes room, and resumes.
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(has_struck(&outcome, "a full disk has room again"));
}

#[test]
fn who_waits_for_a_request_that_comes_late_waits_and_that_is_all() {
    let mut world = world();
    world.arm(once(0, Kind::Read, Errno::EIO, Effect::Late(30_000_000_000)));
    world.execute(r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":"s"}}"#);
    world.settle();
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(has_struck(&outcome, "a request comes late"));
}

#[test]
fn a_length_that_cannot_be_changed_stays_as_it_was() {
    let mut scenario = Scenario::chain(&["dddd"]);
    scenario.images[0].format = sim::workload::image::Format::Raw;
    scenario.images[0].clusters = vec![sim::workload::image::Cluster::Data; 8];
    let mut world = World::open(scenario);
    world.arm(once(0, Kind::Resize, Errno::EIO, Effect::Fails));
    let resize = r#"{"execute":"block_resize","arguments":{"node-name":"n0","size":8192}}"#;
    assert!(world.execute(resize).contains("error"));
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(has_struck(&outcome, "a file cannot be resized"));
}
