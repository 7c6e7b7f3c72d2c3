//! Zeroing and discarding: changes of mappings, without data where the format allows.

use super::Qcow2;
use super::discard::Why;
use super::entry::Mapping;
use super::mapping::Place;
use super::subclusters::mask_of;
use crate::format::Below;
use crate::sync::range_lock::Mode;
use seam::IoResult;
use std::ops::Range;

/// Zeroes that are written as data go in pieces of this size.
const ZERO_PIECE: u64 = 1 << 20;

/// What becomes of the host clusters of guest clusters that are zeroed whole.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Zeroing {
    /// They stay with their guest clusters, for later.
    KeepClusters,
    /// They are given back.
    FreeClusters,
}

impl Qcow2 {
    /// Makes guest bytes read as zeroes, whatever lies below, and keeps the host clusters they own.
    pub async fn write_zeroes(&self, offset: u64, len: u64, below: &dyn Below) -> IoResult<()> {
        self.zero(offset, len, Zeroing::KeepClusters, below).await
    }

    /// Makes guest bytes read as zeroes, whatever lies below. Version 3 marks whole clusters and subclusters; version 2
    /// has no such mark: with nothing below it gives clusters up, else it gets zeroes as data.
    pub async fn zero(&self, offset: u64, len: u64, zeroing: Zeroing, below: &dyn Below) -> IoResult<()> {
        self.assert_in_range(offset, len);
        self.assert_writable();
        if len == 0 {
            return Ok(());
        }
        if self.version() < 3 && below.exists() {
            return self.write_zero_data(offset, len, below).await;
        }
        self.before_change().await?;
        let _in_use = self.lock_clusters(offset, len, Mode::Exclusive).await;
        self.zero_raw_data_file(offset, len, zeroing).await?;
        let end = offset + len;
        let whole = self.whole_clusters(offset, len);
        if whole.is_empty() {
            return self.zero_parts(offset, end, below).await;
        }
        let (first, last) = (self.geometry.offset_of(whole.start), self.geometry.offset_of(whole.end));
        self.zero_parts(offset, first, below).await?;
        if self.version() < 3 {
            self.give_up(whole).await?;
        } else {
            match zeroing {
                Zeroing::KeepClusters => self.remap_all(whole, &mut zeroed).await?,
                Zeroing::FreeClusters => self.release_clusters(whole, &mut |_| Mapping::Zero).await?,
            }
        }
        self.zero_parts(last, end, below).await
    }

    /// Zeroes bytes of clusters that are not zeroed whole.
    async fn zero_parts(&self, start: u64, end: u64, below: &dyn Below) -> IoResult<()> {
        let unit = self.geometry.unit_bytes();
        let mut at = start;
        while at < end {
            let cluster_end = self.geometry.offset_of(self.geometry.cluster_of(at) + 1);
            let part_end = match at % unit {
                0 if end - at >= unit => end.min(cluster_end) / unit * unit,
                _ => end.min(at / unit * unit + unit),
            };
            self.zero_part(at, part_end, below).await?;
            at = part_end;
        }
        Ok(())
    }

    /// Zeroes whole units of a cluster, or a part of one.
    async fn zero_part(&self, start: u64, end: u64, below: &dyn Below) -> IoResult<()> {
        let cluster = self.geometry.cluster_of(start);
        let units = self.geometry.whole_units(start..end);
        let is_whole = units == (start..end);
        let extent = self.look(|m| m.locate(start, end - start)).await?;
        let reads_zero = match extent.place {
            Place::Zero if !is_whole => return Ok(()),
            // Version 2 has no zero clusters, and came here because there is nothing below.
            Place::Below if self.version() < 3 => return Ok(()),
            // The rest of the unit reads as zeroes too.
            Place::Below => is_whole || !below.exists(),
            Place::Zero | Place::Host { .. } => is_whole,
            Place::Compressed { .. } => false,
        };
        if !reads_zero {
            return self.write_locked(start, &vec![0; (end - start) as usize], below).await;
        }
        let first = self.geometry.offset_of(cluster);
        let part = units.start - first..units.end - first;
        let geometry = self.geometry;
        let mut change = |old: Mapping| match part == (0..geometry.cluster_bytes()) {
            true => zeroed(old),
            false => tidy(old.subclusters().with_zeroes(mask_of(part.clone(), geometry))),
        };
        self.remap_all(cluster..cluster + 1, &mut change).await
    }

    /// Makes bytes past the end of the image read as zeroes, whatever lies below, once they are part of it. The caller
    /// is alone there.
    pub(super) async fn zero_new(&self, start: u64, end: u64, below: &dyn Below) -> IoResult<()> {
        if self.version() < 3 {
            let zeroes = vec![0; (end - start).min(ZERO_PIECE) as usize];
            let mut at = start;
            while at < end {
                let piece = (end - at).min(ZERO_PIECE);
                self.write_locked(at, &zeroes[..piece as usize], below).await?;
                at += piece;
            }
            return Ok(());
        }
        // What the last cluster has past `end` is nobody's yet.
        let clusters = self.geometry.clusters_for(start)..self.geometry.clusters_for(end);
        let first = self.geometry.offset_of(clusters.start);
        self.zero_parts(start, first, below).await?;
        self.remap_all(clusters, &mut |_| Mapping::Zero).await
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

    /// Gives up the content of whole clusters. Version 3 leaves zero clusters, so that nothing below reappears; version 2
    /// leaves unallocated ones, and with a layer below does nothing. Where nothing is, nothing changes unless it must.
    pub async fn discard(&self, offset: u64, len: u64, below_exists: bool) -> IoResult<()> {
        self.assert_in_range(offset, len);
        self.assert_writable();
        let whole = self.whole_clusters(offset, len);
        if whole.is_empty() || (self.version() < 3 && below_exists) {
            return Ok(());
        }
        self.before_change().await?;
        let _in_use = self.lock_clusters(offset, len, Mode::Exclusive).await;
        let (start, end) = (self.geometry.offset_of(whole.start), self.geometry.offset_of(whole.end));
        // A discard may leave anything there; zeroes are what the guest is promised.
        self.zero_raw_data_file(start, end.min(self.len_bytes()) - start, Zeroing::FreeClusters).await?;
        if below_exists {
            return self.release_clusters(whole, &mut |_| Mapping::Zero).await;
        }
        self.give_up(whole).await
    }

    /// Gives up the content of whole clusters with nothing below them.
    async fn give_up(&self, whole: Range<u64>) -> IoResult<()> {
        let gone = if self.version() < 3 { Mapping::Unallocated } else { Mapping::Zero };
        let mut change = |old: Mapping| if takes_place(old) { gone } else { old };
        let end = self.geometry.offset_of(whole.end).min(self.len_bytes());
        let mut at = self.geometry.offset_of(whole.start);
        while at < end {
            let extent = self.look(|m| m.locate(at, end - at)).await?;
            let clusters = self.geometry.touched(at, extent.len);
            // Nothing there: no reason to make an L2 table.
            if extent.place != Place::Below || extent.len < self.geometry.cluster_bytes() {
                self.release_clusters(clusters.clone(), &mut change).await?;
            }
            at = self.geometry.offset_of(clusters.end);
        }
        Ok(())
    }

    /// A raw data file reads as the guest does without any table.
    async fn zero_raw_data_file(&self, offset: u64, len: u64, zeroing: Zeroing) -> IoResult<()> {
        if !self.has_raw_data_file() {
            return Ok(());
        }
        let passes = self.metadata.lock().discards.request;
        match zeroing {
            Zeroing::FreeClusters if passes => self.data.unmap(offset, len).await,
            _ => self.data.write_zeroes(offset, len).await,
        }
    }

    /// Changes the mappings of clusters that nobody needs. Where a host cluster keeps its place all the same, because the
    /// operator wants that or because it lies in a data file, the host still gets its space back. The caller is alone
    /// on the clusters, so nobody writes there meanwhile.
    async fn release_clusters(
        &self,
        clusters: Range<u64>,
        change: &mut (dyn FnMut(Mapping) -> Mapping + Send),
    ) -> IoResult<()> {
        let discards = self.metadata.lock().discards;
        let in_place = discards.no_unref || self.geometry.data_file;
        let mut emptied: Vec<Range<u64>> = Vec::new();
        let mut each = |old: Mapping| {
            let Some((host, true)) = old.host().filter(|_| in_place) else { return change(old) };
            let new = if discards.no_unref { zeroed(old) } else { change(old) };
            if new != old {
                let end = host + self.geometry.cluster_bytes();
                match emptied.last_mut() {
                    Some(run) if run.end == host => run.end = end,
                    _ => emptied.push(host..end),
                }
            }
            new
        };
        self.remap_all(clusters, &mut each).await?;
        // A raw data file has its zeroes already.
        if discards.request && !self.has_raw_data_file() {
            for run in emptied {
                let _granted_or_not = self.data.discard(run.start, run.end - run.start).await;
            }
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
            first += self.step(|m| m.remap(first, clusters.end - first, Why::Request, &mut each)).await?;
            self.flush_if_crowded().await?;
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
    match old.host() {
        Some((host, true)) => Mapping::ZeroKept { host, copied: true },
        _ => Mapping::Zero,
    }
}

/// Without a host cluster that is no longer in use and was never the image's alone.
fn tidy(mapping: Mapping) -> Mapping {
    match mapping {
        Mapping::ZeroKept { copied: false, .. } => Mapping::Zero,
        other => other,
    }
}

/// Whether a mapping holds a place in the file.
fn takes_place(mapping: Mapping) -> bool {
    mapping.host().is_some() || matches!(mapping, Mapping::Compressed { .. })
}
