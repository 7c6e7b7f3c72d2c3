//! qcow2-rs, the crate with which rublk serves qcow2 images, as a layer: its I/O engine is a disk of our host.

use crate::confined::on_one_thread;
use crate::ours::{CLUSTER_BITS, is_backing, sound};
use block::format::qcow2::{BackingName, CreateOptions, Qcow2};
use futures::FutureExt;
use midstream::seam::{Disk, Errno, Host, IoResult, OpenMode};
use midstream::{BlockLayer, Checked, Device, Image};
use qcow2_rs::dev::{Qcow2Dev, Qcow2DevParams};
use qcow2_rs::error::{Qcow2Error, Qcow2Result};
use qcow2_rs::meta::Qcow2Header;
use qcow2_rs::ops::Qcow2IoOps;
use qcow2_rs::utils::qcow2_alloc_dev;
use send_wrapper::SendWrapper;
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const SECTOR_BITS: u8 = 9;
const SECTOR_BYTES: usize = 1 << SECTOR_BITS;
/// Refcounts of 16 bits.
const REFCOUNT_ORDER: u8 = 4;

/// qcow2-rs.
#[derive(Debug)]
pub struct Qcow2Rs<const CHAINS: bool>;

/// An open image.
pub struct Open {
    device: ManuallyDrop<SendWrapper<Qcow2Dev<OnDisk>>>,
    size_bytes: u64,
    writable: bool,
    gone: Arc<AtomicBool>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.device.fmt(f)
    }
}

impl<const CHAINS: bool> BlockLayer for Qcow2Rs<CHAINS> {
    type Device = Open;

    const CHAINS: bool = CHAINS;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
        match &image.backing {
            None => disk.write(0, formatted(image.size_bytes).map_err(errno)?).await,
            // It has nothing that makes an image which lies on another.
            Some(backing) => {
                let backing = BackingName { file: backing.clone(), format: Some("qcow2".to_owned()) };
                let options = CreateOptions {
                    len_bytes: image.size_bytes,
                    cluster_bits: CLUSTER_BITS,
                    backing: Some(backing),
                    ..CreateOptions::default()
                };
                Qcow2::create(&disk, &options).await.map_err(|_no_such_image| Errno::EINVAL)
            }
        }
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open>> {
        let mut opened = Vec::with_capacity(images.len());
        for image in images {
            let writable = !is_backing(images, image);
            let gone = Arc::new(AtomicBool::new(false));
            let disks = disks(&*host, images, image, writable, &gone).await?;
            let device = on_one_thread(device(disks, writable).map(|made| made.map(SendWrapper::new)));
            let device = ManuallyDrop::new(device.await.map_err(errno)?);
            opened.push(Open { device, size_bytes: image.size_bytes, writable, gone });
        }
        Ok(opened)
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        sound(&*host, image).await
    }
}

/// An empty image, as the crate makes it.
fn formatted(size_bytes: u64) -> Qcow2Result<Vec<u8>> {
    let bits = CLUSTER_BITS as usize;
    let (table, block, _) =
        Qcow2Header::calculate_meta_params(size_bytes, bits, REFCOUNT_ORDER, SECTOR_BYTES);
    let clusters = (1 + table.1 + block.1) as usize;
    let mut bytes = vec![0; (clusters << bits) + SECTOR_BYTES];
    Qcow2Header::format_qcow2(&mut bytes, size_bytes, bits, REFCOUNT_ORDER, SECTOR_BYTES)?;
    Ok(bytes)
}

/// The disks of an image and of all that it lies on, the lowest first.
async fn disks(
    host: &dyn Host,
    images: &[Image],
    top: &Image,
    writable: bool,
    gone: &Arc<AtomicBool>,
) -> IoResult<Vec<OnDisk>> {
    let mut disks = Vec::new();
    let mut next = Some(top);
    while let Some(image) = next {
        let is_written = writable && disks.is_empty();
        let mode = if is_written { OpenMode::ReadWrite } else { OpenMode::ReadOnly };
        disks.push(OnDisk { disk: host.open(&image.path, mode).await?, gone: gone.clone() });
        next = images.iter().find(|other| Some(&other.path) == image.backing.as_ref());
    }
    disks.reverse();
    Ok(disks)
}

/// A device on the last of these disks, which lies on those before it.
async fn device(disks: Vec<OnDisk>, writable: bool) -> Qcow2Result<Qcow2Dev<OnDisk>> {
    let top = disks.len() - 1;
    let mut below: Option<Qcow2Dev<OnDisk>> = None;
    for (at, disk) in disks.into_iter().enumerate() {
        let params = Qcow2DevParams::new(SECTOR_BITS, None, None, !writable, false);
        if at < top {
            params.mark_backing_dev(Some(true));
        }
        let (mut device, _backing_name) = qcow2_alloc_dev(Path::new("image"), disk, &params).await?;
        if let Some(below) = below.take() {
            device.set_backing_dev(Box::new(below));
        }
        below = Some(device);
    }
    let device = below.expect("an image has a disk");
    device.qcow2_prep_io().await?;
    Ok(device)
}

impl Device for Open {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let mut data = vec![0; len as usize];
        let read = on_one_thread(self.device.read_at(&mut data, offset)).await.map_err(errno)?;
        // An error of one cluster of several is reported as a short read.
        if read as u64 == len { Ok(data) } else { Err(Errno::EIO) }
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        on_one_thread(self.device.write_at(&data, offset)).await.map_err(errno)
    }

    /// As rublk does it, and once more: what `flush_meta` writes last it does not make durable.
    async fn flush(&self) -> IoResult<()> {
        if !self.writable {
            return Ok(());
        }
        let flush = async {
            self.device.fsync_range(0, self.size_bytes as usize).await?;
            self.device.flush_meta().await?;
            self.device.fsync_range(0, self.size_bytes as usize).await
        };
        on_one_thread(flush).await.map_err(errno)
    }
}

impl Drop for Open {
    /// A process that ends without warning drops nothing; dropping tables that were not flushed panics. So they are
    /// flushed first, to nowhere. Whoever cannot be flushed so is forgotten.
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
        let flushed = self.device.flush_meta().now_or_never();
        if matches!(flushed, Some(Ok(()))) {
            // SAFETY: this is the end of the only owner.
            unsafe { ManuallyDrop::drop(&mut self.device) }
        }
    }
}

fn errno(error: Qcow2Error) -> Errno {
    Errno::from(error.into_inner())
}

fn to_theirs(errno: Errno) -> Qcow2Error {
    io::Error::from_raw_os_error(errno.0).into()
}

/// qcow2-rs's view of a disk.
#[derive(Debug)]
pub struct OnDisk {
    disk: Arc<dyn Disk>,
    /// The world has ended: nothing reaches the disk any more, and everything goes well.
    gone: Arc<AtomicBool>,
}

impl OnDisk {
    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

impl Qcow2IoOps for OnDisk {
    async fn read_to(&self, offset: u64, buf: &mut [u8]) -> Qcow2Result<usize> {
        if !self.is_gone() {
            let read = self.disk.read(offset, vec![0; buf.len()]).await.map_err(to_theirs)?;
            buf.copy_from_slice(&read);
        }
        Ok(buf.len())
    }

    async fn write_from(&self, offset: u64, buf: &[u8]) -> Qcow2Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        self.disk.write(offset, buf.to_vec()).await.map_err(to_theirs)
    }

    /// Makes zeroes whatever the flags say: a range that was given up has to read as something.
    async fn fallocate(&self, offset: u64, len: usize, _flags: u32) -> Qcow2Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        self.disk.write_zeroes(offset, len as u64).await.map_err(to_theirs)
    }

    async fn fsync(&self, _offset: u64, _len: usize, _flags: u32) -> Qcow2Result<()> {
        if self.is_gone() {
            return Ok(());
        }
        self.disk.flush().await.map_err(to_theirs)
    }
}
