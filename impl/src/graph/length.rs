//! How long nodes are, as their readers see them.

use super::Graph;
use super::node::Storage;
use crate::error::Refused;
use crate::id::NodeId;
use seam::{Disk, IoResult};

/// The same as `len_bytes`, for a command: it cannot be done without.
pub(crate) fn known_len(graph: &Graph, id: NodeId) -> Result<u64, Refused> {
    len_bytes(graph, id).map_err(Refused::io("get the length of", graph.name(id)))
}

/// The size of a node as its readers see it, in bytes.
pub(crate) fn len_bytes(graph: &Graph, id: NodeId) -> IoResult<u64> {
    match graph.storage(id) {
        Storage::File { disk, .. } => disk.len_bytes(),
        Storage::Raw(image) => Ok(image.len_bytes()),
        Storage::Qcow2(image) => Ok(image.len_bytes()),
        Storage::NullCo(null) => Ok(null.len_bytes),
        Storage::Nbd { remote, .. } => remote.len_bytes(),
    }
}
