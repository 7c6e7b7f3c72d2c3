//! Guests at work: each lane does its requests one after the other, before the witness.

use crate::content::{Tag, sectors_of, tag_of_request, tags};
use crate::history::Asked;
use crate::layer::Device;
use crate::request::{Operation, RequestId};
use crate::scenario::Request;
use crate::witness::Witness;
use crate::world::host::SimHost;
use seam::IoResult;
use std::sync::Arc;

const SECTOR: u64 = crate::content::SECTOR_BYTES as u64;

/// The whole of an image.
pub(super) async fn read_all(device: &impl Device, size_bytes: u64) -> IoResult<Vec<Tag>> {
    device.read(0, size_bytes).await.map(|bytes| tags(&bytes))
}

/// Where requests come from: a lane of a guest, on an image of so many sectors.
#[derive(Copy, Clone)]
pub(super) struct Lane {
    pub(super) guest: u32,
    pub(super) lane: u32,
    pub(super) size: u64,
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
        perform(id, &request, &*device, at.size, &witness).await;
    }
}

/// Does one request, from the witness's seeing it begin to its seeing it end. Nothing is asked of what lies past the end.
async fn perform(id: RequestId, request: &Request, device: &impl Device, size: u64, witness: &Witness) {
    let sector = request.sector.min(size);
    let count = request.sectors.min(size - sector);
    if count == 0 {
        return;
    }
    let (offset, len) = (sector * SECTOR, count * SECTOR);
    let tag = tag_of_request(id.guest, id.lane, id.slot);
    witness.began(id, Asked::new(request.operation, sector, count, tag));
    let done = |()| Vec::new();
    let result = match request.operation {
        Operation::Read => device.read(offset, len).await.map(|bytes| tags(&bytes)),
        Operation::Write => device.write(offset, sectors_of(tag, sector, count)).await.map(done),
        Operation::WriteZeroes => device.write_zeroes(offset, len).await.map(done),
        Operation::Discard => device.discard(offset, len).await.map(done),
        Operation::Flush => device.flush().await.map(done),
    };
    witness.ended(id, result);
}
