//! Writing compressed clusters: each behind the last, several to a host cluster, counted once for each.
//!
//! A new one begins where the last one ended if the host cluster has room for another reference and either room for
//! the data, or a free cluster behind it. Nothing is ever compressed in place of something else.

use super::Qcow2;
use super::compressed::compress;
use super::counter;
use super::discard::Why;
use super::entry::{Mapping, compressed_offset_limit};
use super::geometry::SECTOR;
use super::metadata::Metadata;
use super::trouble::Trouble;
use crate::format::Below;
use crate::sync::range_lock::Mode;
use seam::{Errno, IoResult};
use std::ops::Range;

impl Qcow2 {
    /// Writes whole guest clusters compressed; one that does not become shorter is written plain. The last of the image
    /// may be cut short by its end. EINVAL for other ranges, ENOTSUP with a data file, EIO over a cluster that holds a
    /// place in the file already.
    pub async fn write_compressed(&self, offset: u64, data: &[u8], below: &dyn Below) -> IoResult<()> {
        self.assert_in_range(offset, data.len() as u64);
        self.assert_writable();
        let geometry = self.geometry;
        if geometry.data_file {
            return Err(Errno::ENOTSUP);
        }
        let end = offset + data.len() as u64;
        if !geometry.is_aligned(offset) || (!geometry.is_aligned(end) && end != self.len_bytes()) {
            return Err(Errno::EINVAL);
        }
        let mut at = offset;
        for part in data.chunks(geometry.cluster_bytes() as usize) {
            self.write_compressed_cluster(at, part, below).await?;
            at += part.len() as u64;
        }
        Ok(())
    }

    async fn write_compressed_cluster(&self, at: u64, data: &[u8], below: &dyn Below) -> IoResult<()> {
        let mut whole;
        let cluster = match data.len() as u64 == self.geometry.cluster_bytes() {
            true => data,
            false => {
                whole = data.to_vec();
                whole.resize(self.geometry.cluster_bytes() as usize, 0);
                &whole
            }
        };
        let Some(packed) = compress(cluster, self.geometry) else {
            return self.write(at, data, below).await;
        };
        self.before_change().await?;
        let _in_use = self.lock_clusters(at, data.len() as u64, Mode::Exclusive).await;
        let guest = self.geometry.cluster_of(at);
        if !matches!(self.step(|m| m.mapping(guest)).await?, Mapping::Unallocated | Mapping::Zero) {
            return Err(Errno::EIO);
        }
        let new = self.put_packed(packed).await?;
        let mapped = self.step(|m| m.remap(guest, 1, Why::Rewritten, &mut |_, _| new)).await;
        if let Err(errno) = mapped {
            self.drop_packed(new).await;
            return Err(errno);
        }
        Ok(())
    }

    /// Writes packed data behind the last; answers the mapping for it. What it shares a sector with is written again.
    async fn put_packed(&self, packed: Vec<u8>) -> IoResult<Mapping> {
        let _turn = self.packing.acquire(0, 1, Mode::Exclusive).await;
        let len = packed.len() as u64;
        let host = self.step(|m| m.allocate_packed(len)).await?;
        let mapping = Mapping::compressed(host, len);
        let written = self.write_packed(host, packed).await;
        if let Err(errno) = written {
            self.drop_packed(mapping).await;
            return Err(errno);
        }
        Ok(mapping)
    }

    async fn write_packed(&self, host: u64, packed: Vec<u8>) -> IoResult<()> {
        let shared = host % SECTOR;
        let mut bytes = match shared {
            0 => packed,
            _ => {
                let mut sector = self.disk.read(host - shared, vec![0; SECTOR as usize]).await?;
                sector.truncate(shared as usize);
                sector.extend_from_slice(&packed);
                sector
            }
        };
        bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
        self.write_data(host - shared, bytes).await
    }

    /// Takes back the references of packed data that no mapping leads to. What cannot be taken back leaks.
    async fn drop_packed(&self, mapping: Mapping) {
        let Some((host, len)) = mapping.holds(self.geometry) else { return };
        for cluster in self.geometry.touched(host, len) {
            let _ = self.step(|m| m.release(cluster)).await;
        }
    }
}

impl Metadata {
    /// Finds room for `len` bytes, less than a cluster, and counts the clusters it lies in.
    fn allocate_packed(&mut self, len: u64) -> Result<u64, Trouble> {
        let geometry = self.geometry;
        assert!((1..geometry.cluster_bytes()).contains(&len), "{len} packed bytes");
        let Some((at, count)) = self.shareable_end()? else {
            return self.begin_packing(len);
        };
        let tail = geometry.cluster_of(at);
        let room = geometry.offset_of(tail + 1) - at;
        if len <= room {
            self.set_counters(tail..tail + 1, count + 1)?;
            self.set_packed_end(at + len);
            return Ok(at);
        }
        let next = self.find_free(1, 1)?;
        if next.start != tail + 1 || geometry.offset_of(next.end) > compressed_offset_limit(geometry) {
            return self.begin_packing(len);
        }
        // The tables of both are in memory now or one step fails before it changes anything.
        self.set_counters(tail..tail + 1, count + 1)?;
        if let Err(trouble) = self.take_next(next) {
            self.set_counters(tail..tail + 1, count)?;
            return Err(trouble);
        }
        self.set_packed_end(at + len);
        Ok(at)
    }

    /// Where the last packed data ended, and how often its cluster is counted, if another reference fits.
    fn shareable_end(&mut self) -> Result<Option<(u64, u64)>, Trouble> {
        let Some(at) = self.packed_end else { return Ok(None) };
        let count = self.refcount(self.geometry.cluster_of(at))?;
        let is_shareable = count > 0 && count < counter::max(self.geometry.refcount_order);
        Ok(is_shareable.then_some((at, count)))
    }

    /// Puts packed data at the start of a free cluster.
    fn begin_packing(&mut self, len: u64) -> Result<u64, Trouble> {
        let next = self.find_free(1, 1)?;
        let at = self.geometry.offset_of(next.start);
        if self.geometry.offset_of(next.end) > compressed_offset_limit(self.geometry) {
            return Err(Trouble::Failed(Errno::EFBIG));
        }
        self.take_next(next)?;
        self.set_packed_end(at + len);
        Ok(at)
    }

    fn take_next(&mut self, next: Range<u64>) -> Result<(), Trouble> {
        self.take(next.clone())?;
        self.search.none_before(next.end, 1);
        Ok(())
    }

    fn set_packed_end(&mut self, end: u64) {
        self.packed_end = (!self.geometry.is_aligned(end)).then_some(end);
    }
}
