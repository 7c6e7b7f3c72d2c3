//! The nodes of a graph by number, oldest first.
//!
//! Whoever goes through all of them remembers something of each: a list of that is quicker than one more map.

use super::{Graph, Place};
use crate::id::NodeId;

/// All nodes of a graph.
#[derive(Debug)]
pub(super) struct Numbered<'a>(Vec<(NodeId, &'a Place)>);

impl<'a> Numbered<'a> {
    pub(super) fn of(graph: &'a Graph) -> Numbered<'a> {
        Numbered(graph.nodes().collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &'a Place)> {
        self.0.iter().copied()
    }

    /// The node of that number.
    pub(super) fn node(&self, number: usize) -> (NodeId, &'a Place) {
        self.0[number]
    }

    /// The number of a node, if it is in the graph.
    pub(super) fn find(&self, id: NodeId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |(id, _)| *id).ok()
    }

    /// The number of a node that is in the graph.
    pub(super) fn of_node(&self, id: NodeId) -> usize {
        self.find(id).unwrap_or_else(|| panic!("node {id:?} is used and not in the graph"))
    }
}
