//! What a mirror's filter does with a guest's write, and how a range of its source is copied into its target.

use super::status;
use super::write::{self, Change};
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::graph::mirror_top::MirrorTop;
use crate::io::read;
use crate::sync::range_lock::Mode;
use crate::sync::side_by_side;
use seam::{Errno, IoResult};
use std::sync::Arc;

/// The most that is read at a time.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// How many pieces are copied side by side.
const COPIES_MAX: usize = 8;

/// Which half of a copy failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum CopyError {
    /// Source could not be read.
    Read(Errno),
    /// Target could not be written.
    Write(Errno),
}

impl CopyError {
    /// The error of either half.
    pub(crate) fn errno(self) -> Errno {
        match self {
            CopyError::Read(errno) | CopyError::Write(errno) => errno,
        }
    }
}

/// Who learns of every piece of a copy when it ends.
pub(crate) trait Watch: Sync {
    /// So many bytes were copied.
    fn copied(&self, bytes: u64);
    /// A piece was not copied.
    fn failed(&self, error: CopyError);
}

/// The answer says all that is wanted.
#[derive(Debug)]
pub(crate) struct NobodyWatches;

impl Watch for NobodyWatches {
    fn copied(&self, _bytes: u64) {}
    fn failed(&self, _error: CopyError) {}
}

/// A guest's change goes to source, and to target at once or later, as the mirror's mode says.
pub(crate) async fn change(graph: &Arc<Graph>, top: &MirrorTop, offset: u64, change: Change) -> IoResult<()> {
    let end = offset + change.len_bytes();
    if !top.copies_at_once() {
        // Marked when the write has ended, well or not, so that a copy made meanwhile is made again.
        let _marked = MarkedAtTheEnd { top, start: offset, end };
        return write::change(graph, top.source, offset, change).await;
    }
    let (start, rounded_end) = whole_chunks(top, offset, end, len_bytes(graph, top.source)?);
    let _alone = top.copies.acquire(start, rounded_end, Mode::Exclusive).await;
    let mirrored = match &change {
        // What a discarded range reads afterwards, only source knows.
        Change::Discard(_) => None,
        _ if top.whole_chunks => None,
        known => Some(known.clone()),
    };
    let written = write::change(graph, top.source, offset, change).await;
    // What source reads after an error, only source knows.
    let copied = match mirrored.filter(|_| written.is_ok()) {
        Some(change) => {
            top.forget(offset, end);
            let copied = match admit_target(graph, top, end) {
                Ok(()) => write::change(graph, top.target, offset, change).await,
                refused => refused,
            };
            copied.map_err(CopyError::Write)
        }
        None => {
            top.forget(start, rounded_end);
            copy_alone(graph, top, start, rounded_end, &NobodyWatches).await
        }
    };
    // The guest has what source made of its write; that target is behind is the job's business.
    match copied {
        Err(CopyError::Write(errno)) => top.fail(start, rounded_end, errno),
        // It is marked, and the job's own copy will meet the error.
        Err(CopyError::Read(_)) | Ok(()) => {}
    }
    written
}

/// Refuses what lies past target's end: a job whose target is too short has guests until it gives up.
fn admit_target(graph: &Graph, top: &MirrorTop, end: u64) -> IoResult<()> {
    if end <= len_bytes(graph, top.target)? { Ok(()) } else { Err(Errno::EIO) }
}

/// Marks a range when it goes out of scope.
struct MarkedAtTheEnd<'a> {
    top: &'a MirrorTop,
    start: u64,
    end: u64,
}

impl Drop for MarkedAtTheEnd<'_> {
    fn drop(&mut self) {
        self.top.mark(self.start, self.end);
    }
}

fn whole_chunks(top: &MirrorTop, start: u64, end: u64, len: u64) -> (u64, u64) {
    let chunk = top.chunk_bytes();
    (start / chunk * chunk, end.next_multiple_of(chunk).min(len.max(end)))
}

/// Copies what source reads in `start..end`, whole chunks, into target. What could not be copied is marked again, and
/// the first error is answered.
pub(crate) async fn copy(
    graph: &Arc<Graph>,
    top: &MirrorTop,
    start: u64,
    end: u64,
    watch: &dyn Watch,
) -> Result<(), CopyError> {
    let _alone = top.copies.acquire(start, end, Mode::Exclusive).await;
    copy_alone(graph, top, start, end, watch).await
}

async fn copy_alone(
    graph: &Arc<Graph>,
    top: &MirrorTop,
    start: u64,
    end: u64,
    watch: &dyn Watch,
) -> Result<(), CopyError> {
    let pieces = pieces(graph, top, start, end).await;
    let mut waiting = pieces.iter();
    let copies = waiting.by_ref().map(|piece| async move {
        let copied = piece.copy(graph, top).await;
        match copied {
            Ok(()) => watch.copied(piece.len),
            Err(error) => {
                top.mark(piece.start, piece.start + piece.len);
                watch.failed(error);
            }
        }
        copied
    });
    let copied = side_by_side(copies, COPIES_MAX).await;
    for piece in waiting {
        top.mark(piece.start, piece.start + piece.len);
    }
    copied
}

/// A range that is copied by one write.
struct Piece {
    start: u64,
    len: u64,
    is_data: bool,
}

/// Cuts a range where its kind changes, in whole chunks; a mixed chunk is data.
async fn pieces(graph: &Arc<Graph>, top: &MirrorTop, start: u64, end: u64) -> Vec<Piece> {
    let chunk = top.chunk_bytes();
    let layer = graph.unfiltered(top.source);
    let bottom = graph.lowest_layer(layer);
    let mut pieces = Vec::new();
    let mut at = start;
    while at < end {
        let run = status::between(graph, layer, bottom, at, end - at).await;
        // Who cannot say what is there may still be able to read it.
        let (len, is_data) = run.map_or((end - at, true), |run| (run.len, run.kind == RunKind::Data));
        let whole = if at + len >= end { end - at } else { len / chunk * chunk };
        let is_data = is_data || whole == 0;
        let most = if is_data { PIECE_BYTES_MAX.max(chunk) } else { end - at };
        let len = whole.max(chunk).min(most).min(end - at);
        pieces.push(Piece { start: at, len, is_data });
        at += len;
    }
    pieces
}

impl Piece {
    async fn copy(&self, graph: &Arc<Graph>, top: &MirrorTop) -> Result<(), CopyError> {
        let change = if self.is_data {
            let mut bytes = vec![0; self.len as usize];
            read::padded(graph, top.source, self.start, &mut bytes).await.map_err(CopyError::Read)?;
            Change::Data(bytes)
        } else {
            Change::Unmap(self.len)
        };
        admit_target(graph, top, self.start + self.len).map_err(CopyError::Write)?;
        write::change(graph, top.target, self.start, change).await.map_err(CopyError::Write)
    }
}
