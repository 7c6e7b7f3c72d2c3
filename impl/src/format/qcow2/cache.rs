//! L2 tables and refcount blocks in memory: written back, loaded when they are needed, bounded.
//!
//! A changed table stays until a flush has written it; unchanged ones leave in the order of their last use.
//! Everything here is synchronous and runs under the image's mutex; who misses a table loads it and tries again.

use super::geometry::SECTOR;
use super::trouble::{Missing, TableKind, Trouble};
use crate::budget::Share;
use seam::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Tables are evicted beyond this many bytes, but never below `MIN_TABLES` tables, unless the budget says another number.
const CAPACITY_BYTES: usize = 16 << 20;
const MIN_TABLES: usize = 16;

/// Bytes to be written, a multiple of sectors, and the table they belong to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub table: u64,
    /// Where the piece lies within its table.
    pub range: Range<usize>,
    /// Its content; moved out when it is written.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// Where the piece lies on the disk.
    pub(super) fn at(&self) -> u64 {
        self.table + self.range.start as u64
    }
}

/// Widens a dirty range to whole sectors and joins it with another.
pub(super) fn widen(dirty: &Range<usize>, change: Range<usize>, len: usize) -> Range<usize> {
    let sector = SECTOR as usize;
    let start = change.start / sector * sector;
    let end = change.end.next_multiple_of(sector).min(len.next_multiple_of(sector));
    if dirty.is_empty() { start..end } else { dirty.start.min(start)..dirty.end.max(end) }
}

#[derive(Debug)]
struct Table {
    kind: TableKind,
    bytes: Vec<u8>,
    dirty: Range<usize>,
    /// A flush is writing it: it must not be evicted, or a load could read what is not written yet.
    in_flight: bool,
    used: u64,
}

impl Table {
    fn is_evictable(&self) -> bool {
        self.dirty.is_empty() && !self.in_flight
    }
}

/// Loads of one table under way.
#[derive(Copy, Clone, Debug, Default)]
struct Loading {
    count: u32,
    /// The table changed hands since the loads up to this one began: what they read is worth nothing. A later one reads what
    /// is there, even if there was always one under way.
    stale_up_to: u64,
}

/// The tables in memory, by host offset.
#[derive(Debug)]
pub(super) struct TableCache {
    table_bytes: usize,
    capacity: usize,
    tables: BTreeMap<u64, Table>,
    dirty: BTreeSet<u64>,
    loading: BTreeMap<u64, Loading>,
    /// Loads so far.
    loads: u64,
    clock: u64,
    /// The memory of the tables.
    share: Share,
    /// There was no memory for one more table beside those that are dirty.
    is_pressed: bool,
}

impl TableCache {
    /// An empty cache for tables of one cluster; `share` is of the budget that they are held in.
    pub(super) fn new(table_bytes: u64, share: Share) -> Self {
        let table_bytes = table_bytes as usize;
        let usual = (CAPACITY_BYTES / table_bytes).max(MIN_TABLES);
        TableCache {
            table_bytes,
            capacity: share.budget().tables_max().unwrap_or(usual),
            tables: BTreeMap::new(),
            dirty: BTreeSet::new(),
            loading: BTreeMap::new(),
            loads: 0,
            clock: 0,
            share,
            is_pressed: false,
        }
    }

    /// Whether a few tables more would make some leave.
    pub(super) fn may_become_full(&self) -> bool {
        self.is_pressed || self.tables.len() + MIN_TABLES / 2 >= self.capacity
    }

    /// The table at `at`, to be read.
    pub(super) fn get(&mut self, at: u64, kind: TableKind) -> Result<&[u8], Trouble> {
        Ok(&self.touch(at, kind)?.bytes)
    }

    /// The table at `at`, of which the bytes `change` are about to be changed.
    pub(super) fn get_mut(
        &mut self,
        at: u64,
        kind: TableKind,
        change: Range<usize>,
    ) -> Result<&mut [u8], Trouble> {
        assert!(!change.is_empty(), "a change of nothing in the table at {at:#x}");
        assert!(change.end <= self.table_bytes, "change {change:?} leaves the table at {at:#x}");
        let table = self.touch(at, kind)?;
        table.dirty = widen(&table.dirty, change, table.bytes.len());
        self.dirty.insert(at);
        Ok(&mut self.tables.get_mut(&at).expect("touched above").bytes)
    }

    fn touch(&mut self, at: u64, kind: TableKind) -> Result<&mut Table, Trouble> {
        self.clock += 1;
        let Some(table) = self.tables.get_mut(&at) else {
            return Err(Trouble::Missing(Missing { at, kind }));
        };
        if table.kind != kind {
            return Err(Trouble::Failed(Errno::EIO));
        }
        table.used = self.clock;
        Ok(table)
    }

    /// Adds a table that the disk does not have yet; all of it is dirty.
    pub(super) fn insert_new(&mut self, at: u64, kind: TableKind, bytes: Vec<u8>) {
        assert_eq!(bytes.len(), self.table_bytes, "a table of one cluster at {at:#x}");
        assert_eq!(at % self.table_bytes as u64, 0, "a table begins within a cluster, at {at:#x}");
        // What is there and dirty would be lost.
        assert!(!self.dirty.contains(&at), "a new table takes the place of a changed one at {at:#x}");
        self.mark_stale(at);
        self.make_room();
        self.dirty.insert(at);
        let table = Table { kind, dirty: 0..bytes.len(), bytes, in_flight: false, used: self.clock };
        self.put(at, table);
    }

    /// Forgets a table whose cluster was freed.
    pub(super) fn remove(&mut self, at: u64) {
        self.mark_stale(at);
        self.dirty.remove(&at);
        self.take_out(at);
    }

    fn put(&mut self, at: u64, table: Table) {
        if self.tables.insert(at, table).is_none() {
            return;
        }
        // It took the place of another, whose memory it has now.
        self.share.shrink(self.table_bytes as u64);
    }

    fn take_out(&mut self, at: u64) {
        if self.tables.remove(&at).is_some() {
            self.share.shrink(self.table_bytes as u64);
        }
    }

    fn mark_stale(&mut self, at: u64) {
        if let Some(loading) = self.loading.get_mut(&at) {
            loading.stale_up_to = self.loads;
        }
    }

    /// Notes that somebody begins to read the table at `at` from the disk. Gives the number of the load.
    pub(super) fn begin_load(&mut self, at: u64) -> u64 {
        self.loading.entry(at).or_default().count += 1;
        self.loads += 1;
        self.loads
    }

    /// Takes what the load of that number has read, unless the table is here already or what was read is stale.
    pub(super) fn end_load(&mut self, at: u64, kind: TableKind, load: u64, read: Option<Vec<u8>>) {
        let loading = self.loading.get_mut(&at).expect("every load was begun");
        loading.count -= 1;
        let stale = load <= loading.stale_up_to;
        if loading.count == 0 {
            self.loading.remove(&at);
        }
        let Some(bytes) = read else { return };
        if stale || self.tables.contains_key(&at) {
            return;
        }
        self.make_room();
        self.clock += 1;
        let table = Table { kind, bytes, dirty: 0..0, in_flight: false, used: self.clock };
        self.put(at, table);
    }

    /// Takes memory for one more table. Evicts an eighth of the tables, those unused for longest, once the cache is
    /// full, and more of them when all images together hold too much.
    fn make_room(&mut self) {
        if self.tables.len() >= self.capacity {
            self.evict((self.capacity / 8).max(1));
        }
        let bytes = self.table_bytes as u64;
        while !self.share.grow_cache(bytes) {
            if self.evict((self.tables.len() / 2).max(1)) == 0 {
                // What is dirty must stay, and a request needs this one: the next change writes first.
                self.is_pressed = !self.dirty.is_empty();
                self.share.grow_anyway(bytes);
                return;
            }
        }
        self.is_pressed = false;
    }

    /// Releases so many tables, if there are as many that may go. Answers how many went.
    fn evict(&mut self, count: usize) -> usize {
        let mut idle: Vec<(u64, u64)> =
            self.tables.iter().filter(|(_, t)| t.is_evictable()).map(|(at, t)| (t.used, *at)).collect();
        idle.sort_unstable();
        idle.truncate(count);
        for (_, at) in &idle {
            // Only the memory has what is dirty.
            assert!(!self.dirty.contains(at), "the table at {at:#x} is changed, and goes");
            self.mark_stale(*at);
            self.take_out(*at);
        }
        idle.len()
    }

    /// Whether so much is dirty that a flush should not wait for the guest's.
    pub(super) fn is_crowded(&self) -> bool {
        self.dirty.len() > self.capacity / 2 || (self.is_pressed && !self.dirty.is_empty())
    }

    /// Whether any table is dirty.
    pub(super) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the dirty sectors of all tables of one kind, in order of their place, and counts them as clean.
    pub(super) fn take_dirty(&mut self, kind: TableKind) -> Vec<Piece> {
        let tables = &mut self.tables;
        let mut pieces = Vec::new();
        self.dirty.retain(|at| {
            let table = tables.get_mut(at).expect("a dirty table is in the cache");
            if table.kind != kind {
                return true;
            }
            let range = std::mem::replace(&mut table.dirty, 0..0);
            assert!(!range.is_empty(), "nothing of the table at {at:#x} is dirty");
            // Flushes take turns: two that write one table could end in either order.
            assert!(!table.in_flight, "the table at {at:#x} is being written already");
            table.in_flight = true;
            let bytes = table.bytes[range.clone()].to_vec();
            pieces.push(Piece { table: *at, range, bytes });
            false
        });
        pieces
    }

    /// The flush that took these pieces is over; what it did not write is dirty again.
    pub(super) fn settle(&mut self, pieces: &[Piece], written: bool) {
        for piece in pieces {
            let Some(table) = self.tables.get_mut(&piece.table) else { continue };
            table.in_flight = false;
            if !written {
                table.dirty = widen(&table.dirty, piece.range.clone(), table.bytes.len());
                self.dirty.insert(piece.table);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    const L2: TableKind = TableKind::L2;

    fn load(cache: &mut TableCache, at: u64, byte: u8) {
        let number = cache.begin_load(at);
        cache.end_load(at, L2, number, Some(vec![byte; 1024]));
    }

    #[test]
    fn only_the_changed_sectors_are_taken() {
        let mut cache = TableCache::new(1024, Budget::default().nothing());
        load(&mut cache, 4096, 0);
        cache.get_mut(4096, L2, 600..608).unwrap()[600] = 7;
        let pieces = cache.take_dirty(L2);
        assert_eq!((pieces[0].at(), pieces[0].bytes.len(), pieces[0].bytes[88]), (4608, 512, 7));
        assert!(!cache.has_dirty());
    }

    #[test]
    fn what_a_failed_flush_took_is_dirty_again() {
        let mut cache = TableCache::new(1024, Budget::default().nothing());
        cache.insert_new(4096, L2, vec![1; 1024]);
        let pieces = cache.take_dirty(L2);
        cache.get_mut(4096, L2, 0..8).unwrap()[0] = 2;
        cache.settle(&pieces, false);
        let again = cache.take_dirty(L2);
        assert_eq!((again[0].bytes.len(), again[0].bytes[0]), (1024, 2));
    }

    // A load reads the disk, the cluster is freed and becomes another table, then the load ends.
    #[test]
    fn a_load_that_was_overtaken_is_dropped() {
        let mut cache = TableCache::new(1024, Budget::default().nothing());
        let number = cache.begin_load(4096);
        cache.insert_new(4096, L2, vec![2; 1024]);
        cache.remove(4096);
        cache.end_load(4096, L2, number, Some(vec![1; 1024]));
        assert!(matches!(cache.get(4096, L2), Err(Trouble::Missing(_))));
    }

    // Two requests load one table by turns, and there is always one on its way: whoever began after it went has it.
    #[test]
    fn a_load_that_began_afterwards_is_taken_though_one_that_was_overtaken_is_under_way() {
        let mut cache = TableCache::new(1024, Budget::default().nothing());
        let overtaken = cache.begin_load(4096);
        cache.insert_new(4096, L2, vec![2; 1024]);
        cache.remove(4096);
        let later = cache.begin_load(4096);
        cache.end_load(4096, L2, overtaken, Some(vec![1; 1024]));
        assert!(matches!(cache.get(4096, L2), Err(Trouble::Missing(_))));
        cache.end_load(4096, L2, later, Some(vec![3; 1024]));
        assert_eq!(cache.get(4096, L2).expect("it is there")[0], 3);
    }

    #[test]
    fn eviction_spares_dirty_and_recently_used_tables() {
        let mut cache = TableCache::new(1024, Budget::default().nothing());
        cache.capacity = 16;
        for n in 1..=16 {
            load(&mut cache, n * 4096, n as u8);
        }
        cache.get_mut(4096, L2, 0..8).unwrap();
        cache.get(2 * 4096, L2).unwrap();
        load(&mut cache, 17 * 4096, 17);
        assert_eq!(cache.tables.len(), 15, "an eighth went, one came");
        assert!(cache.get(4096, L2).is_ok(), "dirty");
        assert!(cache.get(2 * 4096, L2).is_ok(), "just used");
        assert!(cache.get(3 * 4096, L2).is_err(), "unused for longest");
    }

    #[test]
    fn a_cache_that_gets_no_more_memory_goes_on_with_what_it_has() {
        let budget = Budget::new(8 << 10);
        let mut cache = TableCache::new(1024, budget.nothing());
        for n in 1..=20 {
            load(&mut cache, n * 4096, 1);
            assert!(cache.get(n * 4096, L2).is_ok(), "what was asked for is there");
        }
        assert!(budget.held() <= 6 << 10, "a quarter stays free: {} bytes are held", budget.held());
        assert_eq!(cache.share.bytes(), cache.tables.len() as u64 * 1024);
        for n in 1..=20 {
            cache.insert_new(n * 4096, L2, vec![2; 1024]);
        }
        assert!(cache.is_crowded(), "dirty tables stay, and are to be written soon");
        (1..=20).for_each(|n| cache.remove(n * 4096));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_table_of_another_kind_is_an_error_not_a_mix_up() {
        let mut cache = TableCache::new(1024, Budget::default().nothing());
        load(&mut cache, 4096, 0);
        assert_eq!(cache.get(4096, TableKind::RefcountBlock), Err(Trouble::Failed(Errno::EIO)));
    }
}
