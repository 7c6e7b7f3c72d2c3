//! No bytes make the driver panic, loop or take memory without bound, and an image that does not open is not written.

mod support;

use block::format::qcow2::{
    BackingName, CreateOptions, DataFile, OpenCause, OpenError, Qcow2, StoredBitmap, check,
};
use hostile::image::{mutate, noise_behind_a_start, noise_behind_the_header};
use seam::Disk;
use serde_json::{Value, json};
use std::sync::Arc;
use support::executor::block_on;
use support::layer::Layer;
use support::memory::assert_peak_is_bounded;
use support::memory_disk::MemoryDisk;
use support::random::Random;
use support::world::World;

/// A small image with data, zero clusters, kept zero clusters, compressed clusters, free clusters and a backing file.
fn valid_image(options: CreateOptions, seed: u64) -> Vec<u8> {
    let disk = MemoryDisk::new(Vec::new());
    let backing = Some(BackingName { file: "base".into(), format: Some("raw".into()) });
    let len_bytes = (30 << options.cluster_bits).min(256 << 10);
    let options = CreateOptions { len_bytes, backing, ..options };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = open(&disk, true).unwrap();
    let mut random = Random::new(seed);
    for _ in 0..12 {
        let (offset, count) = random.range(len_bytes, 512, 8);
        match random.below(5) {
            0 => block_on(image.write_zeroes(offset, count, &Layer(None))).unwrap(),
            1 | 2 => {
                let at = random.below(len_bytes / image.cluster_bytes()) * image.cluster_bytes();
                let cluster = vec![3; image.cluster_bytes().min(len_bytes - at) as usize];
                // Refused where a cluster is in use already, and with a data file.
                let _ = block_on(image.write_compressed(at, &cluster, &Layer(None)));
            }
            _ => block_on(image.write(offset, &vec![7; count as usize], &Layer(None))).unwrap(),
        }
    }
    // Refused with a data file, and where a refcount is one bit.
    let _ = block_on(image.create_snapshot("kept", 1, 2));
    block_on(image.write(0, &[8; 512], &Layer(None))).unwrap();
    if image.version() >= 3 {
        image.hand_over_bitmaps(["one", "two"].map(bitmap).to_vec());
        block_on(image.store_bitmaps()).unwrap();
    }
    block_on(image.close()).unwrap();
    disk.bytes()
}

fn bitmap(name: &str) -> StoredBitmap {
    let (is_recording, is_inconsistent) = (true, false);
    StoredBitmap {
        name: name.into(),
        granularity: 512,
        is_recording,
        is_inconsistent,
        dirty: vec![1..2, 4..9],
    }
}

/// Opens an image, with a data file if it asks for one.
fn open(disk: &Arc<MemoryDisk>, writable: bool) -> Result<Arc<Qcow2>, OpenError> {
    match block_on(Qcow2::open(disk.clone(), "hostile.qcow2", writable)) {
        Err(OpenError { cause: OpenCause::DataFileMissing { .. }, .. }) => {
            let data = MemoryDisk::new(Vec::new());
            block_on(Qcow2::open_with(disk.clone(), Some(data), "hostile.qcow2", writable))
        }
        answer => answer,
    }
}

/// Does everything with an image; any answer will do.
fn exercise(bytes: Vec<u8>, random: &mut Random) -> bool {
    let disk = MemoryDisk::new(bytes);
    let _ = block_on(check(&*disk));
    assert_eq!(disk.events(), 0, "the checker writes nothing");
    let below = Layer(random.one_in(2).then(|| vec![1; 4096]));
    let writable = random.one_in(2);
    let Ok(image) = open(&disk, writable) else {
        assert_eq!(disk.events(), 0, "an image that does not open is not written");
        return false;
    };
    let bitmaps = block_on(image.load_bitmaps());
    let len = image.len_bytes();
    for start in [0, len.saturating_sub(64 << 10) / 512 * 512, random.below(len / 512 + 1) * 512] {
        let count = (len - start).min(64 << 10);
        let read = || {
            let mut buffer = vec![0; count as usize];
            block_on(image.read(start, &mut buffer, &below)).map(|()| buffer)
        };
        assert!(read() == read(), "nothing changes between two reads, so neither may the answer");
        if count > 0
            && let Ok(run) = block_on(image.status(start, len - start))
        {
            assert!((1..=len - start).contains(&run.len), "{run:?} of {} bytes", len - start);
        }
        if writable {
            let _ = block_on(image.write(start, &vec![5; count.min(3000) as usize], &below));
            let _ = block_on(image.write_zeroes(start, count.min(5000), &below));
            let cluster = start / image.cluster_bytes() * image.cluster_bytes();
            let packed = vec![6; image.cluster_bytes().min(len - cluster) as usize];
            let _ = block_on(image.write_compressed(cluster, &packed, &below));
            let _ = block_on(image.discard(start, count, random.one_in(2)));
            let _ = block_on(image.flush());
        }
    }
    if writable {
        let _ = block_on(image.change_backing(None));
        let _ = block_on(image.create_snapshot("new", 1, 2));
        let _ = block_on(image.delete_snapshot("1"));
        let _ = block_on(image.shrink(len / 1024 * 512));
        let _ = block_on(image.grow((len + 4096) / 512 * 512));
    }
    let _ = block_on(image.list_snapshots());
    if writable && random.one_in(2) {
        let _ = block_on(image.remove_bitmap("one"));
        image.hand_over_bitmaps(bitmaps.into_iter().flatten().chain([bitmap("new")]).collect());
        let _ = block_on(image.store_bitmaps());
    }
    let _ = block_on(image.close());
    true
}

/// One image of every kind.
fn valid_images() -> Vec<Vec<u8>> {
    let plain = [(3, 9, 4), (3, 9, 0), (3, 9, 6), (2, 9, 4), (3, 12, 4), (2, 16, 4)];
    let plain = plain.map(|(version, cluster_bits, refcount_order)| CreateOptions {
        version,
        cluster_bits,
        refcount_order,
        ..CreateOptions::default()
    });
    let small = CreateOptions { cluster_bits: 12, ..CreateOptions::default() };
    let data_file = Some(DataFile { name: "data".into(), raw: false });
    let others = [
        CreateOptions { extended_l2: true, cluster_bits: 14, ..small.clone() },
        CreateOptions { zstd: true, lazy_refcounts: true, ..small.clone() },
        CreateOptions { data_file, ..small },
    ];
    plain.into_iter().chain(others).map(|options| valid_image(options, 3)).collect()
}

// Half of the images begin as valid ones; the other half are bytes behind a plausible start.
#[test]
fn mutated_images_are_answered_not_executed() {
    let mut opened = 0;
    let mut random = Random::new(1);
    let images = valid_images();
    const ROUNDS: u64 = 5000;
    for _ in 0..ROUNDS {
        let mut bytes = images[random.below(images.len() as u64) as usize].clone();
        mutate(&mut bytes, &mut random);
        opened += u64::from(exercise(bytes, &mut random));
    }
    // The set-up must reach both sides.
    assert!(opened > ROUNDS / 4, "{opened} of {ROUNDS} opened");
    assert!(opened < ROUNDS * 9 / 10, "{opened} of {ROUNDS} opened");
    assert_peak_is_bounded();
}

#[test]
fn any_bytes_with_the_right_start_are_answered() {
    let mut random = Random::new(2);
    for _ in 0..2500 {
        let bytes = noise_behind_a_start(&mut random);
        exercise(bytes, &mut random);
    }
    assert_peak_is_bounded();
}

// The header makes sense; every table and all data behind it is noise, or noise that looks like pointers.
#[test]
fn noise_behind_a_sound_header_is_answered() {
    let mut random = Random::new(4);
    let images = valid_images();
    let mut opened = 0;
    for _ in 0..2500 {
        let mut bytes = images[random.below(images.len() as u64) as usize].clone();
        noise_behind_the_header(&mut bytes, &mut random);
        opened += u64::from(exercise(bytes, &mut random));
    }
    assert!(opened > 100, "{opened} opened");
    assert_peak_is_bounded();
}

// The same behind QMP: a mutated layer over a mutated layer, added, looked at, read, streamed, taken away.
#[test]
fn mutated_chains_are_refused_or_streamed() {
    const CHAINS: u64 = 1500;
    let images = valid_images();
    let mut random = Random::new(5);
    let (mut refused, mut ended) = (0, 0);
    for seed in 0..CHAINS {
        let mut world = World::new(seed);
        for name in ["base", "top"] {
            let mut bytes = images[random.below(images.len() as u64) as usize].clone();
            mutate(&mut bytes, &mut random);
            world.file(name, MemoryDisk::new(bytes));
        }
        let is_open = [("base", Value::Null), ("top", json!("base"))].into_iter().all(|(name, backing)| {
            let file = json!({"driver": "file", "filename": name});
            let options = json!({"driver": "qcow2", "node-name": name, "backing": backing, "file": file});
            world.command("blockdev-add", options).is_ok()
        });
        world.ok("query-named-block-nodes", json!({}));
        if !is_open {
            refused += 1;
            continue;
        }
        let guest = world.guest("top", true);
        let len = guest.len_bytes().unwrap().min(128 << 10);
        let _ = world.run(guest.read(0, len));
        world.run(guest.detach());
        // A mutated size may be large: what matters is at the start, and the job is not waited for beyond that.
        if world.command("block-stream", json!({"job-id": "s", "device": "top"})).is_ok() {
            world.steps(2000);
            if !world.events().iter().any(|seen| seen == "null") {
                world.ok("job-cancel", json!({"id": "s"}));
                world.until("null", 1);
            }
            ended += 1;
        }
        world.ok("query-named-block-nodes", json!({}));
        world.ok("blockdev-del", json!({"node-name": "top"}));
    }
    assert!(refused > CHAINS / 20, "{refused} of {CHAINS} chains refused");
    assert!(ended > CHAINS / 20, "{ended} of {CHAINS} chains streamed");
    assert_peak_is_bounded();
}

#[test]
fn a_short_or_empty_file_is_no_image() {
    for len in [0, 1, 71, 72, 511, 512] {
        let disk = MemoryDisk::new(vec![0; len]);
        assert!(block_on(Qcow2::open(disk, "short.qcow2", true)).is_err(), "{len} bytes");
    }
}

// What reserved bits of the refcount table's entries leave is an offset in the last cluster that a number can reach.
#[test]
fn a_refcount_block_at_the_end_of_all_numbers_is_an_error() {
    let mut bytes = valid_image(CreateOptions { cluster_bits: 9, ..CreateOptions::default() }, 1);
    let table = u64::from_be_bytes(bytes[48..56].try_into().unwrap()) as usize;
    bytes[table..table + 8].copy_from_slice(&u64::MAX.to_be_bytes());
    let image = open(&MemoryDisk::new(bytes.clone()), true).expect("nobody looks there before it is needed");
    assert!(block_on(image.create_snapshot("new", 1, 2)).is_err());
    let mut random = Random::new(1);
    let opened = (0..40).filter(|_| exercise(bytes.clone(), &mut random)).count();
    assert_eq!(opened, 40);
    // Not closed cleanly: opening it to write repairs it first.
    bytes[79] |= 1;
    assert_eq!((0..40).filter(|_| exercise(bytes.clone(), &mut random)).count(), 40);
}

// Every L1 entry leads to one L2 table whose every entry leads to one cluster: quadratic, if tables are read again for
// each entry that leads to them.
#[test]
fn a_table_led_to_a_million_times_is_read_once() {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: 32 << 30, cluster_bits: 9, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let mut bytes = disk.bytes();
    let l1 = u64::from_be_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let entries = u32::from_be_bytes(bytes[36..40].try_into().unwrap()) as usize;
    assert!(entries >= 1 << 20, "{entries} entries");
    let table = bytes.len() as u64;
    for n in 0..entries {
        bytes[l1 + n * 8..l1 + n * 8 + 8].copy_from_slice(&(table | 1 << 63).to_be_bytes());
    }
    bytes.extend_from_slice(&(table + 512).to_be_bytes().repeat(64));
    bytes.extend_from_slice(&[1; 512]);
    let disk = MemoryDisk::new(bytes);
    let report = block_on(check(&*disk)).unwrap();
    assert!(report.corruptions > 0);
    assert!(report.lines.len() <= 20);
    assert!(disk.read_bytes() < 64 << 20, "{} bytes read", disk.read_bytes());
}
