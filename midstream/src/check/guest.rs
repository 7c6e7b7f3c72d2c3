//! Guests at work: each lane does its requests one after the other, before the witness.

use crate::content::{Tag, sectors_of, tag_of_request, tags};
use crate::history::Asked;
use crate::layer::Device;
use crate::request::{Operation, RequestId};
use crate::scenario::{Action, Request};
use crate::witness::Witness;
use crate::witness::length::Length;
use crate::world::host::SimHost;
use crate::world::notes::Shared;
use seam::IoResult;
use seam::footprint::Access;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: u64 = crate::content::SECTOR_BYTES as u64;

/// The whole of an image that was made so long.
pub(super) async fn read_all(device: &impl Device, size_bytes: u64) -> IoResult<Vec<Tag>> {
    let size_bytes = device.size_bytes().unwrap_or(size_bytes);
    device.read(0, size_bytes).await.map(|bytes| tags(&bytes))
}

/// Where requests come from: a lane of a guest.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) guest: u32,
    pub(super) lane: u32,
    /// How long the image is, and whether anybody changes that.
    pub(super) length: Arc<Mutex<Length>>,
    pub(super) is_resized: bool,
    /// The layer's own operations.
    pub(super) own: &'static [&'static str],
}

impl Lane {
    fn length(&self) -> MutexGuard<'_, Length> {
        // Where somebody resizes, a look counts as a change: there are few of them.
        Shared::Lengths.touch(if self.is_resized { Access::Write } else { Access::Read });
        self.length.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lane of a guest: its requests, one after the other.
pub(super) async fn run_lane<D: Device>(
    at: Lane,
    requests: Vec<Request>,
    device: Arc<D>,
    witness: Arc<Witness>,
    host: SimHost,
) {
    for request in requests {
        host.think(request.think).await;
        let id = RequestId { guest: at.guest, lane: at.lane, slot: request.slot };
        match request.action {
            Action::Io { operation, sector, sectors } => {
                let size = at.length().sectors();
                perform(id, operation, (sector, sectors), &*device, size, &witness).await;
            }
            Action::Resize { sectors } => resize(id, sectors, &*device, &at, &witness).await,
            Action::Own(operation) => {
                witness.began_other(id, at.own.get(operation).unwrap_or(&"nothing it has").to_string());
                let result = device.operate(operation).await;
                witness.ended_other(id, result);
            }
        }
    }
}

/// Does one request, from the witness's seeing it begin to its seeing it end. Nothing is asked of what lies past the end.
async fn perform(
    id: RequestId,
    operation: Operation,
    (sector, sectors): (u64, u64),
    device: &impl Device,
    size: u64,
    witness: &Witness,
) {
    let sector = sector.min(size);
    let count = sectors.min(size - sector);
    if count == 0 && operation != Operation::Flush {
        return;
    }
    let (offset, len) = (sector * SECTOR, count * SECTOR);
    let tag = tag_of_request(id.guest, id.lane, id.slot);
    witness.began(id, Asked::new(operation, sector, count, tag));
    let done = |()| Vec::new();
    let result = match operation {
        Operation::Read => device.read(offset, len).await.map(|bytes| tags(&bytes)),
        Operation::Write => device.write(offset, sectors_of(tag, sector, count)).await.map(done),
        Operation::WriteZeroes => device.write_zeroes(offset, len).await.map(done),
        Operation::Discard => device.discard(offset, len).await.map(done),
        Operation::Flush => device.flush().await.map(done),
    };
    witness.ended(id, result);
}

/// Does one resize. None begins while another is under way: nobody could say which length is the last.
async fn resize(id: RequestId, sectors: u64, device: &impl Device, at: &Lane, witness: &Witness) {
    let Some(effect) = at.length().begin(sectors) else { return };
    witness.began_resize(id, sectors, &effect);
    let result = device.resize(sectors * SECTOR).await;
    witness.ended_resize(id, result);
    at.length().end(sectors, result.is_ok());
}
