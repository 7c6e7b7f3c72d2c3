//! Requests on the disk: cut into what the server takes at a time, and widened to its blocks.

use super::{Remote, Shared};
use crate::nbd::client::Outcome;
use crate::nbd::request::{BitmapSet, Command};
use crate::sync::range_lock::Mode;
use seam::{Disk, DiskRun, Errno, IoResult, Pending};
use std::ops::Range;
use std::sync::Arc;

/// Zeroes that a server does not write by itself are sent so many bytes at a time.
const ZEROES_BYTES: u64 = 1 << 20;
/// The flag of `base:allocation` that says that a range reads as zeroes.
const STATUS_ZERO: u32 = 2;
/// A server describes no more at a time: the length of a request has four bytes.
const STATUS_BYTES_MAX: u64 = 1 << 30;

impl Disk for Remote {
    fn len_bytes(&self) -> IoResult<u64> {
        Ok(self.shared.export.len_bytes)
    }

    fn read(&self, offset: u64, buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.read(offset, buffer).await })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            shared.admit(offset, data.len() as u64)?;
            shared.change(offset, data.len() as u64, Change::Data(data)).await
        })
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            shared.admit(offset, len)?;
            shared.change(offset, len, Change::Zeroes { may_unmap: false }).await
        })
    }

    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            shared.admit(offset, len)?;
            shared.change(offset, len, Change::Zeroes { may_unmap: true }).await
        })
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.discard(offset, len).await })
    }

    fn next_run(&self, offset: u64, len: u64) -> Pending<'static, IoResult<DiskRun>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.next_run(offset, len).await })
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            if !shared.export.flushes() {
                return Ok(());
            }
            shared.done(0, Command::Flush).await
        })
    }

    /// The server decides how long it is. What asks for less gets as much as there is, as in QEMU.
    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        let grows = len_bytes > self.shared.export.len_bytes;
        Box::pin(std::future::ready(if grows { Err(Errno::ENOTSUP) } else { Ok(()) }))
    }

    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>> {
        let refused = writable && self.is_read_only();
        Box::pin(std::future::ready(if refused { Err(Errno::EACCES) } else { Ok(()) }))
    }
}

/// What a range becomes.
enum Change {
    Data(Vec<u8>),
    Zeroes { may_unmap: bool },
}

impl Shared {
    /// A request that only can be done or fail.
    async fn done(self: &Arc<Self>, offset: u64, command: Command) -> IoResult<()> {
        match self.ask(offset, command).await? {
            Outcome::Failed(errno) => Err(errno),
            _ => Ok(()),
        }
    }

    /// Nothing past the end is written.
    fn admit(&self, offset: u64, len: u64) -> IoResult<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.export.len_bytes);
        end.map(|_| ()).ok_or(Errno::ENOSPC)
    }

    fn block(&self) -> u64 {
        self.export.block_bytes.into()
    }

    fn down(&self, offset: u64) -> u64 {
        offset / self.block() * self.block()
    }

    /// The end of the block, or of the disk.
    fn up(&self, offset: u64) -> u64 {
        offset.next_multiple_of(self.block()).min(self.export.len_bytes)
    }

    async fn read(self: &Arc<Self>, offset: u64, mut buffer: Vec<u8>) -> IoResult<Vec<u8>> {
        let there = self.export.len_bytes.saturating_sub(offset).min(buffer.len() as u64);
        buffer[there as usize..].fill(0);
        let (start, end) = (self.down(offset), self.up(offset + there));
        for piece in self.pieces(start..end, self.export.request_bytes_max.into()) {
            let bytes = self.read_piece(piece.clone()).await?;
            if piece == (offset..offset + buffer.len() as u64) {
                return Ok(bytes);
            }
            let (from, to) = (piece.start.max(offset), piece.end.min(offset + there));
            let part = &bytes[(from - piece.start) as usize..(to - piece.start) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
        }
        Ok(buffer)
    }

    async fn read_piece(self: &Arc<Self>, piece: Range<u64>) -> IoResult<Vec<u8>> {
        let len = u32::try_from(piece.end - piece.start).expect("a piece is as long as a request");
        match self.ask(piece.start, Command::Read { len, sparse: true }).await? {
            Outcome::Data(bytes) => Ok(bytes),
            Outcome::Failed(errno) => Err(errno),
            Outcome::Done | Outcome::Extents(_) => Err(Errno::EIO),
        }
    }

    /// A range in pieces of whole blocks.
    fn pieces(&self, range: Range<u64>, most: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let most = most.max(self.block());
        let step = usize::try_from(most).expect("a request is shorter than memory");
        let end = range.end;
        range.step_by(step).map(move |start| start..end.min(start + most))
    }

    async fn change(self: &Arc<Self>, offset: u64, len: u64, change: Change) -> IoResult<()> {
        let end = offset + len;
        let (start, stop) = (self.down(offset), self.up(end));
        let is_whole = start == offset && stop == end;
        // What is written in part is read first, and nobody else may change it meanwhile.
        let mode = if is_whole { Mode::Shared } else { Mode::Exclusive };
        let _alone = match self.block() {
            1 => None,
            _ => Some(self.blocks.acquire(start, stop, mode).await),
        };
        match change {
            Change::Data(data) if is_whole => self.write(offset, data).await,
            Change::Zeroes { may_unmap } if is_whole => self.zero(offset, end, may_unmap).await,
            Change::Data(data) => {
                let head = self.read(start, vec![0; (offset - start) as usize]).await?;
                let tail = self.read(end, vec![0; (stop - end) as usize]).await?;
                self.write(start, [head, data, tail].concat()).await
            }
            Change::Zeroes { may_unmap } => self.zero_in_part(start..stop, offset..end, may_unmap).await,
        }
    }

    /// Zeroes that begin or end inside a block: that block is written, those between are zeroed.
    async fn zero_in_part(
        self: &Arc<Self>,
        blocks: Range<u64>,
        range: Range<u64>,
        may_unmap: bool,
    ) -> IoResult<()> {
        let first = self.up(range.start + 1).min(blocks.end);
        let last = self.down(range.end).max(first);
        for part in [blocks.start..first, last..blocks.end] {
            if part.is_empty() {
                continue;
            }
            let mut bytes = self.read(part.start, vec![0; (part.end - part.start) as usize]).await?;
            let (from, to) = (range.start.max(part.start), range.end.min(part.end));
            bytes[(from - part.start) as usize..(to.max(from) - part.start) as usize].fill(0);
            self.write(part.start, bytes).await?;
        }
        self.zero(first, last, may_unmap).await
    }

    async fn write(self: &Arc<Self>, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let most = u64::from(self.export.request_bytes_max);
        if data.len() as u64 <= most {
            return self.done(offset, Command::Write { data, fua: false }).await;
        }
        for piece in self.pieces(offset..offset + data.len() as u64, most) {
            let part = data[(piece.start - offset) as usize..(piece.end - offset) as usize].to_vec();
            self.done(piece.start, Command::Write { data: part, fua: false }).await?;
        }
        Ok(())
    }

    async fn zero(self: &Arc<Self>, start: u64, end: u64, may_unmap: bool) -> IoResult<()> {
        if self.export.writes_zeroes() {
            for piece in self.pieces(start..end, self.export.request_bytes_max.into()) {
                let len = piece.end - piece.start;
                let zeroes = Command::WriteZeroes { len, fua: false, may_unmap, fast_only: false };
                match self.done(piece.start, zeroes).await {
                    Err(Errno::ENOTSUP) => return self.write_out_zeroes(piece.start, end).await,
                    other => other?,
                }
            }
            return Ok(());
        }
        self.write_out_zeroes(start, end).await
    }

    async fn write_out_zeroes(self: &Arc<Self>, start: u64, end: u64) -> IoResult<()> {
        let most = ZEROES_BYTES.min(self.export.request_bytes_max.into());
        for piece in self.pieces(start..end, most) {
            self.write(piece.start, vec![0; (piece.end - piece.start) as usize]).await?;
        }
        Ok(())
    }

    /// Only whole blocks are given back. It is a hint, and a server that takes none is not asked.
    async fn discard(self: &Arc<Self>, offset: u64, len: u64) -> IoResult<()> {
        let end = offset.saturating_add(len).min(self.export.len_bytes);
        let (start, stop) = (offset.next_multiple_of(self.block()), self.down(end));
        if !self.export.trims() || start >= stop {
            return Ok(());
        }
        for piece in self.pieces(start..stop, STATUS_BYTES_MAX) {
            match self.done(piece.start, Command::Trim { len: piece.end - piece.start, fua: false }).await {
                Err(Errno::ENOTSUP) => return Ok(()),
                other => other?,
            }
        }
        Ok(())
    }

    async fn next_run(self: &Arc<Self>, offset: u64, len: u64) -> IoResult<DiskRun> {
        let anything = DiskRun { len, has_data: true };
        let start = self.down(offset);
        let end = self.up(offset.saturating_add(len)).min(start + STATUS_BYTES_MAX);
        // The value of any other context does not say what a range reads as.
        if self.server.wishes.context.is_some() || !self.export.has_context() || end <= offset {
            return Ok(anything);
        }
        let len_asked = u32::try_from(end - start).expect("the range was bounded just now");
        let bitmaps = BitmapSet::default();
        let asked = Command::BlockStatus { len: len_asked, one: true, chain: true, bitmaps };
        match self.ask(start, asked).await? {
            Outcome::Failed(errno) => Err(errno),
            Outcome::Extents(extents) => {
                let (described, value) = extents.first().copied().ok_or(Errno::EIO)?;
                let here = (start + u64::from(described)).saturating_sub(offset).min(len);
                let has_data = value & STATUS_ZERO == 0;
                // An extent that ends inside the first block says nothing about what was asked.
                Ok(if here == 0 { anything } else { DiskRun { len: here, has_data } })
            }
            Outcome::Done | Outcome::Data(_) => Err(Errno::EIO),
        }
    }
}
