//! Which layer decides a byte.

use crate::format::{Run, RunKind};
use crate::graph::Graph;
use crate::graph::node::{Driver, Storage};
use crate::id::NodeId;
use seam::IoResult;

use crate::graph::length::len_bytes;

/// What the layer `id` alone says about the bytes from `offset`, for `len` bytes at most. The range is inside it.
pub(crate) async fn layer(graph: &Graph, id: NodeId, offset: u64, len: u64) -> IoResult<Run> {
    let Driver::Storage(storage) = &graph.node(id).driver else {
        panic!("{} is a filter and has no data of its own", graph.name(id));
    };
    match storage {
        Storage::File { .. } | Storage::Nbd { .. } => Ok(Run { len, kind: RunKind::Data }),
        Storage::Raw(image) => image.status(offset, len).await,
        Storage::Qcow2(image) => image.status(offset, len.min(image.look_bytes_max(offset))).await,
        Storage::NullCo(null) if null.read_zeroes => Ok(Run { len, kind: RunKind::Zero }),
        Storage::NullCo(_) => Ok(Run { len, kind: RunKind::Data }),
    }
}

/// Whether a range is decided by one of several layers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Decided {
    /// Whether any of them has it allocated, or ends before it.
    pub here: bool,
    /// For how many bytes this holds; at least 1.
    pub len: u64,
}

/// Whether the layers from `first` down to and including `bottom` decide the bytes from `offset`.
pub(crate) async fn decided_between(
    graph: &Graph,
    first: NodeId,
    bottom: NodeId,
    offset: u64,
    len: u64,
) -> IoResult<Decided> {
    let run = between(graph, first, bottom, offset, len).await?;
    Ok(Decided { here: run.kind != RunKind::Unallocated, len: run.len })
}

/// What the layers from `first` down to and including `bottom`, taken as one, say about the bytes from `offset`.
///
/// Past the end of a short layer the layers above it see zeroes, whatever lies further down: that layer decides.
pub(crate) async fn between(
    graph: &Graph,
    first: NodeId,
    bottom: NodeId,
    offset: u64,
    len: u64,
) -> IoResult<Run> {
    let mut len = len;
    for id in graph.chain(first).filter(|id| !graph.is_filter(*id)) {
        let there = len_bytes(graph, id)?.saturating_sub(offset);
        if there == 0 {
            return Ok(Run { len, kind: RunKind::Zero });
        }
        let run = layer(graph, id, offset, len.min(there)).await?;
        assert!(run.len > 0, "an empty answer about {offset} of {}", graph.name(id));
        len = len.min(run.len);
        if run.kind != RunKind::Unallocated || id == bottom {
            return Ok(Run { len, kind: run.kind });
        }
    }
    panic!("{bottom:?} is not in the chain below {first:?}");
}
