//! Reading through a node.

use super::{BelowNode, filter};
use crate::graph::Graph;
use crate::graph::node::{Driver, Storage};
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::{Disk, IoResult};
use std::sync::Arc;

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
        Storage::NullCo(null) => {
            null.linger().await;
            buffer.fill(0);
            Ok(())
        }
    }
}
