//! Growing the image: a larger L1 table if need be, then the header.

use super::Qcow2;
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

    /// The last cluster may hold anything past the end of the image; it is about to become visible.
    async fn zero_past_end(&self, end: u64) -> IoResult<()> {
        let rest =
            (self.geometry.cluster_bytes() - self.geometry.within(end)) % self.geometry.cluster_bytes();
        if rest == 0 {
            return Ok(());
        }
        let extent = self.step(|m| m.locate(end, rest)).await?;
        match extent.place {
            Place::Below | Place::Zero => Ok(()),
            _ => self.write_locked(end, &vec![0; rest as usize], &Nothing).await,
        }
    }
}

impl Metadata {
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
