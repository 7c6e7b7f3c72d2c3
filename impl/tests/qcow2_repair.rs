//! A dirty image is repaired before it is written: whatever its refcounts say, afterwards they are right, and nothing a
//! guest sees has changed.

use crate::support::crash::{killed, powered_off};
use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Verdict, find};
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, OpenCause, Qcow2, check};
use seam::{Disk, Errno};
use std::sync::Arc;

const NONE: Layer = Layer(None);

/// An image with lazy refcounts and some data, closed cleanly.
fn lazy_image(cluster_bits: u32, refcount_order: u32, len_bytes: u64) -> Vec<u8> {
    let disk = MemoryDisk::new(Vec::new());
    let lazy_refcounts = true;
    let options =
        CreateOptions { cluster_bits, refcount_order, len_bytes, lazy_refcounts, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "lazy.qcow2", true)).unwrap();
    assert!(image.lazy_refcounts());
    let mut random = Random::new(cluster_bits.into());
    for value in 1..40 {
        let (offset, count) = random.range(len_bytes, 512, 4 * image.cluster_bytes() / 512);
        block_on(image.write(offset, &vec![value; count as usize], &NONE)).unwrap();
    }
    block_on(image.close()).unwrap();
    disk.bytes()
}

/// Makes the image dirty and forgets its refcounts: all of them, or the refcount table's entries too.
fn forget_refcounts(bytes: &mut [u8], forget_table: bool) {
    let be64 = |bytes: &[u8], at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let cluster = 1usize << bytes[23];
    let table = be64(bytes, 48);
    bytes[79] |= 1;
    for at in (table..table + cluster).step_by(8) {
        let block = be64(bytes, at);
        if block != 0 {
            bytes[block..block + cluster].fill(0);
        }
        if forget_table {
            bytes[at..at + 8].fill(0);
        }
    }
}

fn content(image: &Qcow2) -> Vec<u8> {
    let mut content = vec![0; image.len_bytes() as usize];
    block_on(image.read(0, &mut content, &NONE)).unwrap();
    content
}

#[test]
fn stale_refcounts_are_repaired_before_a_write() {
    let qemu = find();
    for (bits, order) in [(9, 4), (9, 6), (12, 4), (12, 0), (16, 4)] {
        for forget_table in [false, true] {
            let healthy = lazy_image(bits, order, (100 << bits).min(2 << 20));
            let mut bytes = healthy.clone();
            forget_refcounts(&mut bytes, forget_table);
            let disk = MemoryDisk::new(bytes);
            let read_only = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", false)).unwrap();
            let before = content(&read_only);
            assert_eq!(disk.events(), 0, "reading repairs nothing");
            let damage = block_on(check(&*disk)).unwrap();
            assert!(damage.corruptions > 0, "the set-up loses refcounts");

            let image = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", true)).unwrap();
            let report = block_on(check(&*disk)).unwrap();
            assert!(report.is_clean(), "{bits} {order} {forget_table}: {:?}", report.lines);
            assert!(content(&image) == before);
            block_on(image.write(0, &[77; 4096], &NONE)).unwrap();
            block_on(image.close()).unwrap();
            assert!(block_on(check(&*disk)).unwrap().is_clean());
            if let Some(qemu) = &qemu {
                qemu.put("repaired.qcow2", &disk.bytes());
                assert_eq!(qemu.check("repaired.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }));
                assert!(qemu.content("repaired.qcow2") == content(&image));
            }
        }
    }
}

#[test]
fn an_image_becomes_writable_by_a_repair() {
    let mut bytes = lazy_image(12, 4, 256 << 10);
    forget_refcounts(&mut bytes, false);
    let disk = MemoryDisk::new(bytes);
    let image = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", false)).unwrap();
    let before = content(&image);
    block_on(image.set_writable(true)).unwrap();
    assert!(content(&image) == before);
    block_on(image.write_zeroes(0, 8192, &NONE)).unwrap();
    block_on(image.close()).unwrap();
    assert!(block_on(check(&*disk)).unwrap().is_clean());
}

// Cut off anywhere, a repair leaves an image that the next one repairs.
#[test]
fn every_cut_of_a_repair_can_be_repaired() {
    for (bits, forget_table) in [(9, true), (12, false)] {
        let mut start = lazy_image(bits, 4, 64 << 10);
        forget_refcounts(&mut start, forget_table);
        let disk = MemoryDisk::new(start.clone());
        let image = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", true)).unwrap();
        let expected = content(&image);
        let events = disk.take_log();
        assert!(events.len() > 3, "{} events", events.len());
        let mut random = Random::new(1);
        for at in 0..=events.len() {
            let mut cuts = vec![killed(&start, &events, at)];
            cuts.extend((0..8).map(|_| powered_off(&start, &events, at, &mut random)));
            for bytes in cuts {
                let disk = MemoryDisk::new(bytes);
                let image = block_on(Qcow2::open(disk.clone(), "cut.qcow2", true)).unwrap();
                assert!(content(&image) == expected, "cut behind event {at}");
                assert!(block_on(check(&*disk)).unwrap().is_clean());
            }
        }
    }
}

#[test]
fn damaged_tables_are_not_repaired_away() {
    let mut bytes = lazy_image(12, 4, 256 << 10);
    bytes[79] |= 1;
    let l1 = u64::from_be_bytes(bytes[40..48].try_into().unwrap()) as usize;
    bytes[l1 + 7] |= 1;
    let disk = MemoryDisk::new(bytes);
    let Err(refused) = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", true)) else {
        panic!("a damaged image opens");
    };
    assert!(matches!(refused.cause, OpenCause::Unrepairable { .. }), "{refused}");
    assert_eq!(disk.events(), 0);
}

#[test]
fn a_repair_that_fails_is_an_error() {
    let mut bytes = lazy_image(12, 4, 256 << 10);
    forget_refcounts(&mut bytes, false);
    let disk = MemoryDisk::new(bytes);
    disk.fail_always(true);
    let refused = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", true)).map(|_| ()).unwrap_err();
    assert_eq!(refused.cause, OpenCause::NotRepaired { errno: Errno::EIO });
}

// QEMU killed in the middle of its work, with lazy refcounts on.
#[test]
fn what_qemu_left_dirty_is_repaired() {
    let Some(qemu) = find() else { return };
    let settings = "lazy_refcounts=on,cluster_size=4096";
    qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", settings, "dirty.qcow2", "8M"]);
    let commands = ["write -P 1 0 1M", "flush", "write -P 2 4M 1M", "flush", "abort"];
    qemu.io_aborted("dirty.qcow2", &commands);
    let bytes = qemu.get("dirty.qcow2");
    assert_eq!(bytes[79] & 1, 1, "the set-up leaves the image dirty");
    let disk = MemoryDisk::new(bytes);
    let image = block_on(Qcow2::open(disk.clone(), "dirty.qcow2", true)).unwrap();
    let found = content(&image);
    assert!(found[..1 << 20].iter().all(|b| *b == 1));
    assert!(found[4 << 20..5 << 20].iter().all(|b| *b == 2));
    block_on(image.close()).unwrap();
    qemu.put("repaired.qcow2", &disk.bytes());
    assert_eq!(qemu.check("repaired.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }));
}
