//! Sound images, one of every form: versions, cluster sizes, widths of refcounts, extended L2, compression, a data file, lazy
//! refcounts; each with data, zeroes, compressed clusters, a snapshot, bitmaps and a backing file, as far as it may.

use crate::conform::engine::memory::{Memory, at_once};
use block::format::Below;
use block::format::qcow2::{BackingName, CreateOptions, DataFile, OpenCause, OpenError, Qcow2, StoredBitmap};
use hostile::random::Random;
use seam::{Disk, IoResult, Pending};
use std::sync::Arc;

/// Clusters of an image, and its length at most.
const CLUSTERS: u64 = 30;
const LEN_BYTES_MAX: u64 = 256 << 10;

/// One of every form; the first one is plain and of 1 MiB.
pub(super) fn valid_images() -> Vec<Vec<u8>> {
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
    let forms = plain.into_iter().chain(others).map(|form| {
        let len_bytes = (CLUSTERS << form.cluster_bits).min(LEN_BYTES_MAX);
        let backing = Some(BackingName { file: "base".into(), format: Some("raw".into()) });
        valid_image(CreateOptions { len_bytes, backing, ..form })
    });
    let first = valid_image(CreateOptions { len_bytes: 1 << 20, ..CreateOptions::default() });
    [first].into_iter().chain(forms).collect()
}

fn valid_image(options: CreateOptions) -> Vec<u8> {
    let disk = Memory::new(Vec::new());
    let len_bytes = options.len_bytes;
    at_once(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).expect("memory takes an image");
    let image = open(&disk);
    let mut random = Random::new(3);
    for _ in 0..12 {
        let (offset, count) = random.range(len_bytes, 512, 8);
        match random.below(5) {
            0 => at_once(image.write_zeroes(offset, count, &Nothing)).expect("memory takes it"),
            1 | 2 => {
                let at = random.below(len_bytes / image.cluster_bytes()) * image.cluster_bytes();
                let cluster = vec![3; image.cluster_bytes().min(len_bytes - at) as usize];
                // Refused where a cluster is in use already, and with a data file.
                let _refused = at_once(image.write_compressed(at, &cluster, &Nothing));
            }
            _ => {
                at_once(image.write(offset, &vec![7; count as usize], &Nothing)).expect("memory takes it");
            }
        }
    }
    // Refused with a data file, and where a refcount is one bit.
    let _refused = at_once(image.create_snapshot("kept", 1, 2));
    at_once(image.write(0, &[8; 512], &Nothing)).expect("memory takes it");
    if image.version() >= 3 {
        image.hand_over_bitmaps(["one", "two"].map(bitmap).to_vec());
        at_once(image.store_bitmaps()).expect("memory takes it");
    }
    at_once(image.close()).expect("memory takes it");
    disk.take()
}

fn open(disk: &Arc<Memory>) -> Arc<Qcow2> {
    let opened = match at_once(Qcow2::open(disk.clone(), "image", true)) {
        Err(OpenError { cause: OpenCause::DataFileMissing { .. }, .. }) => {
            at_once(Qcow2::open_with(disk.clone(), Some(Memory::new(Vec::new())), "image", true))
        }
        opened => opened,
    };
    opened.unwrap_or_else(|error| panic!("our own image: {error}"))
}

fn bitmap(name: &str) -> StoredBitmap {
    let (is_recording, is_inconsistent) = (true, false);
    let dirty = vec![1..2, 4..9];
    StoredBitmap { name: name.into(), granularity: 512, is_recording, is_inconsistent, dirty }
}

/// No layer below.
struct Nothing;

impl Below for Nothing {
    fn exists(&self) -> bool {
        false
    }

    fn read<'a>(&'a self, _: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        buffer.fill(0);
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use block::format::qcow2::check;

    #[test]
    fn every_form_is_sound_and_none_is_like_another() {
        let images = valid_images();
        for (index, image) in images.iter().enumerate() {
            let report = at_once(check(&*Memory::new(image.clone()))).expect("it can be read");
            assert_eq!((report.corruptions, report.leaks), (0, 0), "image {index}");
            assert!(!images[..index].contains(image), "image {index}");
        }
    }
}
