//! Jobs reach their end whatever guests do: a guest writes all the time, one request after the other, until the job is
//! gone, and an error that was ignored is tried again.
//!
//! The chain is `base <- top`; target stands beside it. Every step takes virtual time, and the bounds are in steps.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::random::Random;
use crate::support::world::World;
use block::format::qcow2::{CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const LEN: u64 = 256 << 10;

/// More than any job needs here to become ready, or to end: what all of LEN takes twice.
const STEPS_MAX: u64 = 6_000;

fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    for (name, backing) in [("base", Value::Null), ("top", json!("base")), ("target", Value::Null)] {
        let disk = MemoryDisk::new(Vec::new());
        let options = CreateOptions { len_bytes: LEN, cluster_bits: 12, ..CreateOptions::default() };
        block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
        disk.delay(Random::new(seed), 8);
        world.file(name, disk);
        let file = json!({"driver": "file", "filename": name});
        world.ok(
            "blockdev-add",
            json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing}),
        );
    }
    let guest = world.guest("top", true);
    world.run(guest.write(0, vec![1; LEN as usize / 2])).unwrap();
    world
}

/// A guest that writes through top without a moment's rest until it is asked to stop.
struct Restless {
    content: Arc<Mutex<Vec<u8>>>,
    writes: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    has_left: Arc<AtomicBool>,
}

impl Restless {
    fn start(world: &mut World, mut random: Random) -> Restless {
        let guest = world.guest("top", true);
        let content = Arc::new(Mutex::new(world.run(guest.read(0, LEN)).unwrap()));
        let (writes, stop, has_left) = (Arc::default(), Arc::default(), Arc::default());
        let restless = Restless { content, writes, stop, has_left };
        let (content, writes) = (restless.content.clone(), restless.writes.clone());
        let (stop, has_left) = (restless.stop.clone(), restless.has_left.clone());
        let task = async move {
            while !stop.load(Ordering::Relaxed) {
                let (start, byte) = (random.below(LEN / 4096) * 4096, random.any() as u8);
                // What fails on this disk leaves what was there.
                if guest.write(start, vec![byte; 4096]).await.is_ok() {
                    content.lock().unwrap()[start as usize..start as usize + 4096].fill(byte);
                }
                writes.fetch_add(1, Ordering::Relaxed);
            }
            drop(guest);
            has_left.store(true, Ordering::Relaxed);
        };
        world.engine.host().spawn("guest", Box::pin(task));
        restless
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    /// What it wrote, once it has gone.
    fn leave(&self, world: &mut World) -> Vec<u8> {
        self.stop.store(true, Ordering::Relaxed);
        for _ in 0..STEPS_MAX {
            if self.has_left.load(Ordering::Relaxed) {
                return self.content.lock().unwrap().clone();
            }
            world.steps(1);
        }
        panic!("a write of the guest never ended");
    }
}

/// Runs until this was noted, within the bound.
fn soon(world: &mut World, note: &str) {
    for _ in 0..STEPS_MAX {
        if world.events().iter().any(|seen| seen == note) {
            return;
        }
        world.steps(1);
    }
    panic!("no {note} within {STEPS_MAX} steps: {:?}", world.events());
}

fn start(world: &mut World, kind: &str, more: Value) {
    let (command, mut arguments) = match kind {
        "mirror" => {
            ("blockdev-mirror", json!({"job-id": "j", "device": "top", "target": "target", "sync": "full"}))
        }
        "backup" => {
            ("blockdev-backup", json!({"job-id": "j", "device": "top", "target": "target", "sync": "full"}))
        }
        "stream" => ("block-stream", json!({"job-id": "j", "device": "top"})),
        _ => ("block-commit", json!({"job-id": "j", "device": "top"})),
    };
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.ok(command, arguments);
}

// The guest makes as much dirty as the job copies: without holding it back there is always something left.
#[test]
fn a_mirror_and_an_active_commit_become_ready_and_pivot_under_a_guest_that_never_rests() {
    for (seed, kind) in (0..24).map(|seed| (seed, ["mirror", "commit"][seed as usize % 2])) {
        let mut world = world(seed);
        let restless = Restless::start(&mut world, Random::new(seed));
        start(&mut world, kind, json!({}));
        soon(&mut world, "READY");
        assert!(restless.writes() > 0, "seed {seed}: nobody wrote");
        world.steps(500);
        world.ok("job-complete", json!({"id": "j"}));
        soon(&mut world, "COMPLETED");
        soon(&mut world, "null");
        let written = restless.leave(&mut world);
        let holder = if kind == "mirror" { "target" } else { "base" };
        assert_eq!(world.content(holder), written, "seed {seed}: {kind}");
    }
}

#[test]
fn a_job_that_waited_to_be_finalized_ends_under_a_guest_that_never_rests() {
    for (seed, kind) in (0..8).map(|seed| (seed, ["mirror", "commit"][seed as usize % 2])) {
        let mut world = world(seed);
        let restless = Restless::start(&mut world, Random::new(seed));
        start(&mut world, kind, json!({"auto-finalize": false}));
        soon(&mut world, "READY");
        world.ok("job-complete", json!({"id": "j"}));
        soon(&mut world, "PENDING");
        world.steps(2_000);
        world.ok("job-finalize", json!({"id": "j"}));
        soon(&mut world, "COMPLETED");
        let written = restless.leave(&mut world);
        assert_eq!(world.content(if kind == "mirror" { "target" } else { "base" }), written, "seed {seed}");
    }
}

#[test]
fn a_soft_cancel_ends_under_a_guest_that_never_rests() {
    for seed in 0..8 {
        let mut world = world(seed);
        let restless = Restless::start(&mut world, Random::new(seed));
        start(&mut world, "mirror", json!({}));
        soon(&mut world, "READY");
        world.steps(500);
        world.ok("block-job-cancel", json!({"device": "j"}));
        soon(&mut world, "COMPLETED");
        let written = restless.leave(&mut world);
        assert_eq!(world.content("top"), written, "seed {seed}");
    }
}

#[test]
fn a_stream_and_a_backup_end_under_a_guest_that_never_rests() {
    for (seed, kind) in (0..8).map(|seed| (seed, ["stream", "backup"][seed as usize % 2])) {
        let mut world = world(seed);
        let restless = Restless::start(&mut world, Random::new(seed));
        start(&mut world, kind, json!({}));
        soon(&mut world, "COMPLETED");
        let written = restless.leave(&mut world);
        assert_eq!(world.content("top"), written, "seed {seed}: {kind}");
    }
}

// A guest that is held back still meets a target that fails: its writes succeed, and the job deals with the error.
#[test]
fn a_guest_that_is_held_back_does_not_see_the_targets_errors() {
    let mut world = world(3);
    let restless = Restless::start(&mut world, Random::new(3));
    world.steps(100);
    start(&mut world, "mirror", json!({"on-target-error": "ignore"}));
    for _ in 0..20 {
        world.steps(100);
        world.disk("target").fail_in(0);
    }
    soon(&mut world, "READY");
    world.ok("job-complete", json!({"id": "j"}));
    soon(&mut world, "COMPLETED");
    let written = restless.leave(&mut world);
    assert_eq!(world.content("target"), written);
}

// What source reads after a write that failed nobody knows, so it is copied again: by the guest that is held back.
#[test]
fn a_guest_whose_writes_all_fail_keeps_no_mirror_from_its_end() {
    for seed in 0..8 {
        let mut world = world(seed);
        world.disk("top").fail_always(true);
        let restless = Restless::start(&mut world, Random::new(seed));
        start(&mut world, "mirror", json!({}));
        soon(&mut world, "READY");
        world.ok("job-complete", json!({"id": "j"}));
        soon(&mut world, "COMPLETED");
        world.disk("top").fail_always(false);
        let written = restless.leave(&mut world);
        assert_eq!(world.content("target"), written, "seed {seed}");
    }
}

// A paused job leaves its target alone, whoever was held back before.
#[test]
fn a_paused_job_lets_guests_go() {
    for seed in 0..8 {
        let mut world = world(seed);
        let restless = Restless::start(&mut world, Random::new(seed));
        // Slow enough never to be ready, and to be outrun at once.
        start(&mut world, "mirror", json!({"speed": 40_960, "buf-size": 4096}));
        world.steps(3_000);
        world.ok("job-pause", json!({"id": "j"}));
        soon(&mut world, "paused");
        world.steps(200);
        world.disk("target").take_log();
        let before = restless.writes();
        world.steps(400);
        assert!(restless.writes() > before, "seed {seed}");
        assert!(world.disk("target").take_log().is_empty(), "seed {seed}: a paused job's target was written");
        world.ok("job-resume", json!({"id": "j"}));
        world.ok("block-job-set-speed", json!({"device": "j", "speed": 0}));
        soon(&mut world, "READY");
        restless.leave(&mut world);
    }
}

// The flush that follows job-complete fails, and a file of which one has failed fails them all. Nobody writes, so nothing
// else wakes the job.
#[test]
fn an_ignored_flush_error_is_tried_again_after_job_complete() {
    for ending in ["job-complete", "block-job-cancel"] {
        for fails in 1..3 {
            let mut world = world(1);
            start(&mut world, "mirror", json!({"on-target-error": "ignore"}));
            soon(&mut world, "READY");
            world.steps(200);
            world.disk("target").fail_in(0);
            let id = if ending == "job-complete" { "id" } else { "device" };
            world.ok(ending, json!({id: "j"}));
            let errors = |world: &World| world.events().iter().filter(|e| *e == "ERROR write ignore").count();
            for _ in 0..STEPS_MAX {
                if errors(&world) < fails {
                    world.steps(1);
                }
            }
            assert!(errors(&world) >= fails, "{:?}", world.events());
            world.ok("block-job-cancel", json!({"device": "j", "force": true}));
            soon(&mut world, "CANCELLED");
        }
    }
}
