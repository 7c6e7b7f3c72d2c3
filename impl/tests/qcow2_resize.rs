//! An image that becomes smaller and larger again: what was cut off never comes back, and nothing else is lost.

use crate::support::crash::{killed, powered_off};
use crate::support::executor::block_on;
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::qemu::{Verdict, find};
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, Qcow2, check};
use seam::{Disk, Errno};
use std::sync::Arc;

const NONE: Layer = Layer(None);

fn full_image(options: &CreateOptions) -> (Arc<MemoryDisk>, Arc<Qcow2>) {
    let disk = MemoryDisk::new(Vec::new());
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "image.qcow2", true)).unwrap();
    block_on(image.write(0, &vec![1; options.len_bytes as usize], &NONE)).unwrap();
    block_on(image.close()).unwrap();
    (disk, image)
}

fn content(image: &Qcow2) -> Vec<u8> {
    let mut content = vec![9; image.len_bytes() as usize];
    block_on(image.read(0, &mut content, &NONE)).unwrap();
    content
}

/// Ones up to `ones`, then zeroes.
fn is_cut_at(content: &[u8], ones: u64) -> bool {
    content.iter().enumerate().all(|(n, byte)| *byte == u8::from((n as u64) < ones))
}

fn every_kind() -> Vec<(CreateOptions, u64)> {
    let options = |version, cluster_bits, refcount_order, len_bytes| CreateOptions {
        version,
        cluster_bits,
        refcount_order,
        len_bytes,
        ..CreateOptions::default()
    };
    vec![
        (options(3, 9, 4, 200 << 10), 70 << 10),
        (options(3, 9, 6, 200 << 10), 512 * 77),
        (options(2, 12, 4, 1 << 20), (100 << 10) + 512),
        (options(3, 16, 4, 2 << 20), (1 << 20) + 1024),
        (CreateOptions { extended_l2: true, ..options(3, 14, 4, 1 << 20) }, (100 << 10) + 512),
    ]
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let qemu = find();
    for (options, small) in every_kind() {
        let (disk, image) = full_image(&options);
        block_on(image.shrink(small)).unwrap();
        block_on(image.close()).unwrap();
        assert!(block_on(check(&*disk)).unwrap().is_clean(), "{options:?}");
        assert!(content(&image).len() as u64 == small && is_cut_at(&content(&image), small));
        if let Some(qemu) = &qemu {
            qemu.put("small.qcow2", &disk.bytes());
            let counts = qemu.counts("small.qcow2");
            assert_eq!(counts.verdict, Verdict { corruptions: 0, leaks: 0 });
            assert_eq!(counts.allocated, small.div_ceil(1 << options.cluster_bits), "{options:?}");
            assert!(qemu.content("small.qcow2") == content(&image));
        }
        block_on(image.grow(options.len_bytes)).unwrap();
        assert!(is_cut_at(&content(&image), small), "{options:?}");
        block_on(image.close()).unwrap();
        assert!(block_on(check(&*disk)).unwrap().is_clean(), "{options:?}");
        assert_eq!(block_on(image.shrink(options.len_bytes + 512)), Err(Errno::EINVAL));
    }
}

// Cut off between the header and the tables, stale mappings lie behind the end: growing must not show them.
#[test]
fn every_cut_of_a_shrink_is_survived() {
    for (options, small) in every_kind().into_iter().filter(|(o, _)| o.cluster_bits < 16) {
        let (disk, image) = full_image(&options);
        let start = disk.bytes();
        disk.take_log();
        block_on(image.shrink(small)).unwrap();
        block_on(image.close()).unwrap();
        let events = disk.take_log();
        let mut random = Random::new(3);
        let mut stale = 0;
        for at in 0..=events.len() {
            let mut cuts = vec![killed(&start, &events, at)];
            cuts.extend((0..4).map(|_| powered_off(&start, &events, at, &mut random)));
            for bytes in cuts {
                let before = bytes.clone();
                let disk = MemoryDisk::new(bytes);
                assert_eq!(block_on(check(&*disk)).unwrap().corruptions, 0, "{options:?}, cut behind {at}");
                let image = block_on(Qcow2::open(disk.clone(), "cut.qcow2", true)).unwrap();
                let len = image.len_bytes();
                assert!(len == small || len == options.len_bytes, "{len}");
                assert!(is_cut_at(&content(&image), len));
                block_on(image.grow(options.len_bytes)).unwrap();
                assert!(is_cut_at(&content(&image), len), "{options:?}, cut behind {at}");
                stale += u64::from(len == small && before != disk.bytes());
            }
        }
        assert!(stale > 0, "the set-up reaches a small image with stale mappings");
    }
}
