//! Metadata that cannot be: reported once, marked on the disk, and never made worse. And memory that an image wants too
//! much of.

use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use block::budget::{Allowance, Budget};
use block::format::qcow2::{CreateOptions, OpenCause, Qcow2, StoredBitmap, check};
use block::sync::ending::Ending;
use seam::{Disk, Errno};
use std::sync::{Arc, Mutex};

const CLUSTER: u64 = 65536;
const CORRUPT: u64 = 2;
const COPIED: u64 = 1 << 63;

/// An image with data in its first two clusters.
fn image() -> Vec<u8> {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: 16 * CLUSTER, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "new.qcow2", true)).unwrap();
    block_on(image.write(0, &vec![7; 2 * CLUSTER as usize], &Layer(None))).unwrap();
    block_on(image.close()).unwrap();
    disk.bytes()
}

fn number(bytes: &[u8], at: u64) -> u64 {
    u64::from_be_bytes(bytes[at as usize..at as usize + 8].try_into().unwrap())
}

fn set(bytes: &mut [u8], at: u64, value: u64) {
    bytes[at as usize..at as usize + 8].copy_from_slice(&value.to_be_bytes());
}

/// Where the L1 table, the first L2 table and the refcount table are.
fn tables(bytes: &[u8]) -> (u64, u64, u64) {
    let l1 = number(bytes, 40);
    (l1, number(bytes, l1) & !COPIED, number(bytes, 48))
}

/// What was reported of an image: the text, and whether it is written no more.
type Reports = Arc<Mutex<Vec<(String, bool)>>>;

fn open(bytes: Vec<u8>, writable: bool) -> (Arc<MemoryDisk>, Arc<Qcow2>, Reports) {
    let disk = MemoryDisk::new(bytes);
    let image = block_on(Qcow2::open(disk.clone(), "damaged.qcow2", writable)).unwrap();
    let reports = Reports::default();
    let listener = Arc::clone(&reports);
    image.on_damage(Box::new(move |damage, is_fatal| {
        listener.lock().unwrap().push((damage.text.clone(), is_fatal));
    }));
    (disk, image, reports)
}

fn read(image: &Qcow2, offset: u64) -> Result<u8, Errno> {
    let mut buffer = vec![1; 512];
    block_on(image.read(offset, &mut buffer, &Layer(None)))?;
    assert!(buffer.iter().all(|byte| *byte == buffer[0]));
    Ok(buffer[0])
}

// The texts are those of qemu-storage-daemon 10.0.2.
#[test]
fn an_entry_that_cannot_be_is_reported_once_and_marks_the_image() {
    let (l1, l2, refcounts) = tables(&image());
    let data = number(&image(), l2);
    let cases = [
        (l1, l2 | 0x200 | COPIED, format!("L2 table offset {:#x} unaligned (L1 index: 0)", l2 | 0x200)),
        (
            l2,
            data | 0x200,
            format!(
                "Cluster allocation offset {:#x} unaligned (L2 offset: {l2:#x}, L2 index: 0)",
                data & !COPIED | 0x200
            ),
        ),
        (
            refcounts,
            number(&image(), refcounts) | 0x200,
            format!(
                "Refblock offset {:#x} unaligned (reftable index: 0)",
                number(&image(), refcounts) | 0x200
            ),
        ),
    ];
    for (at, value, text) in cases {
        let mut bytes = image();
        set(&mut bytes, at, value);
        let (disk, image, reports) = open(bytes, true);
        // One of the two needs the entry, whichever it is.
        let _ = read(&image, 0);
        let _ = block_on(image.write(8 * CLUSTER, &[1; 512], &Layer(None)));
        assert_eq!(*reports.lock().unwrap(), [(text.clone(), true)]);
        assert_eq!(number(&disk.bytes(), 72) & CORRUPT, CORRUPT, "{text}");
        assert_eq!(read(&image, CLUSTER), Err(Errno::EIO), "{text}");
        assert_eq!(block_on(image.write(0, &[1; 512], &Layer(None))), Err(Errno::EIO));
        assert_eq!(block_on(image.flush()), Err(Errno::EIO));
        let written = disk.events();
        assert!(image.is_marked_corrupt());
        let _ = block_on(image.close());
        assert_eq!(disk.events(), written, "nothing more is written: {text}");
        let again = block_on(Qcow2::open(disk, "damaged.qcow2", true)).map(|_| ()).unwrap_err();
        assert_eq!(again.cause, OpenCause::Corrupt);
    }
}

#[test]
fn an_image_that_is_only_read_goes_on_and_is_not_written() {
    let mut bytes = image();
    let (_, l2, _) = tables(&bytes);
    let entry = number(&bytes, l2);
    set(&mut bytes, l2, entry | 0x200);
    let (disk, image, reports) = open(bytes, false);
    for _ in 0..3 {
        assert_eq!(read(&image, 0), Err(Errno::EIO));
        assert_eq!(read(&image, CLUSTER), Ok(7), "what is sound is read");
    }
    assert_eq!(reports.lock().unwrap().len(), 1);
    assert!(!reports.lock().unwrap()[0].1, "nothing ends by it");
    assert_eq!(disk.events(), 0);
}

// qemu-io 10.0.2 reads and writes on, too; its check counts each as corruption, as ours does.
#[test]
fn reserved_bits_are_passed_over_by_all_but_the_checker() {
    let (l1, l2, refcounts) = tables(&image());
    let cases = [(l1, 1), (l1, 1 << 8), (l1, 1 << 56), (l1, 1 << 62), (l2, 2), (l2, 1 << 8), (l2, 1 << 61)];
    for (at, bit) in cases.into_iter().chain([(refcounts, 1), (refcounts, 1 << 8)]) {
        let mut bytes = image();
        let entry = number(&bytes, at);
        set(&mut bytes, at, entry | bit);
        assert!(block_on(check(&*MemoryDisk::new(bytes.clone()))).unwrap().corruptions > 0, "{bit:#x}");
        let (disk, image, reports) = open(bytes, true);
        assert_eq!((read(&image, 0), read(&image, CLUSTER)), (Ok(7), Ok(7)), "{bit:#x} at {at:#x}");
        block_on(image.write(0, &[9; CLUSTER as usize], &Layer(None))).unwrap();
        block_on(image.write(8 * CLUSTER, &[9; CLUSTER as usize], &Layer(None))).unwrap();
        block_on(image.close()).unwrap();
        assert_eq!(*reports.lock().unwrap(), []);
        let (_, image, _) = open(disk.bytes(), false);
        assert_eq!((read(&image, 0), read(&image, 8 * CLUSTER)), (Ok(9), Ok(9)), "{bit:#x} at {at:#x}");
    }
}

#[test]
fn what_leads_into_metadata_is_not_written() {
    let (l1, l2, refcounts) = tables(&image());
    let cases = [(l1, "active L1 table"), (l2, "active L2 table"), (refcounts, "refcount table")];
    for (target, what) in cases {
        let mut bytes = image();
        set(&mut bytes, l2, target | COPIED);
        let before = bytes.clone();
        let (disk, image, reports) = open(bytes, true);
        assert_eq!(block_on(image.write(0, &[9; 512], &Layer(None))), Err(Errno::EIO));
        let text = format!("Preventing invalid write on metadata (overlaps with {what})");
        assert_eq!(*reports.lock().unwrap(), [(text, true)]);
        assert_eq!(disk.bytes()[512..], before[512..], "only the header's sector has changed");
    }
}

#[test]
fn past_the_end_of_the_file_are_zeroes_before_and_after_it_grows() {
    let (l1, l2, _) = tables(&image());
    for (at, value) in [(l1, COPIED | 1 << 30), (l2, COPIED | 1 << 30)] {
        let mut bytes = image();
        set(&mut bytes, at, value);
        let (_, image, reports) = open(bytes, true);
        assert_eq!(read(&image, 0), Ok(0));
        block_on(image.write(9 * CLUSTER, &vec![5; 4 * CLUSTER as usize], &Layer(None))).unwrap();
        block_on(image.flush()).unwrap();
        assert_eq!((read(&image, 0), read(&image, 9 * CLUSTER)), (Ok(0), Ok(5)));
        assert!(reports.lock().unwrap().is_empty());
        block_on(image.close()).unwrap();
    }
}

// Each of 65,536 entries leads to one L2 table: going through all of that takes 500 million steps, and the file has room
// for a few tables.
#[test]
fn tables_that_are_led_to_again_and_again_are_found_out() {
    let entries = 1 << 16;
    let mut bytes = image();
    let (_, l2, refcounts) = tables(&bytes);
    let l1 = (bytes.len() as u64).next_multiple_of(CLUSTER);
    bytes.resize((l1 + entries * 8) as usize, 0);
    (0..entries).for_each(|n| set(&mut bytes, l1 + n * 8, l2));
    let block = number(&bytes, refcounts) as usize;
    for cluster in l1 / CLUSTER..(l1 + entries * 8).div_ceil(CLUSTER) {
        bytes[block + 2 * cluster as usize + 1] = 1;
    }
    set(&mut bytes, 40, l1);
    bytes[36..40].copy_from_slice(&(entries as u32).to_be_bytes());
    set(&mut bytes, 24, entries * 8192 * CLUSTER);
    for shrinks in [true, false] {
        let (_, image, reports) = open(bytes.clone(), true);
        let done = match shrinks {
            true => block_on(image.shrink(CLUSTER)),
            false => block_on(image.create_snapshot("s", 1, 2)).map(drop),
        };
        assert_eq!(done, Err(Errno::EIO));
        assert_eq!(reports.lock().unwrap()[0].0, "The L1 table leads to more L2 tables than there can be");
    }
}

#[test]
fn what_wants_too_much_memory_is_refused_and_gives_everything_back() {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: 1 << 50, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let open = |bytes: u64| {
        let allowance = Allowance { budget: Budget::new(bytes), ..Allowance::default() };
        let opened = block_on(Qcow2::open_within(disk.clone(), None, "wide.qcow2", false, &allowance));
        (opened.map_err(|error| error.cause), allowance.budget)
    };
    let (refused, budget) = open(16 << 20);
    let Err(OpenCause::OverBudget(refused)) = refused else {
        panic!("16 MiB of table do not fit: {refused:?}")
    };
    assert_eq!((refused.what.as_str(), refused.wanted), ("The L1 table of 'wide.qcow2'", 32 << 20));
    assert_eq!(budget.held(), 0);
    let (opened, budget) = open(64 << 20);
    assert!(budget.held() >= 16 << 20, "{} bytes are held", budget.held());
    drop(opened);
    assert_eq!(budget.held(), 0);
}

#[test]
fn bitmaps_are_read_one_by_one_within_the_budget() {
    let disk = MemoryDisk::new(image());
    let image = block_on(Qcow2::open(disk.clone(), "bitmaps.qcow2", true)).unwrap();
    let (is_recording, is_inconsistent) = (true, false);
    let dirty = vec![1..2, 4..5];
    let bitmap = StoredBitmap { name: "b".into(), granularity: 512, is_recording, is_inconsistent, dirty };
    image.hand_over_bitmaps(vec![bitmap.clone()]);
    block_on(image.store_bitmaps()).unwrap();
    block_on(image.close()).unwrap();
    // A directory of a few bytes, and a table of one entry.
    let allowance = Allowance { budget: Budget::new(1 << 20), ..Allowance::default() };
    let image = block_on(Qcow2::open_within(disk, None, "bitmaps.qcow2", false, &allowance)).unwrap();
    assert_eq!(block_on(image.load_bitmaps()), Ok(vec![bitmap]));
    let rest = allowance.budget.limit() - allowance.budget.held();
    let _taken = allowance.budget.take(rest, || "all that is left".into()).unwrap();
    let refused = block_on(image.load_bitmaps()).unwrap_err().to_string();
    let text =
        "The table of bitmap 'b' needs 16 bytes of memory, and 0 of the 1048576 bytes for images are left";
    assert_eq!(refused, text);
}

#[test]
fn long_work_is_given_up_when_the_end_has_begun() {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: 1 << 50, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let ending = Ending::default();
    ending.begin();
    let allowance = Allowance { ending: Some(ending), ..Allowance::default() };
    let opened = block_on(Qcow2::open_within(disk, None, "wide.qcow2", false, &allowance));
    let cause = opened.map(|_| ()).unwrap_err().cause;
    assert_eq!(cause, OpenCause::Unreadable { what: "L1 table", errno: Errno::ECANCELED });
}
