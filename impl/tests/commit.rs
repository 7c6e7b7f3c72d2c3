//! `block-commit` of layers nobody writes to: whoever reads the overlay, at any moment, reads what it always read.
//!
//! The chain is `base <- mid <- top <- over`, with layers of any size; guests read and write `over`.

use crate::support::crash::{killed, powered_off};
use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::random::Random;
use crate::support::world::World;
use block::format::qcow2::{BackingName, CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

const NAMES: [&str; 4] = ["base", "mid", "top", "over"];
const KIB: u64 = 1024;

fn image(len_bytes: u64, cluster_bits: u32, backing: Option<&str>) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    let backing = backing.map(|file| BackingName { file: file.into(), format: Some("qcow2".into()) });
    let options = CreateOptions { len_bytes, cluster_bits, backing, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk
}

fn add(world: &mut World, name: &str, backing: Value, read_only: bool) {
    let file = json!({"driver": "file", "filename": name, "auto-read-only": true});
    let mut options = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing, "read-only": read_only});
    if backing == json!("from the header") {
        options.as_object_mut().unwrap().remove("backing");
    }
    world.ok("blockdev-add", options);
}

/// A chain of layers of these sizes, each with data of its own, and all but the last read-only.
fn chain(seed: u64, sizes: [u64; 4]) -> World {
    let mut world = World::new(seed);
    let mut random = Random::new(seed);
    for (n, name) in NAMES.into_iter().enumerate() {
        let bits = 9 + random.below(4) as u32;
        world.file(name, image(sizes[n], bits, n.checked_sub(1).map(|below| NAMES[below])));
        let backing = n.checked_sub(1).map_or(Value::Null, |below| json!(NAMES[below]));
        add(&mut world, name, backing, false);
        let guest = world.guest(name, true);
        for _ in 0..6 {
            let (offset, len) = random.range(sizes[n].max(512), 512, 16);
            if offset + len <= sizes[n] {
                let byte = 16 * (n as u8 + 1) + random.below(8) as u8;
                world.run(guest.write(offset, vec![byte; len as usize])).unwrap();
            }
        }
        if sizes[n] > 0 && random.one_in(2) {
            world.run(guest.write_zeroes(0, 512)).unwrap();
        }
        drop(guest);
    }
    for name in NAMES.into_iter().rev() {
        world.ok("blockdev-del", json!({"node-name": name}));
    }
    for (n, name) in NAMES.into_iter().enumerate() {
        let backing = n.checked_sub(1).map_or(Value::Null, |below| json!(NAMES[below]));
        add(&mut world, name, backing, n < 3);
    }
    world
}

fn commit(top: &str, base: &str) -> Value {
    json!({"job-id": "c", "device": "over", "top-node": top, "base-node": base})
}

/// What a fresh process on these files reads through `over`.
fn after_restart(disks: [Vec<u8>; 4]) -> Vec<u8> {
    let mut world = World::new(0);
    for (name, bytes) in NAMES.into_iter().zip(disks) {
        world.file(name, MemoryDisk::new(bytes));
    }
    add(&mut world, "over", json!("from the header"), false);
    world.content("over")
}

const SIZES: [[u64; 4]; 8] = [
    [64 * KIB; 4],
    // Base is longer than what is committed, and over sees past top's end: those must stay zeroes.
    [64 * KIB, 64 * KIB, 20 * KIB, 64 * KIB],
    [64 * KIB, 64 * KIB, 20 * KIB, 40 * KIB],
    // Base must grow.
    [16 * KIB, 32 * KIB, 64 * KIB, 64 * KIB],
    // A short layer in the middle hides what base holds past its end.
    [64 * KIB, 10 * KIB, 64 * KIB, 64 * KIB],
    [64 * KIB, 64 * KIB, 0, 64 * KIB],
    [0, 512, 33 * KIB + 512, 50 * KIB],
    [48 * KIB, 64 * KIB, 30 * KIB + 512, 20 * KIB],
];

#[test]
fn a_commit_of_layers_of_any_size_keeps_what_the_overlay_reads() {
    for seed in 0..40 {
        for (top, base) in [("top", "base"), ("top", "mid"), ("mid", "base")] {
            let mut world = chain(seed, SIZES[seed as usize % SIZES.len()]);
            let before = world.content("over");
            world.ok("block-commit", commit(top, base));
            world.until("null", 1);
            assert!(world.events().contains(&"COMPLETED".to_owned()), "seed {seed}: {:?}", world.events());
            assert_eq!(world.content("over"), before, "seed {seed}: commit of {top} into {base}");
            let disks = NAMES.map(|name| world.disk(name).bytes());
            assert_eq!(after_restart(disks), before, "seed {seed}: after a commit of {top} into {base}");
        }
    }
}

// What is written into base shows through nobody, because a layer above decides the same bytes.
#[test]
fn guests_of_the_overlay_read_and_write_while_a_commit_runs() {
    for seed in 0..30 {
        let mut world = chain(seed, SIZES[seed as usize % SIZES.len()]);
        let guest = world.guest("over", true);
        let len = guest.len_bytes().unwrap();
        let mut truth = world.run(guest.read(0, len)).unwrap();
        NAMES.iter().for_each(|name| world.disk(name).delay(Random::new(seed), 6));
        world.ok("block-commit", commit("top", "base"));
        let mut random = Random::new(seed);
        let mut meanwhile = 0;
        while !world.events().contains(&"null".to_owned()) {
            let (offset, bytes) = random.range(len, 512, 8);
            world.run(guest.write(offset, vec![9; bytes as usize])).unwrap();
            truth[offset as usize..(offset + bytes) as usize].fill(9);
            assert_eq!(world.run(guest.read(0, len)).unwrap(), truth, "seed {seed}");
            meanwhile += 1;
        }
        assert!(meanwhile > 1, "seed {seed}: the guest met no running job");
        assert_eq!(world.run(guest.read(0, len)).unwrap(), truth, "seed {seed}");
    }
}

// Between the data, the header of the overlay and the graph: whichever step is the last, the overlay reads the same.
#[test]
fn a_kill_or_a_power_cut_at_any_step_keeps_what_the_overlay_reads() {
    for seed in 0..24 {
        let mut world = chain(seed, SIZES[seed as usize % SIZES.len()]);
        let into = ["base", "mid"][seed as usize / 8 % 2];
        let before = world.content("over");
        let clock = Arc::new(AtomicU64::new(0));
        let start = NAMES.map(|name| {
            let disk = world.disk(name);
            disk.take_log();
            disk.stamp(clock.clone());
            disk.bytes()
        });
        world.ok("block-commit", commit("top", into));
        world.until("null", 1);
        let logs = NAMES.map(|name| (world.disk(name).take_log(), world.disk(name).take_stamps()));
        let mut random = Random::new(seed);
        let steps = logs.iter().flat_map(|(_, stamps)| stamps.last()).max().map_or(0, |last| last + 1);
        assert!(steps > 3, "seed {seed}: a commit of {steps} steps");
        for step in 0..=steps {
            let there = |n: usize| logs[n].1.iter().filter(|stamp| **stamp < step).count();
            let kill: [Vec<u8>; 4] = std::array::from_fn(|n| killed(&start[n], &logs[n].0, there(n)));
            assert_eq!(after_restart(kill), before, "seed {seed}: killed at step {step} of {steps}");
            let cut: [Vec<u8>; 4] =
                std::array::from_fn(|n| powered_off(&start[n], &logs[n].0, there(n), &mut random));
            assert_eq!(after_restart(cut), before, "seed {seed}: power cut at step {step} of {steps}");
        }
    }
}

#[test]
fn a_header_that_cannot_be_written_leaves_the_chain_as_it_was() {
    let mut world = chain(3, SIZES[0]);
    let before = world.content("over");
    world.ok("block-commit", {
        let mut arguments = commit("top", "base");
        arguments["auto-finalize"] = json!(false);
        arguments
    });
    world.until("PENDING", 1);
    world.disk("over").fail_always(true);
    world.ok("job-finalize", json!({"id": "c"}));
    world.disk("over").fail_always(false);
    assert!(world.events().contains(&"COMPLETED Input/output error".to_owned()), "{:?}", world.events());
    let nodes = world.ok("query-named-block-nodes", json!({"flat": true}));
    let over = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == "over").unwrap();
    assert_eq!(over["backing_file"], "top");
    assert_eq!(world.content("over"), before);
    assert_eq!(after_restart(NAMES.map(|name| world.disk(name).bytes())), before);
}

#[test]
fn an_error_that_is_ignored_is_tried_again_until_it_is_gone() {
    let mut world = chain(1, SIZES[0]);
    let before = world.content("over");
    world.disk("base").fail_always(true);
    let mut arguments = commit("top", "base");
    arguments["on-error"] = json!("ignore");
    world.ok("block-commit", arguments);
    world.until("ERROR write ignore", 3);
    world.disk("base").fail_always(false);
    world.until("null", 1);
    assert_eq!(world.events_from("waiting"), ["waiting", "pending", "COMPLETED", "concluded", "null"]);
    assert_eq!(world.content("over"), before);
}
