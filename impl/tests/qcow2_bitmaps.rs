//! Persistent bitmaps: QEMU reads ours and we read QEMU's, and after a stop at any point none is believed that misses
//! a write.
//!
//! What needs QEMU is skipped, with a line that says so, where there is none.

use crate::support::crash::{killed, powered_off};
use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::find;
use crate::support::random::Random;
use crate::support::world::World;
use block::format::qcow2::{CreateOptions, Qcow2, StoredBitmap, check};
use seam::Disk;
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;

const NONE: Layer = Layer(None);
const LEN: u64 = 4 << 20;

fn create(cluster_bits: u32) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { cluster_bits, len_bytes: LEN, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk
}

fn open(disk: &Arc<MemoryDisk>, writable: bool) -> Arc<Qcow2> {
    block_on(Qcow2::open(disk.clone(), "image.qcow2", writable)).unwrap()
}

fn bitmap(name: &str, granularity: u32, dirty: &[Range<u64>]) -> StoredBitmap {
    let (is_recording, is_inconsistent) = (true, false);
    StoredBitmap { name: name.into(), granularity, is_recording, is_inconsistent, dirty: dirty.to_vec() }
}

fn store(image: &Qcow2, bitmaps: &[StoredBitmap]) {
    image.hand_over_bitmaps(bitmaps.to_vec());
    block_on(image.store_bitmaps()).unwrap();
    block_on(image.close()).unwrap();
}

fn loaded(image: &Qcow2) -> Vec<StoredBitmap> {
    block_on(image.load_bitmaps()).unwrap()
}

fn assert_clean(disk: &MemoryDisk, what: &str) {
    let report = block_on(check(disk)).unwrap();
    assert!(report.is_clean(), "{what}: {:?}", report.lines);
}

/// Bits in the first cluster of bits, at its end and in later ones, where clusters are small enough to have some.
fn scattered(granularity: u32) -> Vec<Range<u64>> {
    let granules = LEN / u64::from(granularity);
    let all = [0..1, 3..11, granules / 2 - 1..granules / 2 + 9, granules - 1..granules];
    all.into_iter().filter(|range| range.end <= granules).collect()
}

#[test]
fn what_was_stored_is_loaded_and_replaced_and_removed() {
    for cluster_bits in [9, 12, 16] {
        let disk = create(cluster_bits);
        let image = open(&disk, true);
        let first = bitmap("first", 512, &scattered(512));
        let second = StoredBitmap { is_recording: false, ..bitmap("second", 65536, &[]) };
        store(&image, &[first.clone(), second.clone()]);
        assert_clean(&disk, "stored");
        assert_eq!(loaded(&open(&disk, false)), [first, second.clone()], "clusters of 2^{cluster_bits}");

        let image = open(&disk, true);
        let other = bitmap("first", 4096, &scattered(4096));
        store(&image, std::slice::from_ref(&other));
        assert_clean(&disk, "replaced");
        assert_eq!(loaded(&open(&disk, false)), [other.clone(), second]);

        block_on(image.remove_bitmap("second")).unwrap();
        block_on(image.close()).unwrap();
        assert_eq!(loaded(&open(&disk, false)), [other]);
        block_on(image.remove_bitmap("first")).unwrap();
        block_on(image.close()).unwrap();
        assert_clean(&disk, "removed");
        assert_eq!(loaded(&open(&disk, false)), []);
    }
}

#[test]
fn the_first_change_makes_what_the_disk_has_unbelievable() {
    let disk = create(12);
    let image = open(&disk, true);
    store(&image, &[bitmap("b", 4096, &[0..1, 5..6])]);
    let image = open(&disk, true);
    assert!(!loaded(&open(&disk, false))[0].is_inconsistent, "opening alone changes nothing");
    block_on(image.write(0, &[7; 512], &NONE)).unwrap();
    let after_a_kill = MemoryDisk::new(disk.bytes());
    let found = loaded(&open(&after_a_kill, false));
    assert_eq!((found[0].is_inconsistent, found[0].is_recording), (true, false));
    block_on(image.close()).unwrap();
}

// Between the first change and the end every cut leaves a bitmap that says it is not to be believed, and at the end
// the new one, whose data is there.
#[test]
fn every_cut_of_a_store_is_survived() {
    for cluster_bits in [9, 12] {
        let disk = create(cluster_bits);
        let image = open(&disk, true);
        let before = bitmap("b", 512, &[1..2, 9..10]);
        store(&image, std::slice::from_ref(&before));
        let image = open(&disk, true);
        let start = disk.bytes();
        disk.take_log();
        block_on(image.write(512 * 40, &[9; 1024], &NONE)).unwrap();
        let after = bitmap("b", 512, &[1..2, 9..10, 40..42]);
        store(&image, std::slice::from_ref(&after));
        let events = disk.take_log();
        let mut random = Random::new(u64::from(cluster_bits));
        let (mut at_rest, mut in_use, mut stored) = (0, 0, 0);
        for at in 0..=events.len() {
            let mut cuts = vec![killed(&start, &events, at)];
            cuts.extend((0..20).map(|_| powered_off(&start, &events, at, &mut random)));
            for bytes in cuts {
                let disk = MemoryDisk::new(bytes);
                let report = block_on(check(&*disk)).unwrap();
                assert_eq!(report.corruptions, 0, "cut behind event {at}: {:?}", report.lines);
                let image = open(&disk, false);
                let mut content = [0; 1024];
                block_on(image.read(512 * 40, &mut content, &NONE)).unwrap();
                let found = loaded(&image);
                match () {
                    () if found == [before.clone()] => {
                        assert_eq!(content, [0; 1024], "behind event {at}: believed, and it misses a write");
                        at_rest += 1;
                    }
                    () if found == [after.clone()] => {
                        assert_eq!(content, [9; 1024], "behind event {at}: stored before its data");
                        stored += 1;
                    }
                    () => {
                        assert!(found.len() == 1 && found[0].is_inconsistent, "behind event {at}: {found:?}");
                        in_use += 1;
                    }
                }
            }
        }
        assert!(at_rest > 0 && in_use > 0 && stored > 0, "{at_rest} {in_use} {stored}");
    }
}

#[test]
fn a_store_that_fails_leaves_bitmaps_in_use_and_nothing_damaged() {
    let writes = {
        let disk = create(12);
        let image = open(&disk, true);
        block_on(image.write(0, &[1; 512], &NONE)).unwrap();
        block_on(image.flush()).unwrap();
        disk.take_log();
        store(&image, &[bitmap("b", 512, &scattered(512))]);
        disk.take_log().len() as u64
    };
    let mut failed = 0;
    for n in 0..writes {
        let disk = create(12);
        let image = open(&disk, true);
        block_on(image.write(0, &[1; 512], &NONE)).unwrap();
        block_on(image.flush()).unwrap();
        image.hand_over_bitmaps(vec![bitmap("b", 512, &scattered(512))]);
        disk.fail_in(n);
        failed += u32::from(block_on(image.store_bitmaps()).is_err());
        // Where the store had no failure left for it, the first close has.
        block_on(image.close()).or_else(|_| block_on(image.close())).unwrap();
        let report = block_on(check(&*disk)).unwrap();
        assert_eq!(report.corruptions, 0, "request {n} failed: {:?}", report.lines);
        let found = loaded(&open(&disk, false));
        assert!(
            found.is_empty() || found[0].dirty == scattered(512) || found[0].is_inconsistent,
            "request {n} failed: {found:?}"
        );
    }
    assert!(failed > 2, "{failed} of {writes} stores failed");
}

#[test]
fn qemu_reads_our_bitmaps() {
    let Some(qemu) = find() else { return };
    for (cluster_bits, granularity) in [(9, 512), (12, 4096), (16, 65536), (16, 512)] {
        let disk = create(cluster_bits);
        let image = open(&disk, true);
        let ours = bitmap("ours", granularity, &scattered(granularity));
        store(&image, std::slice::from_ref(&ours));
        qemu.put("image.qcow2", &disk.bytes());
        assert_eq!(qemu.check("image.qcow2").map(|v| (v.corruptions, v.leaks)), Some((0, 0)));
        // QEMU reads the bits of ours and writes them into one of its own.
        let granularity = granularity.to_string();
        qemu.img_ok(&["bitmap", "--add", "--merge", "ours", "-g", &granularity, "image.qcow2", "theirs"]);
        let back = MemoryDisk::new(qemu.get("image.qcow2"));
        let found = loaded(&open(&back, false));
        let names: Vec<&str> = found.iter().map(|bitmap| &*bitmap.name).collect();
        assert_eq!(names, ["ours", "theirs"]);
        found.iter().for_each(|bitmap| assert_eq!(bitmap.dirty, ours.dirty, "{}", bitmap.name));
        assert_clean(&back, "written by QEMU");
    }
}

#[test]
fn we_read_qemus_bitmaps() {
    let Some(qemu) = find() else { return };
    qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", "image.qcow2", "4M"]);
    qemu.img_ok(&["bitmap", "--add", "-g", "4096", "image.qcow2", "on"]);
    qemu.img_ok(&["bitmap", "--add", "--disable", "image.qcow2", "off"]);
    qemu.io("image.qcow2", &["write -P 1 10k 1k".into(), "write -P 2 1M 100k".into()]);
    let disk = MemoryDisk::new(qemu.get("image.qcow2"));
    let found = loaded(&open(&disk, false));
    assert_eq!(found[0], bitmap("on", 4096, &[2..3, 256..281]));
    assert_eq!(found[1], StoredBitmap { is_recording: false, ..bitmap("off", 4096, &[]) });
    assert_clean(&disk, "written by QEMU");
}

fn add(world: &mut World, read_only: bool) {
    let file = json!({"driver": "file", "filename": "image"});
    let backing = Value::Null;
    world.ok(
        "blockdev-add",
        json!({"driver": "qcow2", "node-name": "n", "file": file, "backing": backing, "read-only": read_only}),
    );
}

fn dirty(world: &mut World) -> Vec<(String, u64, bool)> {
    let nodes = world.ok("query-named-block-nodes", json!({"flat": true}));
    let node = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == "n").unwrap();
    let bitmaps = node["dirty-bitmaps"].as_array().cloned().unwrap_or_default();
    let shown = |b: &Value| {
        (b["name"].as_str().unwrap().to_owned(), b["count"].as_u64().unwrap(), b["inconsistent"] == true)
    };
    bitmaps.iter().map(shown).collect()
}

#[test]
fn a_bitmap_comes_back_with_its_node() {
    let mut world = World::new(1);
    world.file("image", create(12));
    add(&mut world, false);
    let named = |name: &str| json!({"node": "n", "name": name});
    for name in ["kept", "removed"] {
        let new = json!({"node": "n", "name": name, "persistent": true, "granularity": 4096});
        world.ok("block-dirty-bitmap-add", new);
    }
    world.ok("block-dirty-bitmap-add", named("passing"));
    let guest = world.guest("n", true);
    world.run(guest.write(8192, vec![1; 100])).unwrap();
    drop(guest);
    world.ok("blockdev-del", json!({"node-name": "n"}));
    assert_clean(&world.disk("image"), "closed");

    add(&mut world, false);
    assert_eq!(dirty(&mut world), [("kept".into(), 4096, false), ("removed".into(), 4096, false)]);
    world.ok("block-dirty-bitmap-remove", named("removed"));
    let guest = world.guest("n", true);
    world.run(guest.write(0, vec![1; 100])).unwrap();
    drop(guest);
    // What a kill would leave now.
    let killed = world.disk("image").bytes();
    world.run(world.engine.clone().quit());
    assert_clean(&world.disk("image"), "after quit");

    let ended = world.disk("image").bytes();
    for (bytes, expected) in [(killed, ("kept", 0, true)), (ended, ("kept", 8192, false))] {
        let mut world = World::new(2);
        world.file("image", MemoryDisk::new(bytes));
        add(&mut world, true);
        let (name, count, is_inconsistent) = expected;
        assert_eq!(dirty(&mut world), [(name.to_owned(), count, is_inconsistent)]);
        let refused = world.command("block-dirty-bitmap-clear", named("kept")).unwrap_err();
        assert!(refused.contains("Bitmap 'kept' is readonly and cannot be modified"), "{refused}");
    }
}
