//! A layer whose device gets one request at a time: what goes wrong then has nothing to do with requests that overlap.

use futures::lock::Mutex;
use midstream::seam::{Host, IoResult};
use midstream::{BlockLayer, Checked, Device, Image};
use std::sync::Arc;

/// The layer within, asked in turn.
#[derive(Debug)]
pub struct InTurn<L>(pub L);

/// An open image.
#[derive(Debug)]
pub struct Open<D> {
    device: D,
    turn: Mutex<()>,
}

impl<L: BlockLayer> BlockLayer for InTurn<L> {
    type Device = Open<L::Device>;

    const CHAINS: bool = L::CHAINS;
    const SURVIVES_KILL: bool = L::SURVIVES_KILL;

    async fn create(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<()> {
        self.0.create(host, image).await
    }

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Open<L::Device>>> {
        let devices = self.0.open(host, images).await?;
        Ok(devices.into_iter().map(|device| Open { device, turn: Mutex::default() }).collect())
    }

    async fn check(&self, host: Arc<dyn Host>, image: &Image) -> IoResult<Option<Checked>> {
        self.0.check(host, image).await
    }
}

impl<D: Device> Device for Open<D> {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        let _turn = self.turn.lock().await;
        self.device.read(offset, len).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let _turn = self.turn.lock().await;
        self.device.write(offset, data).await
    }

    async fn flush(&self) -> IoResult<()> {
        let _turn = self.turn.lock().await;
        self.device.flush().await
    }

    async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        let _turn = self.turn.lock().await;
        self.device.write_zeroes(offset, len).await
    }

    async fn discard(&self, offset: u64, len: u64) -> IoResult<()> {
        let _turn = self.turn.lock().await;
        self.device.discard(offset, len).await
    }

    async fn close(&self) -> IoResult<()> {
        let _turn = self.turn.lock().await;
        self.device.close().await
    }
}
