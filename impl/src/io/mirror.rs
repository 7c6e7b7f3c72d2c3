//! What a mirror's filter does with a guest's write, and how a range of its source is copied into its target.

use super::status;
use super::write::{self, Change};
use crate::command::CopyMode;
use crate::format::RunKind;
use crate::graph::Graph;
use crate::graph::mirror_top::MirrorTop;
use crate::host::{Errno, IoResult};
use crate::io::{len_bytes, read};
use crate::sync::range_lock::Mode;
use std::sync::Arc;

/// The most that is read at a time.
const PIECE_BYTES_MAX: u64 = 1 << 20;

/// Which half of a copy failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CopyError {
    /// Source could not be read.
    Read(Errno),
    /// Target could not be written.
    Write(Errno),
}

impl CopyError {
    /// The error of either half.
    pub fn errno(self) -> Errno {
        match self {
            CopyError::Read(errno) | CopyError::Write(errno) => errno,
        }
    }
}

/// A guest's change goes to source, and to target at once or later, as the mirror's mode says.
pub async fn change(graph: &Arc<Graph>, top: &MirrorTop, offset: u64, change: Change) -> IoResult<()> {
    let end = offset + change.len_bytes();
    if top.copy_mode() == CopyMode::Background {
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
    if written.is_err() {
        // Nobody knows what source reads now.
        top.mark(offset, end);
        return written;
    }
    let copied = match mirrored {
        Some(change) => {
            top.forget(offset, end);
            write::change(graph, top.target, offset, change).await
        }
        None => {
            top.forget(start, rounded_end);
            copy_alone(graph, top, start, rounded_end, &mut |_| {}).await.map_err(CopyError::errno)
        }
    };
    // The guest has its write in source; that target is behind is the job's business.
    if let Err(errno) = copied {
        top.fail(start, rounded_end, errno);
    }
    Ok(())
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

/// Copies what source reads in `start..end`, whole chunks, into target; `done` hears how many bytes each piece had.
/// What could not be copied is marked again.
pub async fn copy(
    graph: &Arc<Graph>,
    top: &MirrorTop,
    start: u64,
    end: u64,
    done: &mut (dyn FnMut(u64) + Send),
) -> Result<(), CopyError> {
    let _alone = top.copies.acquire(start, end, Mode::Exclusive).await;
    copy_alone(graph, top, start, end, done).await
}

async fn copy_alone(
    graph: &Arc<Graph>,
    top: &MirrorTop,
    start: u64,
    end: u64,
    done: &mut (dyn FnMut(u64) + Send),
) -> Result<(), CopyError> {
    let mut at = start;
    while at < end {
        match copy_piece(graph, top, at, end).await {
            Ok(copied) => {
                at += copied;
                done(copied);
            }
            Err(error) => {
                top.mark(at, end);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Copies the bytes from `at` as far as they are of one kind, in whole chunks; a mixed chunk is data.
async fn copy_piece(graph: &Arc<Graph>, top: &MirrorTop, at: u64, end: u64) -> Result<u64, CopyError> {
    let chunk = top.chunk_bytes();
    let bottom = graph.lowest_layer(top.source);
    let run = status::between(graph, graph.unfiltered(top.source), bottom, at, end - at).await;
    // Who cannot say what is there may still be able to read it.
    let (len, is_data) = run.map_or((end - at, true), |run| (run.len, run.kind == RunKind::Data));
    let whole = if at + len >= end { end - at } else { len / chunk * chunk };
    if is_data || whole == 0 {
        let len = whole.clamp(chunk, PIECE_BYTES_MAX.max(chunk)).min(end - at);
        let mut bytes = vec![0; len as usize];
        read::read(graph, top.source, at, &mut bytes).await.map_err(CopyError::Read)?;
        write::change(graph, top.target, at, Change::Data(bytes)).await.map_err(CopyError::Write)?;
        return Ok(len);
    }
    write::change(graph, top.target, at, Change::Zeroes(whole)).await.map_err(CopyError::Write)?;
    Ok(whole)
}
