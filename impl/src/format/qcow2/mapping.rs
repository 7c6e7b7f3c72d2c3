//! From guest offsets to host offsets: reading the L1 and L2 tables, and changing them.

use super::damage;
use super::discard::Why;
use super::entry::{COPIED, Mapping, RawEntry, decode_l2};
use super::geometry::Geometry;
use super::metadata::Metadata;
use super::trouble::{TableKind, Trouble};

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
    /// Into host bytes that are this image's alone but not in use: whole units, then mapped.
    Kept { host: u64, len: u64 },
    /// Into new host clusters.
    Allocate { clusters: u64 },
}

impl Metadata {
    /// Finds the extent that begins at guest `offset`, at most `limit` bytes of it.
    pub(super) fn locate(&mut self, offset: u64, limit: u64) -> Result<Extent, Trouble> {
        let geometry = self.geometry;
        let first = geometry.cluster_of(offset);
        let per_table = geometry.l2_entries();
        let (index, slot) = (first / per_table, first % per_table);
        let Some(table) = self.l2_table(index)? else {
            // Without an L2 table nothing is allocated; nor in the ones that follow, if they are missing too.
            let rest = self.l1.entries().get(index as usize..).unwrap_or(&[]);
            let absent = rest.iter().take_while(|e| **e & super::entry::HOST_OFFSET == 0).count() as u64;
            let end = geometry.l2_span().saturating_mul(index + absent.max(1));
            return Ok(Extent { len: limit.min(end - offset), place: Place::Below });
        };
        let entries = self.cache.get(table.host, L2)?;
        let part = |slot: u64, within: u64| -> Result<(Place, u64), Trouble> {
            let mapping = mapping_at(entries, (table.host, index), slot, geometry)?;
            Ok(place_of(mapping, within, geometry))
        };
        let within = geometry.within(offset);
        let (place, mut len) = part(slot, within)?;
        let mut n = 1;
        while len < limit && slot + n < per_table && within + len == geometry.offset_of(n) {
            match part(slot + n, 0) {
                Ok((next, more)) if place.goes_on(len, next) => len += more,
                _ => break,
            }
            n += 1;
        }
        assert!(len > 0, "an extent of nothing at {offset:#x}");
        Ok(Extent { len: len.min(limit), place })
    }

    /// Plans how `len` guest bytes from `offset` are written, for as long as one way does.
    pub(super) fn plan_write(&mut self, offset: u64, len: u64) -> Result<WritePlan, Trouble> {
        assert!(len > 0, "a write of nothing at {offset:#x}");
        let geometry = self.geometry;
        let first = geometry.cluster_of(offset);
        let clusters = geometry.touched(offset, len);
        let per_table = geometry.l2_entries();
        let slot = first % per_table;
        let count = (clusters.end - first).min(per_table - slot);
        let Some(table) = self.l2_table(first / per_table)? else {
            return Ok(WritePlan::Allocate { clusters: count });
        };
        let entries = self.cache.get(table.host, L2)?;
        let part = |n: u64, within: u64| {
            let mapping = mapping_at(entries, (table.host, first / per_table), slot + n, geometry);
            mapping.map(|mapping| owned(mapping, table.copied, within, geometry))
        };
        let within = geometry.within(offset);
        let (how, mut bytes) = part(0, within)?;
        let mut n = 1;
        while n < count && within + bytes == geometry.offset_of(n) {
            match part(n, 0) {
                Ok((next, more)) if how.goes_on(bytes, next) => bytes += more,
                _ => break,
            }
            n += 1;
        }
        let (Owned::Data(host) | Owned::Kept(host)) = how else {
            return Ok(WritePlan::Allocate { clusters: n });
        };
        let len = bytes.min(len);
        // Whoever writes as far as the plan goes, and asks again, comes to an end.
        assert!(len > 0, "a plan for nothing at {offset:#x}");
        // A mapping that leads into metadata: the image is damaged.
        if !geometry.data_file {
            self.admit_data(host, len)?;
        }
        Ok(match how {
            Owned::Data(_) => WritePlan::InPlace { host, len },
            _ => WritePlan::Kept { host, len },
        })
    }

    /// What the L2 entry of one guest cluster says.
    pub(super) fn mapping(&mut self, cluster: u64) -> Result<Mapping, Trouble> {
        let geometry = self.geometry;
        let per_table = geometry.l2_entries();
        let Some(table) = self.l2_table(cluster / per_table)? else {
            return Ok(Mapping::Unallocated);
        };
        let entries = self.cache.get(table.host, L2)?;
        mapping_at(entries, (table.host, cluster / per_table), cluster % per_table, geometry)
    }

    /// Changes the mappings of guest clusters from `first` on, at most `count` and within one L2 table; answers how
    /// many it changed. `change` gets each cluster's distance from `first` and its mapping. Host clusters that lose
    /// their pointer are freed once that is durable.
    pub(super) fn remap(
        &mut self,
        first: u64,
        count: u64,
        why: Why,
        change: &mut dyn FnMut(u64, Mapping) -> Mapping,
    ) -> Result<u64, Trouble> {
        let geometry = self.geometry;
        let per_table = geometry.l2_entries();
        let slot = (first % per_table) as usize;
        let count = count.min(per_table - first % per_table) as usize;
        let table = self.own_l2_table(first / per_table)?;
        assert!(count > 0, "no mapping is changed at cluster {first}");
        let (mut freed, mut broken) = (Vec::new(), None);
        let entry_bytes = geometry.l2_entry_bytes() as usize;
        let entries = self.cache.get_mut(table, L2, slot * entry_bytes..(slot + count) * entry_bytes)?;
        let mut done = 0;
        while done < count {
            let raw = RawEntry::read(entries, slot + done, geometry);
            let Ok(old) = decode_l2(raw, geometry) else {
                broken = Some(damage::in_l2(raw, table, (slot + done) as u64, geometry));
                break;
            };
            let new = change(done as u64, old);
            if new != old {
                new.encode(geometry).write(entries, slot + done, geometry);
                freed.extend(lost(old, new, geometry));
            }
            done += 1;
        }
        freed.into_iter().for_each(|(at, len)| self.free_later(at, len, why));
        match broken {
            Some(broken) if done == 0 => Err(broken),
            _ => Ok(done as u64),
        }
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
        // A table that is copied or made lies where no other table does.
        assert!(!self.l2_at.contains(&place), "two L2 tables at {place:#x}");
        self.cache.insert_new(place, L2, bytes);
        self.l2_at.insert(place);
        self.l1.set(index as usize, place | COPIED);
        if let Some(table) = old {
            // A snapshot still uses the old table; only our reference goes.
            self.l2_at.remove(&table.host);
            self.free_later(table.host, self.geometry.cluster_bytes(), Why::Other);
        }
        Ok(place)
    }
}

/// What entry `slot` says of the L2 table that lies at `host` and belongs to L1 entry `index`. In a data file, every
/// cluster is at its own offset.
#[inline]
fn mapping_at(
    entries: &[u8],
    (table, index): (u64, u64),
    slot: u64,
    geometry: Geometry,
) -> Result<Mapping, Trouble> {
    let raw = RawEntry::read(entries, slot as usize, geometry);
    // As most are in most layers.
    if raw == RawEntry::NONE {
        return Ok(Mapping::Unallocated);
    }
    let damaged = || damage::in_l2(raw, table, slot, geometry);
    let mapping = decode_l2(raw, geometry).map_err(|_| damaged())?;
    if geometry.data_file
        && let Some((host, _)) = mapping.host()
        && host != geometry.offset_of(index * geometry.l2_entries() + slot)
    {
        return Err(damaged());
    }
    Ok(mapping)
}

impl Place {
    /// Whether `next`, `len` bytes on, belongs to the extent that begins here.
    fn goes_on(self, len: u64, next: Place) -> bool {
        match (self, next) {
            (Place::Below, Place::Below) | (Place::Zero, Place::Zero) => true,
            (Place::Host { host: start }, Place::Host { host }) => host == start + len,
            _ => false,
        }
    }
}

/// Where the byte at `within` of a guest cluster is, and for how many bytes of the cluster. Past the end of the file are
/// zeroes.
fn place_of(mapping: Mapping, within: u64, geometry: Geometry) -> (Place, u64) {
    match mapping {
        Mapping::Mixed(subclusters) => subclusters.part(within, geometry),
        Mapping::Unallocated => (Place::Below, geometry.cluster_bytes() - within),
        Mapping::Zero | Mapping::ZeroKept { .. } => (Place::Zero, geometry.cluster_bytes() - within),
        Mapping::Data { host, .. } => {
            (Place::Host { host: host + within }, geometry.cluster_bytes() - within)
        }
        Mapping::Compressed { host, len } => {
            (Place::Compressed { host, len }, geometry.cluster_bytes() - within)
        }
    }
}

/// A part of a mapping, as far as writing is concerned; with the host byte it begins at.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Owned {
    Data(u64),
    Kept(u64),
    No,
}

impl Owned {
    /// Whether `next`, `len` bytes on, is written in one go with this.
    fn goes_on(self, len: u64, next: Owned) -> bool {
        match (self, next) {
            (Owned::Data(start), Owned::Data(host)) | (Owned::Kept(start), Owned::Kept(host)) => {
                host == start + len
            }
            (Owned::No, Owned::No) => true,
            _ => false,
        }
    }
}

/// Whose the host byte at `within` of a guest cluster is, and for how many bytes of the cluster.
fn owned(mapping: Mapping, table_is_ours: bool, within: u64, geometry: Geometry) -> (Owned, u64) {
    let rest = geometry.cluster_bytes() - within;
    let host = mapping.host().filter(|(_, copied)| *copied && table_is_ours).map(|(host, _)| host + within);
    match (mapping, host) {
        (Mapping::Data { .. }, Some(host)) => (Owned::Data(host), rest),
        (Mapping::ZeroKept { .. }, Some(host)) => (Owned::Kept(host), rest),
        (Mapping::Mixed(subclusters), Some(host)) => {
            let is_data = subclusters.is_data(within, geometry);
            let how = if is_data { Owned::Data(host) } else { Owned::Kept(host) };
            (how, subclusters.data_run_bytes(within, geometry))
        }
        _ => (Owned::No, rest),
    }
}

/// The host bytes that lose a reference when `new` replaces `old`.
fn lost(old: Mapping, new: Mapping, geometry: Geometry) -> Option<(u64, u64)> {
    let before = old.holds(geometry)?;
    (new.holds(geometry) != Some(before)).then_some(before)
}
