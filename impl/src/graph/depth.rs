//! How deep nodes may stand on each other, whoever asks for it: a header, options inside options, a reference, a job.
//!
//! A request goes down a chain by calls within calls, and the depth of a chain comes from outside. With this bound on it
//! so has the stack.

use super::numbered::Numbered;
use super::{Graph, permission};
use crate::error::TooDeep;
use crate::id::NodeId;
use std::collections::BTreeMap;

/// Nodes from the top of a chain to its last file, as operators and headers may put them together.
pub(crate) const DEPTH_MAX: u32 = 200;
/// The same, with what jobs put in between: their filters come to chains that are there.
pub(crate) const DEPTH_MAX_WITH_JOBS: u32 = DEPTH_MAX + 56;

impl Graph {
    /// How many nodes there are on the longest way down from a node, itself included.
    pub(crate) fn height(&self, id: NodeId) -> u32 {
        self.below_and_with(id).heights().get(&id).copied().unwrap_or(0)
    }

    /// The largest height of all, if it is more than `bound`.
    pub(crate) fn depth_beyond(&self, bound: u32) -> Option<u32> {
        // No way down is longer than there are nodes.
        if self.nodes.len() <= bound as usize {
            return None;
        }
        self.heights().into_values().max().filter(|depth| *depth > bound)
    }

    /// Refuses a node that stands deeper than operators may put it.
    pub(crate) fn admit_depth(&self, id: NodeId) -> Result<(), TooDeep> {
        let may_be_too_deep = self.nodes.len() > DEPTH_MAX as usize;
        if may_be_too_deep && self.height(id) > DEPTH_MAX { Err(TooDeep(DEPTH_MAX)) } else { Ok(()) }
    }

    /// As `admit_depth`, of every node.
    pub(crate) fn admit_all_depths(&self) -> Result<(), TooDeep> {
        if self.depth_beyond(DEPTH_MAX).is_some() { Err(TooDeep(DEPTH_MAX)) } else { Ok(()) }
    }

    fn heights(&self) -> BTreeMap<NodeId, u32> {
        let mut heights: BTreeMap<NodeId, u32> = BTreeMap::new();
        let nodes = Numbered::of(self);
        for number in permission::parents_first(&nodes).into_iter().rev() {
            let (id, place) = nodes.node(number);
            let below = place.children().map(|child| heights[&child]).max();
            heights.insert(id, below.unwrap_or(0) + 1);
        }
        heights
    }
}
