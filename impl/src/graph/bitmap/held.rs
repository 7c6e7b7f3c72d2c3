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
    /// An export, which shows it to its clients.
    ByExport,
}

/// What becomes of a bitmap when a backup ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// What was dirty when it began is forgotten, but for these bytes.
    Forgets(Vec<(u64, u64)>),
    /// Nothing is forgotten.
    Keeps,
}

/// A bitmap that an export is to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExportedBitmap {
    /// The nearest one of this name, from the export's node down.
    Nearest(String),
    /// One of a certain node.
    Of(BitmapName),
}

/// A bitmap that an export shows: what is dirty in it changes with the bitmap.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    node: NodeId,
    pub(crate) bitmap: Bitmap,
}

impl Held {
    /// Where writes are recorded while a backup holds the bitmap.
    pub(super) fn since(&self) -> Option<&Arc<Mutex<Ranges>>> {
        match self {
            Held::ByBackup(since) => Some(since),
            Held::No | Held::ByExport => None,
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

    /// What is dirty of a range: bytes, and whether they are, in at most `runs_max` runs from its start.
    pub(crate) fn dirty_runs(&self, offset: u64, len: u64, runs_max: usize) -> Vec<(u64, bool)> {
        let granularity = u64::from(self.granularity);
        let (mut at, end) = (offset, offset + len);
        let mut runs = Vec::new();
        let dirty = self.dirty.lock();
        let before = dirty.map.range(..=offset / granularity).next_back();
        let later = dirty.map.range(offset / granularity + 1..);
        for (start, stop) in before.into_iter().chain(later) {
            let start = start.saturating_mul(granularity).clamp(at, end);
            let stop = stop.saturating_mul(granularity).clamp(at, end);
            for (to, is_dirty) in [(start, false), (stop, true)] {
                if at < to {
                    runs.push((to - at, is_dirty));
                    at = to;
                }
            }
            if at == end || runs.len() >= runs_max {
                break;
            }
        }
        if at < end {
            runs.push((end - at, false));
        }
        runs.truncate(runs_max);
        runs
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

    /// An export of `node` takes hold of bitmaps: all of them or none.
    pub(crate) fn hold_bitmaps_for_export(
        &mut self,
        node: NodeId,
        wanted: &[ExportedBitmap],
        writable: bool,
    ) -> Result<Vec<Shown>, Refused> {
        let found = wanted.iter().map(|wanted| self.find_exported(node, wanted, writable));
        let found: Vec<Shown> = found.collect::<Result<_, Refused>>()?;
        for shown in &found {
            self.set_held_by_export(shown, Held::ByExport);
        }
        Ok(found)
    }

    /// The export has gone.
    pub(crate) fn release_bitmaps_of_export(&mut self, shown: &[Shown]) {
        shown
            .iter()
            .filter(|shown| self.contains(shown.node))
            .cloned()
            .collect::<Vec<_>>()
            .iter()
            .for_each(|shown| self.set_held_by_export(shown, Held::No));
    }

    fn set_held_by_export(&mut self, shown: &Shown, held: Held) {
        let bitmaps = &mut self.place_mut(shown.node).bitmaps;
        if let Some(bitmap) = bitmaps.iter_mut().find(|bitmap| bitmap.name == shown.bitmap.name) {
            bitmap.held = held;
        }
    }

    fn find_exported(&self, node: NodeId, wanted: &ExportedBitmap, writable: bool) -> Result<Shown, Refused> {
        let (node, bitmap) = match wanted {
            ExportedBitmap::Of(name) => {
                if self.find(&name.node).is_none() {
                    return Err(Refused::NodeUnknown(name.node.clone()));
                }
                (self.lookup(&name.node)?, self.find_bitmap(name)?)
            }
            ExportedBitmap::Nearest(name) => {
                let here = |id: NodeId| self.place(id).bitmaps.iter().find(|bitmap| *bitmap.name == **name);
                let found = self.chain(node).find_map(|id| Some((id, here(id)?)));
                let found = found.ok_or_else(|| Refused::BitmapNotExported(name.clone()))?;
                if !writable && !self.place(found.0).read_only && found.1.is_recording {
                    return Err(Refused::BitmapStillRecording(name.clone()));
                }
                found
            }
        };
        bitmap.admit_use()?;
        Ok(Shown { node, bitmap: bitmap.clone() })
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
    fn of_any_range_it_is_known_what_is_dirty() {
        let bitmap = held().left(After::Keeps);
        let dirty = |offset: u64| (512..1024).contains(&offset) || (2048..2560).contains(&offset);
        for (offset, len) in [(0, 4096), (0, 100), (512, 512), (600, 100), (700, 2000), (2560, 7), (0, 513)] {
            let runs = bitmap.dirty_runs(offset, len, usize::MAX);
            let found = runs.iter().flat_map(|(len, is_dirty)| std::iter::repeat_n(*is_dirty, *len as usize));
            assert!(found.eq((offset..offset + len).map(dirty)), "{offset}+{len}: {runs:?}");
            assert!(runs.windows(2).all(|pair| pair[0].1 != pair[1].1), "{runs:?}");
            assert_eq!(bitmap.dirty_runs(offset, len, 1), [runs[0]]);
        }
    }

    #[test]
    fn a_bitmap_that_is_kept_has_both() {
        let kept = held().left(After::Keeps);
        assert_eq!(kept.dirty_ranges(), [(512, 1024), (2048, 2560)]);
        kept.mark(0, 1);
        assert_eq!(kept.dirty_ranges()[0], (0, 1024), "and records again");
    }
}
