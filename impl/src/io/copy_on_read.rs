//! Copy-on-read: what a layer does not decide itself, and one between it and `bottom` does, is copied up into it.
//!
//! `base <- bottom <- mid <- target`: data of mid and bottom is copied, data of base is not. The copy is alone on
//! whole clusters of target while it reads and writes, so no guest write to any of them can run in between.

use super::BelowNode;
use super::status::{Decided, decided_between, layer};
use crate::format::qcow2::Qcow2;
use crate::format::{Below, RunKind};
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::IoResult;
use std::sync::Arc;

/// The most that is held in memory for one piece of a copy.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// Copies into `target` whatever of `start..end` it does not decide and the layers below, down to `bottom`, do.
pub(crate) async fn populate(
    graph: &Arc<Graph>,
    target: NodeId,
    bottom: NodeId,
    start: u64,
    end: u64,
) -> IoResult<()> {
    let Some(image) = graph.node(target).qcow2() else {
        return Ok(());
    };
    let Some(first) = graph.layer_below(target).filter(|_| target != bottom) else {
        return Ok(());
    };
    let copy = Copy { graph, image, target, between: Some((first, bottom)), end: len_bytes(graph, target)? };
    if copy.is_needed(start, end).await? { copy.run(start, end).await } else { Ok(()) }
}

/// Copies into `target` whatever of `start..end` it does not decide, whoever does; what nobody has becomes zeroes.
pub(crate) async fn populate_all(graph: &Arc<Graph>, target: NodeId, start: u64, end: u64) -> IoResult<()> {
    let Some(image) = graph.node(target).qcow2() else {
        return Ok(());
    };
    let copy = Copy { graph, image, target, between: None, end: len_bytes(graph, target)? };
    if copy.is_needed(start, end).await? { copy.run(start, end).await } else { Ok(()) }
}

/// One copy-on-read.
struct Copy<'a> {
    graph: &'a Arc<Graph>,
    image: &'a Qcow2,
    target: NodeId,
    /// The layers whose data is copied: from the one right below target down to the last. None: all there is.
    between: Option<(NodeId, NodeId)>,
    /// The end of target.
    end: u64,
}

impl Copy<'_> {
    /// Whether the bytes from `at` are to be copied.
    async fn decided(&self, at: u64, len: u64) -> IoResult<Decided> {
        match self.between {
            Some((first, bottom)) => decided_between(self.graph, first, bottom, at, len).await,
            None => Ok(Decided { here: true, len }),
        }
    }

    /// Whether anything of the range would be copied; a glance without being alone, so that plain reads stay shared.
    async fn is_needed(&self, start: u64, end: u64) -> IoResult<bool> {
        let mut at = start;
        while at < end {
            let run = layer(self.graph, self.target, at, end - at).await?;
            let run_end = at + run.len;
            while run.kind == RunKind::Unallocated && at < run_end {
                let decided = self.decided(at, run_end - at).await?;
                if decided.here {
                    return Ok(true);
                }
                at += decided.len;
            }
            at = run_end;
        }
        Ok(false)
    }

    /// Copies, alone on the clusters that the range touches.
    async fn run(&self, start: u64, end: u64) -> IoResult<()> {
        let cluster = self.image.unit_bytes();
        let start = start / cluster * cluster;
        let end = end.next_multiple_of(cluster).min(self.end);
        let _alone = self.graph.node(self.target).requests.acquire(start, end, Mode::Exclusive).await;
        let mut at = start;
        while at < end {
            // A guest may have written here since anybody looked: its data must not be copied over.
            let run = layer(self.graph, self.target, at, end - at).await?;
            if run.kind == RunKind::Unallocated {
                self.copy_run(at, at + run.len).await?;
            }
            at += run.len;
        }
        Ok(())
    }

    /// Copies what the layers below decide of `start..end`, none of which target has allocated.
    async fn copy_run(&self, start: u64, end: u64) -> IoResult<()> {
        let cluster = self.image.unit_bytes();
        let mut at = start;
        while at < end {
            let decided = self.decided(at, end - at).await?;
            let cluster_start = at / cluster * cluster;
            if decided.here {
                // A cluster is copied whole even if only a part of it is decided here.
                let piece_end = (at + decided.len).next_multiple_of(cluster).min(end);
                let piece_end = piece_end.min(cluster_start + PIECE_BYTES_MAX.max(cluster));
                self.copy_piece(cluster_start.max(start), piece_end).await?;
                at = piece_end;
            } else {
                at += decided.len;
            }
        }
        Ok(())
    }

    async fn copy_piece(&self, start: u64, end: u64) -> IoResult<()> {
        let below = BelowNode::of(self.graph, self.target);
        let mut bytes = vec![0; (end - start) as usize];
        below.read(start, &mut bytes).await?;
        // Zeroes are kept as a fact of this layer; they take no space where the format can say so.
        if bytes.iter().all(|byte| *byte == 0) {
            self.image.write_zeroes(start, end - start, &below).await
        } else {
            self.image.write(start, &bytes, &below).await
        }
    }
}
