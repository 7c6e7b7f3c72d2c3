//! How long nodes are, as their readers see them.

use super::Graph;
use super::node::Driver;
use crate::error::Refused;
use crate::id::NodeId;
use seam::{Disk, IoResult};

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
