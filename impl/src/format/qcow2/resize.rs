//! Changing the image's size: a larger L1 table if need be, then the header; a smaller size first, then the clusters.

use super::Qcow2;
use super::entry::{HOST_OFFSET, Mapping};
use super::geometry::MAX_L1_BYTES;
use super::mapping::Place;
use super::metadata::Metadata;
use super::trouble::Trouble;
use crate::format::Nothing;
use crate::host::{Errno, IoResult};
use crate::sync::range_lock::Mode;

impl Qcow2 {
    /// Grows the guest's disk to `len_bytes`, a multiple of 512, durably. What is new reads as zeroes, or as what the
    /// layer below has there: a caller with a longer layer below zeroes it.
    pub async fn grow(&self, len_bytes: u64) -> IoResult<()> {
        self.assert_writable();
        let old = self.len_bytes();
        if len_bytes < old || !len_bytes.is_multiple_of(512) {
            return Err(Errno::EINVAL);
        }
        let entries = self.geometry.l1_entries_for(len_bytes);
        if entries * 8 > MAX_L1_BYTES || len_bytes > 1 << 62 {
            return Err(Errno::EFBIG);
        }
        if len_bytes == old {
            return Ok(());
        }
        self.before_change().await?;
        let _tail = self.clusters.acquire(self.geometry.cluster_of(old), u64::MAX, Mode::Exclusive).await;
        self.zero_past_end(old).await?;
        let mapped = self.geometry.l2_span().saturating_mul(self.metadata.lock().l1.entries().len() as u64);
        self.forget(old, len_bytes.min(mapped)).await?;
        if self.geometry.data_file && self.data.len_bytes()? < len_bytes {
            self.data.resize(len_bytes).await?;
        }
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        self.step(|m| m.grow_l1(entries as usize)).await?;
        let before = std::mem::replace(&mut self.metadata.lock().wanted_len_bytes, len_bytes);
        let flushed = self.flush_in_turn().await;
        let mut metadata = self.metadata.lock();
        match flushed {
            Ok(()) => metadata.len_bytes = len_bytes,
            Err(_) => metadata.wanted_len_bytes = before,
        }
        flushed
    }

    /// Makes the guest's disk smaller, to a multiple of 512, durably. What lay behind its end is given back.
    pub async fn shrink(&self, len_bytes: u64) -> IoResult<()> {
        self.assert_writable();
        let old = self.len_bytes();
        if len_bytes > old || !len_bytes.is_multiple_of(512) {
            return Err(Errno::EINVAL);
        }
        if len_bytes == old {
            return Ok(());
        }
        self.before_change().await?;
        let _tail =
            self.clusters.acquire(self.geometry.cluster_of(len_bytes), u64::MAX, Mode::Exclusive).await;
        {
            let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
            let before = std::mem::replace(&mut self.metadata.lock().wanted_len_bytes, len_bytes);
            let flushed = self.flush_in_turn().await;
            let mut metadata = self.metadata.lock();
            match flushed {
                Ok(()) => metadata.len_bytes = len_bytes,
                Err(_) => metadata.wanted_len_bytes = before,
            }
            flushed?;
        }
        // Stopped here, it leaves mappings that nobody sees; whoever grows the image takes them away first.
        self.forget(len_bytes, old).await?;
        self.flush().await
    }

    /// Takes away what is mapped behind the end of the image, from `start` to `end`.
    async fn forget(&self, start: u64, end: u64) -> IoResult<()> {
        let geometry = self.geometry;
        let mut at = geometry.offset_of(geometry.clusters_for(start));
        while at < end {
            let extent = self.step(|m| m.locate(at, end - at)).await?;
            let clusters = geometry.touched(at, extent.len);
            if extent.place != Place::Below || extent.len < geometry.cluster_bytes().min(end - at) {
                let mut first = clusters.start;
                while first < clusters.end {
                    let mut change = |_: u64, _: Mapping| Mapping::Unallocated;
                    first += self.step(|m| m.remap(first, clusters.end - first, &mut change)).await?;
                }
            }
            at = geometry.offset_of(clusters.end);
        }
        let tables = geometry.l1_entries_for(start)..geometry.l1_entries_for(end);
        let mut metadata = self.metadata.lock();
        tables.for_each(|index| metadata.drop_l2_table(index as usize));
        Ok(())
    }

    /// The last cluster may hold anything past the end of the image; it is about to become visible.
    async fn zero_past_end(&self, end: u64) -> IoResult<()> {
        let cluster_end = end.next_multiple_of(self.geometry.cluster_bytes());
        let mut at = end;
        while at < cluster_end {
            let extent = self.step(|m| m.locate(at, cluster_end - at)).await?;
            if !matches!(extent.place, Place::Below | Place::Zero) {
                self.write_locked(at, &vec![0; extent.len as usize], &Nothing).await?;
            }
            at += extent.len;
        }
        Ok(())
    }
}

impl Metadata {
    /// Takes away an L2 table that maps nothing any more.
    fn drop_l2_table(&mut self, index: usize) {
        let Some(&entry) = self.l1.entries().get(index) else { return };
        let host = entry & HOST_OFFSET;
        if host != 0 {
            self.l1.set(index, 0);
            self.l2_at.remove(&host);
            self.free_later(host, self.geometry.cluster_bytes());
        }
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
            self.free_later(old, len);
        }
        Ok(())
    }
}
