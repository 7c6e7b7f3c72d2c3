//! The place where the present graph stands. Edits happen here, whole or not at all.

use super::auto_read_only::OutsideWriter;
use super::node::Node;
use super::{Graph, Place};
use crate::budget::Budget;
use crate::sync::shim::Mutex;
use std::sync::Arc;

/// A node that left the graph and is to be closed.
#[derive(Debug)]
pub(crate) struct Dropped {
    /// The node.
    pub node: Arc<Node>,
    /// Closing it writes what it has not written yet: until then nobody else closes its files to writers.
    _files: Vec<OutsideWriter>,
}

/// Holds the graph as it is now.
#[derive(Debug, Default)]
pub(crate) struct GraphCell {
    present: Mutex<Arc<Graph>>,
}

impl GraphCell {
    /// An empty graph, whose images hold no more than this.
    pub(crate) fn new(budget: Budget) -> GraphCell {
        GraphCell { present: Mutex::new(Arc::new(Graph { budget, ..Graph::default() })) }
    }

    /// The graph as it is now.
    pub(crate) fn get(&self) -> Arc<Graph> {
        self.present.lock().clone()
    }

    /// Changes the graph, entirely or not at all. Answers the nodes that nobody holds any more, to be closed.
    pub(crate) fn try_edit<T, E>(
        &self,
        change: impl FnOnce(&mut Graph) -> Result<T, E>,
    ) -> Result<(T, Vec<Dropped>), E> {
        let mut present = self.present.lock();
        let mut next = Graph::clone(&present);
        let answer = change(&mut next)?;
        let dropped = next.collect();
        next.assert_well_formed();
        let leave = |node: Arc<Node>| {
            let place = present.contains(node.id).then(|| present.place(node.id));
            // What it has not written yet goes down the links it had.
            if let Some(lower) = place.and_then(|place| place.lower.as_ref()) {
                lower.keep(&present);
            }
            place.inspect(|place| place.hand_over_bitmaps());
            Dropped { node, _files: place.map_or_else(Vec::new, |place| keep_files(&present, place)) }
        };
        let dropped = dropped.into_iter().map(leave).collect();
        *present = Arc::new(next);
        Ok((answer, dropped))
    }
}

/// Keeps the files that the bytes of a node lie in as they are open now.
fn keep_files(graph: &Graph, place: &Place) -> Vec<OutsideWriter> {
    let mut kept = Vec::new();
    let mut open = vec![place];
    while let Some(place) = open.pop() {
        let below = [place.file, place.side].into_iter().flatten().map(|id| graph.place(id));
        open.extend(below);
        kept.extend(place.node.disk().map(|disk| disk.keep_for_writer()));
    }
    kept
}
