//! A kill or a power cut at any point leaves an image without corruption, and what was flushed reads back.
//!
//! A workload runs once on a disk that remembers every write. Then, behind each write, the file is cut off there, as
//! a kill or as a power cut, opened again, checked, and every sector compared with what it may hold: the value at the
//! last flush that ended, or any that was written since.

mod support;

use block::format::Below;
use block::format::qcow2::{BackingName, CreateOptions, Qcow2, check};
use block::host::Disk;
use std::sync::Arc;
use support::crash::{killed, powered_off};
use support::executor::block_on;
use support::layer::Layer;
use support::memory_disk::{Event, MemoryDisk};
use support::qemu::find;
use support::random::Random;

const SECTOR: usize = 512;

/// What the guest asked for, between two points of the disk's log.
#[derive(Debug)]
struct Done {
    from: usize,
    to: usize,
    request: Request,
}

#[derive(Debug)]
enum Request {
    /// A range of sectors gets this value.
    Fill {
        sectors: std::ops::Range<usize>,
        value: u64,
    },
    Flush,
}

/// A sector filled with one number.
fn sector(value: u64) -> Vec<u8> {
    value.to_be_bytes().repeat(SECTOR / 8)
}

fn below(sectors: usize) -> Layer {
    Layer(Some((0..sectors).flat_map(|n| sector(1 << 32 | n as u64)).collect()))
}

/// A workload, run.
struct Recorded {
    start: Vec<u8>,
    events: Vec<Event>,
    done: Vec<Done>,
    /// Each sector's value at the start.
    first: Vec<u64>,
    below: Layer,
}

impl Recorded {
    /// The values each sector may have if the world ends behind `events[..at]`.
    fn allowed(&self, at: usize) -> Vec<Vec<u64>> {
        let mut allowed: Vec<Vec<u64>> = self.first.iter().map(|value| vec![*value]).collect();
        for done in self.done.iter().filter(|done| done.from < at) {
            match &done.request {
                Request::Fill { sectors, value } => {
                    allowed[sectors.clone()].iter_mut().for_each(|values| values.push(*value));
                }
                Request::Flush if done.to <= at => {
                    allowed.iter_mut().for_each(|values| drop(values.drain(..values.len() - 1)));
                }
                Request::Flush => {}
            }
        }
        allowed
    }

    fn judge(&self, bytes: Vec<u8>, at: usize, how: &str) {
        let disk = MemoryDisk::new(bytes);
        let report = block_on(check(&*disk)).unwrap_or_else(|e| panic!("{how} behind event {at}: {e}"));
        assert_eq!(report.corruptions, 0, "{how} behind event {at}: {:?}", report.lines);
        let image = block_on(Qcow2::open(disk.clone(), "cut.qcow2", true)).expect("checked above");
        let mut content = vec![0; image.len_bytes() as usize];
        block_on(image.read(0, &mut content, &self.below)).unwrap();
        for (n, (found, allowed)) in content.chunks(SECTOR).zip(self.allowed(at)).enumerate() {
            let is = |value: u64| found.chunks(8).all(|word| word == value.to_be_bytes());
            let fits = allowed.iter().any(|value| is(*value));
            assert!(fits, "{how} behind event {at}: sector {n} begins {:?}, not {allowed:?}", &found[..8]);
        }
        // Whoever goes on with the image must not make it worse.
        block_on(image.write(0, &vec![9; 4096.min(content.len())], &self.below)).unwrap();
        block_on(image.close()).unwrap();
        let report = block_on(check(&*disk)).unwrap();
        assert_eq!(report.corruptions, 0, "{how} behind event {at}, written to: {:?}", report.lines);
    }

    fn judge_all(&self, random: &mut Random, cuts: u64) {
        for at in 0..=self.events.len() {
            self.judge(killed(&self.start, &self.events, at), at, "a kill");
            for _ in 0..cuts {
                self.judge(powered_off(&self.start, &self.events, at, random), at, "a power cut");
            }
        }
    }
}

/// Runs random requests on a new image, or on `start`.
fn record(
    options: &CreateOptions,
    start: Option<Vec<u8>>,
    below: Layer,
    seed: u64,
    steps: usize,
) -> Recorded {
    let disk = MemoryDisk::new(start.unwrap_or_default());
    if disk.bytes().is_empty() {
        block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    }
    let start = disk.bytes();
    disk.take_log();
    let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap();
    let mut random = Random::new(seed);
    let len = image.len_bytes();
    let mut content = vec![0; len as usize];
    block_on(image.read(0, &mut content, &below)).unwrap();
    let value_of = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let first: Vec<u64> = content.chunks(SECTOR).map(value_of).collect();
    let mut done: Vec<Done> = Vec::new();
    for value in 1..=steps as u64 {
        let from = disk.events();
        let cluster = image.cluster_bytes();
        let (offset, count) = random.range(len, SECTOR as u64, 3 * cluster / SECTOR as u64);
        let sectors = |from: u64, to: u64| from as usize / SECTOR..to as usize / SECTOR;
        let request = match random.below(10) {
            0..=4 => {
                let data = sector(value).repeat(count as usize / SECTOR);
                block_on(image.write(offset, &data, &below)).unwrap();
                Request::Fill { sectors: sectors(offset, offset + count), value }
            }
            5 | 6 => {
                block_on(image.write_zeroes(offset, count, &below)).unwrap();
                Request::Fill { sectors: sectors(offset, offset + count), value: 0 }
            }
            7 => {
                let (offset, count) = random.range(len, cluster, 6);
                block_on(image.discard(offset, count, below.exists())).unwrap();
                let none = options.version == 2 && below.exists();
                let end = if none { offset } else { offset + count };
                Request::Fill { sectors: sectors(offset, end), value: 0 }
            }
            _ => {
                block_on(image.flush()).unwrap();
                Request::Flush
            }
        };
        done.push(Done { from, to: disk.events(), request });
    }
    let from = disk.events();
    block_on(image.close()).unwrap();
    done.push(Done { from, to: disk.events(), request: Request::Flush });
    let report = block_on(check(&*disk)).unwrap();
    assert!(report.is_clean(), "closed: {report:?}");
    Recorded { start, events: disk.take_log(), done, first, below }
}

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
    let recorded = Recorded { start, events: disk.take_log(), done, first, below: Layer(None) };
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
