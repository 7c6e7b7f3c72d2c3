//! `blockdev-backup` with a bitmap: older copy and what was dirty are the moment at which the job began, and afterwards the
//! bitmap has what the next backup needs, whatever became of this one.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::world::World;
use block::engine::Guest;
use block::format::qcow2::{CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;

/// Sixteen chunks of 64 KiB, and a piece of one.
const LEN: u64 = (1 << 20) + (20 << 10);
const CHUNK: u64 = 64 << 10;

/// A disk with data, its bitmap `b` of chunks, and two empty images.
fn world(seed: u64) -> World {
    let mut world = World::new(seed);
    for name in ["disk", "full", "inc"] {
        let disk = MemoryDisk::new(Vec::new());
        let options = CreateOptions { len_bytes: LEN, cluster_bits: 12, ..CreateOptions::default() };
        block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
        world.file(name, disk);
        let file = json!({"driver": "file", "filename": name});
        let backing = if name == "inc" { json!("full") } else { Value::Null };
        let arguments = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing});
        world.ok("blockdev-add", arguments);
    }
    write(&mut world, 0, LEN, 1);
    world.ok("block-dirty-bitmap-add", json!({"node": "disk", "name": "b", "granularity": CHUNK}));
    world
}

fn write(world: &mut World, offset: u64, len: u64, byte: u8) {
    let guest = world.guest("disk", true);
    world.run(guest.write(offset, vec![byte; len as usize])).unwrap();
}

fn backup(world: &mut World, target: &str, sync: &str, more: Value) -> Result<String, String> {
    let mut arguments =
        json!({"job-id": "j", "device": "disk", "target": target, "sync": sync, "bitmap": "b"});
    let more = more.as_object().expect("an object").clone();
    arguments.as_object_mut().expect("an object").extend(more);
    world.command("blockdev-backup", arguments)
}

/// How often a job has come to its end.
fn ended(world: &World) -> usize {
    world.events().iter().filter(|event| *event == "null").count()
}

fn done(world: &mut World, target: &str, sync: &str, more: Value) {
    let before = ended(world);
    backup(world, target, sync, more).unwrap();
    world.until("null", before + 1);
}

/// What a query shows of the disk's bitmaps: name, dirty chunks and whether somebody holds it.
fn bitmaps(world: &mut World) -> Vec<(String, u64, bool)> {
    let nodes = world.ok("query-named-block-nodes", json!({}));
    let disk = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == "disk").unwrap();
    let bitmap = |bitmap: &Value| {
        let name = bitmap["name"].as_str().unwrap_or("").to_owned();
        (name, bitmap["count"].as_u64().unwrap() / CHUNK, bitmap["busy"].as_bool().unwrap())
    };
    disk["dirty-bitmaps"].as_array().unwrap().iter().map(bitmap).collect()
}

fn one(name: &str, chunks: u64, is_busy: bool) -> (String, u64, bool) {
    (name.to_owned(), chunks, is_busy)
}

#[test]
fn increments_over_the_older_copy_are_the_moment_at_which_they_began() {
    for seed in 0..20 {
        let mut world = world(seed);
        write(&mut world, 0, 1, 2);
        done(&mut world, "full", "full", json!({"bitmap-mode": "on-success"}));
        let first = world.content("disk");
        assert_eq!(bitmaps(&mut world), [one("b", 0, false)], "a full copy has all of it");
        write(&mut world, 3 * CHUNK + 5, CHUNK, 3);
        let second = world.content("disk");
        let guest = world.guest("disk", true);
        backup(&mut world, "inc", "incremental", json!({})).unwrap();
        // Meanwhile a guest overwrites what is to be saved and what is not.
        world.run(guest.write(4 * CHUNK, vec![4; 2 * CHUNK as usize])).unwrap();
        drop(guest);
        world.until("null", 2);
        assert_eq!(world.content("inc"), second);
        assert_eq!(world.content("full"), first);
        assert_eq!(bitmaps(&mut world), [one("b", 2, false)]);
        // Once more into the same image: it becomes the third moment.
        let third = world.content("disk");
        done(&mut world, "inc", "bitmap", json!({"bitmap-mode": "on-success"}));
        assert_eq!(world.content("inc"), third);
        assert_eq!(bitmaps(&mut world), [one("b", 0, false)]);
    }
}

#[test]
fn what_was_not_dirty_is_not_copied() {
    let mut world = world(7);
    write(&mut world, 5 * CHUNK, 1, 2);
    done(&mut world, "full", "bitmap", json!({"bitmap-mode": "never"}));
    let (disk, full) = (world.content("disk"), world.content("full"));
    let copied = 5 * CHUNK as usize..6 * CHUNK as usize;
    assert_eq!(full[copied.clone()], disk[copied.clone()]);
    assert!(full[..copied.start].iter().chain(&full[copied.end..]).all(|byte| *byte == 0));
    assert_eq!(bitmaps(&mut world), [one("b", 1, false)], "it never forgets");
}

/// A backup that is paused in the midst of six chunks that are dirty; a guest has written a seventh since.
fn stopped(sync: &str, mode: &str) -> (World, Guest) {
    let mut world = world(11);
    write(&mut world, 0, 6 * CHUNK, 2);
    let guest = world.guest("disk", true);
    let slow = json!({"bitmap-mode": mode, "speed": 1, "x-perf": {"max-chunk": CHUNK}});
    backup(&mut world, "full", sync, slow).unwrap();
    let has_begun = |world: &mut World| world.ok("query-jobs", json!({}))[0]["current-progress"] != 0;
    (0..5_000).find(|_| {
        world.steps(1);
        has_begun(&mut world)
    });
    world.ok("job-pause", json!({"id": "j"}));
    assert_eq!(bitmaps(&mut world), [one("", 0, false), one("b", 6, true)]);
    world.run(guest.write(8 * CHUNK, vec![3])).unwrap();
    assert_eq!(bitmaps(&mut world), [one("", 1, false), one("b", 6, true)]);
    (world, guest)
}

fn cancelled(world: &mut World) -> Vec<(String, u64, bool)> {
    world.ok("job-cancel", json!({"id": "j"}));
    world.until("null", 1);
    bitmaps(world)
}

#[test]
fn a_backup_that_is_cancelled_leaves_what_was_dirty_and_what_became_so() {
    for mode in ["on-success", "never"] {
        let (mut world, guest) = stopped("bitmap", mode);
        assert_eq!(cancelled(&mut world), [one("b", 7, false)], "{mode}");
        world.run(guest.write(10 * CHUNK, vec![3])).unwrap();
        assert_eq!(bitmaps(&mut world), [one("b", 8, false)], "{mode}: it records again");
    }
}

#[test]
fn one_that_always_forgets_keeps_what_it_did_not_copy() {
    let (mut world, _guest) = stopped("bitmap", "always");
    let [(_, left, false)] = &cancelled(&mut world)[..] else { panic!("one bitmap is left") };
    assert!((2..7).contains(left), "{left} chunks: not those that are in the copy");
}

// The last chunk, which is no whole one, is among what is not copied.
#[test]
fn one_that_fails_before_it_copies_keeps_all_to_the_last_byte() {
    let mut world = world(5);
    let job = json!({"bitmap-mode": "always", "auto-finalize": false, "speed": 1});
    write(&mut world, LEN - 1, 1, 2);
    world.disk("full").fail_always(true);
    backup(&mut world, "full", "bitmap", job).unwrap();
    world.until("null", 1);
    assert_eq!(bitmaps(&mut world), [one("b", 1, false)]);
}

#[test]
fn nobody_else_changes_a_bitmap_that_a_backup_holds() {
    let (mut world, _guest) = stopped("incremental", "on-success");
    let busy = "Bitmap 'b' is currently in use by another operation and cannot be used";
    let name = json!({"node": "disk", "name": "b"});
    for verb in ["remove", "clear", "enable", "disable"] {
        let why = world.command(&format!("block-dirty-bitmap-{verb}"), name.clone()).unwrap_err();
        assert_eq!(why, busy, "{verb}");
    }
    world.ok("block-dirty-bitmap-add", json!({"node": "disk", "name": "c"}));
    for (target, source) in [("b", "c"), ("c", "b")] {
        let arguments = json!({"node": "disk", "target": target, "bitmaps": [source]});
        assert_eq!(world.command("block-dirty-bitmap-merge", arguments).unwrap_err(), busy);
    }
    let why = backup(&mut world, "inc", "bitmap", json!({"job-id": "k", "bitmap-mode": "never"}));
    assert_eq!(why.unwrap_err(), busy);
    assert_eq!(cancelled(&mut world).last(), Some(&one("b", 7, false)));
}

#[test]
fn a_transaction_that_is_refused_leaves_the_bitmap_free() {
    let mut world = world(3);
    write(&mut world, 0, 1, 2);
    let job =
        json!({"job-id": "j", "device": "disk", "target": "full", "sync": "incremental", "bitmap": "b"});
    let arguments = json!({"actions": [
        {"type": "blockdev-backup", "data": job},
        {"type": "block-dirty-bitmap-clear", "data": {"node": "disk", "name": "b"}},
    ]});
    let why = world.command("transaction", arguments).unwrap_err();
    assert_eq!(why, "Bitmap 'b' is currently in use by another operation and cannot be used");
    assert_eq!(bitmaps(&mut world), [one("b", 1, false)]);
}

#[test]
fn bitmaps_of_different_sizes_are_not_merged() {
    let mut world = world(3);
    world.ok("block_resize", json!({"node-name": "inc", "size": LEN + CHUNK}));
    world.ok("block-dirty-bitmap-add", json!({"node": "inc", "name": "c"}));
    let merge = json!({"node": "disk", "target": "b", "bitmaps": [{"node": "inc", "name": "c"}]});
    let why = world.command("block-dirty-bitmap-merge", merge).unwrap_err();
    assert_eq!(
        why,
        "Bitmaps are of different sizes (destination size is 1069056, source size is 1134592) and can't be merged"
    );
}
