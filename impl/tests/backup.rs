//! `blockdev-backup` and `transaction`: target holds what source held at one moment, whatever guests write meanwhile.
//!
//! The chain is `base <- top`, with a guest that writes through top; the targets stand beside it.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::random::Random;
use crate::support::world::World;
use block::engine::Guest;
use block::format::qcow2::{CreateOptions, Qcow2};
use block::sync::YieldNow;
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Many chunks of 64 KiB, and not a whole number of them.
const LEN: u64 = (1 << 20) + (20 << 10);

fn image(len_bytes: u64) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes, cluster_bits: 12, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk
}

fn add(world: &mut World, name: &str, backing: Value) {
    let file = json!({"driver": "file", "filename": name});
    world.ok("blockdev-add", json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing}));
}

/// `base <- top` with data in both, and two empty targets.
fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    for name in ["base", "top", "target", "other"] {
        world.file(name, image(LEN));
    }
    add(&mut world, "base", Value::Null);
    let guest = world.guest("base", true);
    world.run(guest.write(0, vec![1; 600_000])).unwrap();
    drop(guest);
    add(&mut world, "top", json!("base"));
    let guest = world.guest("top", true);
    world.run(guest.write(500_000, vec![2; 200_000])).unwrap();
    drop(guest);
    for target in ["target", "other"] {
        add(&mut world, target, Value::Null);
    }
    world
}

fn backup(id: &str, target: &str, sync: &str) -> Value {
    json!({"job-id": id, "device": "top", "target": target, "sync": sync})
}

fn action(kind: &str, data: Value) -> Value {
    json!({"type": kind, "data": data})
}

/// Lets a guest overwrite much in a drawn order, piece by piece; answers how many pieces it has done. It stood on top
/// before the backup did, so it writes through the filter.
fn overwrite(world: &World, guest: Guest, seed: u64) -> Arc<AtomicUsize> {
    let done = Arc::new(AtomicUsize::new(0));
    let (count, mut random) = (done.clone(), Random::new(seed));
    let task = async move {
        for _ in 0..60 {
            let (offset, len) = random.range(LEN, 512, 100);
            match random.below(4) {
                0 => guest.write_zeroes(offset, len).await.unwrap(),
                1 => guest.discard(offset, len).await.unwrap(),
                _ => guest.write(offset, vec![77; len as usize]).await.unwrap(),
            }
            count.fetch_add(1, Ordering::Relaxed);
            for _ in 0..random.below(10) {
                YieldNow::default().await;
            }
        }
    };
    world.engine.host().spawn("guest", Box::pin(task));
    done
}

// Tables of an image of the smallest clusters end within a chunk, which is of the layer below all the same.
#[test]
fn a_backup_of_the_top_passes_over_what_several_tables_leave_to_the_layer_below() {
    let mut world = World::new(1);
    world.file("base", image(LEN));
    let small = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, cluster_bits: 9, ..CreateOptions::default() };
    block_on(Qcow2::create(&(small.clone() as Arc<dyn Disk>), &options)).unwrap();
    world.file("top", small);
    world.file("target", image(LEN));
    add(&mut world, "base", Value::Null);
    let guest = world.guest("base", true);
    world.run(guest.write(0, vec![1; 600_000])).unwrap();
    drop(guest);
    add(&mut world, "top", json!("base"));
    let guest = world.guest("top", true);
    world.run(guest.write(200_000, vec![2; 1000])).unwrap();
    drop(guest);
    add(&mut world, "target", Value::Null);
    world.ok("blockdev-backup", backup("b", "target", "top"));
    world.until("null", 1);
    let (top, target) = (world.content("top"), world.content("target"));
    // The chunk with data of its own is copied whole, and nothing else.
    let copied = 196_608..262_144;
    assert_eq!(target[copied.clone()], top[copied.clone()]);
    assert!(target[..copied.start].iter().chain(&target[copied.end..]).all(|byte| *byte == 0));
}

// The job and the guest's write may come to the same chunk at the same time: the old data must win.
#[test]
fn guest_writes_during_a_backup_leave_the_target_at_the_point_in_time() {
    for seed in 0..40 {
        let mut world = world(seed);
        for name in ["base", "top", "target"] {
            world.disk(name).delay(Random::new(seed), 12);
        }
        let moment = world.content("top");
        let guest = world.guest("top", true);
        let sparse = seed % 4 == 3;
        let mut arguments = backup("b", "target", "full");
        if sparse {
            arguments["x-perf"] = json!({"min-cluster-size": 256 << 10});
        }
        world.ok("blockdev-backup", arguments);
        let done = overwrite(&world, guest, seed);
        world.until("null", 1);
        assert!(done.load(Ordering::Relaxed) > 0, "seed {seed}: nobody wrote while the job was running");
        assert_eq!(
            world.events_from("waiting"),
            ["waiting", "pending", "COMPLETED", "concluded", "null"],
            "seed {seed}"
        );
        assert_eq!(world.content("target"), moment, "seed {seed}");
    }
}

#[test]
fn a_backup_of_nothing_saves_what_guests_overwrite_and_nothing_else() {
    let mut world = world(5);
    let moment = world.content("top");
    let guest = world.guest("top", true);
    world.ok("blockdev-backup", backup("b", "target", "none"));
    world.run(guest.write(100_000, vec![9; 1000])).unwrap();
    world.run(guest.write_zeroes(650_000, 10)).unwrap();
    world.ok("block-job-cancel", json!({"device": "b"}));
    world.until("null", 1);
    assert_eq!(world.events_from("aborting"), ["aborting", "CANCELLED", "concluded", "null"]);
    let target = world.content("target");
    for (n, saved) in target.chunks(64 << 10).enumerate() {
        let offset = n * (64 << 10);
        let touched = [100_000, 650_000].iter().any(|at| (offset..offset + saved.len()).contains(at));
        let expected =
            if touched { moment[offset..offset + saved.len()].to_vec() } else { vec![0; saved.len()] };
        assert_eq!(saved, expected, "the chunk at {offset}");
    }
}

#[test]
fn a_backup_of_the_top_leaves_to_the_layers_below_what_is_theirs() {
    for seed in 0..10 {
        let mut world = world(seed);
        let moment = world.content("top");
        let guest = world.guest("top", true);
        world.ok("blockdev-del", json!({"node-name": "target"}));
        add(&mut world, "target", json!("base"));
        world.ok("blockdev-backup", backup("b", "target", "top"));
        overwrite(&world, guest, seed);
        world.until("null", 1);
        // Only what top decided was copied: the rest of target is still empty, and reads base.
        assert_eq!(world.content("target"), moment, "seed {seed}");
        world.steps(20_000);
        world.ok("blockdev-del", json!({"node-name": "target"}));
        add(&mut world, "target", Value::Null);
        assert_eq!(world.content("target")[..400_000], vec![0; 400_000], "seed {seed}");
    }
}

// A reader of a target that stands on source looks into target first and into source next: between the two looks the
// guest's write must not have come.
#[test]
fn a_reader_of_a_target_that_stands_on_source_sees_one_moment() {
    for seed in 0..30 {
        let mut world = world(seed);
        let moment = world.content("top");
        let guest = world.guest("top", true);
        world.ok("blockdev-del", json!({"node-name": "target"}));
        add(&mut world, "target", json!("top"));
        for name in ["base", "top", "target"] {
            world.disk(name).delay(Random::new(seed), 10);
        }
        world.ok("blockdev-backup", backup("b", "target", "none"));
        let reader = world.guest("target", false);
        let done = overwrite(&world, guest, seed);
        while done.load(Ordering::Relaxed) < 60 {
            assert_eq!(world.run(reader.read(0, LEN)).unwrap(), moment, "seed {seed}");
        }
    }
}

#[test]
fn a_write_whose_old_data_cannot_be_saved_fails_and_changes_nothing() {
    let mut world = world(2);
    let moment = world.content("top");
    let guest = world.guest("top", true);
    world.ok("blockdev-backup", backup("b", "target", "none"));
    world.disk("target").fail_always(true);
    assert!(world.run(guest.write(0, vec![9; 512])).is_err());
    assert_eq!(world.content("top"), moment);
    world.disk("target").fail_always(false);
    world.run(guest.write(0, vec![9; 512])).unwrap();
    assert_eq!(world.content("target")[..512], moment[..512]);
}

#[test]
fn a_target_of_another_size_and_a_compressed_one_that_cannot_be_are_refused() {
    let mut world = world(1);
    world.file("short", image(LEN - 4096));
    add(&mut world, "short", Value::Null);
    world.file("raw", MemoryDisk::new(vec![0; LEN as usize]));
    let file = json!({"driver": "file", "filename": "raw"});
    world.ok("blockdev-add", json!({"driver": "raw", "node-name": "raw", "file": file}));
    let refused =
        |world: &mut World, arguments: Value| world.command("blockdev-backup", arguments).unwrap_err();
    let sizes = "Source and target image have different sizes";
    assert_eq!(refused(&mut world, backup("b", "short", "full")), sizes);
    let mut compressed = backup("b", "raw", "full");
    compressed["compress"] = json!(true);
    assert_eq!(refused(&mut world, compressed), "Compression is not supported for this drive ");
    assert_eq!(refused(&mut world, backup("b", "top", "full")), "Source and target cannot be the same");
    assert!(world.events().is_empty(), "{:?}", world.events());
}

#[test]
fn a_compressed_backup_holds_the_same() {
    let mut world = world(4);
    let moment = world.content("top");
    let guest = world.guest("top", true);
    let mut compressed = backup("b", "target", "full");
    compressed["compress"] = json!(true);
    world.ok("blockdev-backup", compressed);
    overwrite(&world, guest, 4);
    world.until("null", 1);
    assert_eq!(world.content("target"), moment);
    assert!(world.disk("target").bytes().len() < 300_000, "nothing was compressed");
}

fn grouped(one: Value, other: Value) -> Value {
    json!({
        "actions": [action("blockdev-backup", one), action("blockdev-backup", other)],
        "properties": {"completion-mode": "grouped"},
    })
}

fn count(world: &World, note: &str) -> usize {
    world.events().iter().filter(|seen| *seen == note).count()
}

#[test]
fn backups_of_one_transaction_hold_one_moment() {
    for seed in 0..10 {
        let mut world = world(seed);
        let moment = world.content("top");
        let guest = world.guest("top", true);
        let arguments = grouped(backup("a", "target", "full"), backup("b", "other", "full"));
        world.ok("transaction", arguments);
        overwrite(&world, guest, seed);
        world.until("null", 2);
        assert_eq!(count(&world, "COMPLETED"), 2, "seed {seed}: {:?}", world.events());
        assert_eq!(world.content("target"), moment, "seed {seed}");
        assert_eq!(world.content("other"), moment, "seed {seed}");
    }
}

#[test]
fn a_failure_in_a_grouped_transaction_cancels_the_other_job() {
    for seed in 0..20 {
        let mut world = world(seed);
        let mut slow = backup("b", "other", "full");
        slow["speed"] = json!(65536);
        world.disk("target").fail_in(seed % 7);
        world.ok("transaction", grouped(backup("a", "target", "full"), slow));
        world.until("null", 2);
        assert_eq!(count(&world, "COMPLETED Input/output error"), 1, "seed {seed}: {:?}", world.events());
        assert_eq!(count(&world, "CANCELLED"), 1, "seed {seed}: {:?}", world.events());
        // Nobody stands in anybody's way any more.
        world.ok("blockdev-backup", backup("a", "target", "full"));
    }
}

#[test]
fn a_transaction_that_fails_at_its_last_action_has_done_nothing() {
    let mut world = world(1);
    let before = world.ok("x-debug-query-block-graph", json!({}));
    let arguments = json!({"actions": [
        action("blockdev-backup", backup("a", "target", "full")),
        action("block-dirty-bitmap-add", json!({"node": "top", "name": "bitmap"})),
        action("blockdev-snapshot", json!({"node": "base", "overlay": "other"})),
        action("abort", json!({})),
    ]});
    let why = world.command("transaction", arguments).unwrap_err();
    assert_eq!(why, "Node 'base' is busy: node is used as backing hd of 'top'");
    assert_eq!(world.events(), ["created", "aborting", "concluded", "null"]);
    assert_eq!(world.ok("x-debug-query-block-graph", json!({})), before);
    let arguments = json!({"actions": [
        action("block-dirty-bitmap-add", json!({"node": "top", "name": "bitmap"})),
        action("abort", json!({})),
    ]});
    assert_eq!(
        world.command("transaction", arguments).unwrap_err(),
        "Transaction aborted using Abort action"
    );
    let gone = world.command("block-dirty-bitmap-remove", json!({"node": "top", "name": "bitmap"}));
    assert_eq!(gone.unwrap_err(), "Dirty bitmap 'bitmap' not found");
}

#[test]
fn a_transaction_does_what_each_of_its_actions_does() {
    let mut world = world(1);
    let arguments = json!({"actions": [
        action("block-dirty-bitmap-add", json!({"node": "top", "name": "bitmap"})),
        action("block-dirty-bitmap-disable", json!({"node": "top", "name": "bitmap"})),
        action("blockdev-backup", backup("a", "target", "full")),
        action("blockdev-snapshot", json!({"node": "top", "overlay": "other"})),
    ]});
    let moment = world.content("top");
    world.ok("transaction", arguments);
    world.until("null", 1);
    assert_eq!(world.content("target"), moment);
    assert_eq!(world.content("other"), moment);
    world.ok("block-dirty-bitmap-remove", json!({"node": "top", "name": "bitmap"}));
}

#[test]
fn only_backups_may_be_grouped() {
    let mut world = world(1);
    let mut arguments = grouped(backup("a", "target", "full"), backup("b", "other", "full"));
    arguments["actions"][1] = action("abort", json!({}));
    let why = world.command("transaction", arguments).unwrap_err();
    assert_eq!(why, "Action 'abort' does not support transaction property completion-mode = grouped");
    assert!(world.events().is_empty());
}
