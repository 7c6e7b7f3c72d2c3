//! The place where the present graph stands. Edits happen here, whole or not at all.

use super::Graph;
use super::node::Node;
use crate::budget::Budget;
use crate::sync::shim::Mutex;
use std::sync::Arc;

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
    ) -> Result<(T, Vec<Arc<Node>>), E> {
        let mut present = self.present.lock();
        let mut next = Graph::clone(&present);
        let answer = change(&mut next)?;
        let dropped = next.collect();
        next.assert_well_formed();
        for node in dropped.iter().filter(|node| present.contains(node.id)) {
            let place = present.place(node.id);
            // What it has not written yet goes down the links it had.
            if let Some(lower) = &place.lower {
                lower.keep(&present);
            }
            place.hand_over_bitmaps();
        }
        *present = Arc::new(next);
        Ok((answer, dropped))
    }
}
