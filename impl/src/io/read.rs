//! Reading through a node.

use super::{BelowNode, filter};
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::graph::node::{Driver, Storage};
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::{Disk, IoResult};
use std::sync::Arc;

/// Fills `buffer` with what a reader of `id` sees at `offset`. What lies past the node's end reads as zeroes: the range may be
/// one of an overlay that is longer, or of a job whose source has become shorter.
pub(crate) async fn padded(graph: &Arc<Graph>, id: NodeId, offset: u64, buffer: &mut [u8]) -> IoResult<()> {
    let there = len_bytes(graph, id)?.saturating_sub(offset).min(buffer.len() as u64);
    let (inside, outside) = buffer.split_at_mut(there as usize);
    outside.fill(0);
    if inside.is_empty() { Ok(()) } else { read(graph, id, offset, inside).await }
}

/// Fills `buffer` with what a reader of `id` sees at `offset`. The range is inside the node.
pub(crate) async fn read(graph: &Arc<Graph>, id: NodeId, offset: u64, buffer: &mut [u8]) -> IoResult<()> {
    let mut id = id;
    let end = offset + buffer.len() as u64;
    // A filter's reader sees its child.
    let storage = loop {
        match &graph.node(id).driver {
            Driver::Storage(storage) => break storage,
            Driver::Filter(filter) => {
                let child = graph.below(id).expect("a filter stands on a node");
                filter::before_read(graph, filter, child, offset, end).await?;
                id = child;
            }
        }
    };
    let _range = graph.node(id).requests.acquire(offset, end, Mode::Shared).await;
    match storage {
        Storage::File { disk, .. } => {
            let bytes = disk.read(offset, vec![0; buffer.len()]).await?;
            buffer.copy_from_slice(&bytes);
            Ok(())
        }
        Storage::Raw(image) => image.read(offset, buffer).await,
        Storage::Qcow2(image) => image.read(offset, buffer, &BelowNode::of(graph, id)).await,
        Storage::Nbd { remote, .. } => {
            let bytes = remote.read(offset, vec![0; buffer.len()]).await?;
            buffer.copy_from_slice(&bytes);
            Ok(())
        }
        Storage::NullCo(null) => {
            null.linger().await;
            buffer.fill(0);
            Ok(())
        }
    }
}
