//! `query-blockstats`: how far nodes were written, and what discards of files came to.

use super::Engine;
use crate::command::NodeStats;
use crate::graph::node::{Driver, Filter};
use crate::graph::{Graph, Place};
use crate::id::NodeId;

impl Engine {
    /// Of every node, oldest first.
    pub(crate) fn query_node_stats(&self) -> Vec<NodeStats> {
        let graph = self.graph();
        let order: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
        let stats = |(id, place): (NodeId, &Place)| NodeStats {
            node_name: place.node.name.to_string(),
            highest_write: place.node.write_threshold.highest(),
            discards: place.node.disk().map(|disk| disk.discards()),
            parent: kept_in(&graph, id).and_then(|kept_in| order.iter().position(|id| *id == kept_in)),
        };
        graph.nodes().map(stats).collect()
    }
}

/// The one child that a node's data lies in.
fn kept_in(graph: &Graph, id: NodeId) -> Option<NodeId> {
    let place = graph.place(id);
    match &place.node.driver {
        Driver::Filter(Filter::CopyBeforeWrite(_)) => place.file,
        Driver::Filter(_) => graph.below(id),
        // With a data file, what is left in the image is not data.
        Driver::Storage(_) => place.side.or(place.file),
    }
}
