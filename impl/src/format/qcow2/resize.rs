//! Growing the image: a larger L1 table if need be, then the header. Shrinking it: the header, then what was cut off.

use super::Qcow2;
use super::discard::Why;
use super::entry::Mapping;
use super::geometry::MAX_L1_BYTES;
use super::mapping::Place;
use super::metadata::Metadata;
use super::trouble::Trouble;
use crate::format::{Below, Nothing};
use crate::sync::range_lock::Mode;
use seam::{Errno, IoResult};
use std::ops::Range;

impl Qcow2 {
    /// Grows the guest's disk to `len_bytes`, a multiple of 512, durably. What is new reads as zeroes, or as what the
    /// layer below has there: a caller with a longer layer below zeroes it.
    pub async fn grow(&self, len_bytes: u64) -> IoResult<()> {
        self.grow_over(len_bytes, self.len_bytes(), &Nothing).await
    }

    /// As `grow`, and what is new reads as zeroes up to `hidden_until`, whatever `below` has there. Nobody ever finds
    /// the new size without those zeroes, not even after a crash.
    pub(crate) async fn grow_over(
        &self,
        len_bytes: u64,
        hidden_until: u64,
        below: &dyn Below,
    ) -> IoResult<()> {
        self.assert_writable();
        let old = self.len_bytes();
        if len_bytes < old || !len_bytes.is_multiple_of(512) {
            return Err(Errno::EINVAL);
        }
        let entries = self.geometry.l1_entries_for(len_bytes);
        if entries * 8 > MAX_L1_BYTES || len_bytes > 1 << 62 {
            return Err(Errno::EFBIG);
        }
        if len_bytes == old && !self.metadata.lock().is_len_uncertain {
            return Ok(());
        }
        self.before_change().await?;
        let _tail = self.clusters.acquire(self.geometry.cluster_of(old), u64::MAX, Mode::Exclusive).await;
        self.zero_past_end(old).await?;
        // A shrink that was cut short may have left clusters past the end; nobody may ever see them again.
        self.unmap(self.geometry.clusters_for(old)..u64::MAX).await?;
        if self.geometry.data_file && self.data.len_bytes()? < len_bytes {
            self.data.resize(len_bytes).await?;
        }
        {
            let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
            // What is there moves, and what is new comes to it.
            let more = 8 * entries.saturating_sub(self.metadata.lock().l1.entries().len() as u64);
            let grown = self.metadata.lock().share.grow(more, || "A larger L1 table".to_owned());
            grown.map_err(|_reported| Errno::ENOMEM)?;
            self.step(|m| m.grow_l1(entries as usize)).await?;
        }
        if hidden_until > old {
            self.zero_new(old, hidden_until.min(len_bytes), below).await?;
        }
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        self.write_len(len_bytes).await
    }

    /// Shrinks the guest's disk to `len_bytes`, a multiple of 512, durably. Until the header says so the image is as
    /// before; from then on what was cut off is gone, and is freed.
    pub async fn shrink(&self, len_bytes: u64) -> IoResult<()> {
        self.assert_writable();
        let old = self.len_bytes();
        if len_bytes > old || !len_bytes.is_multiple_of(512) {
            return Err(Errno::EINVAL);
        }
        self.before_change().await?;
        let first = self.geometry.cluster_of(len_bytes);
        let _tail = self.clusters.acquire(first, u64::MAX, Mode::Exclusive).await;
        {
            let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
            self.write_len(len_bytes).await?;
        }
        self.unmap(self.geometry.clusters_for(len_bytes)..u64::MAX).await?;
        if self.geometry.data_file {
            self.data.resize(len_bytes).await?;
        }
        self.flush().await
    }

    /// Writes the image's size into its header, for a caller that holds `flushing`.
    async fn write_len(&self, len_bytes: u64) -> IoResult<()> {
        let uncertain = {
            let metadata = self.metadata.lock();
            metadata.is_len_uncertain.then(|| metadata.header.clone())
        };
        if let Some(header) = uncertain {
            self.write_header(&header).await?;
        }
        let before = std::mem::replace(&mut self.metadata.lock().wanted_len_bytes, len_bytes);
        let flushed = self.flush_in_turn().await;
        if flushed.is_ok() {
            let mut metadata = self.metadata.lock();
            (metadata.len_bytes, metadata.is_len_uncertain) = (len_bytes, false);
            return flushed;
        }
        // Nobody knows which size the disk has now. The old one goes on, and the header says so again, as far as it can.
        let header = {
            let mut metadata = self.metadata.lock();
            (metadata.wanted_len_bytes, metadata.is_len_uncertain) = (before, true);
            metadata.header.clone()
        };
        let _as_far_as_it_can = self.write_header(&header).await;
        flushed
    }

    /// Gives up guest clusters, as far as the L1 table leads to any.
    async fn unmap(&self, clusters: Range<u64>) -> IoResult<()> {
        let per_table = self.geometry.l2_entries();
        let mut first = clusters.start;
        let mut walk = self.walk();
        loop {
            let table = self.metadata.lock().next_l2_table(first / per_table, clusters.end);
            let Some(table) = table else { return Ok(()) };
            first = first.max(table * per_table);
            let end = ((table + 1) * per_table).min(clusters.end);
            self.next_table(&mut walk).await?;
            if first == table * per_table && end == (table + 1) * per_table {
                self.step(|m| m.drop_l2_table(table)).await?;
                first = end;
            }
            while first < end {
                first += self
                    .step(|m| m.remap(first, end - first, Why::Dropped, &mut |_, _| Mapping::Unallocated))
                    .await?;
            }
            self.flush_if_crowded().await?;
        }
    }

    /// The last cluster may hold anything past the end of the image; it is about to become visible.
    async fn zero_past_end(&self, end: u64) -> IoResult<()> {
        let cluster_end = end.next_multiple_of(self.geometry.cluster_bytes());
        let mut at = end;
        while at < cluster_end {
            let extent = self.look(|m| m.locate(at, cluster_end - at)).await?;
            if !matches!(extent.place, Place::Below | Place::Zero) {
                self.write_locked(at, &vec![0; extent.len as usize], &Nothing).await?;
            }
            at += extent.len;
        }
        Ok(())
    }
}

impl Metadata {
    /// Takes away an L2 table with all that it maps.
    fn drop_l2_table(&mut self, index: u64) -> Result<(), Trouble> {
        let freed = match self.l2_table(index)? {
            Some(table) => {
                let references = self.references_of_table(table.host)?;
                self.l2_at.remove(&table.host);
                references
            }
            // Nothing but flags.
            None => Vec::new(),
        };
        self.l1.set(index as usize, 0);
        freed
            .into_iter()
            .for_each(|range| self.free_later(range.start, range.end - range.start, Why::Dropped));
        Ok(())
    }

    /// The first L2 table from L1 entry `index` on that is there, if it maps clusters before `end`.
    fn next_l2_table(&self, index: u64, end: u64) -> Option<u64> {
        let entries = self.l1.entries();
        let there = (index as usize..entries.len()).find(|index| entries[*index] != 0)? as u64;
        (there * self.geometry.l2_entries() < end).then_some(there)
    }

    /// Gives the L1 table room for `entries`, at a new place; the header follows with the next flush.
    fn grow_l1(&mut self, entries: usize) -> Result<(), Trouble> {
        if entries <= self.l1.entries().len() {
            return Ok(());
        }
        let place = self.allocate_whole(self.geometry.clusters_for(entries as u64 * 8))?;
        let (old, len) = (self.l1.offset(), self.l1.len_bytes());
        self.l1.move_to(self.geometry.offset_of(place.start), entries);
        if len > 0 {
            self.free_later(old, len, Why::Other);
        }
        Ok(())
    }
}
