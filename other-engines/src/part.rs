//! A part of a layer, so that what is known to break does not hide the rest.

use midstream::seam::{Errno, Host, IoResult};
use midstream::{BlockLayer, Checked, Device, Image};
use std::sync::Arc;

/// The layer within, with some of it left out.
#[derive(Debug)]
pub struct Part<L> {
    /// The layer.
    pub layer: L,
    /// Whether something may be made zeroes.
    pub zeroes: bool,
    /// Whether images are checked.
    pub checked: bool,
}

/// An open image.
#[derive(Debug)]
pub struct Open<D> {
    device: D,
    zeroes: bool,
}

impl<L: BlockLayer> BlockLayer for Part<L> {
    type Device = Open<L::Device>;

    const CHAINS: bool = L::CHAINS;
    const SURVIVES_KILL: bool = L::SURVIVES_KILL;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        self.layer.create(host, image).await
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open<L::Device>>> {
        let devices = self.layer.open(host, images).await?;
        Ok(devices.into_iter().map(|device| Open { device, zeroes: self.zeroes }).collect())
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        if self.checked { self.layer.check(host, image).await } else { Ok(None) }
    }
}

impl<D: Device> Device for Open<D> {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.device.read(offset, len).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.device.write(offset, data).await
    }

    async fn flush(&self) -> IoResult<()> {
        self.device.flush().await
    }

    async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        if self.zeroes { self.device.write_zeroes(offset, len).await } else { Err(Errno::ENOTSUP) }
    }

    async fn discard(&self, offset: u64, len: u64) -> IoResult<()> {
        self.device.discard(offset, len).await
    }

    async fn close(&self) -> IoResult<()> {
        self.device.close().await
    }
}
