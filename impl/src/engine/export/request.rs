//! A client's request, done on the export's node.

use super::Export;
use crate::engine::Guest;
use crate::engine::guest::Sparse;
use crate::io;
use crate::nbd::reply::{Answer, Dirty, Extent, Piece};
use crate::nbd::request::{Command, Request};
use seam::{Errno, IoResult, Pending};
use std::sync::Arc;

/// How many extents are described at most.
const EXTENTS_MAX: usize = 64 << 10;
/// How many pieces a read comes in at most.
const PIECES_MAX: usize = 256;
/// Flags of `base:allocation`.
const HOLE: u32 = 1;
const ZERO: u32 = 2;

/// Does a request; `headroom` bytes stay free in front of what is read.
pub(super) fn run(
    export: Arc<Export>,
    guest: Arc<Guest>,
    request: Request,
    headroom: usize,
) -> Pending<'static, Answer> {
    Box::pin(async move {
        let answered = answer(&export, &guest, request, headroom).await;
        answered.unwrap_or_else(Answer::Failed)
    })
}

async fn answer(export: &Export, guest: &Guest, request: Request, headroom: usize) -> IoResult<Answer> {
    let offset = request.offset;
    match request.command {
        Command::Read { len, sparse: true } if len > 0 => {
            return sparse_read(guest, offset, len, headroom).await;
        }
        Command::Read { len, .. } => {
            return Ok(Answer::Data(guest.read_behind(offset, len.into(), headroom).await?));
        }
        Command::Write { data, fua } => {
            guest.write(offset, data).await?;
            make_durable(guest, fua).await?;
        }
        Command::WriteZeroes { len, fast_only: true, .. } if !guest.zeroes_fast(offset, len)? => {
            return Err(Errno::ENOTSUP);
        }
        Command::WriteZeroes { len, fua, may_unmap, .. } => {
            match may_unmap {
                true => guest.unmap(offset, len).await?,
                false => guest.write_zeroes(offset, len).await?,
            }
            make_durable(guest, fua).await?;
        }
        Command::Trim { len, fua } => {
            guest.discard(offset, len).await?;
            make_durable(guest, fua).await?;
        }
        Command::Flush => guest.flush().await?,
        // The host's page cache does that by itself when the bytes are read.
        Command::Cache { .. } => {}
        Command::BlockStatus { len, one, chain, bitmaps } => {
            let max = if one { 1 } else { EXTENTS_MAX };
            let extents = if chain { guest.extents(offset, len.into(), max).await? } else { Vec::new() };
            let extents = extents.iter().map(described).collect();
            let dirty = bitmaps.iter().map(|index| dirty(export, index, offset, len, max)).collect();
            return Ok(Answer::Status(extents, dirty));
        }
    }
    Ok(Answer::Done)
}

/// Only data is read; what is known to be zeroes is sent as a hole.
async fn sparse_read(guest: &Guest, offset: u64, len: u32, headroom: usize) -> IoResult<Answer> {
    let read = guest.read_sparse(offset, len.into(), PIECES_MAX, headroom).await?;
    let piece = |sparse| match sparse {
        Sparse::Zeroes(len) => Piece::Hole(length(len)),
        Sparse::Data(bytes) => Piece::Data(bytes),
    };
    Ok(Answer::Pieces(read.into_iter().map(piece).collect()))
}

fn described(extent: &io::extent::Extent) -> Extent {
    let hole = if extent.has_data { 0 } else { HOLE };
    let zero = if extent.is_zero { ZERO } else { 0 };
    Extent { len: length(extent.len), allocation: hole | zero, depth: extent.depth }
}

fn dirty(export: &Export, index: usize, offset: u64, len: u32, max: usize) -> Dirty {
    let runs = export.bitmaps[index].bitmap.dirty_runs(offset, len.into(), max);
    Dirty { bitmap: index, runs: runs.into_iter().map(|(len, is_dirty)| (length(len), is_dirty)).collect() }
}

fn length(len: u64) -> u32 {
    u32::try_from(len).expect("an extent lies inside its request")
}

async fn make_durable(guest: &Guest, fua: bool) -> IoResult<()> {
    if fua { guest.flush().await } else { Ok(()) }
}
