//! Many requests at once, on a disk that ends them in any order.

use crate::support::executor::{block_on, interleave};
use crate::support::layer::Layer;
use crate::support::memory_disk::MemoryDisk;
use crate::support::random::Random;
use block::format::qcow2::{CreateOptions, Qcow2, check};
use seam::Disk;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

const LEN: u64 = 64 << 10;

fn small_image() -> (Arc<MemoryDisk>, Arc<Qcow2>) {
    let disk = MemoryDisk::new(Vec::new());
    let options = CreateOptions { len_bytes: LEN, cluster_bits: 9, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "test.qcow2", true)).unwrap();
    (disk, image)
}

// Each client owns every fourth 512 bytes, at an odd distance, so that clusters are shared between clients and a lost
// update shows.
#[test]
fn clients_that_share_clusters_lose_no_update() {
    for seed in 0..60 {
        let (disk, image) = small_image();
        let below = Layer((seed % 2 == 0).then(|| vec![200; LEN as usize]));
        disk.delay(Random::new(seed), 6);
        let expected = RefCell::new(below.bytes(0, LEN as usize));
        let client = |client: u64| {
            let (image, below, expected) = (&image, &below, &expected);
            Box::pin(async move {
                let mut random = Random::new(seed << 8 | client);
                for step in 0..30 {
                    let slot = random.below(LEN / 512 / 4 - 1) * 4 + client;
                    let (start, len) = (slot * 512 + 100, 512);
                    let range = start as usize..(start + len) as usize;
                    if random.one_in(3) {
                        let mut bytes = [0; 512];
                        image.read(start, &mut bytes, below).await.unwrap();
                        assert_eq!(bytes[..], expected.borrow()[range], "seed {seed}, step {step}");
                    } else if random.one_in(8) {
                        image.flush().await.unwrap();
                    } else if random.one_in(6) {
                        image.write_zeroes(start, len, below).await.unwrap();
                        expected.borrow_mut()[range].fill(0);
                    } else {
                        let data = [(client * 60 + step) as u8; 512];
                        image.write(start, &data, below).await.unwrap();
                        expected.borrow_mut()[range].copy_from_slice(&data);
                    }
                }
            }) as Pin<Box<dyn Future<Output = ()> + '_>>
        };
        interleave((0..4).map(client).collect(), &mut Random::new(seed));
        let mut content = vec![0; LEN as usize];
        block_on(image.read(0, &mut content, &below)).unwrap();
        assert!(content == *expected.borrow(), "seed {seed}");
        block_on(image.close()).unwrap();
        let report = block_on(check(&*disk)).unwrap();
        assert!(report.is_clean(), "seed {seed}: {report:?}");
    }
}

// A discard frees host clusters that reads and writes of the same guest clusters are still using; a flush lets others
// have them at once. A reader must never see the bytes of another's cluster.
#[test]
fn a_discard_takes_no_cluster_that_is_in_use() {
    for seed in 0..60 {
        let (disk, image) = small_image();
        disk.delay(Random::new(seed), 6);
        let client = |client: u64| {
            let image = &image;
            Box::pin(async move {
                let mut random = Random::new(seed << 8 | client);
                // Clients 0 and 1 share one region, 2 and 3 another: what they write distinguishes them.
                let region = client / 2;
                for _ in 0..40 {
                    let offset = region * LEN / 2 + random.below(20) * 512;
                    let len = 512 * (1 + random.below(4)) as usize;
                    match random.below(4) {
                        0 => image.discard(offset, len as u64, false).await.unwrap(),
                        1 => image.flush().await.unwrap(),
                        2 => image.write(offset, &vec![1 + region as u8; len], &Layer(None)).await.unwrap(),
                        _ => {
                            let mut bytes = vec![0; len];
                            image.read(offset, &mut bytes, &Layer(None)).await.unwrap();
                            let own = bytes.iter().all(|b| *b == 0 || *b == 1 + region as u8);
                            assert!(own, "seed {seed}: region {region} sees another's bytes");
                        }
                    }
                }
            }) as Pin<Box<dyn Future<Output = ()> + '_>>
        };
        interleave((0..4).map(client).collect(), &mut Random::new(seed));
        block_on(image.close()).unwrap();
        let report = block_on(check(&*disk)).unwrap();
        assert!(report.is_clean(), "seed {seed}: {report:?}");
    }
}

// The read has looked up its host cluster and waits for the disk; a discard frees the cluster and a write to another
// place takes it.
#[test]
fn a_cluster_is_not_given_away_under_a_read() {
    let (disk, image) = small_image();
    block_on(image.write(0, &[1; 512], &Layer(None))).unwrap();
    block_on(image.flush()).unwrap();
    let len_before = disk.bytes().len();
    disk.slow_reads(1000);
    let seen = RefCell::new([0; 512]);
    let (image, seen) = (&image, &seen);
    let reader = async move {
        let mut bytes = [0; 512];
        image.read(0, &mut bytes, &Layer(None)).await.unwrap();
        *seen.borrow_mut() = bytes;
    };
    let mut reader: Pin<Box<dyn Future<Output = ()>>> = Box::pin(reader);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(reader.as_mut().poll(&mut context).is_pending(), "the read is under way");
    let writer = Box::pin(async move {
        image.discard(0, 512, false).await.unwrap();
        image.flush().await.unwrap();
        image.write(1024, &[2; 512], &Layer(None)).await.unwrap();
    });
    interleave(vec![reader, writer], &mut Random::new(1));
    assert_eq!(disk.bytes().len(), len_before, "the set-up needs the write to reuse the cluster");
    assert_eq!(*seen.borrow(), [1; 512]);
}

#[test]
fn allocating_writes_are_in_flight_together() {
    let (disk, image) = small_image();
    disk.delay(Random::new(1), 1000);
    let write = |n: u64| {
        let image = &image;
        Box::pin(async move { image.write(n * 4096, &[1; 4096], &Layer(None)).await.unwrap() })
            as Pin<Box<dyn Future<Output = ()> + '_>>
    };
    interleave((0..16).map(write).collect(), &mut Random::new(1));
    assert!(disk.most_in_flight() >= 12, "only {} at once", disk.most_in_flight());
    block_on(image.close()).unwrap();
    assert!(block_on(check(&*disk)).unwrap().is_clean());
}

// Requests fail at random; what a failed write leaves is old or new, and the image stays sound.
#[test]
fn failures_among_concurrent_requests_do_no_harm() {
    for seed in 0..60 {
        let (disk, image) = small_image();
        disk.delay(Random::new(seed), 6);
        let client = |client: u64| {
            let (image, disk) = (&image, &disk);
            Box::pin(async move {
                let mut random = Random::new(seed << 8 | client);
                for _ in 0..30 {
                    if random.one_in(4) {
                        disk.fail_in(random.below(6));
                    }
                    let (offset, len) = random.range(LEN, 512, 8);
                    // Any of these may fail.
                    let _ = match random.below(4) {
                        0 => image.discard(offset, len, false).await,
                        1 => image.flush().await,
                        2 => image.write_zeroes(offset, len, &Layer(None)).await,
                        _ => image.write(offset, &vec![3; len as usize], &Layer(None)).await,
                    };
                }
            }) as Pin<Box<dyn Future<Output = ()> + '_>>
        };
        interleave((0..4).map(client).collect(), &mut Random::new(seed));
        disk.fail_always(false);
        let mut content = vec![0; LEN as usize];
        block_on(image.read(0, &mut content, &Layer(None))).unwrap();
        assert!(content.iter().all(|b| *b == 0 || *b == 3), "seed {seed}");
        block_on(image.close()).unwrap();
        let report = block_on(check(&*disk)).unwrap();
        assert!(report.is_clean(), "seed {seed}: {report:?}");
    }
}
