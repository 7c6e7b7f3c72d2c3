//! What the engine makes of disks that do worse than fail once: each in a world driven by hand.

use block::engine::{Engine, Tuning};
use block::qmp::Monitor;
use midstream::choice::Point;
use midstream::request::Operation;
use midstream::strategy::random::Random;
use midstream::verdict::{Outcome, Verdict};
use midstream::world::crash::Ending;
use midstream::world::disk::{Disks, File};
use midstream::world::fault::{Effect, Fault, Kind, Often};
use midstream::world::host::SimHost;
use midstream::world::scheduler::{Rest, Scheduler};
use midstream::world::struck::SORTS;
use seam::Errno;
use sim::subject::subject;
use sim::workload::image::{Cluster, Format};
use sim::workload::scenario::Scenario;
use sim::world::World;
use sim::world::scripted::First;
use std::sync::{Arc, Mutex};

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

fn raw_world() -> World {
    let mut scenario = Scenario::chain(&["dddd"]);
    scenario.images[0].format = Format::Raw;
    scenario.images[0].clusters = vec![Cluster::Data; 8];
    World::open(scenario)
}

// The first strategy loses whatever a power cut may lose.
#[test]
fn a_raw_file_has_its_new_length_for_good_once_the_command_is_answered() {
    let mut world = raw_world();
    let resize = r#"{"execute":"block_resize","arguments":{"node-name":"n0","size":8192}}"#;
    assert!(!world.execute(resize).contains("error"));
    let outcome = world.end(Ending::PowerCut, Box::new(First));
    assert_eq!(outcome.verdict, Verdict::Passed);
}

#[test]
fn a_length_that_cannot_be_changed_stays_as_it_was() {
    let mut world = raw_world();
    world.arm(once(0, Kind::Resize, Errno::EIO, Effect::Fails));
    let resize = r#"{"execute":"block_resize","arguments":{"node-name":"n0","size":8192}}"#;
    assert!(world.execute(resize).contains("error"));
    let outcome = world.finish();
    assert_eq!(outcome.verdict, Verdict::Passed);
    assert!(has_struck(&outcome, "a file cannot be resized"));
}

// Two processes, one file: each has an engine of its own, and locks are between them.
#[test]
fn two_engines_on_one_image_are_one_writer_or_several_readers() {
    let files = Scenario::chain(&["dddd"]).files();
    let image = File::new("/images/a.qcow2", files[0].clone());
    let host = SimHost::in_folder(Disks::new(vec![image]), "/images");
    let engines = [0; 2].map(|_| Engine::new(Arc::new(host.clone()), Tuning::default()));
    let monitors = engines.each_ref().map(|engine| Monitor::new(engine.clone()));
    let mut scheduler = Scheduler::new(host);
    let mut execute = |process: usize, text: String| {
        let (monitor, reply) = (monitors[process].clone(), Arc::new(Mutex::new(String::new())));
        let put = reply.clone();
        let task = scheduler.spawn(
            Point::new("process #", [process as u32, 0, 0]),
            Box::pin(async move {
                let text = monitor.execute(&text).await.unwrap_or_default();
                *put.lock().expect("nobody panics holding it") = text;
            }),
        );
        assert_eq!(scheduler.run(&[task], 10_000, None), Rest::Done);
        reply.lock().expect("nobody panics holding it").clone()
    };
    let add = |options: &str| {
        let file = r#""driver":"qcow2","node-name":"a","file":{"driver":"file","filename":"a.qcow2"}"#;
        format!(r#"{{"execute":"blockdev-add","arguments":{{{file}{options}}}}}"#)
    };
    let del = || r#"{"execute":"blockdev-del","arguments":{"node-name":"a"}}"#.to_owned();
    for process in [0, 1] {
        execute(process, r#"{"execute":"qmp_capabilities"}"#.to_owned());
    }
    let is_done = |reply: String| reply.starts_with(r#"{"return""#);
    assert!(is_done(execute(0, add(""))));
    for options in ["", r#","read-only":true"#] {
        let refused = execute(1, add(options));
        assert!(refused.contains("write\\\" lock"), "{refused}");
    }
    let shared = execute(1, add(r#","read-only":true,"force-share":true"#));
    assert!(is_done(shared), "who asks for it reads beside a writer");
    assert!(is_done(execute(1, del())) && is_done(execute(0, del())));
    for process in [0, 1] {
        assert!(is_done(execute(process, add(r#","read-only":true"#))), "several readers");
    }
    let stream = r#"{"execute":"block-stream","arguments":{"device":"a","job-id":"s"}}"#;
    let refused = execute(0, stream.to_owned());
    assert!(refused.contains("\\\"write\\\" lock"), "a job would write beside a reader: {refused}");
    assert!(is_done(execute(1, del())));
    assert!(is_done(execute(0, stream.to_owned())));
}
