//! What is written is read back, over versions, cluster sizes, refcount widths and layers below.

use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::{Event, MemoryDisk};
use crate::support::random::Random;
use block::format::qcow2::{BackingName, CreateOptions, OpenCause, Qcow2, check};
use block::format::raw::Raw;
use block::format::{Below, RunKind};
use seam::{Disk, Errno};
use std::sync::Arc;

fn options(version: u32, cluster_bits: u32, refcount_order: u32, len_bytes: u64) -> CreateOptions {
    CreateOptions { version, len_bytes, cluster_bits, refcount_order, ..CreateOptions::default() }
}

fn created(options: &CreateOptions) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    disk
}

fn open(disk: &Arc<MemoryDisk>) -> Arc<Qcow2> {
    block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap()
}

fn content(image: &Qcow2, below: &dyn Below) -> Vec<u8> {
    let mut bytes = vec![0xee; image.len_bytes() as usize];
    block_on(image.read(0, &mut bytes, below)).unwrap();
    bytes
}

#[track_caller]
fn assert_clean(disk: &MemoryDisk) {
    let report = block_on(check(disk)).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Random requests against plain bytes, with reopening in between.
fn random_requests(options: &CreateOptions, below: &Layer, seed: u64) {
    let disk = created(options);
    let mut image = open(&disk);
    let mut random = Random::new(seed);
    let len = options.len_bytes;
    let cluster = image.cluster_bytes();
    let mut expected = below.bytes(0, len as usize);
    for step in 0..120 {
        let unit = if random.one_in(3) { cluster } else { 1 };
        let (offset, count) = random.range(len, unit, if unit == 1 { 3 * cluster } else { 8 });
        let range = offset as usize..(offset + count) as usize;
        match random.below(8) {
            0..=3 => {
                let data: Vec<u8> = (0..count).map(|_| random.any() as u8).collect();
                block_on(image.write(offset, &data, below)).unwrap();
                expected[range].copy_from_slice(&data);
            }
            4 => {
                block_on(image.write_zeroes(offset, count, below)).unwrap();
                expected[range].fill(0);
            }
            5 => {
                block_on(image.discard(offset, count, below.exists())).unwrap();
                let end = offset + count;
                let last = if end == len { end } else { end / cluster * cluster };
                let first = offset.next_multiple_of(cluster);
                if first < last && (options.version == 3 || !below.exists()) {
                    expected[first as usize..last as usize].fill(0);
                }
            }
            6 => block_on(image.flush()).unwrap(),
            _ => {
                let mut bytes = vec![0xee; count as usize];
                block_on(image.read(offset, &mut bytes, below)).unwrap();
                assert_eq!(bytes, expected[range], "step {step}, {count} bytes at {offset}");
            }
        }
        if random.one_in(20) {
            block_on(image.close()).unwrap();
            assert_clean(&disk);
            image = open(&disk);
        }
    }
    assert!(content(&image, below) == expected, "seed {seed}: the whole content");
    block_on(image.close()).unwrap();
    assert_clean(&disk);
    let reopened = open(&disk);
    assert!(content(&reopened, below) == expected, "seed {seed}: the whole content, reopened");
}

#[test]
fn random_requests_read_back_in_every_geometry() {
    let mut seed = 0;
    for (version, order) in [(2, 4), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (3, 5), (3, 6)] {
        for cluster_bits in [9, 12, 16] {
            let len = (40u64 << cluster_bits).min(1 << 20) - 512;
            for below in [None, Some((0..len / 2).map(|n| (n / 512 + 1) as u8).collect())] {
                seed += 1;
                random_requests(&options(version, cluster_bits, order, len), &Layer(below), seed);
            }
        }
    }
}

#[test]
fn large_clusters_read_back() {
    random_requests(&options(3, 21, 4, 5 << 20), &Layer(None), 1);
}

// 512-byte clusters and 64-bit refcounts: 64 clusters an area, 64 areas a cluster of refcount table.
#[test]
fn the_refcount_table_grows_as_the_file_does() {
    let disk = created(&options(3, 9, 6, 4 << 20));
    let image = open(&disk);
    let table_before = disk.bytes()[48..60].to_vec();
    let data: Vec<u8> = (0..4 << 20).map(|n: u32| (n / 509) as u8).collect();
    for piece in 0..64 {
        let range = piece * 65536..(piece + 1) * 65536;
        block_on(image.write(range.start as u64, &data[range], &Layer(None))).unwrap();
        if piece % 16 == 7 {
            block_on(image.flush()).unwrap();
        }
    }
    block_on(image.close()).unwrap();
    assert_ne!(disk.bytes()[48..60], table_before, "the set-up needs a larger table");
    assert_clean(&disk);
    assert!(content(&open(&disk), &Layer(None)) == data);
}

#[test]
fn an_image_grows_with_its_l1_table() {
    for (cluster_bits, from, to) in
        [(9, 1 << 16, 8 << 20), (9, 0, 4096), (12, 1 << 20, 1 << 30), (9, 1536, 700 << 20)]
    {
        let disk = created(&options(3, cluster_bits, 4, from));
        let image = open(&disk);
        let data = vec![7; from as usize];
        block_on(image.write(0, &data, &Layer(None))).unwrap();
        block_on(image.grow(to)).unwrap();
        assert_eq!(image.len_bytes(), to);
        block_on(image.write(to - 1000, &[9; 1000], &Layer(None))).unwrap();
        block_on(image.close()).unwrap();
        assert_clean(&disk);
        let image = open(&disk);
        assert_eq!(image.len_bytes(), to);
        let mut bytes = vec![0; from as usize + 512];
        block_on(image.read(0, &mut bytes, &Layer(None))).unwrap();
        assert!(bytes[..from as usize] == data, "{from} to {to}: the old content");
        assert_eq!(bytes[from as usize..], [0; 512], "{from} to {to}: what is new");
        block_on(image.read(to - 1000, &mut bytes[..1000.min(from as usize + 512)], &Layer(None))).unwrap();
        assert_eq!(bytes[0], 9);
    }
}

#[test]
fn growing_neither_shrinks_nor_outgrows_the_l1_table() {
    let image = open(&created(&options(3, 9, 4, 1 << 16)));
    assert_eq!(block_on(image.grow(512)), Err(Errno::EINVAL));
    assert_eq!(block_on(image.grow(1 << 60)), Err(Errno::EFBIG));
    assert_eq!(image.len_bytes(), 1 << 16);
}

#[test]
fn status_joins_what_is_of_one_kind() {
    let disk = created(&options(3, 9, 4, 64 << 10));
    let image = open(&disk);
    let below = Layer(Some(vec![1; 64 << 10]));
    block_on(image.write(512 * 10, &[5; 1024], &below)).unwrap();
    block_on(image.write(512 * 12, &[5; 512], &below)).unwrap();
    block_on(image.write_zeroes(512 * 13, 512 * 2, &below)).unwrap();
    block_on(image.discard(512 * 15, 512, true)).unwrap();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < 64 << 10 {
        let run = block_on(image.status(at, (64 << 10) - at)).unwrap();
        runs.push((run.kind, run.len / 512));
        at += run.len;
    }
    let expected =
        [(RunKind::Unallocated, 10), (RunKind::Data, 3), (RunKind::Zero, 3), (RunKind::Unallocated, 112)];
    assert_eq!(runs, expected);
    let within = block_on(image.status(512 * 10 + 7, 100)).unwrap();
    assert_eq!((within.kind, within.len), (RunKind::Data, 100));
}

#[test]
fn the_backing_name_changes_and_goes() {
    for cluster_bits in [9, 12, 16] {
        let backing = BackingName { file: "base.raw".into(), format: Some("raw".into()) };
        let disk = created(&CreateOptions {
            backing: Some(backing.clone()),
            ..options(3, cluster_bits, 4, 1 << 16)
        });
        let image = open(&disk);
        assert_eq!(image.backing(), Some(backing));
        let other = BackingName { file: "x".repeat(300), format: Some("qcow2".into()) };
        disk.take_log();
        block_on(image.change_backing(Some(other.clone()))).unwrap();
        assert_eq!(disk.events(), 1, "one write and no flush");
        assert_eq!(open(&disk).backing(), Some(other));
        block_on(image.change_backing(None)).unwrap();
        assert_eq!(open(&disk).backing(), None);
        assert_eq!(disk.bytes()[8..20], [0; 12], "no offset and no size");
    }
}

#[test]
fn a_backing_name_that_does_not_fit_is_refused() {
    let disk = created(&options(3, 9, 4, 1 << 16));
    let image = open(&disk);
    let name = |len| Some(BackingName { file: "x".repeat(len), format: None });
    disk.take_log();
    assert_eq!(block_on(image.change_backing(name(1024))), Err(Errno::EINVAL));
    assert_eq!(block_on(image.change_backing(name(500))), Err(Errno::ENOSPC));
    assert_eq!(disk.events(), 0);
    assert_eq!(image.backing(), None);
}

#[test]
fn creating_and_opening_a_small_image_takes_few_requests() {
    let disk = created(&options(3, 9, 4, 64 << 10));
    assert_eq!(disk.events(), 2, "one write and one flush");
    let image = open(&disk);
    assert_eq!(disk.reads(), 1, "header and tables in one read");
    drop(image);
    let disk = created(&options(3, 16, 4, 1 << 30));
    let image = open(&disk);
    assert_eq!(disk.reads(), 3, "header, L1 table, refcount table");
    drop(image);
}

#[test]
fn a_run_is_written_at_once() {
    let disk = created(&options(3, 12, 4, 4 << 20));
    let image = open(&disk);
    disk.take_log();
    block_on(image.write(0, &vec![1; 1 << 20], &Layer(None))).unwrap();
    assert_eq!(disk.events(), 1, "one write for 256 clusters, no metadata yet");
}

#[test]
fn discarded_clusters_are_used_again_after_a_flush() {
    let disk = created(&options(3, 9, 4, 64 << 10));
    let image = open(&disk);
    for round in 0..20 {
        block_on(image.write(0, &vec![round; 32 << 10], &Layer(None))).unwrap();
        block_on(image.discard(0, 32 << 10, false)).unwrap();
        block_on(image.flush()).unwrap();
    }
    block_on(image.close()).unwrap();
    assert!(disk.bytes().len() < 80 << 10, "{} bytes", disk.bytes().len());
    assert_clean(&disk);
}

#[test]
fn going_read_only_leaves_nothing_unwritten() {
    let disk = created(&options(3, 9, 4, 64 << 10));
    let image = open(&disk);
    block_on(image.write(0, &[1; 4096], &Layer(None))).unwrap();
    block_on(image.discard(0, 2048, false)).unwrap();
    block_on(image.set_writable(false)).unwrap();
    assert_clean(&disk);
    disk.take_log();
    block_on(image.flush()).unwrap();
    assert_eq!(disk.events(), 0, "a read-only image has nothing to flush");
    block_on(image.set_writable(true)).unwrap();
    block_on(image.write(0, &[2; 512], &Layer(None))).unwrap();
    block_on(image.close()).unwrap();
    assert_clean(&disk);
}

#[test]
fn a_failed_write_gives_its_clusters_back() {
    let disk = created(&options(3, 9, 4, 64 << 10));
    let image = open(&disk);
    let below = Layer(Some(vec![3; 64 << 10]));
    disk.fail_always(true);
    assert_eq!(block_on(image.write(100, &[1; 3000], &below)), Err(Errno::EIO));
    disk.fail_always(false);
    assert!(content(&image, &below) == vec![3; 64 << 10]);
    assert_eq!(block_on(image.status(0, 4096)).unwrap().kind, RunKind::Unallocated);
    block_on(image.close()).unwrap();
    assert_clean(&disk);
}

#[test]
fn a_failed_flush_is_repeated_by_the_next() {
    for fail_in in 0..9 {
        let disk = created(&options(3, 9, 4, 64 << 10));
        let image = open(&disk);
        block_on(image.write(0, &[1; 5000], &Layer(None))).unwrap();
        disk.fail_in(fail_in);
        let first = block_on(image.flush());
        block_on(image.discard(0, 1024, false)).unwrap();
        disk.fail_always(false);
        block_on(image.close()).unwrap();
        assert_clean(&disk);
        let bytes = content(&open(&disk), &Layer(None));
        assert_eq!((bytes[0], bytes[1024], bytes[4999], bytes[5000]), (0, 1, 1, 0), "{first:?}");
        assert_eq!(first.is_err(), fail_in < 6, "the flush is 6 requests: {fail_in}, {first:?}");
    }
}

// 64 KiB clusters: 256 tables fit in the cache, and 128 of them may be dirty.
#[test]
fn a_large_sparse_image_keeps_few_tables_in_memory() {
    let disk = created(&options(3, 16, 4, 1 << 40));
    let image = open(&disk);
    disk.take_log();
    let at = |n: u64| n * (1 << 30) + n * 512;
    for n in 0..400 {
        block_on(image.write(at(n), &[n as u8; 512], &Layer(None))).unwrap();
    }
    let flushes = disk.take_log().iter().filter(|e| matches!(e, Event::Flush)).count();
    assert!(flushes > 3, "dirty tables are written without being asked");
    let read_before = disk.reads();
    for n in 0..400 {
        let mut bytes = [0; 1024];
        block_on(image.read(at(n), &mut bytes, &Layer(None))).unwrap();
        assert_eq!((bytes[511], bytes[512]), (n as u8, 0));
    }
    assert!(disk.reads() - read_before > 400 + 50, "tables left the cache and came back");
    block_on(image.close()).unwrap();
    assert_clean(&disk);
}

#[test]
fn autoclear_bits_go_before_the_first_change() {
    let disk = created(&options(3, 9, 4, 64 << 10));
    let mut bytes = disk.bytes();
    bytes[95] = 0x81;
    let disk = MemoryDisk::new(bytes);
    let image = open(&disk);
    block_on(image.read(0, &mut [0; 512], &Layer(None))).unwrap();
    assert_eq!(disk.events(), 0, "reading changes nothing");
    block_on(image.write(0, &[1; 512], &Layer(None))).unwrap();
    assert_eq!(disk.bytes()[88..96], [0; 8]);
    let log = disk.take_log();
    assert!(matches!(log[..2], [Event::Write { offset: 0, .. }, Event::Flush]), "durable before the data");
    block_on(image.write(0, &[2; 512], &Layer(None))).unwrap();
    assert_eq!(disk.events(), 1, "once");
}

#[test]
fn corrupt_images_are_read_only() {
    let mut bytes = created(&options(3, 9, 4, 64 << 10)).bytes();
    bytes[79] = 2;
    let disk = MemoryDisk::new(bytes);
    let refused = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap_err();
    assert_eq!(refused.cause, OpenCause::Corrupt);
    assert!(refused.to_string().starts_with("test.qcow2: "), "{refused}");
    let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", false)).unwrap();
    assert_eq!(block_on(image.set_writable(true)), Err(Errno::EACCES));
    assert_eq!(disk.events(), 0);
}

#[test]
fn an_image_says_what_it_is() {
    let info = |options: &CreateOptions| open(&created(options)).info();
    let old = info(&options(2, 16, 4, 1 << 20));
    assert_eq!((old.compat, old.compression_type, old.refcount_bits), ("0.10", "zlib", 16));
    assert_eq!(old.of_version_3, None, "it has no features");
    let zstd = CreateOptions { zstd: true, extended_l2: true, ..options(3, 14, 0, 1 << 20) };
    let new = info(&zstd);
    assert_eq!((new.compat, new.compression_type, new.refcount_bits, new.dirty), ("1.1", "zstd", 1, false));
    let more = new.of_version_3.unwrap();
    assert!(more.extended_l2);
    assert!(!more.lazy_refcounts);
    assert!(!more.corrupt);
}

#[test]
fn impossible_options_make_no_image() {
    let disk = MemoryDisk::new(Vec::new());
    let name = |len| Some(BackingName { file: "x".repeat(len), format: None });
    for bad in [
        options(1, 16, 4, 0),
        options(3, 8, 4, 0),
        options(3, 22, 4, 0),
        options(3, 16, 7, 0),
        options(2, 16, 3, 0),
        options(3, 16, 4, 100),
        options(3, 9, 4, 1 << 50),
        CreateOptions { backing: name(1024), ..options(3, 16, 4, 0) },
        CreateOptions { backing: name(450), ..options(3, 9, 4, 0) },
    ] {
        let made = block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &bad));
        assert!(made.is_err(), "{bad:?}");
        assert_eq!(disk.events(), 0, "{bad:?}");
    }
}

#[test]
fn a_raw_file_is_its_own_disk() {
    let disk = MemoryDisk::new(vec![1; 1000]);
    let raw = Raw::open(disk.clone(), true).unwrap();
    assert_eq!(raw.len_bytes(), 1024, "whole sectors");
    let run = block_on(raw.status(512, 512)).unwrap();
    assert_eq!((run.kind, run.len), (RunKind::Data, 512));
    block_on(raw.write(500, &[2; 100])).unwrap();
    block_on(raw.write_zeroes(0, 10)).unwrap();
    block_on(raw.resize(2048)).unwrap();
    let mut bytes = vec![9; 2048];
    block_on(raw.read(0, &mut bytes)).unwrap();
    let expected = [vec![0; 10], vec![1; 490], vec![2; 100], vec![1; 400], vec![0; 1048]].concat();
    assert!(bytes == expected);
    block_on(raw.resize(700)).unwrap();
    assert_eq!(raw.len_bytes(), 1024);
    block_on(raw.set_writable(false)).unwrap();
    disk.take_log();
    block_on(raw.close()).unwrap();
    assert_eq!(disk.events(), 0, "a read-only file has nothing to flush");
}

#[test]
fn every_future_is_send() {
    fn is_send<T: Send>(future: T) -> T {
        future
    }
    let disk = created(&options(3, 9, 4, 64 << 10));
    let image = is_send(Box::pin(Qcow2::open(disk.clone(), "test.qcow2", true)));
    let image = block_on(image).unwrap();
    let below = Layer(None);
    block_on(is_send(image.write(0, &[1; 100], &below))).unwrap();
    block_on(is_send(image.read(0, &mut [0; 100], &below))).unwrap();
    block_on(is_send(image.write_zeroes(0, 100, &below))).unwrap();
    block_on(is_send(image.discard(0, 100, false))).unwrap();
    block_on(is_send(image.status(0, 100))).unwrap();
    block_on(is_send(image.grow(128 << 10))).unwrap();
    block_on(is_send(image.change_backing(None))).unwrap();
    block_on(is_send(image.set_writable(true))).unwrap();
    block_on(is_send(image.close())).unwrap();
    is_send(block_on(is_send(check(&*disk))).unwrap());
}
