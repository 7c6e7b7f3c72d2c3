//! Zeroing and discarding: changes of mappings, without data where the format allows.

use super::Qcow2;
use super::entry::Mapping;
use super::mapping::Place;
use crate::format::Below;
use crate::host::IoResult;
use crate::sync::range_lock::Mode;
use std::ops::Range;

/// Zeroes that are written as data go in pieces of this size.
const ZERO_PIECE: u64 = 1 << 20;

impl Qcow2 {
    /// Makes guest bytes read as zeroes, whatever lies below. Version 3 marks whole clusters and keeps the host
    /// clusters they own; version 2 has no such mark and gets zeroes as data.
    pub async fn write_zeroes(&self, offset: u64, len: u64, below: &dyn Below) -> IoResult<()> {
        self.assert_in_range(offset, len);
        self.assert_writable();
        if len == 0 {
            return Ok(());
        }
        if self.version() < 3 {
            return self.write_zero_data(offset, len, below).await;
        }
        self.before_change().await?;
        let _in_use = self.lock_clusters(offset, len, Mode::Exclusive).await;
        let end = offset + len;
        let whole = self.whole_clusters(offset, len);
        if whole.is_empty() {
            return self.zero_parts(offset, end, below).await;
        }
        let (first, last) = (self.geometry.offset_of(whole.start), self.geometry.offset_of(whole.end));
        self.zero_parts(offset, first, below).await?;
        self.remap_all(whole, &mut zeroed).await?;
        self.zero_parts(last, end, below).await
    }

    /// Zeroes bytes of clusters that are not zeroed whole.
    async fn zero_parts(&self, start: u64, end: u64, below: &dyn Below) -> IoResult<()> {
        let mut at = start;
        while at < end {
            let cluster = self.geometry.cluster_of(at);
            let part_end = end.min(self.geometry.offset_of(cluster + 1));
            let extent = self.step(|m| m.locate(at, part_end - at)).await?;
            match extent.place {
                Place::Zero => {}
                // The rest of the cluster reads as zeroes too.
                Place::Below if !below.exists() => self.remap_all(cluster..cluster + 1, &mut zeroed).await?,
                _ => self.write_locked(at, &vec![0; (part_end - at) as usize], below).await?,
            }
            at = part_end;
        }
        Ok(())
    }

    async fn write_zero_data(&self, offset: u64, len: u64, below: &dyn Below) -> IoResult<()> {
        let zeroes = vec![0; len.min(ZERO_PIECE) as usize];
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(ZERO_PIECE);
            self.write(offset + done, &zeroes[..piece as usize], below).await?;
            done += piece;
        }
        Ok(())
    }

    /// Gives up the content of whole clusters. With a layer below, version 3 leaves zero clusters, so that what lies
    /// below does not reappear, and version 2 does nothing; without one they become unallocated.
    pub async fn discard(&self, offset: u64, len: u64, below_exists: bool) -> IoResult<()> {
        self.assert_in_range(offset, len);
        self.assert_writable();
        let whole = self.whole_clusters(offset, len);
        if whole.is_empty() || (self.version() < 3 && below_exists) {
            return Ok(());
        }
        self.before_change().await?;
        let _in_use = self.lock_clusters(offset, len, Mode::Exclusive).await;
        if below_exists {
            return self.remap_all(whole, &mut |_| Mapping::Zero).await;
        }
        let end = self.geometry.offset_of(whole.end);
        let mut at = self.geometry.offset_of(whole.start);
        while at < end {
            let extent = self.step(|m| m.locate(at, end - at)).await?;
            let clusters = self.geometry.touched(at, extent.len);
            // Nothing there: no reason to make an L2 table.
            if extent.place != Place::Below {
                self.remap_all(clusters.clone(), &mut |_| Mapping::Unallocated).await?;
            }
            at = self.geometry.offset_of(clusters.end);
        }
        Ok(())
    }

    async fn remap_all(
        &self,
        clusters: Range<u64>,
        change: &mut (dyn FnMut(Mapping) -> Mapping + Send),
    ) -> IoResult<()> {
        let mut first = clusters.start;
        while first < clusters.end {
            let mut each = |_: u64, old: Mapping| change(old);
            first += self.step(|m| m.remap(first, clusters.end - first, &mut each)).await?;
        }
        Ok(())
    }

    /// The clusters that lie whole within a range; the last of the image may be cut short by its end.
    fn whole_clusters(&self, offset: u64, len: u64) -> Range<u64> {
        let end = offset + len;
        let first = self.geometry.clusters_for(offset);
        let last = match end == self.len_bytes() {
            true => self.geometry.clusters_for(end),
            false => self.geometry.cluster_of(end),
        };
        first..last.max(first)
    }
}

/// A zero cluster in place of `old`; it keeps a host cluster that is the image's alone.
fn zeroed(old: Mapping) -> Mapping {
    match old {
        Mapping::Data { host, copied: true } | Mapping::ZeroKept { host, copied: true } => {
            Mapping::ZeroKept { host, copied: true }
        }
        _ => Mapping::Zero,
    }
}
