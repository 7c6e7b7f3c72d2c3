//! A workload that ran once on disks that remember every write, to be cut off anywhere.
//!
//! Behind each write the file is cut off there, as a kill or as a power cut, opened again, checked, and every sector
//! compared with what it may hold: the value at the last flush that ended, or any that was written since.

use super::crash::{killed, powered_off};
use super::executor::block_on;
use super::layer::Layer;
use super::memory_disk::{Event, MemoryDisk};
use super::random::Random;
use block::format::Below;
use block::format::qcow2::{CreateOptions, Qcow2, check};
use seam::{Disk, Errno};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What a disk writes whole.
pub const SECTOR: usize = 512;

/// What the guest asked for, between two points of the disk's log.
#[derive(Debug)]
pub struct Done {
    pub from: usize,
    pub to: usize,
    pub request: Request,
}

/// A request, as far as contents go.
#[derive(Debug)]
pub enum Request {
    /// A range of sectors gets this value.
    Fill {
        sectors: std::ops::Range<usize>,
        value: u64,
    },
    Flush,
}

/// A sector filled with one number.
pub fn sector(value: u64) -> Vec<u8> {
    value.to_be_bytes().repeat(SECTOR / 8)
}

/// A layer below of so many sectors, each with its own value.
pub fn below(sectors: usize) -> Layer {
    Layer(Some((0..sectors).flat_map(|n| sector(1 << 32 | n as u64)).collect()))
}

/// A workload, run.
#[derive(Debug)]
pub struct Recorded {
    pub start: Vec<u8>,
    pub events: Vec<Event>,
    pub done: Vec<Done>,
    /// Each sector's value at the start.
    pub first: Vec<u64>,
    pub below: Layer,
    /// Of an image with a data file: that file's events, and how many of them each event of the image came after.
    pub data: Option<DataFileLog>,
}

/// What happened to a data file.
#[derive(Debug)]
pub struct DataFileLog {
    pub events: Vec<Event>,
    pub before: Vec<usize>,
}

/// What a stop leaves of a file: its start, its events, and how many of them there were.
type Leave<'a> = dyn FnMut(&[u8], &[Event], usize) -> Vec<u8> + 'a;

/// The files of an image, cut off.
#[derive(Debug)]
struct Cut {
    image: Vec<u8>,
    data: Option<Vec<u8>>,
}

impl Recorded {
    /// The values each sector may have if the world ends behind `events[..at]`.
    pub fn allowed(&self, at: usize) -> Vec<Vec<u64>> {
        let mut allowed: Vec<Vec<u64>> = self.first.iter().map(|value| vec![*value]).collect();
        // A request may have reached the data file before it first touches the image.
        let last = if self.data.is_some() { at + 1 } else { at };
        for done in self.done.iter().filter(|done| done.from < last) {
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

    /// What is left of both files behind `events[..at]`.
    fn cut(&self, at: usize, leave: &mut Leave<'_>) -> Cut {
        let data = self.data.as_ref().map(|log| {
            // Somewhere between the image's last event and its next.
            let end = log.before.get(at).copied().unwrap_or(log.events.len());
            leave(&[], &log.events, end)
        });
        Cut { image: leave(&self.start, &self.events, at), data }
    }

    fn judge(&self, cut: Cut, at: usize, how: &str) {
        let disk = MemoryDisk::new(cut.image);
        let report = block_on(check(&*disk)).unwrap_or_else(|e| panic!("{how} behind event {at}: {e}"));
        assert_eq!(report.corruptions, 0, "{how} behind event {at}: {:?}", report.lines);
        let data = cut.data.map(|data| MemoryDisk::new(data) as Arc<dyn Disk>);
        let image = block_on(Qcow2::open_with(disk.clone(), data, "cut.qcow2", true)).expect("checked above");
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

    /// Judges a kill and `cuts` power cuts behind every event.
    pub fn judge_all(&self, random: &mut Random, cuts: u64) {
        for at in 0..=self.events.len() {
            self.judge(self.cut(at, &mut killed), at, "a kill");
            for _ in 0..cuts {
                let mut leave = |start: &[u8], events: &[Event], at| powered_off(start, events, at, random);
                self.judge(self.cut(at, &mut leave), at, "a power cut");
            }
        }
    }
}

/// Runs random requests on a new image, or on `start`.
pub fn record(
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
    let clock = Arc::new(AtomicU64::new(0));
    disk.stamp(clock.clone());
    let data = options.data_file.as_ref().map(|_| MemoryDisk::new(Vec::new()));
    data.iter().for_each(|data| data.stamp(clock.clone()));
    let open =
        Qcow2::open_with(disk.clone(), data.clone().map(|data| data as Arc<dyn Disk>), "test.qcow2", true);
    let image = block_on(open).unwrap();
    let mut random = Random::new(seed);
    let len = image.len_bytes();
    let mut content = vec![0; len as usize];
    block_on(image.read(0, &mut content, &below)).unwrap();
    let value_of = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    let first: Vec<u64> = content.chunks(SECTOR).map(value_of).collect();
    let mut done: Vec<Done> = Vec::new();
    for value in 1..=steps as u64 {
        let from = disk.events();
        if let Some(request) = request(&image, options, &below, value, &mut random) {
            done.push(Done { from, to: disk.events(), request });
        }
    }
    let from = disk.events();
    block_on(image.close()).unwrap();
    done.push(Done { from, to: disk.events(), request: Request::Flush });
    let report = block_on(check(&*disk)).unwrap();
    assert!(report.is_clean(), "closed: {report:?}");
    let stamps = disk.take_stamps();
    let data = data.map(|data| {
        let theirs = data.take_stamps();
        let before = stamps.iter().map(|stamp| theirs.partition_point(|their| their < stamp)).collect();
        DataFileLog { events: data.take_log(), before }
    });
    Recorded { start, events: disk.take_log(), done, first, below, data }
}

/// Does one random request; what it writes is `value`. Nothing, if the image cannot do it here.
fn request(
    image: &Qcow2,
    options: &CreateOptions,
    below: &Layer,
    value: u64,
    random: &mut Random,
) -> Option<Request> {
    let (len, cluster) = (image.len_bytes(), image.cluster_bytes());
    let (offset, count) = random.range(len, SECTOR as u64, 3 * cluster / SECTOR as u64);
    let sectors = |from: u64, to: u64| from as usize / SECTOR..to as usize / SECTOR;
    Some(match random.below(12) {
        0..=4 => {
            let data = sector(value).repeat(count as usize / SECTOR);
            block_on(image.write(offset, &data, below)).unwrap();
            Request::Fill { sectors: sectors(offset, offset + count), value }
        }
        5 | 6 => {
            block_on(image.write_zeroes(offset, count, below)).unwrap();
            Request::Fill { sectors: sectors(offset, offset + count), value: 0 }
        }
        7 => {
            let (offset, count) = random.range(len, cluster, 6);
            block_on(image.discard(offset, count, below.exists())).unwrap();
            let none = options.version == 2 && below.exists();
            let end = if none { offset } else { offset + count };
            Request::Fill { sectors: sectors(offset, end), value: 0 }
        }
        8 | 9 => {
            let at = random.below(len / cluster) * cluster;
            let data = sector(value).repeat(cluster as usize / SECTOR);
            match block_on(image.write_compressed(at, &data, below)) {
                Ok(()) => Request::Fill { sectors: sectors(at, at + cluster), value },
                // Something is there already.
                Err(Errno::EIO) => return None,
                Err(Errno::ENOTSUP) if options.data_file.is_some() => return None,
                Err(errno) => panic!("{errno}"),
            }
        }
        _ => {
            block_on(image.flush()).unwrap();
            Request::Flush
        }
    })
}
