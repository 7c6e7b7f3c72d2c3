//! `blockdev-mirror`: whatever guests write while it runs is in the target in the end, whoever runs when.
//!
//! The chain is `base <- top`, with a guest that writes through top; target stands beside it.

use crate::support::executor::block_on;
use crate::support::memory_disk::{Event, MemoryDisk};
use crate::support::random::Random;
use crate::support::world::World;
use block::engine::Guest;
use block::format::qcow2::{CreateOptions, Qcow2};
use block::sync::YieldNow;
use seam::Disk;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const LEN: u64 = 256 << 10;
const CHUNK: u64 = 4096;

fn image(len_bytes: u64) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes, cluster_bits: 12, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk
}

fn add(world: &mut World, name: &str, backing: Value) {
    let file = json!({"driver": "file", "filename": name});
    let options = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing});
    world.ok("blockdev-add", options);
}

/// `base <- top` with data in both, and an empty target.
fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    for name in ["base", "top", "target"] {
        world.file(name, image(LEN));
    }
    add(&mut world, "base", Value::Null);
    let guest = world.guest("base", true);
    world.run(guest.write(0, vec![1; 40_000])).unwrap();
    drop(guest);
    add(&mut world, "top", json!("base"));
    add(&mut world, "target", Value::Null);
    let guest = world.guest("top", true);
    world.run(guest.write(30_000, vec![2; 40_000])).unwrap();
    world
}

fn mirror(more: Value) -> Value {
    let mut arguments = json!({"job-id": "m", "device": "top", "target": "target", "sync": "full"});
    let all = arguments.as_object_mut().unwrap();
    all.extend(more.as_object().unwrap().clone());
    arguments
}

/// A guest that writes without rest: what it wrote, and how often.
struct Busy {
    content: Arc<Mutex<Vec<u8>>>,
    writes: Arc<AtomicUsize>,
    limit: Arc<AtomicUsize>,
}

impl Busy {
    /// Lets `guest` write `limit` times, wherever `random` says.
    fn start(world: &mut World, guest: Arc<Guest>, mut random: Random, limit: usize) -> Busy {
        let content = Arc::new(Mutex::new(world.run(guest.read(0, LEN)).unwrap()));
        let (writes, limit) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(limit)));
        let busy = Busy { content: content.clone(), writes: writes.clone(), limit: limit.clone() };
        let task = async move {
            while writes.load(Ordering::Relaxed) < limit.load(Ordering::Relaxed) {
                let (offset, len) = random.range(LEN, 512, 24);
                let byte = random.any() as u8;
                let zero = random.one_in(4);
                let (start, end) = (offset as usize, (offset + len) as usize);
                if zero {
                    guest.write_zeroes(offset, len).await.unwrap();
                } else {
                    guest.write(offset, vec![byte; len as usize]).await.unwrap();
                }
                content.lock().unwrap()[start..end].fill(if zero { 0 } else { byte });
                writes.fetch_add(1, Ordering::Relaxed);
                for _ in 0..random.below(20) {
                    YieldNow::default().await;
                }
            }
        };
        world.engine.host().spawn("guest", Box::pin(task));
        busy
    }

    fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    fn rest(&self, world: &mut World) {
        while self.writes() < self.limit.load(Ordering::Relaxed) {
            world.steps(100);
        }
    }
}

const DONE: [&str; 5] = ["waiting", "pending", "COMPLETED", "concluded", "null"];

// A copy in flight must never bring older data over what a guest wrote meanwhile.
#[test]
fn guest_writes_during_a_mirror_end_up_in_the_target_in_both_copy_modes() {
    for seed in 0..60 {
        let copy_mode = ["background", "write-blocking"][seed as usize % 2];
        let mut world = world(seed);
        for name in ["base", "top", "target"] {
            world.disk(name).delay(Random::new(seed), 12);
        }
        let guest = Arc::new(world.guest("top", true));
        let busy = Busy::start(&mut world, guest.clone(), Random::new(seed), 120);
        world.ok("blockdev-mirror", mirror(json!({"copy-mode": copy_mode, "buf-size": 3 * CHUNK})));
        let before_ready = busy.writes();
        world.until("READY", 1);
        // The set-up is what it should be: guests wrote while the job copied.
        assert!(busy.writes() > before_ready, "seed {seed}: nobody wrote while the job was running");
        world.steps(300);
        world.ok("block-job-complete", json!({"device": "m"}));
        world.until("null", 1);
        assert_eq!(world.events_from("waiting"), DONE, "seed {seed}");
        busy.rest(&mut world);
        // The guest stands on target now, and what it reads is what it wrote.
        assert_eq!(world.run(guest.read(0, LEN)).unwrap(), *busy.content.lock().unwrap(), "seed {seed}");
        drop(guest);
        world.steps(100);
        assert_eq!(world.content("target"), *busy.content.lock().unwrap(), "seed {seed}");
    }
}

#[test]
fn discards_during_a_mirror_leave_source_and_target_equal() {
    for copy_mode in ["background", "write-blocking"] {
        let mut world = world(1);
        let guest = world.guest("top", true);
        world.ok("blockdev-mirror", mirror(json!({"copy-mode": copy_mode})));
        world.until("READY", 1);
        world.run(guest.discard(8192, 49152)).unwrap();
        world.run(guest.discard(60_928, 512)).unwrap();
        world.ok("block-job-complete", json!({"device": "m"}));
        world.until("null", 1);
        assert_eq!(world.content("top"), world.content("target"), "{copy_mode}");
    }
}

// With auto-finalize off, guests go on writing between the end of the work and the pivot.
#[test]
fn guest_writes_while_the_job_is_pending_are_in_the_target() {
    let mut world = world(2);
    let guest = world.guest("top", true);
    world.ok("blockdev-mirror", mirror(json!({"auto-finalize": false})));
    world.until("READY", 1);
    world.ok("block-job-complete", json!({"device": "m"}));
    world.until("PENDING", 1);
    world.run(guest.write(100_000, vec![7; 5000])).unwrap();
    world.ok("block-job-finalize", json!({"id": "m"}));
    world.until("null", 1);
    assert_eq!(world.run(guest.read(100_000, 5000)).unwrap(), [7; 5000]);
    assert_eq!(world.content("target"), world.content("top"));
}

#[test]
fn complete_puts_the_target_in_the_place_of_the_source() {
    let mut world = world(3);
    let guest = world.guest("top", true);
    world.ok("blockdev-mirror", mirror(json!({})));
    world.until("READY", 1);
    world.ok("block-job-complete", json!({"device": "m"}));
    world.until("null", 1);
    world.run(guest.write(0, vec![9; 512])).unwrap();
    assert_eq!(world.content("target")[..512], [9; 512]);
    assert_eq!(world.content("top")[..512], [1; 512], "nobody writes to the source any more");
    // Nobody holds the source: it may go.
    world.ok("blockdev-del", json!({"node-name": "top"}));
    assert_eq!(
        world.command("blockdev-del", json!({"node-name": "target"})),
        Err("Node target is in use".into())
    );
}

#[test]
fn a_soft_cancel_completes_without_a_pivot_and_leaves_a_copy_of_that_moment() {
    let mut world = world(4);
    let guest = world.guest("top", true);
    world.ok("blockdev-mirror", mirror(json!({})));
    world.until("READY", 1);
    world.run(guest.write(0, vec![8; 512])).unwrap();
    world.ok("block-job-cancel", json!({"device": "m"}));
    world.until("null", 1);
    assert_eq!(world.events_from("waiting"), DONE);
    let copy = world.content("target");
    assert_eq!(copy, world.content("top"));
    world.run(guest.write(0, vec![9; 512])).unwrap();
    assert_eq!(world.content("top")[..512], [9; 512]);
    assert_eq!(world.content("target"), copy);
}

#[test]
fn a_forced_cancel_of_a_ready_job_ends_it_as_cancelled() {
    let mut world = world(5);
    world.ok("blockdev-mirror", mirror(json!({})));
    world.until("READY", 1);
    world.ok("block-job-cancel", json!({"device": "m", "force": true}));
    world.until("null", 1);
    assert_eq!(world.events_from("READY"), ["READY", "aborting", "CANCELLED", "concluded", "null"]);
    world.ok("blockdev-del", json!({"node-name": "target"}));
}

// The operator moves the target onto the source's backing, as for a storage migration of the top layer.
#[test]
fn sync_top_copies_the_topmost_layer_only() {
    let mut world = world(6);
    world.ok("blockdev-del", json!({"node-name": "target"}));
    world.file("target", image(LEN));
    add(&mut world, "target", json!("base"));
    let before = world.content("top");
    world.ok("blockdev-mirror", mirror(json!({"sync": "top"})));
    world.until("READY", 1);
    let jobs = world.ok("query-block-jobs", json!({}));
    // 30,000 to 70,000, in whole clusters.
    assert_eq!(jobs[0]["len"], (70_000u64.next_multiple_of(CHUNK)) - 30_000 / CHUNK * CHUNK);
    world.ok("block-job-complete", json!({"device": "m"}));
    world.until("null", 1);
    assert_eq!(world.content("target"), before);
}

// A part of a cluster must not make the rest of it read as zeroes, once the backing is there.
#[test]
fn sync_none_copies_whole_clusters_into_a_target_without_backing() {
    for copy_mode in ["background", "write-blocking"] {
        let mut world = world(7);
        let guest = world.guest("top", true);
        world.ok("blockdev-mirror", mirror(json!({"sync": "none", "copy-mode": copy_mode})));
        world.until("READY", 1);
        world.run(guest.write(4096 + 1024, vec![5; 512])).unwrap();
        world.ok("block-job-cancel", json!({"device": "m"}));
        world.until("null", 1);
        let (target, top) = (world.content("target"), world.content("top"));
        assert_eq!(target[4096..8192], top[4096..8192], "{copy_mode}");
        assert_eq!(target[..4096], [0; 4096], "what nobody wrote is not copied");
    }
}

#[test]
fn everything_is_durable_before_the_job_says_completed() {
    let mut world = world(8);
    let guest = world.guest("top", true);
    world.ok("blockdev-mirror", mirror(json!({})));
    world.until("READY", 1);
    world.run(guest.write(0, vec![6; 4096])).unwrap();
    world.disk("target").take_log();
    world.ok("block-job-complete", json!({"device": "m"}));
    world.until("COMPLETED", 1);
    let log = world.disk("target").take_log();
    assert!(log.iter().any(|event| matches!(event, Event::Write { .. })), "nothing was copied: {log:?}");
    assert!(matches!(log.last(), Some(Event::Flush)), "not flushed: {log:?}");
}

#[test]
fn a_mirror_that_stops_at_an_error_goes_on_when_it_is_resumed() {
    let mut world = world(9);
    world.disk("target").fail_always(true);
    world.ok("blockdev-mirror", mirror(json!({"on-target-error": "stop"})));
    world.until("paused", 1);
    let jobs = world.ok("query-block-jobs", json!({}));
    assert_eq!(jobs[0]["io-status"], "failed");
    assert_eq!(world.events(), ["created", "running", "ERROR write stop", "paused"]);
    world.disk("target").fail_always(false);
    world.ok("job-resume", json!({"id": "m"}));
    world.until("READY", 1);
    world.ok("block-job-cancel", json!({"device": "m"}));
    world.until("null", 1);
    assert_eq!(world.content("top"), world.content("target"));
}

#[test]
fn a_mirror_that_reports_ends_with_the_error_and_leaves_the_guest_alone() {
    let mut world = world(10);
    let guest = world.guest("top", true);
    world.ok("blockdev-mirror", mirror(json!({"copy-mode": "write-blocking"})));
    world.until("READY", 1);
    world.disk("target").fail_always(true);
    world.run(guest.write(0, vec![3; 512])).expect("the guest's write is in the source");
    world.until("null", 1);
    let end = ["ERROR write report", "aborting", "COMPLETED Input/output error", "concluded", "null"];
    assert_eq!(world.events_from("ERROR write report"), end);
    assert_eq!(world.run(guest.read(0, 512)).unwrap(), [3; 512]);
}

#[test]
fn a_speed_limit_delays_ready_and_lifting_it_wakes_the_job() {
    let mut world = world(11);
    world.ok("blockdev-mirror", mirror(json!({"speed": 4096, "buf-size": CHUNK})));
    world.steps(4000);
    assert!(!world.events().contains(&"READY".to_owned()), "64 chunks take 64 seconds");
    world.ok("block-job-set-speed", json!({"device": "m", "speed": 0}));
    world.until("READY", 1);
}

#[test]
fn images_of_different_sizes_are_refused_by_the_job() {
    let mut world = world(12);
    world.file("short", image(LEN / 2));
    add(&mut world, "short", Value::Null);
    world.ok("blockdev-mirror", mirror(json!({"target": "short"})));
    world.until("null", 1);
    assert_eq!(world.events_from("aborting")[1], "COMPLETED Source and target image have different sizes");
}

#[test]
fn the_copy_mode_changes_from_background_to_write_blocking_only() {
    let mut world = world(13);
    let guest = world.guest("top", true);
    world.ok("blockdev-mirror", mirror(json!({})));
    world.until("READY", 1);
    let change = |mode| json!({"id": "m", "type": "mirror", "copy-mode": mode});
    assert_eq!(world.ok("query-block-jobs", json!({}))[0]["actively-synced"], false);
    world.ok("block-job-change", change("write-blocking"));
    world.steps(100);
    assert_eq!(world.ok("query-block-jobs", json!({}))[0]["actively-synced"], true);
    let refused = world.command("block-job-change", change("background"));
    assert_eq!(refused, Err("Change to copy mode 'background' is not implemented".into()));
    // From now on a write that has ended is in both.
    world.disk("target").take_log();
    world.run(guest.write(0, vec![4; 512])).unwrap();
    let log = world.disk("target").take_log();
    let reached = |event: &Event| matches!(event, Event::Write { data, .. } if data.starts_with(&[4; 512]));
    assert!(log.iter().any(reached), "the target has seen {log:?}");
}

#[test]
fn whoever_comes_between_is_refused_in_qemus_words() {
    let mut world = world(14);
    world.file("other", image(LEN));
    add(&mut world, "other", Value::Null);
    let refusals = [
        (json!({"device": "base"}), "Need a root block node"),
        (json!({"target": "top"}), "Can't mirror node into itself"),
        (json!({"target": "base"}), "Node 'base' is busy: node is used as backing hd of 'top'"),
        (json!({"granularity": 100}), "Parameter 'granularity' expects a value in range [512B, 64MB]"),
        (json!({"granularity": 1000}), "Parameter 'granularity' expects a power of 2"),
        (json!({"granularity": -1}), "Parameter 'granularity' expects uint32_t"),
        (json!({"sync": "bitmap"}), "Sync mode 'bitmap' not supported"),
        (json!({"buf-size": -1}), "Invalid parameter 'buf-size'"),
        (json!({"replaces": "nobody"}), "Failed to find node with node-name='nobody'"),
        (json!({"filter-node-name": "base", "job-id": "1"}), "Duplicate nodes with node-name='base'"),
        (json!({"job-id": "1"}), "Invalid job ID '1'"),
    ];
    for (arguments, why) in refusals {
        assert_eq!(world.command("blockdev-mirror", mirror(arguments)), Err(why.into()));
    }
    let unsafe_replacement = world.command("blockdev-mirror", mirror(json!({"replaces": "other"})));
    assert!(
        unsafe_replacement.unwrap_err().starts_with("Cannot replace 'other' by a node mirrored from 'top',")
    );
    assert_eq!(world.events(), [""; 0], "no job was made");
    world.ok("blockdev-mirror", mirror(json!({"speed": 4096})));
    let busy = "block device is in use by block job: mirror";
    let stream = |node| json!({"job-id": "s", "device": node});
    assert_eq!(world.command("block-stream", stream("top")), Err(format!("Node 'top' is busy: {busy}")));
    assert_eq!(
        world.command("block-stream", stream("target")),
        Err(format!("Node 'target' is busy: {busy}"))
    );
    let second = mirror(json!({"job-id": "n", "target": "other"}));
    assert_eq!(world.command("blockdev-mirror", second), Err("Need a root block node".into()));
    let delete = world.command("blockdev-del", json!({"node-name": "target"}));
    assert_eq!(delete, Err("Node target is in use".into()));
    assert!(world.engine.open_guest("target", true).is_err(), "nobody else writes to the target");
}
