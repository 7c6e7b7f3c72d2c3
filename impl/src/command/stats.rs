//! What nodes have been through.

use crate::graph::write_threshold::DiscardStats;

/// One entry of `query-blockstats`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStats {
    /// `node-name`.
    pub node_name: String,
    /// `wr_highest_offset`: the end of the highest write.
    pub highest_write: u64,
    /// What a file's discards came to.
    pub discards: Option<DiscardStats>,
    /// The node that it keeps its data in, by its place among all; it stands on that one.
    pub parent: Option<usize>,
}
