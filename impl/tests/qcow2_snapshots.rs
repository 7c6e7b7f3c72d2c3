//! Internal snapshots that we make and delete: QEMU lists and reads them, and a stop at any point loses nothing.
//!
//! What needs QEMU is skipped, with a line that says so, where there is none.

use crate::support::crash::{killed, powered_off};
use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Qemu, find};
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, Qcow2, check};
use seam::{Disk, Errno};
use std::sync::Arc;

const NONE: Layer = Layer(None);

fn options(version: u32, cluster_bits: u32, refcount_order: u32) -> CreateOptions {
    let len_bytes = (40u64 << cluster_bits).min(2 << 20);
    CreateOptions { version, cluster_bits, refcount_order, len_bytes, ..CreateOptions::default() }
}

fn image(options: &CreateOptions) -> (Arc<MemoryDisk>, Arc<Qcow2>) {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "image.qcow2", true)).unwrap();
    (disk, image)
}

fn fill(image: &Qcow2, cluster: u64, clusters: u64, value: u8) {
    let bytes = image.cluster_bytes();
    block_on(image.write(cluster * bytes, &vec![value; (clusters * bytes) as usize], &NONE)).unwrap();
}

fn content(image: &Qcow2) -> Vec<u8> {
    let mut content = vec![0; image.len_bytes() as usize];
    block_on(image.read(0, &mut content, &NONE)).unwrap();
    content
}

fn assert_clean(disk: &MemoryDisk, what: &str) {
    let report = block_on(check(disk)).unwrap();
    assert!(report.is_clean(), "{what}: {:?}", report.lines);
}

/// The same as ours in `q.qcow2`: two snapshots, and writes before, between and after them.
fn write_by_qemu(qemu: &Qemu, options: &CreateOptions) {
    let bits = options.cluster_bits;
    let compat = if options.version == 2 { "0.10" } else { "1.1" };
    let extended = if options.extended_l2 { ",extended_l2=on" } else { "" };
    let (cluster, refcount) = (1 << bits, 1 << options.refcount_order);
    let settings = format!("compat={compat},cluster_size={cluster},refcount_bits={refcount}{extended}");
    let len = options.len_bytes.to_string();
    qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", &settings, "q.qcow2", &len]);
    let write = |at: u64, count: u64, value: u8| format!("write -P {value} {} {}", at << bits, count << bits);
    qemu.io("q.qcow2", &[write(0, 10, 1), write(20, 1, 9).replace("write", "write -c")]);
    qemu.img_ok(&["snapshot", "-c", "first", "q.qcow2"]);
    qemu.io("q.qcow2", &[write(5, 10, 2)]);
    qemu.img_ok(&["snapshot", "-c", "second", "q.qcow2"]);
    qemu.io("q.qcow2", &[write(0, 3, 3)]);
}

// The same writes and snapshots by both: the same clusters are taken, and each snapshot reads the same.
#[test]
fn snapshots_are_qemus_own() {
    let Some(qemu) = find() else { return };
    let extended = CreateOptions { extended_l2: true, ..options(3, 14, 4) };
    for options in [options(3, 9, 4), options(3, 12, 1), options(2, 16, 4), options(3, 16, 6), extended] {
        let (disk, image) = image(&options);
        fill(&image, 0, 10, 1);
        block_on(image.write_compressed(
            20 * image.cluster_bytes(),
            &vec![9; image.cluster_bytes() as usize],
            &NONE,
        ))
        .unwrap();
        block_on(image.create_snapshot("first", 1000, 2)).unwrap();
        assert_clean(&disk, "one snapshot");
        fill(&image, 5, 10, 2);
        block_on(image.create_snapshot("second", 2000, 3)).unwrap();
        fill(&image, 0, 3, 3);
        let now = content(&image);
        block_on(image.close()).unwrap();
        assert_clean(&disk, "two snapshots");
        qemu.put("ours.qcow2", &disk.bytes());
        write_by_qemu(&qemu, &options);

        assert!(qemu.content("ours.qcow2") == now);
        assert!(qemu.content("q.qcow2") == now);
        assert_eq!(qemu.counts("ours.qcow2"), qemu.counts("q.qcow2"), "{options:?}");
        let of = |image: &str, name: &str| {
            qemu.img_ok(&["convert", "-f", "qcow2", "-O", "raw", "-l", name, image, "snapshot.raw"]);
            qemu.get("snapshot.raw")
        };
        for name in ["first", "second"] {
            assert!(of("ours.qcow2", name) == of("q.qcow2", name), "{name} of {options:?}");
        }

        let second = of("ours.qcow2", "second");
        let gone = block_on(image.delete_snapshot("first")).unwrap();
        assert_eq!((gone.id.as_str(), gone.seconds, gone.nanoseconds), ("1", 1000, 2));
        fill(&image, 7, 2, 4);
        block_on(image.close()).unwrap();
        assert_clean(&disk, "one deleted");
        qemu.put("ours.qcow2", &disk.bytes());
        assert_eq!(qemu.counts("ours.qcow2").verdict.corruptions, 0);
        assert!(of("ours.qcow2", "second") == second);
        block_on(image.delete_snapshot("2")).unwrap();
        block_on(image.close()).unwrap();
        assert_clean(&disk, "both deleted");
        assert_eq!(image.snapshots(), 0);
    }
}

// Nothing was written in between: the image and the snapshot share every table.
#[test]
fn a_snapshot_that_is_deleted_gives_back_the_tables_that_the_image_uses() {
    for options in [options(3, 9, 4), options(2, 16, 4)] {
        let (disk, image) = image(&options);
        fill(&image, 0, 10, 1);
        block_on(image.create_snapshot("s", 1, 2)).unwrap();
        block_on(image.delete_snapshot("s")).unwrap();
        block_on(image.close()).unwrap();
        assert_clean(&disk, "made and deleted");
    }
}

#[test]
fn snapshots_of_qemu_are_listed_and_deleted() {
    let Some(qemu) = find() else { return };
    qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", "image.qcow2", "1M"]);
    qemu.io("image.qcow2", &["write -P 1 0 100k".into()]);
    qemu.img_ok(&["snapshot", "-c", "one", "image.qcow2"]);
    qemu.io("image.qcow2", &["write -P 2 50k 100k".into()]);
    qemu.img_ok(&["snapshot", "-c", "two", "image.qcow2"]);
    let now = qemu.content("image.qcow2");
    let disk = MemoryDisk::new(qemu.get("image.qcow2"));
    let image = block_on(Qcow2::open(disk.clone(), "image.qcow2", true)).unwrap();
    let names: Vec<_> =
        block_on(image.list_snapshots()).unwrap().into_iter().map(|s| (s.id, s.name)).collect();
    assert_eq!(names, [("1".into(), "one".into()), ("2".into(), "two".into())]);
    block_on(image.delete_snapshot("one")).unwrap();
    block_on(image.create_snapshot("three", 5, 6)).unwrap();
    block_on(image.close()).unwrap();
    assert_clean(&disk, "one deleted, one made");
    qemu.put("image.qcow2", &disk.bytes());
    assert!(qemu.content("image.qcow2") == now);
    let listed = qemu.img_ok(&["snapshot", "-l", "image.qcow2"]);
    assert!(listed.contains("two") && listed.contains("three") && !listed.contains("one"), "{listed}");
}

#[test]
fn snapshots_that_cannot_be_are_refused() {
    let (disk, image) = image(&options(3, 12, 0));
    assert_eq!(block_on(image.delete_snapshot("none")).unwrap_err(), Errno::ENOENT);
    fill(&image, 0, 2, 1);
    let before = content(&image);
    assert_eq!(
        block_on(image.create_snapshot("a", 0, 0)),
        Err(Errno::EINVAL),
        "a refcount of one bit is full"
    );
    block_on(image.close()).unwrap();
    assert_clean(&disk, "refused");
    assert!(content(&image) == before);
    let (_, image) = self::image(&options(3, 12, 4));
    block_on(image.create_snapshot("a", 0, 0)).unwrap();
    assert_eq!(block_on(image.create_snapshot("a", 0, 0)), Err(Errno::EEXIST));
}

// Version 3 is repaired where it was cut off; version 2 leaks at worst, or has COPIED flags to repair.
#[test]
fn every_cut_of_a_snapshot_is_survived() {
    for (version, bits, order) in [(3, 9, 4), (3, 12, 2)] {
        let (disk, image) = image(&options(version, bits, order));
        fill(&image, 0, 10, 1);
        block_on(image.create_snapshot("first", 0, 0)).unwrap();
        fill(&image, 5, 10, 2);
        block_on(image.flush()).unwrap();
        let expected = content(&image);
        let start = disk.bytes();
        disk.take_log();
        block_on(image.create_snapshot("second", 0, 0)).unwrap();
        block_on(image.delete_snapshot("first")).unwrap();
        let events = disk.take_log();
        let mut random = Random::new(7);
        let mut seen = std::collections::BTreeSet::new();
        for at in 0..=events.len() {
            let mut cuts = vec![killed(&start, &events, at)];
            cuts.extend((0..8).map(|_| powered_off(&start, &events, at, &mut random)));
            for bytes in cuts {
                let disk = MemoryDisk::new(bytes);
                let image = block_on(Qcow2::open(disk.clone(), "cut.qcow2", true)).unwrap();
                let report = block_on(check(&*disk)).unwrap();
                assert_eq!(report.corruptions, 0, "cut behind event {at}: {:?}", report.lines);
                assert!(content(&image) == expected, "cut behind event {at}");
                let names = block_on(image.list_snapshots()).unwrap().into_iter().map(|s| s.name);
                seen.insert(names.collect::<Vec<_>>());
            }
        }
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let all = [names(&["first"]), names(&["first", "second"]), names(&["second"])];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), all, "nothing between, and each reached");
    }
}

/// What is done to an image with the snapshot `first`.
#[derive(Copy, Clone, Debug)]
enum Act {
    Create,
    Delete,
}

impl Act {
    fn on(self, image: &Qcow2) -> Result<(), Errno> {
        match self {
            Act::Create => block_on(image.create_snapshot("second", 0, 0)).map(drop),
            Act::Delete => block_on(image.delete_snapshot("first")).map(drop),
        }
    }

    /// What says that an attempt that failed has done it all the same.
    fn is_done_already(self, errno: Errno) -> bool {
        match self {
            Act::Create => errno == Errno::EEXIST,
            Act::Delete => errno == Errno::ENOENT,
        }
    }
}

/// An image with one snapshot, and clusters that it shares and does not share.
fn with_a_snapshot(options: &CreateOptions) -> (Arc<MemoryDisk>, Arc<Qcow2>) {
    let (disk, image) = image(options);
    fill(&image, 0, 10, 1);
    block_on(image.create_snapshot("first", 0, 0)).unwrap();
    fill(&image, 5, 10, 2);
    block_on(image.flush()).unwrap();
    (disk, image)
}

// Every write and every flush of it fails once, or all do from there on. Then the disk is sound: whoever tries again succeeds,
// and nothing is counted that nobody uses, neither then nor once the image was opened again. Only what was left to a repair,
// since nothing could be written any more, version 2 cannot say.
#[test]
fn a_snapshot_that_met_an_error_leaks_nothing_once_it_is_tried_again() {
    for (version, bits, order) in [(3, 9, 4), (3, 12, 2), (2, 9, 4)] {
        for act in [Act::Create, Act::Delete] {
            for (tries_again, goes_on) in [(true, false), (false, false), (true, true), (false, true)] {
                let mut failed = 0;
                for n in 0.. {
                    let (disk, image) = with_a_snapshot(&options(version, bits, order));
                    let expected = content(&image);
                    if goes_on {
                        disk.fail_from(n)
                    } else {
                        disk.fail_in(n)
                    }
                    let Err(errno) = act.on(&image) else { break };
                    assert_eq!(errno, Errno::EIO);
                    failed += 1;
                    disk.fail_always(false);
                    let what = format!("{act:?}, version {version}, event {n}, {tries_again} {goes_on}");
                    if tries_again {
                        let again = act.on(&image);
                        let is_done = again.is_ok() || again.is_err_and(|e| act.is_done_already(e));
                        assert!(is_done, "{what}: {again:?}");
                    }
                    assert!(content(&image) == expected, "{what}");
                    block_on(image.close()).unwrap();
                    let image = block_on(Qcow2::open(disk.clone(), "image.qcow2", true)).unwrap();
                    assert!(content(&image) == expected, "{what}");
                    let report = block_on(check(&*disk)).unwrap();
                    assert_eq!(report.corruptions, 0, "{what}: {:?}", report.lines);
                    assert!(report.leaks == 0 || goes_on && version == 2, "{what}: {:?}", report.lines);
                }
                assert!(failed > 5, "{act:?} does several things");
            }
        }
    }
}
