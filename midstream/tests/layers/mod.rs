//! Layers for tests: one with a write-back cache and any of a list of bugs, one with chains.

#[path = "../turns/mod.rs"]
mod turns;

use midstream::seam::{Disk, Errno, Host, IoResult, OpenMode};
use midstream::{BlockLayer, Checked, Device, Image};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use turns::Turns;

const SECTOR: u64 = 512;

/// What is wrong with a layer.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Bug {
    None,
    /// A flush writes the cache, and does not flush the disk.
    ForgetsFlush,
    /// A read passes by the cache.
    ReadsDisk,
    /// The clean end throws the cache away.
    LosesCacheAtClose,
    /// It marks the file while it writes to it, and cannot open one with a mark.
    FailsToOpen,
    /// Its checker finds leaks.
    Leaks,
    /// A second flush never ends.
    Hangs,
    /// A read of one sector panics.
    Panics,
    /// What it does differs from run to run.
    Chance,
}

/// Keeps writes in memory until they are flushed, and may promise that a kill loses nothing all the same.
#[derive(Debug)]
pub struct Cached<const SURVIVES_KILL: bool> {
    pub bug: Bug,
}

/// An open image of it.
#[derive(Debug)]
pub struct Open {
    bug: Bug,
    disk: Arc<dyn Disk>,
    size_bytes: u64,
    cache: Mutex<BTreeMap<u64, Vec<u8>>>,
    flushes: AtomicU64,
    turns: Turns,
}

impl<const SURVIVES_KILL: bool> BlockLayer for Cached<SURVIVES_KILL> {
    type Device = Open;

    const SURVIVES_KILL: bool = SURVIVES_KILL;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        let mut devices = Vec::new();
        for image in images {
            let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
            if disk.read(image.size_bytes, vec![0; 1]).await? != [0] {
                return Err(Errno::EINVAL);
            }
            devices.push(Open {
                bug: self.bug,
                disk,
                size_bytes: image.size_bytes,
                cache: Mutex::default(),
                flushes: AtomicU64::new(0),
                turns: Turns::default(),
            });
        }
        Ok(devices)
    }

    async fn check(&self, _: Arc<dyn Host>, _: &Image) -> IoResult<Option<Checked>> {
        Ok(Some(Checked { corruptions: 0, leaks: u64::from(self.bug == Bug::Leaks) }))
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        if self.bug == Bug::Chance && CALLS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            self.disk.read(offset, vec![0; 512]).await?;
        }
        let sectors = offset / SECTOR..(offset + len) / SECTOR;
        assert!(self.bug != Bug::Panics || !sectors.contains(&5), "nobody reads sector 5");
        let mut data = self.disk.read(offset, vec![0; len as usize]).await?;
        if self.bug != Bug::ReadsDisk {
            for (sector, cached) in self.cache.lock().unwrap().range(sectors.clone()) {
                let at = ((sector - sectors.start) * SECTOR) as usize;
                data[at..at + cached.len()].copy_from_slice(cached);
            }
        }
        Ok(data)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let sectors = data.chunks(SECTOR as usize).map(<[u8]>::to_vec);
        self.cache.lock().unwrap().extend((offset / SECTOR..).zip(sectors));
        Ok(())
    }

    async fn flush(&self) -> IoResult<()> {
        if self.flushes.fetch_add(1, Ordering::Relaxed) > 0 && self.bug == Bug::Hangs {
            std::future::pending::<()>().await;
        }
        let _turn = self.turns.take().await;
        if self.bug == Bug::FailsToOpen {
            self.disk.write(self.size_bytes, vec![1]).await?;
        }
        // What is written stays in the cache: a read that comes meanwhile finds it, and an error loses nothing.
        let dirty = self.cache.lock().unwrap().clone();
        for (sector, data) in dirty {
            self.disk.write(sector * SECTOR, data).await?;
        }
        if self.bug == Bug::FailsToOpen {
            self.disk.write(self.size_bytes, vec![0]).await?;
        }
        if self.bug == Bug::ForgetsFlush { Ok(()) } else { self.disk.flush().await }
    }

    async fn close(&self) -> IoResult<()> {
        if self.bug == Bug::LosesCacheAtClose { Ok(()) } else { self.flush().await }
    }
}

/// Images on others: a sector of zeroes is none, and the image below decides. Right only as long as nobody writes zeroes,
/// so it cannot.
#[derive(Debug)]
pub struct Cow {
    pub is_right: bool,
}

/// An open image of it: its file, then those below.
#[derive(Debug)]
pub struct Layers {
    files: Vec<Arc<dyn Disk>>,
}

impl BlockLayer for Cow {
    type Device = Layers;

    const CHAINS: bool = true;
    const SURVIVES_KILL: bool = true;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Layers>> {
        let mut devices: Vec<Layers> = Vec::new();
        for image in images {
            let mut files = vec![host.open(&image.path, OpenMode::ReadWrite).await?];
            let below = images.iter().position(|below| Some(&below.path) == image.backing.as_ref());
            if let Some(below) = below.filter(|_| self.is_right) {
                files.extend(devices[below].files.iter().cloned());
            }
            devices.push(Layers { files });
        }
        Ok(devices)
    }
}

impl Device for Layers {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let mut data = vec![0; len as usize];
        for file in self.files.iter().rev() {
            let own = file.read(offset, vec![0; len as usize]).await?;
            for (data, own) in data.chunks_mut(SECTOR as usize).zip(own.chunks(SECTOR as usize)) {
                if own.iter().any(|byte| *byte != 0) {
                    data.copy_from_slice(own);
                }
            }
        }
        Ok(data)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.files[0].write(offset, data).await
    }

    async fn flush(&self) -> IoResult<()> {
        self.files[0].flush().await
    }
}
