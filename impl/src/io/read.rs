//! Reading through a node.

use super::{BelowNode, copy_on_read};
use crate::graph::Graph;
use crate::graph::node::Driver;
use crate::host::IoResult;
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use std::sync::Arc;

/// Fills `buffer` with what a reader of `id` sees at `offset`. The range is inside the node.
pub async fn read(graph: &Arc<Graph>, id: NodeId, offset: u64, buffer: &mut [u8]) -> IoResult<()> {
    let mut id = id;
    let mut node = graph.node(id);
    let end = offset + buffer.len() as u64;
    // A filter's reader sees its child.
    while node.is_filter() {
        let child = graph.below(id).expect("a filter stands on a node");
        before_read(graph, id, child, offset, end).await?;
        id = child;
        node = graph.node(id);
    }
    let _range = node.requests.acquire(offset, end, Mode::Shared).await;
    match &node.driver {
        Driver::File { disk, .. } => {
            let bytes = disk.read(offset, vec![0; buffer.len()]).await?;
            buffer.copy_from_slice(&bytes);
            Ok(())
        }
        Driver::Raw(image) => image.read(offset, buffer).await,
        Driver::Qcow2(image) => image.read(offset, buffer, &BelowNode::of(graph, id)).await,
        Driver::CopyOnRead { .. } | Driver::CommitTop | Driver::MirrorTop(_) => {
            unreachable!("filters were passed above")
        }
    }
}

/// What a filter does before its child is read.
async fn before_read(
    graph: &Arc<Graph>,
    filter: NodeId,
    child: NodeId,
    offset: u64,
    end: u64,
) -> IoResult<()> {
    match graph.node(filter).driver {
        Driver::CopyOnRead { bottom } => {
            let target = graph.unfiltered(child);
            let bottom = bottom.unwrap_or_else(|| graph.lowest_layer(target));
            copy_on_read::bring_up(graph, target, bottom, offset, end).await
        }
        _ => Ok(()),
    }
}
