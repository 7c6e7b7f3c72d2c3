//! Going through all that an L1 table leads to: no further than the file reaches, with pauses, and until the end begins.
//!
//! What is dirty on the way is written when it is too much, never kept to the end.

use super::Qcow2;
use super::damage;
use super::geometry::Geometry;
use super::metadata::Metadata;
use crate::budget::Breath;
use seam::IoResult;

/// How far somebody has come.
#[derive(Debug)]
pub(super) struct Walk {
    /// Table entries that may still be looked at.
    left: u64,
    per_table: u64,
    breath: Breath,
}

/// Entries beyond those that the file has room for: tables that were made lately are not in it yet.
const ENTRIES_MORE: u64 = 1 << 22;

impl Metadata {
    /// All entries of all L2 tables there can be, if each table is led to once.
    fn entries_max(&self) -> u64 {
        let Geometry { cluster_bits, .. } = self.geometry;
        let end = self.l2_at.last().map_or(0, |at| at + (1 << cluster_bits)).max(self.file_end);
        (end / self.geometry.l2_entry_bytes()).saturating_add(ENTRIES_MORE)
    }
}

impl Qcow2 {
    /// Begins to go through tables.
    pub(super) fn walk(&self) -> Walk {
        Walk {
            left: self.metadata.lock().entries_max(),
            per_table: self.geometry.l2_entries(),
            breath: self.allowance.breath(),
        }
    }

    /// Comes to the next table. EIO and an alarm if there cannot be as many; ECANCELED if the end has begun.
    pub(super) async fn next_table(&self, walk: &mut Walk) -> IoResult<()> {
        let left = walk.left.checked_sub(walk.per_table);
        walk.left = left.unwrap_or(0);
        walk.breath.after(walk.per_table).await?;
        // Where a walk fails, it fails like any step.
        self.step(|_| left.map(|_| ()).ok_or_else(damage::too_many_tables)).await
    }

    /// Writes what is dirty, if that is much, for a caller that holds `flushing`.
    pub(super) async fn flush_if_crowded_in_turn(&self) -> IoResult<()> {
        let is_crowded = self.metadata.lock().is_crowded();
        if is_crowded { self.flush_in_turn().await } else { Ok(()) }
    }

    /// The same for a caller that does not hold it.
    pub(super) async fn flush_if_crowded(&self) -> IoResult<()> {
        let is_crowded = self.metadata.lock().is_crowded();
        if is_crowded { self.flush().await } else { Ok(()) }
    }
}

impl Walk {
    /// Makes a pause if it is time, after so many entries.
    pub(super) async fn pause(&mut self, entries: u64) -> IoResult<()> {
        self.breath.after(entries).await
    }
}
