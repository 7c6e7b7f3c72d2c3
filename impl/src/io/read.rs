//! Reading through a node.

use super::{BelowNode, filter};
use crate::graph::Graph;
use crate::graph::node::Driver;
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::{Disk, IoResult};
use std::sync::Arc;

/// Fills `buffer` with what a reader of `id` sees at `offset`. The range is inside the node.
pub async fn read(graph: &Arc<Graph>, id: NodeId, offset: u64, buffer: &mut [u8]) -> IoResult<()> {
    let mut id = id;
    let mut node = graph.node(id);
    let end = offset + buffer.len() as u64;
    // A filter's reader sees its child.
    while node.is_filter() {
        let child = graph.below(id).expect("a filter stands on a node");
        filter::before_read(graph, id, child, offset, end).await?;
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
        Driver::NullCo(null) => {
            null.linger().await;
            buffer.fill(0);
            Ok(())
        }
        Driver::CopyOnRead { .. }
        | Driver::CommitTop
        | Driver::MirrorTop(_)
        | Driver::CopyBeforeWrite(_)
        | Driver::Blkdebug(_)
        | Driver::Throttle(_)
        | Driver::Compress => unreachable!("filters were passed above"),
    }
}
