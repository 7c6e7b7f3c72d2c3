//! Who owns which host cluster: finding free ones, counting them, giving them back.
//!
//! An *area* is the clusters one refcount block counts. A new block lies in the first cluster of its own area and
//! counts itself; a larger refcount table lies in the first areas that the old one cannot reach.

use super::check::TABLE_RESERVED;
use super::counter;
use super::discard::Why;
use super::geometry::{MAX_HOST_OFFSET, MAX_REFCOUNT_TABLE_BYTES};
use super::metadata::Metadata;
use super::trouble::{TableKind, Trouble};
use seam::Errno;
use std::ops::Range;

const BLOCK: TableKind = TableKind::RefcountBlock;

/// From where free clusters are searched.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// No cluster before this one is free.
    first_free: u64,
    /// So many free clusters in a row begin at none before that one; only of runs that were searched last.
    runs: Option<(u64, u64)>,
}

impl Search {
    /// Where a search for so many clusters in a row begins.
    fn start(&self, at_least: u64) -> u64 {
        match self.runs {
            Some((len, start)) if len <= at_least => self.first_free.max(start),
            _ => self.first_free,
        }
    }

    /// There are not so many in a row before this one.
    pub(super) fn none_before(&mut self, cluster: u64, at_least: u64) {
        if at_least == 1 {
            self.first_free = self.first_free.max(cluster);
        } else {
            self.runs = Some((at_least, cluster));
        }
    }

    /// A cluster has become free. Runs with it in them begin no more than their length before it: whoever gives back what he
    /// took, for he misses a table, does not walk over all blocks again.
    fn is_free(&mut self, cluster: u64) {
        self.first_free = self.first_free.min(cluster);
        self.runs = self.runs.map(|(len, start)| (len, start.min((cluster + 1).saturating_sub(len))));
    }
}

impl Metadata {
    /// Takes up to `wanted` free clusters in a row, at least one, and counts each once.
    pub(super) fn allocate(&mut self, wanted: u64) -> Result<Range<u64>, Trouble> {
        assert!(wanted > 0, "an allocation of nothing");
        let found = self.find_free(wanted, 1)?;
        // Who asks for a run gets a part of it that is not empty, and no more than all of it.
        assert!(!found.is_empty() && found.end - found.start <= wanted, "{found:?} for {wanted} clusters");
        self.take(found.clone())?;
        self.search.none_before(found.end, 1);
        Ok(found)
    }

    /// Takes exactly `count` free clusters in a row.
    pub(super) fn allocate_whole(&mut self, count: u64) -> Result<Range<u64>, Trouble> {
        assert!(count > 0, "an allocation of nothing");
        if count < self.geometry.area_clusters() {
            let found = self.find_free(count, count)?;
            assert_eq!(found.end - found.start, count, "a whole run is {count} clusters");
            self.take(found.clone())?;
            return Ok(found);
        }
        self.reserve_fresh(count)
    }

    /// Finds `at_least` to `wanted` free clusters in a row within one area.
    ///
    /// Whoever misses a block loads it and asks again; what is known to be taken is not looked at again then, or a walk over
    /// more blocks than the cache holds would begin anew for ever.
    pub(super) fn find_free(&mut self, wanted: u64, at_least: u64) -> Result<Range<u64>, Trouble> {
        let per_area = self.geometry.area_clusters();
        let order = self.geometry.refcount_order;
        loop {
            let cluster = self.search.start(at_least);
            let area = cluster / per_area;
            let Some(at) = self.refcount_block(area)? else {
                self.create_block(area)?;
                continue;
            };
            let block = self.cache.get(at, BLOCK)?;
            if let Some(found) = free_in(block, cluster % per_area, per_area, order, wanted, at_least) {
                return Ok(area * per_area + found.start..area * per_area + found.end);
            }
            self.search.none_before((area + 1) * per_area, at_least);
        }
    }

    /// Counts free clusters of one area once each.
    pub(super) fn take(&mut self, clusters: Range<u64>) -> Result<(), Trouble> {
        let (start, len) = self.bytes_of(&clusters);
        // A refcount of 0 on metadata that is in use: the image is damaged and must not be damaged further.
        self.admit_data(start, len)?;
        if start + len > MAX_HOST_OFFSET {
            return Err(Trouble::Failed(Errno::EFBIG));
        }
        self.set_counters(clusters, 1)
    }

    pub(super) fn set_counters(&mut self, clusters: Range<u64>, value: u64) -> Result<(), Trouble> {
        let per_area = self.geometry.area_clusters();
        let order = self.geometry.refcount_order;
        let first = clusters.start % per_area;
        let count = clusters.end - clusters.start;
        assert!(count > 0, "no cluster is counted");
        assert!(first + count <= per_area, "clusters {clusters:?} lie in one area of {per_area}");
        let at = self.refcount_block(clusters.start / per_area)?.ok_or(Trouble::Failed(Errno::EIO))?;
        let block = self.cache.get_mut(at, BLOCK, counter::bytes_of(first, count, order))?;
        (first..first + count).for_each(|index| counter::set(block, index, order, value));
        Ok(())
    }

    /// How often a cluster is counted.
    pub(super) fn refcount(&mut self, cluster: u64) -> Result<u64, Trouble> {
        let per_area = self.geometry.area_clusters();
        let Some(at) = self.refcount_block(cluster / per_area)? else { return Ok(0) };
        let block = self.cache.get(at, BLOCK)?;
        Ok(counter::get(block, cluster % per_area, self.geometry.refcount_order))
    }

    /// Gives back clusters that nothing on the disk ever pointed at.
    pub(super) fn give_back(&mut self, clusters: Range<u64>) -> Result<(), Trouble> {
        self.set_counters(clusters.clone(), 0)?;
        self.search.is_free(clusters.start);
        Ok(())
    }

    /// Takes one reference from a cluster whose pointer is durably gone.
    ///
    /// A count that is 0 already, or the last reference of a cluster that holds metadata, is left alone: the image is damaged.
    /// A table that a snapshot shares has more than one.
    pub(super) fn release(&mut self, cluster: u64) -> Result<(), Trouble> {
        let per_area = self.geometry.area_clusters();
        let order = self.geometry.refcount_order;
        let index = cluster % per_area;
        let Some(at) = self.refcount_block(cluster / per_area)? else { return Ok(()) };
        let count = counter::get(self.cache.get(at, BLOCK)?, index, order);
        let (offset, len) = self.bytes_of(&(cluster..cluster + 1));
        if count == 0 || count == 1 && self.holds_metadata(offset, len) {
            return Ok(());
        }
        let block = self.cache.get_mut(at, BLOCK, counter::bytes_of(index, 1, order))?;
        counter::set(block, index, order, count - 1);
        if count == 1 {
            self.search.is_free(cluster);
            self.cache.remove(offset);
            if self.packed_end.is_some_and(|end| self.geometry.cluster_of(end) == cluster) {
                self.packed_end = None;
            }
        }
        Ok(())
    }

    /// Makes the refcount block of an area that has none, in the area's first cluster.
    fn create_block(&mut self, area: u64) -> Result<(), Trouble> {
        if area >= self.refcount_table.entries().len() as u64 {
            return self.grow_refcount_table(area);
        }
        let first = area * self.geometry.area_clusters();
        let (offset, len) = self.bytes_of(&(first..first + 1));
        self.admit_data(offset, len)?;
        if offset + len > MAX_HOST_OFFSET {
            return Err(Trouble::Failed(Errno::EFBIG));
        }
        self.insert_block(area, first, 1);
        Ok(())
    }

    /// Adds a block for `area` in cluster `place`, with the area's first `used` clusters counted once.
    fn insert_block(&mut self, area: u64, place: u64, used: u64) {
        let offset = self.geometry.offset_of(place);
        // An area has one block: a second would forget what the first counts.
        let before = self.refcount_table.entries()[area as usize];
        assert_eq!(
            before & !TABLE_RESERVED,
            0,
            "area {area} has a block at {before:#x}, and gets one at {offset:#x}"
        );
        // What counts a cluster lies within the area, or just in front of what it counts.
        assert!(used <= self.geometry.area_clusters(), "{used} clusters of area {area} are counted");
        let mut block = vec![0; self.geometry.cluster_bytes() as usize];
        (0..used).for_each(|index| counter::set(&mut block, index, self.geometry.refcount_order, 1));
        self.cache.insert_new(offset, BLOCK, block);
        self.blocks_at.insert(offset);
        self.refcount_table.set(area as usize, offset);
    }

    /// Moves the refcount table to a larger place, so that it reaches `area` and some more.
    fn grow_refcount_table(&mut self, area: u64) -> Result<(), Trouble> {
        let per_cluster = self.geometry.pointers_per_cluster();
        let entries = self.refcount_table.entries().len() as u64;
        let old = self.refcount_table.offset();
        let clusters = (entries + entries / 2).max(area + 2).div_ceil(per_cluster);
        // The areas of the new place must be reached as well.
        let clusters = clusters + (clusters / self.geometry.area_clusters()).div_ceil(per_cluster) + 1;
        if self.geometry.offset_of(clusters) > MAX_REFCOUNT_TABLE_BYTES {
            return Err(Trouble::Failed(Errno::EFBIG));
        }
        let first = self.first_fresh_area();
        let place = self.fresh_place(first, clusters)?;
        self.refcount_table.move_to(self.geometry.offset_of(place.start), (clusters * per_cluster) as usize);
        // The larger table reaches the area it was made for, and the areas that it lies in itself.
        let reached = self.refcount_table.entries().len() as u64;
        assert!(area < reached, "a table of {reached} entries does not reach area {area}");
        assert!(
            place.end <= reached * self.geometry.area_clusters(),
            "a table of {reached} entries at {place:?}"
        );
        self.insert_fresh_blocks(first, place.end);
        self.free_later(old, entries * 8, Why::Other);
        Ok(())
    }

    /// Takes `count` clusters in areas none of which has a block yet.
    fn reserve_fresh(&mut self, count: u64) -> Result<Range<u64>, Trouble> {
        loop {
            let area = self.first_fresh_area();
            let place = self.fresh_place(area, count)?;
            let last_area = (place.end - 1) / self.geometry.area_clusters();
            if last_area < self.refcount_table.entries().len() as u64 {
                self.insert_fresh_blocks(area, place.end);
                return Ok(place);
            }
            // Each turn makes the table half as large again, up to its limit.
            self.grow_refcount_table(last_area)?;
        }
    }

    /// The first area from which on there are no refcount blocks.
    fn first_fresh_area(&self) -> u64 {
        self.refcount_table.entries().iter().rposition(|at| *at != 0).map_or(0, |last| last as u64 + 1)
    }

    /// Where `count` clusters lie behind the blocks of the areas they need, from `area` on.
    fn fresh_place(&self, area: u64, count: u64) -> Result<Range<u64>, Trouble> {
        let per_area = self.geometry.area_clusters();
        let blocks = count.div_ceil(per_area - 1);
        let first = area * per_area;
        let (offset, len) = self.bytes_of(&(first..first + blocks + count));
        if offset + len > MAX_HOST_OFFSET {
            return Err(Trouble::Failed(Errno::EFBIG));
        }
        self.admit_data(offset, len)?;
        Ok(first + blocks..first + blocks + count)
    }

    /// Makes the blocks of a fresh place, one after the other from the start of `area`; `end` is where it ends.
    fn insert_fresh_blocks(&mut self, area: u64, end: u64) {
        let per_area = self.geometry.area_clusters();
        let first = area * per_area;
        let blocks = (end - first).div_ceil(per_area);
        for n in 0..blocks {
            let used = (end - first - n * per_area).min(per_area);
            self.insert_block(area + n, first + n, used);
        }
    }

    fn bytes_of(&self, clusters: &Range<u64>) -> (u64, u64) {
        let start = self.geometry.offset_of(clusters.start);
        (start, self.geometry.offset_of(clusters.end) - start)
    }
}

/// The first run of at least `at_least` free counters, cut at `wanted`.
fn free_in(block: &[u8], from: u64, end: u64, order: u32, wanted: u64, at_least: u64) -> Option<Range<u64>> {
    let mut index = from;
    while index < end {
        let is_free = |index: &u64| counter::get(block, *index, order) == 0;
        let start = (index..end).find(is_free)?;
        let limit = end.min(start + wanted);
        let stop = (start..limit).find(|i| !is_free(i)).unwrap_or(limit);
        if stop - start >= at_least {
            return Some(start..stop);
        }
        index = stop;
    }
    None
}
