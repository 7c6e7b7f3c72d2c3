//! A table of 64-bit pointers that is always in memory: the L1 table, the refcount table.

use super::cache::{Piece, widen};
use super::geometry::SECTOR;
use std::ops::Range;

/// The table, where it lies, and which of its bytes the disk does not have yet.
#[derive(Debug)]
pub(super) struct PointerTable {
    offset: u64,
    entries: Vec<u64>,
    dirty: Range<usize>,
}

impl PointerTable {
    /// A table as it lies on the disk at `offset`.
    pub(super) fn new(offset: u64, bytes: &[u8]) -> Self {
        let entry = |chunk: &[u8]| u64::from_be_bytes(chunk.try_into().expect("chunks of eight"));
        PointerTable { offset, entries: bytes.chunks_exact(8).map(entry).collect(), dirty: 0..0 }
    }

    /// Where the table lies.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Its entries.
    pub(super) fn entries(&self) -> &[u64] {
        &self.entries
    }

    /// Its length.
    pub(super) fn len_bytes(&self) -> u64 {
        self.entries.len() as u64 * 8
    }

    /// Changes one entry.
    pub(super) fn set(&mut self, index: usize, value: u64) {
        self.entries[index] = value;
        self.dirty = widen(&self.dirty, index * 8..index * 8 + 8, self.entries.len() * 8);
    }

    /// Grows the table and gives it a new place; all of it is to be written there.
    pub(super) fn move_to(&mut self, offset: u64, len: usize) {
        assert!(len >= self.entries.len(), "tables only grow: {} to {len}", self.entries.len());
        assert_eq!(offset % SECTOR, 0, "a table at {offset:#x}");
        self.entries.resize(len, 0);
        self.offset = offset;
        self.mark_dirty(0..len * 8);
    }

    /// Says that these bytes are to be written (again).
    pub(super) fn mark_dirty(&mut self, range: Range<usize>) {
        self.dirty = widen(&self.dirty, range, self.entries.len() * 8);
    }

    /// Whether there is anything to write.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the dirty sectors and counts them as clean. The last sector is filled with zeroes.
    pub(super) fn take_dirty(&mut self) -> Option<Piece> {
        let range = std::mem::replace(&mut self.dirty, 0..0);
        if range.is_empty() {
            return None;
        }
        assert_eq!(range.start % SECTOR as usize, 0, "dirty ranges are whole sectors");
        let last = (range.end / 8).min(self.entries.len());
        let mut bytes = Vec::with_capacity(range.len());
        self.entries[range.start / 8..last].iter().for_each(|e| bytes.extend_from_slice(&e.to_be_bytes()));
        bytes.resize(range.len(), 0);
        Some(Piece { table: self.offset, range, bytes })
    }
}
