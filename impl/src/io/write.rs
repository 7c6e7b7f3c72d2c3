//! Changing a node's content: data, zeroes, discards, flushes. Nearly all filters pass them unchanged.

use super::{BelowNode, mirror};
use crate::graph::Graph;
use crate::graph::node::Driver;
use crate::host::{Errno, IoResult};
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use std::sync::Arc;

/// A change of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// New data.
    Data(Vec<u8>),
    /// So many zero bytes.
    Zeroes(u64),
    /// So many bytes that nobody needs; they read as zeroes or as before.
    Discard(u64),
}

impl Change {
    /// How many bytes change.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Change::Data(data) => data.len() as u64,
            Change::Zeroes(len) | Change::Discard(len) => *len,
        }
    }
}

/// Changes `id` at `offset`. The range is inside the node.
pub async fn change(graph: &Arc<Graph>, id: NodeId, offset: u64, change: Change) -> IoResult<()> {
    let mut id = id;
    let len = change.len_bytes();
    // Each filter on the way does its part; one that does more than pass the change on takes it over.
    while graph.is_filter(id) {
        mark(graph, id, offset, len);
        if let Driver::MirrorTop(top) = &graph.node(id).driver {
            return Box::pin(mirror::change(graph, top, offset, change)).await;
        }
        id = graph.below(id).expect("a filter stands on a node");
    }
    let place = graph.place(id);
    if place.read_only {
        return Err(Errno::EPERM);
    }
    let node = &place.node;
    let _range = node.requests.acquire(offset, offset + len, Mode::Shared).await;
    // Before the bytes change: a write that fails may have changed some of them.
    mark(graph, id, offset, len);
    match &node.driver {
        Driver::File { disk, .. } => match change {
            Change::Data(data) => disk.write(offset, data).await,
            Change::Zeroes(len) => disk.write_zeroes(offset, len).await,
            Change::Discard(len) => disk.discard(offset, len).await,
        },
        Driver::Raw(image) => match change {
            Change::Data(data) => image.write(offset, &data).await,
            Change::Zeroes(len) => image.write_zeroes(offset, len).await,
            Change::Discard(len) => image.discard(offset, len).await,
        },
        Driver::Qcow2(image) => {
            let below = BelowNode::of(graph, id);
            match change {
                Change::Data(data) => image.write(offset, &data, &below).await,
                Change::Zeroes(len) => image.write_zeroes(offset, len, &below).await,
                Change::Discard(len) => image.discard(offset, len, place.backing.is_some()).await,
            }
        }
        Driver::CopyOnRead { .. } | Driver::CommitTop | Driver::MirrorTop(_) => {
            unreachable!("filters were passed above")
        }
    }
}

/// Tells the node's bitmaps of a write.
fn mark(graph: &Graph, id: NodeId, offset: u64, len: u64) {
    graph.place(id).bitmaps.iter().for_each(|bitmap| bitmap.mark(offset, len));
}

/// Makes every change of `id` that ended before this call durable.
pub async fn flush(graph: &Graph, id: NodeId) -> IoResult<()> {
    graph.node(graph.unfiltered(id)).flush().await
}
