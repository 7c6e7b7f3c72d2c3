//! From guest offsets to host offsets: reading the L1 and L2 tables, and changing them.

use super::entry::{COPIED, Mapping, decode_l2};
use super::header::be64;
use super::metadata::Metadata;
use super::trouble::{TableKind, Trouble};
use crate::host::Errno;

const L2: TableKind = TableKind::L2;

/// Where the content of a run of guest bytes is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the layer below.
    Below,
    /// Nowhere: zeroes.
    Zero,
    /// In the file from `host` on.
    Host { host: u64 },
    /// Compressed somewhere in `host..host + len`; the run lies within one guest cluster.
    Compressed { host: u64, len: u64 },
}

/// A run of guest bytes in one place.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub len: u64,
    pub place: Place,
}

/// How a run of guest bytes is to be written.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum WritePlan {
    /// Over `len` bytes from `host` on, which are this image's alone.
    InPlace { host: u64, len: u64 },
    /// Into host clusters that zero clusters kept; written whole, then mapped.
    Kept { host: u64, clusters: u64 },
    /// Into new host clusters.
    Allocate { clusters: u64 },
}

impl Metadata {
    /// Finds the extent that begins at guest `offset`, at most `limit` bytes of it.
    pub fn locate(&mut self, offset: u64, limit: u64) -> Result<Extent, Trouble> {
        let geometry = self.geometry;
        let first = geometry.cluster_of(offset);
        let clusters = geometry.touched(offset, limit).end - first;
        let (place, run) = self.locate_clusters(first, clusters)?;
        let skipped = geometry.within(offset);
        let len = (geometry.offset_of(run) - skipped).min(limit);
        assert!(len > 0, "an extent of nothing at {offset:#x}");
        let place = match place {
            Place::Host { host } => Place::Host { host: host + skipped },
            other => other,
        };
        Ok(Extent { len, place })
    }

    /// Like `locate`, in clusters: the place of cluster `first` and for how many of `count` it goes on.
    fn locate_clusters(&mut self, first: u64, count: u64) -> Result<(Place, u64), Trouble> {
        let geometry = self.geometry;
        let per_table = geometry.l2_entries();
        let (index, slot) = (first / per_table, first % per_table);
        let Some(table) = self.l2_table(index)? else {
            // Without an L2 table nothing is allocated; nor in the ones that follow, if they are missing too.
            let rest = self.l1.entries().get(index as usize..).unwrap_or(&[]);
            let absent = rest.iter().take_while(|e| **e & super::entry::HOST_OFFSET == 0).count() as u64;
            return Ok((Place::Below, (absent.max(1) * per_table - slot).min(count)));
        };
        let file_end = self.file_end;
        let entries = self.cache.get(table.host, L2)?;
        let at = |slot: u64| decode_l2(be64(entries, slot as usize * 8), geometry);
        let place = place_of(at(slot)?, file_end)?;
        let end = per_table.min(slot + count);
        let mut run = 1;
        while slot + run < end && continues(place, run, at(slot + run).ok(), geometry.cluster_bytes()) {
            run += 1;
        }
        Ok((place, run))
    }

    /// Plans how `len` guest bytes from `offset` are written, for as long as one way does.
    pub fn plan_write(&mut self, offset: u64, len: u64) -> Result<WritePlan, Trouble> {
        let geometry = self.geometry;
        let first = geometry.cluster_of(offset);
        let count = geometry.touched(offset, len).end - first;
        let per_table = geometry.l2_entries();
        let Some(table) = self.l2_table(first / per_table)? else {
            return Ok(WritePlan::Allocate { clusters: count.min(per_table - first % per_table) });
        };
        let slot = first % per_table;
        let end = per_table.min(slot + count);
        let entries = self.cache.get(table.host, L2)?;
        let at =
            |slot: u64| decode_l2(be64(entries, slot as usize * 8), geometry).map(|m| owned(m, table.copied));
        let mapping = at(slot)?;
        let mut run = 1;
        while slot + run < end
            && at(slot + run).is_ok_and(|m| goes_on(mapping, run, m, geometry.cluster_bytes()))
        {
            run += 1;
        }
        let (host, bytes) = match mapping {
            Owned::Data(host) | Owned::Kept(host) => (host, geometry.offset_of(run)),
            Owned::No => return Ok(WritePlan::Allocate { clusters: run }),
        };
        // A mapping that leads into metadata or past the end of the file: the image is damaged.
        if self.holds_metadata(host, bytes) || host >= self.file_end {
            return Err(Trouble::Failed(Errno::EIO));
        }
        Ok(match mapping {
            Owned::Kept(_) => WritePlan::Kept { host, clusters: run },
            _ => {
                let skipped = geometry.within(offset);
                WritePlan::InPlace { host: host + skipped, len: (bytes - skipped).min(len) }
            }
        })
    }

    /// Changes the mappings of guest clusters from `first` on, at most `count` and within one L2 table; answers how
    /// many it changed. `change` gets each cluster's distance from `first` and its mapping. Host clusters that lose
    /// their pointer are freed once that is durable.
    pub fn remap(
        &mut self,
        first: u64,
        count: u64,
        change: &mut dyn FnMut(u64, Mapping) -> Mapping,
    ) -> Result<u64, Trouble> {
        let geometry = self.geometry;
        let per_table = geometry.l2_entries();
        let slot = (first % per_table) as usize;
        let count = count.min(per_table - first % per_table) as usize;
        let table = self.own_l2_table(first / per_table)?;
        let mut freed = Vec::new();
        let entries = self.cache.get_mut(table, L2, slot * 8..(slot + count) * 8)?;
        let mut done = 0;
        while done < count {
            let bytes = &mut entries[(slot + done) * 8..(slot + done + 1) * 8];
            let Ok(old) = decode_l2(be64(bytes, 0), geometry) else { break };
            let new = change(done as u64, old);
            if new != old {
                bytes.copy_from_slice(&new.encode().to_be_bytes());
                freed.extend(lost(old, new, geometry));
            }
            done += 1;
        }
        freed.into_iter().for_each(|(at, len)| self.free_later(at, len));
        if done == 0 { Err(Trouble::Failed(Errno::EIO)) } else { Ok(done as u64) }
    }

    /// The L2 table of L1 entry `index`, made or copied if need be so that it is this image's alone.
    fn own_l2_table(&mut self, index: u64) -> Result<u64, Trouble> {
        let old = self.l2_table(index)?;
        if let Some(table) = old.filter(|t| t.copied) {
            return Ok(table.host);
        }
        let bytes = match old {
            Some(table) => self.cache.get(table.host, L2)?.to_vec(),
            None => vec![0; self.geometry.cluster_bytes() as usize],
        };
        let place = self.geometry.offset_of(self.allocate(1)?.start);
        self.cache.insert_new(place, L2, bytes);
        self.l2_at.insert(place);
        self.l1.set(index as usize, place | COPIED);
        if let Some(table) = old {
            // A snapshot still uses the old table; only our reference goes.
            self.l2_at.remove(&table.host);
            self.free_later(table.host, self.geometry.cluster_bytes());
        }
        Ok(place)
    }
}

/// Where a mapping's content is; a cluster past the end of the file is damage.
fn place_of(mapping: Mapping, file_end: u64) -> Result<Place, Trouble> {
    let place = match mapping {
        Mapping::Unallocated => return Ok(Place::Below),
        Mapping::Zero | Mapping::ZeroKept { .. } => return Ok(Place::Zero),
        Mapping::Data { host, .. } => Place::Host { host },
        Mapping::Compressed { host, len } => Place::Compressed { host, len },
    };
    match place {
        Place::Host { host } | Place::Compressed { host, .. } if host >= file_end => {
            Err(Trouble::Failed(Errno::EIO))
        }
        _ => Ok(place),
    }
}

/// Whether `next`, the mapping `run` clusters on, belongs to the extent that begins with `place`.
fn continues(place: Place, run: u64, next: Option<Mapping>, cluster_bytes: u64) -> bool {
    match (place, next) {
        (Place::Below, Some(Mapping::Unallocated)) => true,
        (Place::Zero, Some(Mapping::Zero | Mapping::ZeroKept { .. })) => true,
        (Place::Host { host: start }, Some(Mapping::Data { host, .. })) => {
            host == start + run * cluster_bytes
        }
        _ => false,
    }
}

/// A mapping, as far as writing is concerned.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Owned {
    Data(u64),
    Kept(u64),
    No,
}

fn owned(mapping: Mapping, table_is_ours: bool) -> Owned {
    match mapping {
        Mapping::Data { host, copied: true } if table_is_ours => Owned::Data(host),
        Mapping::ZeroKept { host, copied: true } if table_is_ours => Owned::Kept(host),
        _ => Owned::No,
    }
}

fn goes_on(first: Owned, run: u64, next: Owned, cluster_bytes: u64) -> bool {
    match (first, next) {
        (Owned::Data(start), Owned::Data(host)) | (Owned::Kept(start), Owned::Kept(host)) => {
            host == start + run * cluster_bytes
        }
        (Owned::No, Owned::No) => true,
        _ => false,
    }
}

/// The host bytes that lose a reference when `new` replaces `old`.
fn lost(old: Mapping, new: Mapping, geometry: super::geometry::Geometry) -> Option<(u64, u64)> {
    let before = old.holds(geometry)?;
    (new.holds(geometry) != Some(before)).then_some(before)
}
