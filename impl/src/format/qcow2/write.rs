//! Writing guest data: in place where the cluster is this image's alone, else into new clusters.
//!
//! New clusters are written in one piece for a run of guest clusters, then mapped: whole, or as far as the write touches
//! their subclusters. If the write fails they are given back and the mapping stays as it was.

use super::Qcow2;
use super::discard::Why;
use super::entry::Mapping;
use super::geometry::{Geometry, MAX_HOST_OFFSET};
use super::mapping::WritePlan;
use super::subclusters::mask_of;
use crate::format::Below;
use crate::sync::range_lock::Mode;
use seam::debug_event::DebugEvent;
use seam::{Errno, IoResult};
use std::ops::Range;

/// The largest run that is gathered into one write, in bytes.
const MAX_RUN: u64 = 4 << 20;

/// A write that failed, and those of its host clusters that no mapping leads to.
#[derive(Clone, Debug)]
struct Unmapped {
    errno: Errno,
    clusters: Range<u64>,
}

impl Qcow2 {
    /// Writes `data` at guest `offset`. What a new cluster needs around the data comes from `below`.
    pub async fn write(&self, offset: u64, data: &[u8], below: &dyn Below) -> IoResult<()> {
        self.assert_in_range(offset, data.len() as u64);
        self.assert_writable();
        if data.is_empty() {
            return Ok(());
        }
        self.before_change().await?;
        let len = data.len() as u64;
        // Looked up without the lock to choose its mode; looked up again under it.
        if self.is_in_place(offset, len).await? {
            let _in_use = self.lock_clusters(offset, len, Mode::Shared).await;
            if self.is_in_place(offset, len).await? {
                return self.write_locked(offset, data, below).await;
            }
        }
        let _in_use = self.lock_clusters(offset, len, Mode::Exclusive).await;
        self.write_locked(offset, data, below).await
    }

    async fn is_in_place(&self, offset: u64, len: u64) -> IoResult<bool> {
        let mut known = 0;
        while known < len {
            match self.step(|m| m.plan_write(offset + known, len - known)).await? {
                WritePlan::InPlace { len, .. } => known += len,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Writes under the caller's lock: exclusive, or shared if every cluster is written in place.
    pub(super) async fn write_locked(&self, offset: u64, data: &[u8], below: &dyn Below) -> IoResult<()> {
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let rest = &data[done..];
            let limit = (rest.len() as u64).min(MAX_RUN.max(self.geometry.cluster_bytes()));
            let written = match self.step(|m| m.plan_write(at, limit)).await? {
                WritePlan::InPlace { host, len } => self.write_in_place(host, &rest[..len as usize]).await?,
                WritePlan::Kept { host, len } => {
                    self.write_kept(at, &rest[..len as usize], host, below).await?
                }
                WritePlan::Allocate { clusters } => self.write_new(at, rest, clusters, below).await?,
            };
            assert!(written > 0, "a write makes no progress at {at:#x}");
            done += written as usize;
        }
        assert_eq!(done, data.len(), "every byte was written once");
        Ok(())
    }

    async fn write_in_place(&self, host: u64, data: &[u8]) -> IoResult<u64> {
        self.write_data(host, data.to_vec()).await?;
        Ok(data.len() as u64)
    }

    /// Writes guest data where it lies: in this file, or in the data file.
    pub(super) async fn write_data(&self, host: u64, data: Vec<u8>) -> IoResult<()> {
        let end = host + data.len() as u64;
        self.disk.debug_event(DebugEvent::WriteAio);
        let written = self.data.write(host, data).await;
        self.metadata.lock().wrote_data_up_to(end);
        written
    }

    /// Writes whole units of host clusters that hold no data yet.
    async fn write_kept(&self, at: u64, data: &[u8], host: u64, below: &dyn Below) -> IoResult<u64> {
        let units = self.geometry.whole_units(at..at + data.len() as u64);
        let base = host - self.geometry.within(at);
        self.write_units(units, at, data, base, below).await.map_err(|unmapped| unmapped.errno)?;
        Ok(data.len() as u64)
    }

    /// Writes `data` into new clusters, `clusters` at most; answers how many bytes of it that took.
    async fn write_new(&self, at: u64, data: &[u8], clusters: u64, below: &dyn Below) -> IoResult<u64> {
        let geometry = self.geometry;
        let first = geometry.cluster_of(at);
        let place = match geometry.data_file {
            // A data file has every guest cluster at its own offset, as far as an entry can say it.
            true if geometry.offset_of(first + clusters) > MAX_HOST_OFFSET => return Err(Errno::EFBIG),
            true => first..first + clusters,
            false => {
                self.disk.debug_event(DebugEvent::ClusterAlloc);
                self.disk.debug_event(DebugEvent::RefblockAlloc);
                self.step(|m| m.allocate(clusters)).await?
            }
        };
        let end = geometry.offset_of(first + place.end - place.start);
        let taken = (data.len() as u64).min(end - at);
        let units = self.units_to_write(at, taken).await;
        let base = geometry.offset_of(place.start);
        let written = match units {
            Ok(units) => self.write_units(units, at, &data[..taken as usize], base, below).await,
            Err(errno) => Err(Unmapped { errno, clusters: place }),
        };
        match written {
            Ok(()) => Ok(taken),
            Err(Unmapped { errno, clusters }) => {
                if !geometry.data_file {
                    // If even this fails, the clusters leak, which is legal.
                    let _ = self.step(|m| m.give_back(clusters.clone())).await;
                }
                Err(errno)
            }
        }
    }

    /// What a write into new clusters must fill: the units it touches, and where a cluster leaves data behind in its
    /// old place, all of that cluster.
    async fn units_to_write(&self, at: u64, len: u64) -> IoResult<Range<u64>> {
        let geometry = self.geometry;
        let mut units = geometry.whole_units(at..at + len);
        if geometry.extended_l2 {
            let touched = geometry.touched(at, len);
            if self.look(|m| m.mapping(touched.start)).await?.has_data() {
                units.start = geometry.offset_of(touched.start);
            }
            if self.look(|m| m.mapping(touched.end - 1)).await?.has_data() {
                units.end = geometry.offset_of(touched.end);
            }
        }
        Ok(units)
    }

    /// Writes whole units, with `data` at `at`, and maps them. `base` is the host offset of the first guest cluster
    /// touched; the others follow it.
    async fn write_units(
        &self,
        units: Range<u64>,
        at: u64,
        data: &[u8],
        base: u64,
        below: &dyn Below,
    ) -> Result<(), Unmapped> {
        let geometry = self.geometry;
        // What is written whole holds what the guest writes.
        assert!(units.start <= at && at + data.len() as u64 <= units.end, "{units:?} around {at:#x}");
        assert!(geometry.is_aligned(base), "clusters from {base:#x} on");
        let first = geometry.cluster_of(base);
        let count = geometry.touched(units.start, units.end - units.start);
        let clusters = first..first + (count.end - count.start);
        let unmapped = |errno| Unmapped { errno, clusters: clusters.clone() };
        let content = self.fill_units(units.clone(), at, data, below).await.map_err(unmapped)?;
        self.write_data(base + geometry.within(units.start), content).await.map_err(unmapped)?;
        self.map(units, clusters).await
    }

    /// The content of whole units: `data` at `at`, around it what the guest saw so far.
    async fn fill_units(
        &self,
        range: Range<u64>,
        at: u64,
        data: &[u8],
        below: &dyn Below,
    ) -> IoResult<Vec<u8>> {
        let mut content = Vec::with_capacity((range.end - range.start) as usize);
        content.resize((at - range.start) as usize, 0);
        self.read_locked(range.start, &mut content, below).await?;
        content.extend_from_slice(data);
        let tail = content.len();
        content.resize((range.end - range.start) as usize, 0);
        self.read_locked(at + data.len() as u64, &mut content[tail..], below).await?;
        Ok(content)
    }

    /// Maps guest units to host clusters whose content is on the disk.
    async fn map(&self, units: Range<u64>, place: Range<u64>) -> Result<(), Unmapped> {
        let geometry = self.geometry;
        let first = geometry.cluster_of(units.start);
        let count = place.end - place.start;
        // Each guest cluster has one host cluster.
        let guest = geometry.touched(units.start, units.end - units.start);
        assert_eq!(guest.end - guest.start, count, "{guest:?} is mapped to {place:?}");
        let mut done = 0;
        while done < count {
            let mut change = |n: u64, old: Mapping| {
                let host = geometry.offset_of(place.start + done + n);
                let start = geometry.offset_of(first + done + n);
                let end = start + geometry.cluster_bytes();
                let part = units.start.max(start) - start..units.end.min(end) - start;
                mapped(old, host, part, geometry)
            };
            let mapped =
                self.step(|m| m.remap(first + done, count - done, Why::Rewritten, &mut change)).await;
            done += mapped.map_err(|errno| Unmapped { errno, clusters: place.start + done..place.end })?;
        }
        Ok(())
    }

    /// Says on the disk what the first change makes untrue there, and keeps what is dirty bounded: whoever adds to it
    /// helps to write it.
    pub(super) async fn before_change(&self) -> IoResult<()> {
        let (is_stale, is_crowded) = {
            let metadata = self.metadata.lock();
            metadata.admit_change()?;
            let is_stale = metadata.header.stale_autoclear() != 0 || metadata.has_bitmaps_at_rest();
            (is_stale, metadata.is_crowded())
        };
        if is_stale {
            self.clear_autoclear().await?;
            self.mark_bitmaps_in_use().await?;
        }
        if is_crowded { self.flush().await } else { Ok(()) }
    }
}

/// The mapping of a cluster after the bytes `part` of it were written at its place in the cluster `host`.
fn mapped(old: Mapping, host: u64, part: Range<u64>, geometry: Geometry) -> Mapping {
    if part == (0..geometry.cluster_bytes()) {
        return Mapping::Data { host, copied: true };
    }
    old.subclusters().with_data(host, mask_of(part, geometry))
}
