//! Compressed clusters that we write: QEMU reads them, finds every reference counted, and as many host clusters taken
//! as it takes itself.
//!
//! What needs QEMU is skipped, with a line that says so, where there is none.

use crate::support::executor::{block_on, interleave};
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Verdict, find};
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, Qcow2, check};
use seam::{Disk, Errno};
use std::sync::Arc;

const NONE: Layer = Layer(None);

fn image(options: &CreateOptions) -> (Arc<MemoryDisk>, Arc<Qcow2>) {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "packed.qcow2", true)).unwrap();
    (disk, image)
}

fn options(cluster_bits: u32, refcount_order: u32, len_bytes: u64) -> CreateOptions {
    CreateOptions { cluster_bits, refcount_order, len_bytes, ..CreateOptions::default() }
}

/// Bytes that pack to about a third.
fn packable(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len / 64).flat_map(|n| [if n % 3 == 0 { random.any() as u8 } else { n as u8 }; 64]).collect()
}

fn assert_clean(disk: &MemoryDisk) {
    let report = block_on(check(disk)).unwrap();
    assert!(report.is_clean(), "{:?}", report.lines);
}

#[test]
fn qemu_reads_what_we_packed() {
    let Some(qemu) = find() else { return };
    for (seed, (bits, order, zstd, extended_l2)) in [
        (9, 4, false, false),
        (12, 4, false, false),
        (12, 0, false, false),
        (12, 1, true, false),
        (16, 4, false, false),
        (16, 4, true, true),
        (21, 4, false, false),
    ]
    .into_iter()
    .enumerate()
    {
        let len = (40u64 << bits).min(6 << 20) - 512;
        let options = CreateOptions { zstd, extended_l2, ..options(bits, order, len) };
        let (disk, image) = image(&options);
        let mut random = Random::new(seed as u64);
        let mut content = packable(&mut random, len as usize + 512);
        content.truncate(len as usize);
        // A cluster that does not pack, among those that do.
        let noisy = (1usize << bits)..(2 << bits);
        content[noisy].iter_mut().for_each(|byte| *byte = random.any() as u8);
        block_on(image.write_compressed(0, &content, &NONE)).unwrap();
        block_on(image.close()).unwrap();
        assert_clean(&disk);
        let mut read = vec![0; len as usize];
        block_on(image.read(0, &mut read, &NONE)).unwrap();
        assert!(read == content, "{options:?}");
        qemu.put("image.qcow2", &disk.bytes());
        assert_eq!(qemu.check("image.qcow2"), Some(Verdict { corruptions: 0, leaks: 0 }), "{options:?}");
        assert!(qemu.content("image.qcow2") == content, "{options:?}");
    }
}

// The same clusters in the same order, packed by both: what `qemu-img check` counts comes out the same.
#[test]
fn packing_takes_as_many_clusters_as_qemu_takes() {
    let Some(qemu) = find() else { return };
    for (bits, order) in [(9, 4), (12, 4), (12, 0), (12, 1), (16, 4), (16, 6)] {
        let cluster = 1u64 << bits;
        let (disk, image) = image(&options(bits, order, 64 << bits));
        let settings = format!("cluster_size={cluster},refcount_bits={}", 1 << order);
        qemu.img_ok(&["create", "-q", "-f", "qcow2", "-o", &settings, "q.qcow2", &(64 << bits).to_string()]);
        let mut random = Random::new(bits.into());
        let mut commands = Vec::new();
        for n in 0..50 {
            let (at, value) = (n * cluster, 1 + random.below(200) as u8);
            if random.one_in(5) {
                block_on(image.write(at, &vec![value; cluster as usize], &NONE)).unwrap();
                commands.push(format!("write -P {value} {at} {cluster}"));
            } else {
                block_on(image.write_compressed(at, &vec![value; cluster as usize], &NONE)).unwrap();
                commands.push(format!("write -c -P {value} {at} {cluster}"));
            }
        }
        block_on(image.close()).unwrap();
        qemu.io("q.qcow2", &commands);
        qemu.put("ours.qcow2", &disk.bytes());
        assert_eq!(qemu.counts("ours.qcow2"), qemu.counts("q.qcow2"), "{bits} {order}");
        assert!(qemu.content("ours.qcow2") == qemu.content("q.qcow2"));
    }
}

#[test]
fn what_cannot_be_packed_is_refused() {
    let (disk, image) = image(&options(12, 4, 10 * 4096 - 512));
    let pack = |at: u64, len: usize| block_on(image.write_compressed(at, &vec![1; len], &NONE));
    assert_eq!(pack(512, 4096), Err(Errno::EINVAL), "inside a cluster");
    assert_eq!(pack(0, 512), Err(Errno::EINVAL), "part of a cluster");
    assert_eq!(pack(9 * 4096, 3584), Ok(()), "the last cluster ends with the image");
    assert_eq!(pack(0, 4096), Ok(()));
    assert_eq!(pack(0, 4096), Err(Errno::EIO), "over a packed one");
    block_on(image.write(4096, &[2; 4096], &NONE)).unwrap();
    assert_eq!(pack(4096, 4096), Err(Errno::EIO), "over a plain one");
    block_on(image.write_zeroes(8192, 4096, &NONE)).unwrap();
    assert_eq!(pack(8192, 4096), Ok(()), "over zeroes");
    block_on(image.close()).unwrap();
    assert_clean(&disk);
}

// Both look for the place behind the last packed data: they must not get the same one.
#[test]
fn packing_at_once_shares_no_bytes() {
    for seed in 0..40 {
        let (disk, image) = image(&options(9, 4, 64 * 512));
        let mut random = Random::new(seed);
        disk.delay(Random::new(seed + 100), 5);
        let (first, second) = (&image, &image);
        let clusters = |image: &'_ Arc<Qcow2>, from: u64| {
            let image = image.clone();
            async move {
                for n in (from..64).step_by(2) {
                    image.write_compressed(n * 512, &[n as u8 + 1; 512], &NONE).await.unwrap();
                }
            }
        };
        interleave(vec![Box::pin(clusters(first, 0)), Box::pin(clusters(second, 1))], &mut random);
        let mut content = vec![0; 64 * 512];
        block_on(image.read(0, &mut content, &NONE)).unwrap();
        assert!(content.chunks(512).zip(1u8..).all(|(c, n)| c.iter().all(|b| *b == n)), "seed {seed}");
        block_on(image.close()).unwrap();
        assert_clean(&disk);
    }
}

#[test]
fn a_failed_write_of_packed_data_gives_its_place_back() {
    let (disk, image) = image(&options(12, 4, 64 << 10));
    block_on(image.write_compressed(0, &[1; 4096], &NONE)).unwrap();
    disk.fail_in(0);
    assert_eq!(block_on(image.write_compressed(4096, &[2; 4096], &NONE)), Err(Errno::EIO));
    block_on(image.write_compressed(8192, &[3; 4096], &NONE)).unwrap();
    let mut content = vec![9; 3 * 4096];
    block_on(image.read(0, &mut content, &NONE)).unwrap();
    assert!(content.chunks(4096).zip([1, 0, 3]).all(|(c, value)| c.iter().all(|b| *b == value)));
    block_on(image.close()).unwrap();
    assert_clean(&disk);
}
