//! Writing guest data: in place where the cluster is this image's alone, else into new clusters.
//!
//! New clusters are written whole and in one piece for a run of guest clusters, then mapped. If the write fails they
//! are given back and the mapping stays as it was.

use super::Qcow2;
use super::entry::Mapping;
use super::mapping::WritePlan;
use crate::format::Below;
use crate::host::{Errno, IoResult};
use crate::sync::range_lock::Mode;
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
                WritePlan::Kept { host, clusters } => {
                    let first = self.geometry.cluster_of(host);
                    let written = self.write_clusters(at, rest, first..first + clusters, below).await;
                    written.map_err(|unmapped| unmapped.errno)?
                }
                WritePlan::Allocate { clusters } => self.write_new(at, rest, clusters, below).await?,
            };
            done += written as usize;
        }
        assert_eq!(done, data.len(), "every byte was written once");
        Ok(())
    }

    async fn write_in_place(&self, host: u64, data: &[u8]) -> IoResult<u64> {
        let len = data.len() as u64;
        let written = self.disk.write(host, data.to_vec()).await;
        self.metadata.lock().wrote_up_to(host + len);
        written.map(|()| len)
    }

    async fn write_new(&self, at: u64, data: &[u8], clusters: u64, below: &dyn Below) -> IoResult<u64> {
        let place = self.step(|m| m.allocate(clusters)).await?;
        match self.write_clusters(at, data, place, below).await {
            Ok(taken) => Ok(taken),
            Err(Unmapped { errno, clusters }) => {
                // If even this fails, the clusters leak, which is legal.
                let _ = self.step(|m| m.give_back(clusters.clone())).await;
                Err(errno)
            }
        }
    }

    /// Writes the host clusters `place` whole and maps them from the cluster of `at` on; answers how many bytes of
    /// `data` that took.
    async fn write_clusters(
        &self,
        at: u64,
        data: &[u8],
        place: Range<u64>,
        below: &dyn Below,
    ) -> Result<u64, Unmapped> {
        let start = at - self.geometry.within(at);
        let end = start + self.geometry.offset_of(place.end - place.start);
        let taken = (data.len() as u64).min(end - at);
        let unmapped = |errno| Unmapped { errno, clusters: place.clone() };
        let content = self.fill_clusters(start..end, at, &data[..taken as usize], below).await;
        let host = self.geometry.offset_of(place.start);
        let written = self.disk.write(host, content.map_err(unmapped)?).await;
        self.metadata.lock().wrote_up_to(host + (end - start));
        written.map_err(unmapped)?;
        self.map(self.geometry.cluster_of(start), place).await?;
        Ok(taken)
    }

    /// The content of whole guest clusters: `data` at `at`, around it what the guest saw so far.
    async fn fill_clusters(
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

    /// Maps guest clusters from `first` on to host clusters whose content is on the disk.
    async fn map(&self, first: u64, place: Range<u64>) -> Result<(), Unmapped> {
        let geometry = self.geometry;
        let count = place.end - place.start;
        let mut done = 0;
        while done < count {
            let mut change = |n: u64, _old: Mapping| Mapping::Data {
                host: geometry.offset_of(place.start + done + n),
                copied: true,
            };
            let mapped = self.step(|m| m.remap(first + done, count - done, &mut change)).await;
            done += mapped.map_err(|errno| Unmapped { errno, clusters: place.start + done..place.end })?;
        }
        Ok(())
    }

    /// Keeps what is dirty bounded: whoever adds to it helps to write it.
    pub(super) async fn before_change(&self) -> IoResult<()> {
        self.clear_autoclear().await?;
        if self.metadata.lock().is_crowded() {
            self.flush().await?;
        }
        Ok(())
    }
}
