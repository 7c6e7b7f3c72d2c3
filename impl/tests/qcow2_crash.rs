//! A kill or a power cut at any point leaves an image without corruption, and what was flushed reads back.
//!
//! How that is found out stands in `support/recorded.rs`.

use crate::support::crash::powered_off;
use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::find;
use crate::support::random::Random;
use crate::support::recorded::{Done, Recorded, Request, SECTOR, below, record, sector};
use block::format::qcow2::{BackingName, CreateOptions, DataFile, Qcow2};
use seam::Disk;
use std::sync::Arc;

fn options(version: u32, cluster_bits: u32, refcount_order: u32, len_bytes: u64) -> CreateOptions {
    CreateOptions { version, len_bytes, cluster_bits, refcount_order, ..CreateOptions::default() }
}

#[test]
fn every_cut_of_small_clusters_is_survived() {
    for (seed, (version, order)) in [(3, 4), (3, 6), (3, 0), (2, 4)].into_iter().enumerate() {
        for layer in [Layer(None), below(128)] {
            let recorded = record(&options(version, 9, order, 64 << 10), None, layer, seed as u64, 60);
            recorded.judge_all(&mut Random::new(seed as u64), 4);
        }
    }
}

#[test]
fn every_cut_of_larger_clusters_is_survived() {
    for (seed, cluster_bits) in [(10, 10), (11, 12)] {
        let recorded = record(&options(3, cluster_bits, 4, 64 << 10), None, below(100), seed, 60);
        recorded.judge_all(&mut Random::new(seed), 4);
    }
}

#[test]
fn every_cut_of_subclusters_is_survived() {
    for (seed, order, layer) in [(20, 4, Layer(None)), (21, 4, below(200)), (22, 0, below(100))] {
        let options = CreateOptions { extended_l2: true, ..options(3, 14, order, 128 << 10) };
        record(&options, None, layer, seed, 60).judge_all(&mut Random::new(seed), 4);
    }
}

#[test]
fn every_cut_of_compressed_clusters_is_survived() {
    for (seed, bits, order, zstd) in [(30, 9, 4, false), (31, 12, 1, true), (32, 10, 0, false)] {
        let options = CreateOptions { zstd, ..options(3, bits, order, 64 << 10) };
        record(&options, None, below(100), seed, 80).judge_all(&mut Random::new(seed), 4);
    }
}

// Both files are cut off at the same moment, each with its own choice of what was not flushed.
#[test]
fn every_cut_of_a_data_file_is_survived() {
    for (seed, extended_l2, bits) in [(40, false, 9), (41, true, 14), (42, false, 12)] {
        let data_file = Some(DataFile { name: "data".into(), raw: false });
        let options = CreateOptions { data_file, extended_l2, ..options(3, bits, 4, 64 << 10) };
        record(&options, None, below(100), seed, 60).judge_all(&mut Random::new(seed), 4);
    }
}

// 512-byte clusters and 64-bit refcounts: the refcount table must move within the first 2 MiB of the file.
#[test]
fn every_cut_of_a_growing_refcount_table_is_survived() {
    let disk = MemoryDisk::new(Vec::new());
    let options = options(3, 9, 6, 3 << 20);
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap();
    let fill = sector(7).repeat((1900 << 10) / SECTOR);
    block_on(image.write(0, &fill, &Layer(None))).unwrap();
    block_on(image.close()).unwrap();
    let table_before = disk.bytes()[48..60].to_vec();

    disk.take_log();
    let start = disk.bytes();
    let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap();
    let mut done = Vec::new();
    for step in 0..3 {
        let from = disk.events();
        let at = (1900 << 10) + step * (64 << 10);
        block_on(image.write(at as u64, &sector(8).repeat(128), &Layer(None))).unwrap();
        let sectors = at / SECTOR..at / SECTOR + 128;
        done.push(Done { from, to: disk.events(), request: Request::Fill { sectors, value: 8 } });
        let from = disk.events();
        block_on(image.flush()).unwrap();
        done.push(Done { from, to: disk.events(), request: Request::Flush });
    }
    assert_ne!(disk.bytes()[48..60], table_before, "the set-up needs a table that moves");
    let first = (0..(3 << 20) / SECTOR).map(|n| if n < (1900 << 10) / SECTOR { 7 } else { 0 }).collect();
    let recorded = Recorded { start, events: disk.take_log(), done, first, below: Layer(None), data: None };
    recorded.judge_all(&mut Random::new(1), 12);
}

#[test]
fn every_cut_of_a_growing_image_is_survived() {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options(3, 9, 4, 64 << 10))).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap();
    block_on(image.write(0, &sector(5).repeat(128), &Layer(None))).unwrap();
    block_on(image.flush()).unwrap();
    disk.take_log();
    let start = disk.bytes();
    block_on(image.grow(6 << 20)).unwrap();
    block_on(image.close()).unwrap();
    let recorded = Recorded {
        start,
        events: disk.take_log(),
        done: Vec::new(),
        first: vec![5; 128],
        below: Layer(None),
        data: None,
    };
    recorded.judge_all(&mut Random::new(2), 20);
}

// Shared clusters and tables are copied, compressed ones replaced: what they referred to goes only when it is safe.
#[test]
fn every_cut_of_snapshots_and_compressed_clusters_is_survived() {
    let Some(qemu) = find() else { return };
    for (seed, bits) in [(1, 9), (2, 12)] {
        let fill: Vec<u8> = (0..96).flat_map(|n| sector((1 << 40) | (n / 3))).collect();
        qemu.put("source.raw", &fill);
        let settings = format!("cluster_size={}", 1 << bits);
        qemu.img_ok(&["convert", "-c", "-f", "raw", "-O", "qcow2", "-o", &settings, "source.raw", "a.qcow2"]);
        qemu.img_ok(&["snapshot", "-c", "first", "a.qcow2"]);
        qemu.io("a.qcow2", &["write -z 0 8192".into(), "write -z 20480 8192".into()]);
        qemu.img_ok(&["snapshot", "-c", "second", "a.qcow2"]);
        let options = options(3, bits, 4, 48 << 10);
        let recorded = record(&options, Some(qemu.get("a.qcow2")), Layer(None), seed, 60);
        recorded.judge_all(&mut Random::new(seed), 4);
    }
}

// The name must be the old one or the new one, never a mixture: one sector holds the whole header.
#[test]
fn a_change_of_the_backing_name_is_all_or_nothing() {
    let name = |file: &str| BackingName { file: file.repeat(20), format: Some("qcow2".into()) };
    for (version, cluster_bits) in [(3, 9), (3, 16), (2, 12)] {
        let disk = MemoryDisk::new(Vec::new());
        let options =
            CreateOptions { backing: Some(name("old")), ..options(version, cluster_bits, 4, 64 << 10) };
        block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
        disk.take_log();
        let start = disk.bytes();
        let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap();
        block_on(image.change_backing(Some(name("newer")))).unwrap();
        let events = disk.take_log();
        let mut seen = [false; 2];
        let mut random = Random::new(3);
        for _ in 0..50 {
            let cut = MemoryDisk::new(powered_off(&start, &events, events.len(), &mut random));
            let found = block_on(Qcow2::open(cut, "cut.qcow2", false)).unwrap().backing().unwrap();
            assert!(found == name("old") || found == name("newer"), "{found:?}");
            seen[usize::from(found == name("newer"))] = true;
        }
        assert_eq!(seen, [true; 2], "both happened");
    }
}
