//! Images whose guest data lies in a file of its own: QEMU and we read and write each other's.
//!
//! What needs QEMU is skipped, with a line that says so, where there is none.

use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Qemu, Verdict, find};
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, DataFile, OpenCause, Qcow2, Zeroing, check};
use seam::{Disk, Errno};
use std::sync::Arc;

const NONE: Layer = Layer(None);
const CLEAN: Option<Verdict> = Some(Verdict { corruptions: 0, leaks: 0 });
const LEN: u64 = 300 << 10;

fn created(extended_l2: bool, raw: bool) -> Arc<MemoryDisk> {
    let disk = MemoryDisk::new(Vec::new());
    let data_file = Some(DataFile { name: "image.data".into(), raw });
    let options = CreateOptions {
        cluster_bits: 14,
        len_bytes: LEN,
        data_file,
        extended_l2,
        ..CreateOptions::default()
    };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    disk
}

fn open(disk: &Arc<MemoryDisk>, data: &Arc<MemoryDisk>) -> Arc<Qcow2> {
    block_on(Qcow2::open_with(disk.clone(), Some(data.clone()), "image.qcow2", true)).unwrap()
}

/// Random requests of every kind.
fn scribble(image: &Qcow2, random: &mut Random, expected: &mut [u8]) {
    for _ in 0..40 {
        let (offset, count) = random.range(LEN, 512, 100);
        let range = offset as usize..(offset + count) as usize;
        match random.below(6) {
            0 => block_on(image.write_zeroes(offset, count, &NONE)).unwrap(),
            1 => block_on(image.zero(offset, count, Zeroing::FreeClusters, &NONE)).unwrap(),
            2 => {
                let (offset, count) = random.range(LEN, image.cluster_bytes(), 3);
                block_on(image.discard(offset, count, false)).unwrap();
                expected[offset as usize..(offset + count) as usize].fill(0);
                continue;
            }
            _ => {
                let value = random.any() as u8;
                block_on(image.write(offset, &vec![value; count as usize], &NONE)).unwrap();
                expected[range].fill(value);
                continue;
            }
        }
        expected[range].fill(0);
    }
}

fn content(image: &Qcow2) -> Vec<u8> {
    let mut content = vec![0; LEN as usize];
    block_on(image.read(0, &mut content, &NONE)).unwrap();
    content
}

fn judge(qemu: &Qemu, disk: &MemoryDisk, data: &MemoryDisk, expected: &[u8]) {
    let report = block_on(check(disk)).unwrap();
    assert!(report.is_clean(), "{:?}", report.lines);
    qemu.put("image.qcow2", &disk.bytes());
    qemu.put("image.data", &data.bytes());
    assert_eq!(qemu.check("image.qcow2"), CLEAN);
    assert!(qemu.content("image.qcow2") == expected);
}

#[test]
fn qemu_reads_our_data_files() {
    let Some(qemu) = find() else { return };
    for (seed, (extended_l2, raw)) in [(false, false), (true, false), (false, true)].into_iter().enumerate() {
        let disk = created(extended_l2, raw);
        let data = MemoryDisk::new(vec![0; LEN as usize]);
        let image = open(&disk, &data);
        let mut expected = vec![0; LEN as usize];
        scribble(&image, &mut Random::new(seed as u64), &mut expected);
        block_on(image.close()).unwrap();
        assert!(content(&image) == expected);
        judge(&qemu, &disk, &data, &expected);
        if raw {
            assert!(data.bytes()[..LEN as usize] == expected, "the data file alone is what the guest sees");
        }
    }
}

#[test]
fn we_read_and_rewrite_qemus_data_files() {
    let Some(qemu) = find() else { return };
    for (seed, settings) in ["", ",extended_l2=on", ",data_file_raw=on"].into_iter().enumerate() {
        let settings = format!("data_file=image.data,cluster_size=16384{settings}");
        qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", &settings, "image.qcow2", &LEN.to_string()]);
        let commands = ["write -P 1 0 100k", "write -P 2 150k 30k", "write -z 20k 20k", "discard 64k 16k"];
        qemu.io("image.qcow2", &commands.map(String::from));
        let mut expected = qemu.content("image.qcow2");
        let (disk, data) =
            (MemoryDisk::new(qemu.get("image.qcow2")), MemoryDisk::new(qemu.get("image.data")));
        let image = open(&disk, &data);
        assert!(content(&image) == expected, "{settings}");
        scribble(&image, &mut Random::new(seed as u64), &mut expected);
        block_on(image.close()).unwrap();
        judge(&qemu, &disk, &data, &expected);
    }
}

#[test]
fn an_image_says_which_data_file_it_needs() {
    let disk = created(false, false);
    let data = MemoryDisk::new(Vec::new());
    let open = |disk: &Arc<MemoryDisk>, data: Option<Arc<MemoryDisk>>| {
        let data = data.map(|data| data as Arc<dyn Disk>);
        block_on(Qcow2::open_with(disk.clone(), data, "image.qcow2", true)).map(|_| ()).map_err(|e| e.cause)
    };
    disk.take_log();
    assert_eq!(open(&disk, None), Err(OpenCause::DataFileMissing { file: "image.data".into() }));
    let plain = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, ..CreateOptions::default() };
    block_on(Qcow2::create(&(plain.clone() as Arc<dyn Disk>), &options)).unwrap();
    plain.take_log();
    assert_eq!(open(&plain, Some(data)), Err(OpenCause::DataFileUnasked));
    assert_eq!((disk.events(), plain.events()), (0, 0), "an image that does not open is not written");
}

#[test]
fn a_cluster_of_a_data_file_at_another_offset_is_damage() {
    let (disk, data) = (created(false, false), MemoryDisk::new(Vec::new()));
    let image = open(&disk, &data);
    block_on(image.write(0, &[1; 32768], &NONE)).unwrap();
    block_on(image.close()).unwrap();
    let mut bytes = disk.bytes();
    // The second entry of the L2 table, which is the last thing in the file: cluster 1 at cluster 2's place.
    let entry = bytes.len().next_multiple_of(16384) - 16384 + 8;
    assert_eq!(bytes[entry..entry + 8], (1u64 << 63 | 16384).to_be_bytes());
    bytes[entry..entry + 8].copy_from_slice(&(1u64 << 63 | 32768).to_be_bytes());
    let image = open(&MemoryDisk::new(bytes), &data);
    let mut buffer = [9; 512];
    assert_eq!(block_on(image.read(0, &mut buffer, &NONE)), Ok(()));
    assert_eq!(block_on(image.read(16384, &mut buffer, &NONE)), Err(Errno::EIO));
    assert_eq!(block_on(image.write(16384, &[1; 512], &NONE)), Err(Errno::EIO));
}

// A flush that ends makes the data durable before the tables that lead to it.
#[test]
fn the_data_file_is_flushed_before_the_tables_are_written() {
    let (disk, data) = (created(false, false), MemoryDisk::new(Vec::new()));
    let image = open(&disk, &data);
    block_on(image.write(0, &[1; 512], &NONE)).unwrap();
    data.fail_always(true);
    disk.take_log();
    assert_eq!(block_on(image.flush()), Err(Errno::EIO));
    let l2_tables: Vec<_> = disk.take_log();
    assert!(l2_tables.len() <= 1, "refcounts at most: {} events", l2_tables.len());
    data.fail_always(false);
    block_on(image.close()).unwrap();
    assert!(block_on(check(&*disk)).unwrap().is_clean());
}

#[test]
fn growing_makes_the_data_file_longer() {
    let (disk, data) = (created(false, true), MemoryDisk::new(vec![0; LEN as usize]));
    let image = open(&disk, &data);
    block_on(image.grow(2 * LEN)).unwrap();
    assert_eq!(data.len_bytes(), Ok(2 * LEN));
    block_on(image.write(2 * LEN - 512, &[3; 512], &NONE)).unwrap();
    block_on(image.close()).unwrap();
    assert_eq!(data.bytes()[2 * LEN as usize - 1], 3);
}

// Clusters of a data file lie at their guest's offsets, and an entry has room for 56 bits of one: a mapping of what lies
// further out would lead somewhere else.
#[test]
fn what_no_entry_can_say_is_not_written() {
    const END: u64 = 1 << 56;
    let (disk, data) = (MemoryDisk::new(Vec::new()), MemoryDisk::new(Vec::new()));
    let data_file = Some(DataFile { name: "image.data".into(), raw: false });
    let options =
        CreateOptions { cluster_bits: 21, len_bytes: END + LEN, data_file, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = open(&disk, &data);
    assert_eq!(block_on(image.write(END, &[1; 512], &NONE)), Err(Errno::EFBIG));
    let mut content = [1; 512];
    block_on(image.read(END, &mut content, &NONE)).unwrap();
    assert_eq!(content, [0; 512]);
    assert!(data.bytes().is_empty(), "nothing was written either");
    block_on(image.write(512, &[2; 512], &NONE)).unwrap();
}
