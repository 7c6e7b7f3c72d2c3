//! Changing a node's content: data, zeroes, discards, flushes. Each filter on the way down does its part.

use super::{BelowNode, backup, filter, mirror};
use crate::format::Below;
use crate::format::qcow2::{Qcow2, Zeroing};
use crate::graph::node::{Driver, Filter, Storage};
use crate::graph::options::DetectZeroes;
use crate::graph::{Graph, Place};
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::debug_event::DebugEvent;
use seam::{Disk, Errno, IoResult};
use std::sync::Arc;

/// A change of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// New data.
    Data(Vec<u8>),
    /// So many zero bytes.
    Zeroes(u64),
    /// The same, and their space is not needed.
    Unmap(u64),
    /// So many bytes that nobody needs; they read as zeroes or as before.
    Discard(u64),
}

impl Change {
    /// How many bytes change.
    pub(crate) fn len_bytes(&self) -> u64 {
        match self {
            Change::Data(data) => data.len() as u64,
            Change::Zeroes(len) | Change::Unmap(len) | Change::Discard(len) => *len,
        }
    }
}

/// Changes `id` at `offset`. The range is inside the node.
pub(crate) async fn change(graph: &Arc<Graph>, id: NodeId, offset: u64, change: Change) -> IoResult<()> {
    let mut id = id;
    let mut change = change;
    let mut compressed = false;
    let len = change.len_bytes();
    let storage = loop {
        let place = graph.place(id);
        change = as_the_node_takes_it(place, change);
        // A discard is a hint, and only a node with `discard: unmap` takes it.
        if matches!(change, Change::Discard(_)) && !place.options.unmap {
            return Ok(());
        }
        let filter = match &place.node.driver {
            Driver::Storage(storage) => break storage,
            Driver::Filter(filter) => filter,
        };
        mark(graph, id, offset, len);
        // One that does more than pass the change on takes it over.
        if let Filter::MirrorTop(top) = filter {
            return Box::pin(mirror::change(graph, top, offset, change)).await;
        }
        // What a guest overwrites is saved first.
        Box::pin(backup::before_change(graph, id, offset, len)).await?;
        filter::before_change(filter, offset, &change).await?;
        if !matches!(change, Change::Discard(_)) {
            place.node.write_threshold.passes(offset + len);
        }
        compressed |= matches!(filter, Filter::Compress);
        id = graph.below(id).expect("a filter stands on a node");
    };
    if graph.place(id).read_only {
        return Err(Errno::EPERM);
    }
    let node = graph.node(id);
    let _range = node.requests.acquire(offset, offset + len, Mode::Shared).await;
    // Before the bytes change: a write that fails may have changed some of them.
    mark(graph, id, offset, len);
    if !matches!((storage, &change), (Storage::File { .. }, _) | (_, Change::Discard(_))) {
        node.write_threshold.passes(offset + len);
    }
    change_storage(graph, id, storage, offset, change, compressed).await
}

/// Changes what the node itself keeps. The caller holds the range.
async fn change_storage(
    graph: &Arc<Graph>,
    id: NodeId,
    storage: &Storage,
    offset: u64,
    change: Change,
    compressed: bool,
) -> IoResult<()> {
    match storage {
        Storage::File { disk, .. } => match change {
            Change::Data(data) => disk.write(offset, data).await,
            Change::Zeroes(len) => disk.write_zeroes(offset, len).await,
            Change::Unmap(len) => disk.unmap(offset, len).await,
            Change::Discard(len) => disk.discard(offset, len).await,
        },
        Storage::Nbd { remote, .. } => match change {
            Change::Data(data) => remote.write(offset, data).await,
            Change::Zeroes(len) => remote.write_zeroes(offset, len).await,
            Change::Unmap(len) => remote.unmap(offset, len).await,
            Change::Discard(len) => remote.discard(offset, len).await,
        },
        Storage::Raw(image) => match change {
            Change::Data(data) => image.write(offset, &data).await,
            Change::Zeroes(len) => image.write_zeroes(offset, len).await,
            Change::Unmap(len) => image.unmap(offset, len).await,
            Change::Discard(len) => image.discard(offset, len).await,
        },
        Storage::Qcow2(image) => {
            let below = BelowNode::of(graph, id);
            match change {
                Change::Data(data) if compressed => write_compressed(image, offset, &data, &below).await,
                Change::Data(data) => image.write(offset, &data, &below).await,
                Change::Zeroes(len) => image.write_zeroes(offset, len, &below).await,
                Change::Unmap(len) => image.zero(offset, len, Zeroing::FreeClusters, &below).await,
                Change::Discard(len) => image.discard(offset, len, below.exists()).await,
            }
        }
        Storage::NullCo(null) => {
            null.linger().await;
            Ok(())
        }
    }
}

/// What a node makes of a change: data that is all zeroes may become a request for zeroes, and space is given back only if the operator
/// allows it.
fn as_the_node_takes_it(place: &Place, change: Change) -> Change {
    let detects = place.options.detect_zeroes;
    let change = match change {
        Change::Data(data) if detects != DetectZeroes::Off && data.iter().all(|byte| *byte == 0) => {
            let len = data.len() as u64;
            if detects == DetectZeroes::Unmap { Change::Unmap(len) } else { Change::Zeroes(len) }
        }
        change => change,
    };
    match change {
        Change::Unmap(len) if !place.options.unmap => Change::Zeroes(len),
        change => change,
    }
}

/// Whole clusters are compressed; what is left over at both ends is written as it is.
async fn write_compressed(image: &Qcow2, offset: u64, data: &[u8], below: &BelowNode) -> IoResult<()> {
    let cluster = image.cluster_bytes();
    let end = offset + data.len() as u64;
    let mut at = offset;
    while at < end {
        let next = (at / cluster + 1) * cluster;
        let piece = &data[(at - offset) as usize..(next.min(end) - offset) as usize];
        let is_whole = at.is_multiple_of(cluster) && (next <= end || end == image.len_bytes());
        let packed = if is_whole { image.write_compressed(at, piece, below).await } else { Err(Errno::EIO) };
        // A cluster that is there already cannot be packed in place.
        if packed.is_err() {
            image.write(at, piece, below).await?;
        }
        at = next;
    }
    Ok(())
}

/// Marks a write in the node's bitmaps.
fn mark(graph: &Graph, id: NodeId, offset: u64, len: u64) {
    graph.place(id).bitmaps.iter().for_each(|bitmap| bitmap.mark(offset, len));
}

/// Makes every change of `id` that ended before this call durable.
pub(crate) async fn flush(graph: &Graph, id: NodeId) -> IoResult<()> {
    let mut id = id;
    while let Driver::Filter(filter) = &graph.node(id).driver {
        filter::before_flush(filter)?;
        id = graph.below(id).expect("a filter stands on a node");
    }
    filter::notify_child(graph, id, DebugEvent::FlushToOs);
    filter::notify_child(graph, id, DebugEvent::FlushToDisk);
    graph.node(id).flush().await
}
