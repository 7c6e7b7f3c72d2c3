//! imago, the crate with which libkrun reads disk images, as a layer: its storage is a disk of our host.

use crate::confined::on_one_thread;
use crate::ours::{CLUSTER_BITS, is_backing, sound};
use futures::future::{FutureExt, Shared};
use imago::io_buffers::{IoVector, IoVectorMut};
use imago::qcow2::{Qcow2, Qcow2CreateBuilder};
use imago::storage::drivers::CommonStorageHelper;
use imago::storage::{PreallocateMode, Storage};
use imago::{DenyImplicitOpenGate, FormatAccess, FormatCreateBuilder, FormatDriverBuilder};
use midstream::seam::{Disk, Errno, Host, IoResult, OpenMode, Pending};
use midstream::{BlockLayer, Checked, Device, Image};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

/// imago's qcow2 driver.
#[derive(Debug)]
pub struct Imago<const CHAINS: bool>;

/// An open image.
#[derive(Debug)]
pub struct Open {
    image: Arc<FormatAccess<OnDisk>>,
    writable: bool,
}

impl<const CHAINS: bool> BlockLayer for Imago<CHAINS> {
    type Device = Open;

    const CHAINS: bool = CHAINS;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        let disk = OnDisk::open(&*host, &image.path, OpenMode::ReadWrite).await?;
        let mut builder = Qcow2CreateBuilder::<OnDisk, Arc<FormatAccess<OnDisk>>>::new(disk)
            .size(image.size_bytes)
            .cluster_size(1 << CLUSTER_BITS);
        if let Some(backing) = &image.backing {
            builder = builder.backing(backing.clone(), "qcow2".to_owned());
        }
        on_one_thread(builder.create()).await.map_err(errno)
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        let mut opened: Vec<Open> = Vec::with_capacity(images.len());
        for image in images {
            let writable = !is_backing(images, image);
            let mode = if writable { OpenMode::ReadWrite } else { OpenMode::ReadOnly };
            let disk = OnDisk::open(&*host, &image.path, mode).await?;
            let named = |path: &String| images.iter().position(|other| other.path == *path);
            let below = image.backing.as_ref().and_then(named).map(|at| opened[at].image.clone());
            let builder =
                Qcow2::<OnDisk, Arc<FormatAccess<OnDisk>>>::builder(disk).write(writable).backing(below);
            let qcow2 = on_one_thread(builder.open(DenyImplicitOpenGate::default())).await;
            opened.push(Open { image: Arc::new(FormatAccess::new(qcow2.map_err(errno)?)), writable });
        }
        Ok(opened)
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        sound(&*host, image).await
    }
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let mut data = vec![0; len as usize];
        on_one_thread(self.image.read(&mut data, offset)).await.map_err(errno)?;
        Ok(data)
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        on_one_thread(self.image.write(&data, offset)).await.map_err(errno)
    }

    async fn flush(&self) -> IoResult<()> {
        if !self.writable {
            return Ok(());
        }
        on_one_thread(self.image.flush()).await.map_err(errno)?;
        on_one_thread(self.image.sync()).await.map_err(errno)
    }

    async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        on_one_thread(self.image.write_zeroes(offset, len)).await.map_err(errno)
    }
}

/// The system's number, if it came through; no support is reported as such.
fn errno(error: io::Error) -> Errno {
    match error.kind() {
        io::ErrorKind::Unsupported => Errno::ENOTSUP,
        _ => Errno::from(error),
    }
}

fn to_io(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

/// A request that changes the disk, as whoever asked and whoever waits for it to settle have it.
type Change = Shared<Pending<'static, IoResult<()>>>;

/// imago's view of a disk.
pub struct OnDisk {
    disk: Arc<dyn Disk>,
    /// What was asked for and may not be over; also if nobody waits for it any more.
    changes: Mutex<Vec<Change>>,
    helper: CommonStorageHelper,
}

impl OnDisk {
    async fn open(host: &dyn Host, path: &str, mode: OpenMode) -> IoResult<OnDisk> {
        let disk = host.open(path, mode).await?;
        Ok(OnDisk { disk, changes: Mutex::default(), helper: CommonStorageHelper::default() })
    }

    async fn change(&self, request: Pending<'static, IoResult<()>>) -> io::Result<()> {
        let change = request.shared();
        {
            let mut changes = self.changes.lock().expect("nobody panics holding it");
            changes.retain(|change| change.peek().is_none());
            changes.push(change.clone());
        }
        change.await.map_err(to_io)
    }
}

impl fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl fmt::Display for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl Storage for OnDisk {
    fn size(&self) -> io::Result<u64> {
        self.disk.len_bytes().map_err(to_io)
    }

    async unsafe fn pure_readv(&self, mut bufv: IoVectorMut<'_>, offset: u64) -> io::Result<()> {
        let read = self.disk.read(offset, vec![0; bufv.len() as usize]).await;
        bufv.copy_from_slice(&read.map_err(to_io)?);
        Ok(())
    }

    async unsafe fn pure_writev(&self, bufv: IoVector<'_>, offset: u64) -> io::Result<()> {
        let mut data = vec![0; bufv.len() as usize];
        bufv.copy_into_slice(&mut data);
        self.change(self.disk.write(offset, data)).await
    }

    async unsafe fn pure_write_zeroes(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change(self.disk.write_zeroes(offset, length)).await
    }

    async unsafe fn pure_discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.change(self.disk.discard(offset, length)).await
    }

    async fn flush(&self) -> io::Result<()> {
        // Nothing is kept back here.
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.flush().await.map_err(to_io)
    }

    async fn settle_writes(&self) -> io::Result<()> {
        let changes = self.changes.lock().expect("nobody panics holding it").clone();
        let _each_is_reported_to_whoever_asked = futures::future::join_all(changes).await;
        Ok(())
    }

    async unsafe fn invalidate_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn get_storage_helper(&self) -> &CommonStorageHelper {
        &self.helper
    }

    async fn resize(&self, new_size: u64, prealloc_mode: PreallocateMode) -> io::Result<()> {
        match prealloc_mode {
            PreallocateMode::None | PreallocateMode::Zero => self.change(self.disk.resize(new_size)).await,
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
