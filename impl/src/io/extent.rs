//! What is known of a range, for a reader of a chain, without reading it: data, hole or zeroes, and whose.

use super::status;
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::graph::node::Storage;
use crate::id::NodeId;
use seam::IoResult;

/// A piece of a range about which one thing is known.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Extent {
    /// How many bytes; at least 1.
    pub len: u64,
    /// Whether there is data somewhere that must be read.
    pub has_data: bool,
    /// Whether it reads as zeroes for sure.
    pub is_zero: bool,
    /// The layer that decides, 1 being the topmost; 0 when no layer has it.
    pub depth: u32,
}

impl Extent {
    /// Zeroes that no layer has.
    pub fn nothing(len: u64) -> Extent {
        Extent { len, has_data: false, is_zero: true, depth: 0 }
    }

    /// Whether the same is known of `other`.
    pub(crate) fn is_like(&self, other: &Extent) -> bool {
        (self.has_data, self.is_zero, self.depth) == (other.has_data, other.is_zero, other.depth)
    }
}

/// The extent of `id` that begins at `offset`, `len` bytes at most. The range is inside the node.
///
/// Past the end of a short layer the layers above it see zeroes: that layer decides, as in `decided_between`.
pub(crate) async fn first(graph: &Graph, id: NodeId, offset: u64, len: u64) -> IoResult<Extent> {
    assert!(len > 0, "the extent of nothing at {offset}");
    let mut len = len;
    let layers = graph.chain(id).filter(|id| !graph.is_filter(*id));
    for (layer, depth) in layers.zip(1..) {
        let there = len_bytes(graph, layer)?.saturating_sub(offset);
        if there == 0 {
            return Ok(Extent { depth, ..Extent::nothing(len) });
        }
        let run = status::layer(graph, layer, offset, len.min(there)).await?;
        len = len.min(run.len);
        match run.kind {
            RunKind::Zero => return Ok(Extent { depth, ..Extent::nothing(len) }),
            RunKind::Data => {
                return data(graph, layer, offset, Extent { len, has_data: true, is_zero: false, depth })
                    .await;
            }
            RunKind::Unallocated => {}
        }
    }
    Ok(Extent::nothing(len))
}

/// Of a layer that keeps guest bytes as they are, the host or the server knows where there are holes.
async fn data(graph: &Graph, layer: NodeId, offset: u64, extent: Extent) -> IoResult<Extent> {
    let place = graph.place(layer);
    let file = match graph.storage(layer) {
        Storage::File { .. } | Storage::Nbd { .. } => Some(layer),
        Storage::Raw(_) => place.file,
        Storage::Qcow2(_) | Storage::NullCo(_) => None,
    };
    let Some(disk) = file.and_then(|file| graph.node(file).outside()) else {
        return Ok(extent);
    };
    let run = disk.next_run(offset, extent.len).await?;
    Ok(Extent { len: run.len, has_data: run.has_data, is_zero: !run.has_data, ..extent })
}
