//! The image's metadata in memory, always consistent: a cluster that an entry points at is counted.
//!
//! Every method is one synchronous step under the image's mutex. A step that needs a table which is not in memory
//! answers `Trouble::Missing` and is tried again after the load; nothing here waits.

use super::alloc::Search;
use super::bitmap_directory::{self, Entry};
use super::bitmaps::StoredBitmap;
use super::cache::TableCache;
use super::check::TABLE_RESERVED;
use super::damage;
use super::discard::{Discards, Freed, Why};
use super::entry::{HOST_OFFSET, decode_l1};
use super::geometry::Geometry;
use super::header::Header;
use super::pointers::PointerTable;
use super::trouble::{TableKind, Trouble};
use crate::budget::Share;
use std::collections::BTreeSet;

/// References that fewer than this many ranges hold wait for the guest's next flush.
const MANY_PENDING_FREES: usize = 4096;

/// The shortest entry of the list of snapshots.
const SNAPSHOT_BYTES_MIN: u64 = 40;

/// Everything about the image but its data.
#[derive(Debug)]
pub(super) struct Metadata {
    pub geometry: Geometry,
    /// Cluster 0 as it is on the disk. The tables may have moved in memory already.
    pub header: Header,
    /// A write of cluster 0 failed, and may have landed all the same: the next flush writes it again.
    pub header_may_be_old: bool,
    /// Whether something is counted, after an error, that nobody uses: an image that is marked for a repair stays so.
    pub is_miscounted: bool,
    /// The guest's disk size: the header's, in whole sectors.
    pub len_bytes: u64,
    /// The header's size field, as the next flush is to leave it.
    pub wanted_len_bytes: u64,
    /// Whether the disk may have another size since a change of it failed.
    pub is_len_uncertain: bool,
    pub l1: PointerTable,
    pub refcount_table: PointerTable,
    pub cache: TableCache,
    /// Offsets of all L2 tables and of all refcount blocks: nothing else may be there.
    pub l2_at: BTreeSet<u64>,
    pub blocks_at: BTreeSet<u64>,
    /// Host byte ranges whose pointers were cleared; they lose a reference once that is durable.
    pub pending_frees: Vec<Freed>,
    /// What goes back to the host when they do.
    pub discards: Discards,
    /// From where free clusters are searched.
    pub search: Search,
    /// The length of the file, as far as this driver grew it.
    pub file_end: u64,
    /// Something was written since the last flush of the disk began.
    pub unflushed: bool,
    /// The same, of what was written through this image.
    pub wrote: bool,
    /// Where the last compressed cluster ended; the next may begin there.
    pub packed_end: Option<u64>,
    pub writable: bool,
    /// It was to be open to writers again and could not be: changes fail until it is.
    pub stays_closed: bool,
    /// Something in it cannot be, and that was reported.
    pub is_damaged: bool,
    /// The persistent bitmaps, as the disk has them.
    pub bitmaps: Vec<Entry>,
    /// What the next close stores of them.
    pub handed_over: Vec<StoredBitmap>,
    /// The memory of its tables and lists.
    pub share: Share,
}

impl Metadata {
    /// `share` is of the budget of all memory, and has what the two tables take.
    pub(super) fn new(
        header: Header,
        l1: PointerTable,
        refcount_table: PointerTable,
        file_end: u64,
        share: Share,
    ) -> Self {
        let geometry = header.geometry();
        let tables = |entries: &[u64], mask: u64| -> BTreeSet<u64> {
            entries.iter().map(|e| e & mask).filter(|at| *at != 0).collect()
        };
        Metadata {
            geometry,
            len_bytes: header.len_bytes & !511,
            wanted_len_bytes: header.len_bytes,
            is_len_uncertain: false,
            l2_at: tables(l1.entries(), HOST_OFFSET),
            blocks_at: tables(refcount_table.entries(), !511),
            cache: TableCache::new(geometry.cluster_bytes(), share.budget().nothing()),
            header,
            header_may_be_old: false,
            is_miscounted: false,
            l1,
            refcount_table,
            pending_frees: Vec::new(),
            discards: Discards::default(),
            search: Search::default(),
            file_end,
            // Whoever wrote before us may have been killed before its flush.
            unflushed: true,
            wrote: false,
            packed_end: None,
            writable: false,
            bitmaps: Vec::new(),
            handed_over: Vec::new(),
            stays_closed: false,
            is_damaged: false,
            share,
        }
    }

    /// Whether the host bytes `at..at + len` hold metadata.
    pub(super) fn holds_metadata(&self, at: u64, len: u64) -> bool {
        self.metadata_in(at, len).is_some()
    }

    /// Which metadata the host bytes `at..at + len` hold, in QEMU's words.
    pub(super) fn metadata_in(&self, at: u64, len: u64) -> Option<&'static str> {
        // An entry of a table may lead anywhere, to the last bytes that a number can reach too.
        let end = at.saturating_add(len);
        let meets = |offset: u64, bytes: u64| offset < end && at < offset.saturating_add(bytes);
        let cluster = self.geometry.cluster_bytes();
        // Tables begin at clusters, so it is enough to look for one that begins in the clusters touched.
        let whole = at - self.geometry.within(at)..end;
        let fixed = self.fixed_metadata_in(at, len);
        let l2 = || self.l2_at.range(whole.clone()).any(|t| meets(*t, cluster)).then_some("active L2 table");
        let block =
            || self.blocks_at.range(whole.clone()).any(|t| meets(*t, cluster)).then_some("refcount block");
        fixed.or_else(l2).or_else(block)
    }

    /// Where the list of bitmaps lies, and how long it is.
    fn bitmap_directory(&self) -> Option<(u64, u64)> {
        let place = bitmap_directory::place(&self.header, u64::MAX).ok()??;
        Some((place.offset, place.len))
    }

    /// Like `metadata_in`, of what lies where the header says.
    fn fixed_metadata_in(&self, at: u64, len: u64) -> Option<&'static str> {
        let end = at.saturating_add(len);
        let meets = |offset: u64, bytes: u64| bytes > 0 && offset < end && at < offset.saturating_add(bytes);
        match () {
            () if meets(0, self.geometry.cluster_bytes()) => Some("qcow2_header"),
            () if meets(self.l1.offset(), self.l1.len_bytes()) => Some("active L1 table"),
            () if meets(self.refcount_table.offset(), self.refcount_table.len_bytes()) => {
                Some("refcount table")
            }
            // Each takes more than this, and nobody reads the list to find out how much.
            () if meets(
                self.header.snapshots_offset,
                u64::from(self.header.snapshots) * SNAPSHOT_BYTES_MIN,
            ) =>
            {
                Some("snapshot table")
            }
            () if self.bitmap_directory().is_some_and(|(at, len)| meets(at, len)) => Some("bitmap directory"),
            () => None,
        }
    }

    /// Whether a table may be loaded from `at`: it is in nobody else's place. Past the end of the file are zeroes.
    pub(super) fn may_load(&self, at: u64, kind: TableKind) -> bool {
        let others = match kind {
            TableKind::L2 => &self.blocks_at,
            TableKind::RefcountBlock => &self.l2_at,
        };
        !others.contains(&at) && self.fixed_metadata_in(at, self.geometry.cluster_bytes()).is_none()
    }

    /// Where the L2 table of L1 entry `index` lies, and whether it is ours alone.
    pub(super) fn l2_table(&self, index: u64) -> Result<Option<super::entry::L2At>, Trouble> {
        let raw = self.l1.entries().get(index as usize).copied().unwrap_or(0);
        decode_l1(raw, self.geometry).map_err(|_| damage::in_l1(raw, index, self.geometry))
    }

    /// Where the refcount block of an area lies.
    pub(super) fn refcount_block(&self, area: u64) -> Result<Option<u64>, Trouble> {
        let at = self.refcount_table.entries().get(area as usize).map_or(0, |entry| entry & !TABLE_RESERVED);
        if !self.geometry.is_aligned(at) {
            return Err(damage::in_refcount_table(at, area));
        }
        Ok((at != 0).then_some(at))
    }

    /// Notes host bytes that lost a pointer.
    pub(super) fn free_later(&mut self, at: u64, len: u64, why: Why) {
        assert!(len > 0, "nothing loses its pointer at {at:#x}");
        let discard = self.discards.passes(why);
        match self.pending_frees.last_mut() {
            Some(last) if last.bytes.end == at && last.discard == discard && self.geometry.is_aligned(at) => {
                last.bytes.end += len;
            }
            _ => self.pending_frees.push(Freed { bytes: at..at + len, discard }),
        }
    }

    /// Notes that the disk was written up to `end`.
    pub(super) fn wrote_up_to(&mut self, end: u64) {
        self.unflushed = true;
        self.wrote = true;
        self.file_end = self.file_end.max(end);
    }

    /// Notes that guest data was written up to `end`, in this file or in the data file.
    pub(super) fn wrote_data_up_to(&mut self, end: u64) {
        if self.geometry.data_file {
            self.unflushed = true;
            self.wrote = true;
        } else {
            self.wrote_up_to(end);
        }
    }

    /// Whether so much waits to be written that a flush should not wait for the guest's.
    pub(super) fn is_crowded(&self) -> bool {
        self.cache.is_crowded() || self.pending_frees.len() > MANY_PENDING_FREES
    }

    /// Whether a flush would have something to write.
    pub(super) fn has_unwritten(&self) -> bool {
        self.cache.has_dirty()
            || self.l1.is_dirty()
            || self.refcount_table.is_dirty()
            || !self.pending_frees.is_empty()
    }

    /// Whether the disk has bitmaps that it says are true.
    pub(super) fn has_bitmaps_at_rest(&self) -> bool {
        self.bitmaps.iter().any(|entry| !entry.is_in_use)
    }
}
