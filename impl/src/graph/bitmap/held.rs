//! Bitmaps that somebody holds: nobody else changes them meanwhile.
//!
//! A backup saves what was dirty when it began, and what is written from then on is recorded apart. In the end what was
//! saved is forgotten, or both are one again:
//!
//! ```text
//! begin   dirty | since: nothing     every write goes to `since`
//! end     since                      what was dirty is saved
//!         dirty + since              it is not, or the bitmap is to stay
//! ```

use super::ranges::Ranges;
use super::{Bitmap, BitmapName};
use crate::error::Refused;
use crate::graph::Graph;
use crate::id::NodeId;
use crate::sync::shim::Mutex;
use std::sync::Arc;

/// Who holds a bitmap.
#[derive(Clone, Debug)]
pub(crate) enum Held {
    /// Nobody.
    No,
    /// A backup. What was written since it began is here.
    ByBackup(Arc<Mutex<Ranges>>),
}

/// What becomes of a bitmap when a backup ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// What was dirty when it began is forgotten, but for these bytes.
    Forgets(Vec<(u64, u64)>),
    /// Nothing is forgotten.
    Keeps,
}

impl Held {
    /// Where writes are recorded while a backup holds the bitmap.
    pub(super) fn since(&self) -> Option<&Arc<Mutex<Ranges>>> {
        match self {
            Held::ByBackup(since) => Some(since),
            Held::No => None,
        }
    }
}

impl Bitmap {
    /// What is dirty, however it is recorded.
    pub(super) fn all(&self) -> Ranges {
        let mut all = self.dirty.lock().copy();
        if let Some(since) = self.held.since() {
            since.lock().map.iter().for_each(|(start, end)| all.insert(*start, *end));
        }
        all
    }

    /// How many bytes were written since a backup holds it, in whole granules.
    pub(crate) fn bytes_since(&self) -> Option<u64> {
        let granules: u64 = self.held.since()?.lock().map.iter().map(|(start, end)| end - start).sum();
        Some(granules.saturating_mul(u64::from(self.granularity)))
    }

    /// What is left of it when a backup ends.
    fn left(&self, after: After) -> Bitmap {
        let dirty = match (after, self.held.since()) {
            (After::Forgets(but), Some(since)) => {
                let granularity = u64::from(self.granularity);
                let mut dirty = since.lock().copy();
                but.iter().for_each(|(start, end)| {
                    dirty.insert(start / granularity, end.div_ceil(granularity));
                });
                dirty
            }
            _ => self.all(),
        };
        Bitmap { held: Held::No, ..self.holding(dirty) }
    }
}

impl Graph {
    /// A backup takes hold of a bitmap that is free.
    pub(crate) fn hold_bitmap_for_backup(&mut self, wanted: &BitmapName) -> Result<(), Refused> {
        let since = Arc::new(Mutex::new(Ranges::none(&self.budget)));
        self.change_bitmap(wanted, |bitmap| Some(Bitmap { held: Held::ByBackup(since), ..bitmap.clone() }))
    }

    /// The backup has ended. One that forgets is the youngest of its node from now on, as in QEMU.
    pub(crate) fn release_bitmap_of_backup(&mut self, node: NodeId, name: &str, after: After) {
        if !self.contains(node) {
            return;
        }
        let bitmaps = &mut self.place_mut(node).bitmaps;
        if let Some(at) = bitmaps.iter().position(|bitmap| *bitmap.name == *name) {
            let is_youngest = after != After::Keeps;
            let left = bitmaps[at].left(after);
            if is_youngest {
                bitmaps.remove(at);
                bitmaps.push(left);
            } else {
                bitmaps[at] = left;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    /// Granule 1 was dirty before the backup began, granule 4 is since.
    fn held() -> Bitmap {
        let ranges = |start, end| {
            let mut ranges = Ranges::none(&Budget::default());
            ranges.insert(start, end);
            Arc::new(Mutex::new(ranges))
        };
        let bitmap = Bitmap {
            name: "b".into(),
            granularity: 512,
            is_recording: true,
            is_persistent: false,
            is_inconsistent: false,
            held: Held::ByBackup(Arc::new(Mutex::new(Ranges::none(&Budget::default())))),
            dirty: ranges(1, 2),
        };
        bitmap.mark(4 * 512 + 3, 1);
        bitmap
    }

    #[test]
    fn what_is_written_while_a_backup_runs_is_apart_from_what_it_saves() {
        let bitmap = held();
        assert_eq!(bitmap.dirty_ranges(), [(512, 1024)]);
        assert_eq!((bitmap.dirty_bytes(), bitmap.bytes_since()), (512, Some(512)));
        let stored: Vec<_> = bitmap.stored().dirty.into_iter().collect();
        assert_eq!(stored, [1..2, 4..5], "whoever stores it loses neither");
    }

    #[test]
    fn a_backup_that_succeeds_leaves_what_is_written_since_and_what_it_did_not_copy() {
        let saved = held().left(After::Forgets(Vec::new()));
        assert_eq!((saved.dirty_ranges(), saved.bytes_since()), (vec![(2048, 2560)], None));
        let partly = held().left(After::Forgets(vec![(512, 1024)]));
        assert_eq!(partly.dirty_ranges(), [(512, 1024), (2048, 2560)]);
    }

    #[test]
    fn a_bitmap_that_is_kept_has_both() {
        let kept = held().left(After::Keeps);
        assert_eq!(kept.dirty_ranges(), [(512, 1024), (2048, 2560)]);
        kept.mark(0, 1);
        assert_eq!(kept.dirty_ranges()[0], (0, 1024), "and records again");
    }
}
