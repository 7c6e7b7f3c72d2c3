//! Making a node longer. What is new reads as zeroes, also where the layers below are longer.

use super::BelowNode;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::graph::node::Storage;
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::{Disk, Errno, IoResult};
use std::sync::Arc;

/// Grows the layer of `id` to at least `len` bytes, in whole sectors.
pub(crate) async fn grow(graph: &Arc<Graph>, id: NodeId, len: u64) -> IoResult<()> {
    let id = graph.unfiltered(id);
    let node = graph.node(id);
    let old = len_bytes(graph, id)?;
    let len = len.next_multiple_of(512);
    if len <= old {
        return Ok(());
    }
    // Nobody reads the new part before it is what it should be.
    let _tail = node.requests.acquire(old, u64::MAX, Mode::Exclusive).await;
    match graph.storage(id) {
        Storage::File { disk, .. } => disk.resize(len).await,
        Storage::Raw(image) => image.resize(len).await,
        Storage::Qcow2(image) => {
            let below = graph.place(id).backing;
            let shows_until = below.map_or(Ok(0), |below| len_bytes(graph, below))?;
            image.grow_over(len, shows_until, &BelowNode::of(graph, id)).await
        }
        Storage::Nbd { remote, .. } => remote.resize(len).await,
        Storage::NullCo(_) => Err(Errno::ENOTSUP),
    }
}
