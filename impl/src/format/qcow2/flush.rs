//! Writing metadata to the disk, in the one order that keeps the file readable.
//!
//! ```text
//! data, refcount blocks ─▷ refcount table ─▷ [header] ─▷ L2 tables ─▷ L1 table ─▷ [header] ─▷ done
//!                     ─▷ a flush of the disk, if anything was written since the last
//! ```
//!
//! Whatever is cut off at any point, a pointer on the disk leads to something written and counted; at worst a cluster
//! is counted that nobody uses (a leak). A flush takes one consistent snapshot of all that is dirty. If any part of
//! it fails, all of it is dirty again. References whose pointers were cleared go after the flush that cleared them.

use super::Qcow2;
use super::cache::Piece;
use super::discard::Freed;
use super::geometry::SECTOR;
use super::header::Header;
use super::metadata::Metadata;
use super::trouble::TableKind;
use crate::sync::range_lock::Mode;
use seam::debug_event::DebugEvent;
use seam::{Errno, IoResult};

/// Writes of one phase that run at the same time.
const WRITES_IN_FLIGHT: usize = 64;

/// Counts flushes, so that those who wait for their turn see whether another has done their work.
#[derive(Debug, Default)]
pub(super) struct Turns {
    started: u64,
    succeeded: u64,
}

/// All that was dirty at one moment.
#[derive(Debug)]
struct Snapshot {
    refcount_blocks: Vec<Piece>,
    refcount_table: Option<Piece>,
    /// Written if the refcount table has moved.
    header_for_refcounts: Option<Header>,
    l2_tables: Vec<Piece>,
    l1_table: Option<Piece>,
    /// Written if the L1 table has moved or the image has grown.
    header_for_l1: Option<Header>,
    /// Written if a write of it failed that may have landed all the same.
    header_again: Option<Header>,
    frees: Vec<Freed>,
}

impl Qcow2 {
    /// Makes everything durable that ended before this call.
    pub async fn flush(&self) -> IoResult<()> {
        {
            let metadata = self.metadata.lock();
            if !metadata.writable {
                return Ok(());
            }
            metadata.admit()?;
        }
        let next = self.flushes.lock().started + 1;
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        // A flush that began after this call and went well covers it.
        if self.flushes.lock().succeeded >= next {
            return Ok(());
        }
        self.flush_in_turn().await
    }

    /// Like `flush`, for a caller that holds `flushing`.
    pub(super) async fn flush_in_turn(&self) -> IoResult<()> {
        let number = {
            let mut turns = self.flushes.lock();
            turns.started += 1;
            turns.started
        };
        let mut snapshot = self.metadata.lock().snapshot();
        let written = self.write_in_order(&mut snapshot).await;
        let frees = self.metadata.lock().settle(snapshot, written.is_ok());
        written?;
        {
            let mut turns = self.flushes.lock();
            // Flushes take turns, so they end in the order in which they began.
            assert!(turns.succeeded < number, "flush {number} ends after flush {}", turns.succeeded);
            turns.succeeded = number;
        }
        for freed in &frees {
            // A reference that cannot be taken leaks.
            let _leaks = self.release(freed).await;
        }
        Ok(())
    }

    /// The order. Refcounts before the entries that use the clusters they count, L2 tables before the L1 entries
    /// that lead to them.
    async fn write_in_order(&self, snapshot: &mut Snapshot) -> IoResult<()> {
        self.write_refcounts(snapshot).await?;
        self.write_l2_tables(snapshot).await?;
        self.write_l1_table(snapshot).await?;
        self.flush_disk().await
    }

    async fn write_refcounts(&self, snapshot: &mut Snapshot) -> IoResult<()> {
        if !snapshot.refcount_blocks.is_empty() {
            self.disk.debug_event(DebugEvent::RefblockUpdatePart);
        }
        self.write_pieces(&mut snapshot.refcount_blocks).await?;
        if let Some(table) = &mut snapshot.refcount_table {
            // A table entry leads to a block that is there.
            self.flush_if_written().await?;
            self.disk.debug_event(DebugEvent::ReftableUpdate);
            self.write_pieces(std::slice::from_mut(table)).await?;
        }
        if let Some(header) = &snapshot.header_for_refcounts {
            self.flush_if_written().await?;
            self.write_header(header).await?;
        }
        Ok(())
    }

    async fn write_l2_tables(&self, snapshot: &mut Snapshot) -> IoResult<()> {
        if snapshot.l2_tables.is_empty() {
            return Ok(());
        }
        self.flush_if_written().await?;
        self.disk.debug_event(DebugEvent::L2Update);
        self.write_pieces(&mut snapshot.l2_tables).await
    }

    async fn write_l1_table(&self, snapshot: &mut Snapshot) -> IoResult<()> {
        if let Some(table) = &mut snapshot.l1_table {
            self.flush_if_written().await?;
            self.disk.debug_event(DebugEvent::L1Update);
            self.write_pieces(std::slice::from_mut(table)).await?;
        }
        if let Some(header) = &snapshot.header_for_l1 {
            self.flush_if_written().await?;
            self.write_header(header).await?;
        }
        if let Some(header) = &snapshot.header_again {
            // Either header leads to all that was flushed, and the next flush tries again.
            let _as_far_as_it_can = self.write_header(header).await;
        }
        Ok(())
    }

    /// Writes pieces beside each other; neighbours go in one write.
    async fn write_pieces(&self, pieces: &mut [Piece]) -> IoResult<()> {
        let writes = join_neighbours(pieces);
        let mut outcome = Ok(());
        let mut writes = writes.into_iter().peekable();
        while writes.peek().is_some() && outcome.is_ok() {
            let under_way: Vec<_> = writes
                .by_ref()
                .take(WRITES_IN_FLIGHT)
                .map(|(at, bytes)| (at + bytes.len() as u64, self.disk.write(at, bytes)))
                .collect();
            for (end, write) in under_way {
                let written = write.await;
                self.metadata.lock().wrote_up_to(end);
                outcome = outcome.and(written);
            }
        }
        outcome
    }

    /// Writes cluster 0, in one write; what the disk has is then `header`.
    pub(super) async fn write_header(&self, header: &Header) -> IoResult<()> {
        let mut bytes = header.encode().map_err(|_| Errno::ENOSPC)?;
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        let end = bytes.len() as u64;
        let written = self.disk.write(0, bytes).await;
        let mut metadata = self.metadata.lock();
        metadata.wrote_up_to(end);
        metadata.header_may_be_old = written.is_err();
        written?;
        metadata.header = header.clone();
        Ok(())
    }

    /// Makes what was written durable, if anything was.
    async fn flush_if_written(&self) -> IoResult<()> {
        if self.metadata.lock().unflushed { self.flush_disk().await } else { Ok(()) }
    }

    pub(super) async fn flush_disk(&self) -> IoResult<()> {
        // A write that ends while the flush runs sets this again.
        let wrote = {
            let mut metadata = self.metadata.lock();
            metadata.unflushed = false;
            std::mem::take(&mut metadata.wrote)
        };
        let flushed = self.flush_both().await;
        if flushed.is_err() {
            let mut metadata = self.metadata.lock();
            metadata.unflushed = true;
            metadata.wrote |= wrote;
        }
        flushed
    }

    /// Flushes the file, and the data file before it: no mapping is durable before its data.
    async fn flush_both(&self) -> IoResult<()> {
        if self.geometry.data_file {
            self.data.flush().await?;
        }
        self.disk.flush().await
    }
}

impl Metadata {
    fn snapshot(&mut self) -> Snapshot {
        let header_for_refcounts = self.header_with_refcounts();
        let header_for_l1 = self.header_with_l1(header_for_refcounts.as_ref().unwrap_or(&self.header));
        let is_written = header_for_refcounts.is_some() || header_for_l1.is_some();
        let header_again = (self.header_may_be_old && !is_written).then(|| self.header.clone());
        Snapshot {
            refcount_blocks: self.cache.take_dirty(TableKind::RefcountBlock),
            refcount_table: self.refcount_table.take_dirty(),
            header_for_refcounts,
            l2_tables: self.cache.take_dirty(TableKind::L2),
            l1_table: self.l1.take_dirty(),
            header_for_l1,
            header_again,
            frees: std::mem::take(&mut self.pending_frees),
        }
    }

    fn header_with_refcounts(&self) -> Option<Header> {
        let offset = self.refcount_table.offset();
        if self.header.refcount_table_offset == offset {
            return None;
        }
        let mut header = self.header.clone();
        header.refcount_table_offset = offset;
        header.refcount_table_clusters = self.geometry.clusters_for(self.refcount_table.len_bytes()) as u32;
        Some(header)
    }

    fn header_with_l1(&self, before: &Header) -> Option<Header> {
        let l1_entries = self.l1.entries().len() as u32;
        let wanted = (self.l1.offset(), l1_entries, self.wanted_len_bytes);
        if (before.l1_offset, before.l1_entries, before.len_bytes) == wanted {
            return None;
        }
        let mut header = before.clone();
        (header.l1_offset, header.l1_entries, header.len_bytes) = wanted;
        Some(header)
    }

    /// Ends a flush: what it freed, if it went well; else everything is as dirty as before.
    fn settle(&mut self, snapshot: Snapshot, written: bool) -> Vec<Freed> {
        self.cache.settle(&snapshot.refcount_blocks, written);
        self.cache.settle(&snapshot.l2_tables, written);
        if written {
            return snapshot.frees;
        }
        let tables = [(&mut self.refcount_table, snapshot.refcount_table), (&mut self.l1, snapshot.l1_table)];
        for (table, piece) in tables {
            if let Some(piece) = piece {
                table.mark_dirty(piece.range);
            }
        }
        self.pending_frees.extend(snapshot.frees);
        Vec::new()
    }
}

/// The writes that put `pieces`, which are in order, on the disk.
fn join_neighbours(pieces: &mut [Piece]) -> Vec<(u64, Vec<u8>)> {
    let mut writes: Vec<(u64, Vec<u8>)> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let bytes = std::mem::take(&mut piece.bytes);
        match writes.last_mut() {
            Some((at, before)) if *at + before.len() as u64 == piece.at() => before.extend(bytes),
            _ => writes.push((piece.at(), bytes)),
        }
    }
    writes
}
