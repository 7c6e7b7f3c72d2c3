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
    // A filter's reader sees its child; a copy-on-read filter first brings the range up into it.
    while let Driver::CopyOnRead { bottom } = node.driver {
        let child = graph.place(id).file.expect("a filter stands on a node");
        copy_on_read::bring_up(graph, graph.unfiltered(child), bottom, offset, end).await?;
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
        Driver::CopyOnRead { .. } => unreachable!("filters were passed above"),
    }
}
