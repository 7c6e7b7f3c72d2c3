//! The active commit: what guests write while it runs is in the base in the end, and nothing they read changes.
//!
//! The chain is `base <- mid <- top`, with a guest that writes through top.

use crate::support::executor::block_on;
use crate::support::memory_disk::{Event, MemoryDisk};
use crate::support::random::Random;
use crate::support::world::World;
use block::format::qcow2::{CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;

const LEN: u64 = 256 << 10;

/// The chain with data in every layer; mid may be shorter than the others.
fn world(seed: u64, mid_len: u64) -> World {
    let mut world = World::new(seed);
    let mut backing = Value::Null;
    for (name, len_bytes, at) in [("base", LEN, 0), ("mid", mid_len, 20_000), ("top", LEN, 50_000)] {
        let disk = MemoryDisk::new(Vec::new());
        let options = CreateOptions { len_bytes, cluster_bits: 12, ..CreateOptions::default() };
        block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
        world.file(name, disk);
        let file = json!({"driver": "file", "filename": name});
        let options = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing});
        world.ok("blockdev-add", options);
        let guest = world.guest(name, true);
        world.run(guest.write(at, vec![name.as_bytes()[0]; 40_000])).unwrap();
        if name == "base" {
            world.run(guest.write(LEN - 30_000, vec![b'B'; 30_000])).unwrap();
        }
        backing = json!(name);
    }
    world
}

const DONE: [&str; 5] = ["waiting", "pending", "COMPLETED", "concluded", "null"];

#[test]
fn guest_writes_during_an_active_commit_end_up_in_the_base() {
    for seed in 0..40 {
        let mut world = world(seed, LEN);
        for name in ["base", "mid", "top"] {
            world.disk(name).delay(Random::new(seed), 12);
        }
        let guest = world.guest("top", true);
        let mut truth = world.run(guest.read(0, LEN)).unwrap();
        world.ok("block-commit", json!({"job-id": "c", "device": "top"}));
        let mut random = Random::new(seed);
        for _ in 0..30 {
            let (offset, len) = random.range(LEN, 512, 40);
            let byte = random.any() as u8;
            world.run(guest.write(offset, vec![byte; len as usize])).unwrap();
            truth[offset as usize..(offset + len) as usize].fill(byte);
            assert_eq!(world.run(guest.read(0, LEN)).unwrap(), truth, "seed {seed}: while it runs");
        }
        world.until("READY", 1);
        world.ok("block-job-complete", json!({"device": "c"}));
        world.until("null", 1);
        assert_eq!(world.events_from("waiting"), DONE, "seed {seed}");
        assert_eq!(world.run(guest.read(0, LEN)).unwrap(), truth, "seed {seed}");
        drop(guest);
        assert_eq!(world.content("base"), truth, "seed {seed}");
        // Nobody needs the layers above any more.
        world.ok("blockdev-del", json!({"node-name": "top"}));
        world.ok("blockdev-del", json!({"node-name": "mid"}));
    }
}

// Past the end of mid, guests of top read zeroes, and must go on to do so when base has taken its place.
#[test]
fn what_a_short_layer_hides_stays_hidden() {
    let mut world = world(1, LEN / 2);
    let before = world.content("top");
    assert_eq!(before[LEN as usize - 1], 0, "the set-up hides something");
    world.ok("block-commit", json!({"job-id": "c", "device": "top"}));
    world.until("READY", 1);
    world.ok("block-job-complete", json!({"device": "c"}));
    world.until("null", 1);
    assert_eq!(world.content("base"), before);
}

#[test]
fn a_soft_cancel_leaves_the_chain_as_it_is() {
    let mut world = world(2, LEN);
    let before = world.content("top");
    world.ok("block-commit", json!({"job-id": "c", "device": "top", "base-node": "mid"}));
    world.until("READY", 1);
    world.ok("block-job-cancel", json!({"device": "c"}));
    world.until("null", 1);
    assert_eq!(world.events_from("waiting"), DONE);
    assert_eq!(world.content("top"), before);
    let delete = world.command("blockdev-del", json!({"node-name": "mid"}));
    assert_eq!(delete, Err("Node 'mid' is busy: node is used as backing hd of 'top'".into()));
}

// The base takes over what guests see: it must be durable before anybody may forget the layers above.
#[test]
fn the_base_is_flushed_before_the_job_says_completed() {
    let mut world = world(3, LEN);
    let guest = world.guest("top", true);
    world.ok("block-commit", json!({"job-id": "c", "device": "top"}));
    world.until("READY", 1);
    world.run(guest.write(0, vec![6; 4096])).unwrap();
    world.disk("base").take_log();
    world.ok("block-job-complete", json!({"device": "c"}));
    world.until("COMPLETED", 1);
    let log = world.disk("base").take_log();
    assert!(log.iter().any(|event| matches!(event, Event::Write { .. })), "nothing was copied: {log:?}");
    assert!(matches!(log.last(), Some(Event::Flush)), "not flushed: {log:?}");
}

#[test]
fn nobody_else_works_between_the_active_layer_and_the_base() {
    let mut world = world(4, LEN);
    world.ok("block-commit", json!({"job-id": "c", "device": "top", "base-node": "mid", "speed": 4096}));
    let busy = "block device is in use by block job: commit";
    for node in ["top", "mid"] {
        let stream = world.command("block-stream", json!({"job-id": "s", "device": node}));
        assert_eq!(stream, Err(format!("Node '{node}' is busy: {busy}")));
    }
    let change = json!({"id": "c", "type": "mirror", "copy-mode": "write-blocking"});
    assert_eq!(world.command("block-job-change", change), Err("Job type does not support change".into()));
    // Below the base everybody is free.
    world.ok("block-stream", json!({"job-id": "s", "device": "base"}));
}
