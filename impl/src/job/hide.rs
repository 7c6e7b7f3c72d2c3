//! Past the end of what is committed everybody above reads zeroes. Soon base itself is read there: it must say the same.

use super::life::Operation;
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::id::NodeId;
use crate::io::write::Change;
use crate::io::{status, write};
use seam::{Errno, IoResult};
use std::sync::Arc;

/// What one look at base found.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Hidden {
    /// So many bytes read as zeroes already.
    Before(u64),
    /// So many bytes read as zeroes now.
    Now(u64),
}

/// How far overlays of `top` will read `base`.
pub(crate) fn visible_end(graph: &Graph, top: NodeId, base: NodeId) -> IoResult<u64> {
    let mut end = 0;
    for overlay in graph.overlays(top) {
        end = len_bytes(graph, overlay)?.max(end);
    }
    Ok(end.min(len_bytes(graph, base)?))
}

/// Makes `base` say zeroes from `offset`, for at most `piece_bytes`, unless it does so already.
pub(crate) async fn piece(
    graph: &Arc<Graph>,
    base: NodeId,
    offset: u64,
    end: u64,
    piece_bytes: u64,
) -> Result<Hidden, (Operation, Errno)> {
    let layer = graph.unfiltered(base);
    let lowest = graph.lowest_layer(layer);
    let run = status::between(graph, layer, lowest, offset, end - offset).await;
    let run = run.map_err(|errno| (Operation::Read, errno))?;
    if run.kind != RunKind::Data {
        return Ok(Hidden::Before(run.len));
    }
    let len = run.len.min(piece_bytes);
    let written = write::change(graph, base, offset, Change::Zeroes(len)).await;
    written.map_err(|errno| (Operation::Write, errno))?;
    Ok(Hidden::Now(len))
}

/// Makes `base` say zeroes from `offset` to `end`, durably.
pub(crate) async fn all(
    graph: &Arc<Graph>,
    base: NodeId,
    mut offset: u64,
    end: u64,
    piece_bytes: u64,
) -> IoResult<()> {
    if offset >= end {
        return Ok(());
    }
    while offset < end {
        match piece(graph, base, offset, end, piece_bytes).await {
            Ok(Hidden::Before(len) | Hidden::Now(len)) => offset += len,
            Err((_, errno)) => return Err(errno),
        }
    }
    graph.node(graph.unfiltered(base)).flush().await
}
