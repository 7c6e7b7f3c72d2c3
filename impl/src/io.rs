//! Requests on nodes: a read goes down the chain, a write stays in its layer, a copy-on-read does both.
//!
//! A request runs on the graph it began with. Whoever begins one is inside the engine's gate, so the graph does not
//! change underneath; on each node it passes, the request holds its byte range (`Node::requests`).

pub(crate) mod backup;
pub(crate) mod copy_on_read;
pub(crate) mod extent;
pub(crate) mod filter;
pub(crate) mod grow;
pub(crate) mod mirror;
pub(crate) mod node_disk;
pub(crate) mod read;
pub(crate) mod status;
pub(crate) mod write;

use crate::format::Below;
use crate::graph::Graph;
use crate::id::NodeId;
use seam::{IoResult, Pending};
use std::sync::Arc;

/// What lies below a layer, for its driver to read.
#[derive(Clone, Debug)]
pub(crate) struct BelowNode {
    graph: Arc<Graph>,
    node: Option<NodeId>,
}

impl BelowNode {
    /// What lies below `layer`.
    pub(crate) fn of(graph: &Arc<Graph>, layer: NodeId) -> Self {
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
            read::padded(&self.graph, node, offset, buffer).await
        })
    }
}
