//! The bytes of a qcow2 image.
//!
//! It is checked, opened and read, or refused with an error, and neither changes it. It reads the same twice. What a check
//! finds sound is sound after it was written to and closed.

use super::world::run;
use block::format::Nothing;
use block::format::qcow2::{OpenCause, OpenError, Qcow2, check as check_image};
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use seam::{Disk, Host, OpenMode};
use std::sync::Arc;

/// A file longer than this is not looked at: it has nothing that a short one cannot have.
const BYTES_MAX: usize = 1 << 20;
/// How much is read at a place.
const READ_MAX: u64 = 64 << 10;
const PATH: &str = "/image";

/// Checks, opens, reads and writes an image of these bytes.
pub fn check(bytes: &[u8]) {
    if bytes.len() > BYTES_MAX {
        return;
    }
    let host = SimHost::new(Disks::new(vec![File::new(PATH, bytes.to_vec())]));
    let is_sound = run(&host, looked_at(host.clone()));
    let is_same = host.core().disks.files[0].bytes == bytes;
    assert!(is_same, "an image that is only read does not change");
    let host_of_writer = host.clone();
    let has_written = run(&host, async move { written(host_of_writer).await });
    if is_sound && has_written {
        let again = run(&host, findings(host.clone()));
        assert!(again == Some(0), "a sound image is damaged by a write: {again:?} corruptions");
    }
}

async fn file(host: &SimHost, mode: OpenMode) -> Arc<dyn Disk> {
    host.open(PATH, mode).await.expect("the file is there")
}

/// How many corruptions a check finds; nothing, if it cannot be checked.
async fn findings(host: SimHost) -> Option<u64> {
    let disk = file(&host, OpenMode::ReadOnly).await;
    check_image(&*disk).await.ok().map(|report| report.corruptions)
}

/// With a data file, if it asks for one: an empty one.
async fn open(host: &SimHost, mode: OpenMode) -> Option<Arc<Qcow2>> {
    let writable = mode == OpenMode::ReadWrite;
    match Qcow2::open(file(host, mode).await, PATH, writable).await {
        Err(OpenError { cause: OpenCause::DataFileMissing { .. }, .. }) => {
            let data = host.create("/data").await.expect("there is room");
            Qcow2::open_with(file(host, mode).await, Some(data), PATH, writable).await.ok()
        }
        answer => answer.ok(),
    }
}

/// Reads an image without changing it. Whether a check found nothing wrong.
async fn looked_at(host: SimHost) -> bool {
    let corruptions = findings(host.clone()).await;
    let Some(image) = open(&host, OpenMode::ReadOnly).await else { return false };
    let len = image.len_bytes();
    for start in [0, len / 2 / 512 * 512, len.saturating_sub(READ_MAX) / 512 * 512] {
        let count = (len - start).min(READ_MAX);
        let mut twice = Vec::new();
        for _ in 0..2 {
            let mut buffer = vec![0; count as usize];
            twice.push(image.read(start, &mut buffer, &Nothing).await.map(|()| buffer));
        }
        assert!(twice[0] == twice[1], "nothing changes between two reads, so neither may the answer");
        if count > 0
            && let Ok(run) = image.status(start, len - start).await
        {
            assert!((1..=len - start).contains(&run.len), "a run of {} bytes of {}", run.len, len - start);
        }
    }
    let _any = (image.load_bitmaps().await.is_ok(), image.list_snapshots().await.is_ok());
    corruptions == Some(0)
}

/// Writes an image here and there, and closes it. Whether it could be opened for that, and everything went well.
async fn written(host: SimHost) -> bool {
    let Some(image) = open(&host, OpenMode::ReadWrite).await else { return false };
    let len = image.len_bytes();
    let mut is_well = true;
    for start in [0, len / 2 / 512 * 512] {
        let count = (len - start).min(3 * 512);
        is_well &= image.write(start, &vec![5; count as usize], &Nothing).await.is_ok();
        is_well &= image.write_zeroes(start, count.min(512), &Nothing).await.is_ok();
        if is_well && count > 512 {
            let mut buffer = vec![0; count as usize];
            let read = image.read(start, &mut buffer, &Nothing).await;
            assert!(
                read.is_err() || buffer[..512] == [0; 512] && buffer[512..].iter().all(|byte| *byte == 5)
            );
        }
    }
    is_well &= image.flush().await.is_ok();
    is_well & image.close().await.is_ok()
}
