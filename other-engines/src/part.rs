//! A part of a layer, so that what is known to break does not hide the rest.

use futures::lock::{Mutex, MutexGuard};
use midstream::seam::{Errno, Host, IoResult};
use midstream::{BlockLayer, Checked, Device, Image};
use std::sync::Arc;

/// The layer within, with some of it left out.
#[derive(Debug)]
pub struct Part<L> {
    /// The layer.
    pub layer: L,
    /// Whether its devices get one request at a time: what goes wrong then has nothing to do with requests that overlap.
    pub in_turn: bool,
    /// Whether something may be made zeroes.
    pub zeroes: bool,
    /// Whether images are checked.
    pub checked: bool,
}

/// An open image.
#[derive(Debug)]
pub struct Open<D> {
    device: D,
    turn: Option<Mutex<()>>,
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
        let open = |device| Open { device, turn: self.in_turn.then(Mutex::default), zeroes: self.zeroes };
        Ok(devices.into_iter().map(open).collect())
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        if self.checked { self.layer.check(host, image).await } else { Ok(None) }
    }
}

impl<D> Open<D> {
    async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        }
    }
}

impl<D: Device> Device for Open<D> {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let _turn = self.turn().await;
        self.device.read(offset, len).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let _turn = self.turn().await;
        self.device.write(offset, data).await
    }

    async fn flush(&self) -> IoResult<()> {
        let _turn = self.turn().await;
        self.device.flush().await
    }

    async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        let _turn = self.turn().await;
        if self.zeroes { self.device.write_zeroes(offset, len).await } else { Err(Errno::ENOTSUP) }
    }

    async fn discard(&self, offset: u64, len: u64) -> IoResult<()> {
        let _turn = self.turn().await;
        self.device.discard(offset, len).await
    }

    async fn close(&self) -> IoResult<()> {
        let _turn = self.turn().await;
        self.device.close().await
    }
}
