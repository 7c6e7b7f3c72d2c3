//! Requests on nodes: a read goes down the chain, a write stays in its layer, a copy-on-read does both.
//!
//! A request runs on the graph it began with. Whoever begins one is inside the engine's gate, so the graph does not
//! change underneath; on each node it passes, the request holds its byte range (`Node::requests`).

pub mod backup;
pub mod copy_on_read;
pub mod extent;
pub mod filter;
pub mod grow;
pub mod mirror;
pub mod node_disk;
pub mod read;
pub mod status;
pub mod write;

use crate::error::Refused;
use crate::format::Below;
use crate::graph::Graph;
use crate::graph::node::Driver;
use crate::id::NodeId;
use seam::{Disk, IoResult, Pending};
use std::sync::Arc;

/// The same as `len_bytes`, for a command: it cannot be done without.
pub fn known_len(graph: &Graph, id: NodeId) -> Result<u64, Refused> {
    len_bytes(graph, id).map_err(Refused::io("get the length of", graph.name(id)))
}

/// The size of a node as its readers see it, in bytes.
pub fn len_bytes(graph: &Graph, id: NodeId) -> IoResult<u64> {
    match &graph.node(graph.unfiltered(id)).driver {
        Driver::File { disk, .. } => disk.len_bytes(),
        Driver::Raw(image) => Ok(image.len_bytes()),
        Driver::Qcow2(image) => Ok(image.len_bytes()),
        Driver::NullCo(null) => Ok(null.len_bytes),
        Driver::CopyOnRead { .. }
        | Driver::CommitTop
        | Driver::MirrorTop(_)
        | Driver::CopyBeforeWrite(_)
        | Driver::Blkdebug(_)
        | Driver::Throttle(_)
        | Driver::Compress => unreachable!("unfiltered answers no filter"),
    }
}

/// What lies below a layer, for its driver to read.
#[derive(Clone, Debug)]
pub struct BelowNode {
    graph: Arc<Graph>,
    node: Option<NodeId>,
}

impl BelowNode {
    /// What lies below `layer`.
    pub fn of(graph: &Arc<Graph>, layer: NodeId) -> Self {
        BelowNode { graph: graph.clone(), node: graph.place(layer).backing }
    }
}

impl Below for BelowNode {
    fn exists(&self) -> bool {
        self.node.is_some()
    }

    fn read<'a>(&'a self, offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        Box::pin(async move {
            let Some(node) = self.node else {
                buffer.fill(0);
                return Ok(());
            };
            // A layer shorter than its overlay reads as zeroes past its end.
            let there = len_bytes(&self.graph, node)?.saturating_sub(offset).min(buffer.len() as u64);
            let (inside, outside) = buffer.split_at_mut(there as usize);
            outside.fill(0);
            if inside.is_empty() { Ok(()) } else { read::read(&self.graph, node, offset, inside).await }
        })
    }
}
