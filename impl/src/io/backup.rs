//! Saving what a backup's source holds: before a guest overwrites it, and when the job comes to it.
//!
//! Whoever saves a chunk is alone on it, from the look whether it is saved already until it is. So a chunk is saved
//! once, a guest's write waits until what it overwrites is saved, and the job never copies what a guest just wrote.

use super::mirror::CopyError;
use super::write::{self, Change};
use super::{BelowNode, read, status};
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::copy_before_write::CopyBeforeWrite;
use crate::graph::node::{Driver, Filter};
use crate::id::NodeId;
use crate::sync::range_lock::Mode;
use seam::{Errno, IoResult};
use std::sync::Arc;

/// The most that is held in memory at a time.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// One backup, as a request finds it in the graph.
#[derive(Debug)]
pub(crate) struct Saving<'a> {
    graph: &'a Arc<Graph>,
    state: &'a CopyBeforeWrite,
    source: NodeId,
    target: NodeId,
}

/// Saves what a guest is about to change. If that fails, the guest's change must fail too.
pub(crate) async fn before_change(graph: &Arc<Graph>, filter: NodeId, offset: u64, len: u64) -> IoResult<()> {
    let Some(saving) = Saving::of(graph, filter) else {
        return Ok(());
    };
    let (start, end) = saving.state.whole_chunks(offset, offset + len);
    let _alone = saving.state.copies.acquire(start, end, Mode::Exclusive).await;
    while let Some((at, to)) = saving.state.unsaved_in(start, end) {
        saving.save(at, to).await.map_err(CopyError::errno)?;
    }
    Ok(())
}

/// How far a step of the job came.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// So many bytes were copied.
    Copied(u64),
    /// So many bytes need no copy.
    Skipped(u64),
    /// Somebody else saved what was left here.
    Nothing,
}

impl<'a> Saving<'a> {
    /// The backup whose filter this is.
    pub(crate) fn of(graph: &'a Arc<Graph>, filter: NodeId) -> Option<Saving<'a>> {
        let place = graph.place(filter);
        let Driver::Filter(Filter::CopyBeforeWrite(state)) = &place.node.driver else {
            return None;
        };
        let source = place.file.expect("a copy-before-write stands on its source");
        let target = place.side.expect("a copy-before-write has a target");
        Some(Saving { graph, state, source, target })
    }

    /// Saves the first unsaved range, up to `bytes_max` of it but one chunk at least; nothing if all is saved.
    pub(crate) async fn save_next(&self, bytes_max: u64) -> Result<Option<Step>, CopyError> {
        let Some((start, end)) = self.state.unsaved_in(0, u64::MAX) else {
            return Ok(None);
        };
        let chunk = self.state.chunk_bytes();
        let end = end.min(start + (bytes_max / chunk).max(1) * chunk);
        let _alone = self.state.copies.acquire(start, end, Mode::Exclusive).await;
        match self.state.unsaved_in(start, end) {
            Some((at, to)) => self.save(at, to).await.map(Some),
            None => Ok(Some(Step::Nothing)),
        }
    }

    /// Marks as copied what source itself does not decide, for a range from `start`. Answers where it ends.
    pub(crate) async fn mark_copied(&self, start: u64, end: u64) -> IoResult<u64> {
        let _alone = self.state.copies.acquire(start, end, Mode::Exclusive).await;
        let run = self.own(start, end).await?;
        let chunk = self.state.chunk_bytes();
        let whole = if start + run.len >= end { end - start } else { run.len / chunk * chunk };
        if run.kind == RunKind::Unallocated && whole > 0 {
            self.state.saved(start, start + whole);
            return Ok(start + whole);
        }
        Ok((start + run.len).next_multiple_of(chunk).min(end))
    }

    /// What source alone says about a range, from its start: of one chunk at least, where that is of one kind. A driver may
    /// answer for less, as where its next table begins.
    async fn own(&self, start: u64, end: u64) -> IoResult<crate::format::Run> {
        let layer = self.graph.unfiltered(self.source);
        let mut run = status::between(self.graph, layer, layer, start, end - start).await?;
        while run.len < self.state.chunk_bytes() && start + run.len < end {
            let at = start + run.len;
            let next = status::between(self.graph, layer, layer, at, end - at).await?;
            if next.kind != run.kind {
                break;
            }
            assert!(next.len > 0, "nothing is said of {at}..{end}");
            run.len += next.len;
        }
        Ok(run)
    }

    /// Saves whole chunks from `at`, as far as they are of one kind. The caller is alone there.
    async fn save(&self, at: u64, to: u64) -> Result<Step, CopyError> {
        let chunk = self.state.chunk_bytes();
        assert!(at < to && at.is_multiple_of(chunk), "{at}..{to} is saved, in chunks of {chunk}");
        let whole = |len: u64| if at + len >= to { to - at } else { len / chunk * chunk };
        if self.state.top_only {
            let run = self.own(at, to).await.map_err(CopyError::Read)?;
            if run.kind == RunKind::Unallocated && whole(run.len) > 0 {
                self.state.saved(at, at + whole(run.len));
                return Ok(Step::Skipped(whole(run.len)));
            }
        }
        let layer = self.graph.unfiltered(self.source);
        let run = status::between(self.graph, layer, self.graph.lowest_layer(layer), at, to - at).await;
        // Who cannot say what is there may still be able to read it.
        let (len, is_data) = run.map_or((to - at, true), |run| (run.len, run.kind == RunKind::Data));
        let len = if is_data || whole(len) == 0 {
            let len = whole(len).clamp(chunk, PIECE_BYTES_MAX.max(chunk)).min(to - at);
            self.copy(at, at + len).await?;
            len
        } else {
            let zeroes = Change::Zeroes(whole(len));
            write::change(self.graph, self.target, at, zeroes).await.map_err(CopyError::Write)?;
            whole(len)
        };
        self.wait_for_readers(at, at + len).await;
        if self.state.discard_source {
            let _kept_then = write::change(self.graph, self.source, at, Change::Discard(len)).await;
        }
        self.state.saved(at, at + len);
        Ok(Step::Copied(len))
    }

    async fn copy(&self, start: u64, end: u64) -> Result<(), CopyError> {
        let mut at = start;
        while at < end {
            let mut bytes = vec![0; (end - at).min(PIECE_BYTES_MAX) as usize];
            let len = bytes.len() as u64;
            read::padded(self.graph, self.source, at, &mut bytes).await.map_err(CopyError::Read)?;
            self.write(at, bytes).await.map_err(CopyError::Write)?;
            at += len;
        }
        Ok(())
    }

    async fn write(&self, at: u64, bytes: Vec<u8>) -> IoResult<()> {
        if !self.state.compress {
            return write::change(self.graph, self.target, at, Change::Data(bytes)).await;
        }
        let layer = self.graph.unfiltered(self.target);
        let node = self.graph.node(layer);
        let Some(image) = node.qcow2() else {
            return Err(Errno::ENOTSUP);
        };
        let _range = node.requests.acquire(at, at + bytes.len() as u64, Mode::Shared).await;
        image.write_compressed(at, &bytes, &BelowNode::of(self.graph, layer)).await
    }

    /// A reader of a target that stands on source may have found target empty here and be on its way down: it must
    /// be through before source changes.
    async fn wait_for_readers(&self, start: u64, end: u64) {
        if self.graph.is_below(self.graph.unfiltered(self.source), self.target) {
            let layer = self.graph.node(self.graph.unfiltered(self.target));
            let _through = layer.requests.acquire(start, end, Mode::Exclusive).await;
        }
    }
}
