//! Dirty bitmaps: which parts of a node were written since somebody began to look.
//!
//! A bitmap hangs on a node's place, so adding, removing and clearing one are graph edits like all others: a
//! transaction that fails puts the old graph back. What is dirty is kept as ranges; it may claim too much, never too
//! little.

pub(crate) mod held;
mod ranges;
mod sum;

use self::held::Held;
use self::ranges::{RANGE_BYTES, Ranges};
use super::{Graph, Place};
use crate::budget::{Budget, OverBudget};
use crate::error::Refused;
use crate::format::qcow2::{BitmapsUnread, Qcow2, StoredBitmap};
use crate::graph::length::len_bytes;
use crate::id::NodeId;
use crate::sync::shim::Mutex;
use std::sync::Arc;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 1023;
/// The smallest granularity.
const GRANULARITY_MIN: u32 = 512;
/// Without a cluster size to follow.
const GRANULARITY_DEFAULT: u64 = 64 << 10;
/// One bitmap. A persistent one goes into its image when that is closed, and comes back when it is opened.
#[derive(Clone, Debug)]
pub struct Bitmap {
    /// Its name, unique on its node.
    pub name: Arc<str>,
    /// How many bytes one bit stands for.
    pub granularity: u32,
    /// Whether writes are recorded.
    pub is_recording: bool,
    /// Whether its image keeps it.
    pub is_persistent: bool,
    /// Whether it was not stored after its last change: nobody knows what is dirty, and it can only be removed.
    pub is_inconsistent: bool,
    /// Who holds it.
    pub(crate) held: Held,
    /// What is dirty; while a backup holds it, what was dirty when that began.
    dirty: Arc<Mutex<Ranges>>,
}

/// `block-dirty-bitmap-add`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NewBitmap {
    /// `node`.
    pub node: String,
    /// `name`.
    pub name: String,
    /// `granularity`.
    pub granularity: Option<i64>,
    /// `persistent`.
    pub is_persistent: bool,
    /// `disabled`.
    pub is_disabled: bool,
}

/// A bitmap and the node it hangs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapName {
    /// `node`.
    pub node: String,
    /// `name`.
    pub name: String,
}

impl Bitmap {
    /// Records a write.
    pub fn mark(&self, offset: u64, len: u64) {
        if self.is_recording && len > 0 {
            let granularity = u64::from(self.granularity);
            let into = self.held.since().unwrap_or(&self.dirty);
            into.lock().insert(offset / granularity, offset.saturating_add(len).div_ceil(granularity));
        }
    }

    /// How many bytes are dirty, in whole granules.
    pub(crate) fn dirty_bytes(&self) -> u64 {
        let granules: u64 = self.dirty.lock().map.iter().map(|(start, end)| end - start).sum();
        granules.saturating_mul(u64::from(self.granularity))
    }

    /// The dirty byte ranges, in order; the last may reach past the end of the node.
    pub(crate) fn dirty_ranges(&self) -> Vec<(u64, u64)> {
        let granularity = u64::from(self.granularity);
        let bytes =
            |(start, end): (&u64, &u64)| (start.saturating_mul(granularity), end.saturating_mul(granularity));
        self.dirty.lock().map.iter().map(bytes).collect()
    }

    /// As its image keeps it.
    fn stored(&self) -> StoredBitmap {
        StoredBitmap {
            name: Arc::clone(&self.name),
            granularity: self.granularity,
            is_recording: self.is_recording,
            is_inconsistent: self.is_inconsistent,
            dirty: self.all().map.iter().map(|(start, end)| *start..*end).collect(),
        }
    }

    /// As its image kept it.
    fn loaded(stored: StoredBitmap, budget: &Budget) -> Result<Bitmap, OverBudget> {
        let bytes = stored.dirty.len() as u64 * RANGE_BYTES;
        let share = budget.take(bytes, || format!("Bitmap '{}'", stored.name))?;
        let map = stored.dirty.into_iter().map(|range| (range.start, range.end)).collect();
        let dirty = Ranges { map, share };
        Ok(Bitmap {
            name: stored.name,
            granularity: stored.granularity,
            is_recording: stored.is_recording,
            is_persistent: true,
            is_inconsistent: stored.is_inconsistent,
            held: Held::No,
            dirty: Arc::new(Mutex::new(dirty)),
        })
    }

    /// Refuses what somebody else holds.
    fn admit_free(&self) -> Result<(), Refused> {
        match self.held {
            Held::No => Ok(()),
            _ => Err(Refused::BitmapBusy(self.name.to_string())),
        }
    }

    /// Refuses what somebody else holds, and what nobody knows the content of.
    pub(crate) fn admit_use(&self) -> Result<(), Refused> {
        self.admit_free()?;
        if self.is_inconsistent {
            return Err(Refused::BitmapInconsistent(self.name.to_string()));
        }
        Ok(())
    }

    /// The same with only `dirty` in it, apart from the one this was.
    fn holding(&self, dirty: Ranges) -> Bitmap {
        Bitmap { dirty: Arc::new(Mutex::new(dirty)), ..self.clone() }
    }
}

impl Place {
    /// The image, if it keeps some of the node's bitmaps.
    pub fn image_of_bitmaps(&self) -> Option<&Arc<Qcow2>> {
        self.node.qcow2().filter(|_| self.bitmaps.iter().any(|bitmap| bitmap.is_persistent))
    }

    /// Hands the image what its bitmaps hold, for when it is closed. Nobody writes to the node any more.
    pub fn hand_over_bitmaps(&self) {
        if let Some(image) = self.image_of_bitmaps() {
            let ours = |bitmap: &&Bitmap| bitmap.is_persistent && !bitmap.is_inconsistent;
            // The youngest first, as QEMU lists them.
            image.hand_over_bitmaps(self.bitmaps.iter().rev().filter(ours).map(Bitmap::stored).collect());
        }
    }
}

/// The bitmaps that an image keeps, one after the other: what the image says of one is more than what we keep of it.
pub(crate) async fn load_bitmaps(image: &Qcow2, budget: &Budget) -> Result<Vec<Bitmap>, BitmapsUnread> {
    let mut left = image.clusters_of_bits();
    let mut bitmaps = Vec::new();
    while let Some(stored) = image.load_bitmap(bitmaps.len(), &mut left).await? {
        bitmaps.push(Bitmap::loaded(stored, budget)?);
    }
    Ok(bitmaps)
}

impl Graph {
    /// `block-dirty-bitmap-add`.
    pub(crate) fn add_bitmap(&mut self, new: &NewBitmap) -> Result<(), Refused> {
        let node = self.lookup(&new.node)?;
        if new.name.is_empty() {
            return Err(Refused::BitmapNameEmpty);
        }
        let granularity = self.admit_granularity(node, new.granularity)?;
        if new.is_persistent {
            self.admit_persistent(node, new, granularity)?;
        }
        if self.place(node).bitmaps.iter().any(|bitmap| *bitmap.name == *new.name) {
            return Err(Refused::DuplicateBitmap(new.name.clone()));
        }
        if new.name.len() > NAME_BYTES_MAX {
            return Err(Refused::BitmapNameTooLong(new.name.clone()));
        }
        let name = new.name.as_str().into();
        let dirty = Arc::new(Mutex::new(Ranges::none(&self.budget)));
        self.place_mut(node).bitmaps.push(Bitmap {
            name,
            granularity,
            is_recording: !new.is_disabled,
            is_persistent: new.is_persistent,
            is_inconsistent: false,
            held: Held::No,
            dirty,
        });
        Ok(())
    }

    fn admit_persistent(&self, node: NodeId, new: &NewBitmap, granularity: u32) -> Result<(), Refused> {
        let place = self.place(node);
        let Some(image) = place.node.qcow2() else {
            return Err(Refused::BitmapNotStorable(new.node.clone()));
        };
        let others = place.bitmaps.iter().filter(|bitmap| bitmap.is_persistent).count();
        image.admit_bitmap(&new.name, granularity, others).map_err(|why| Refused::BitmapNotPersistent {
            name: new.name.clone(),
            node: place.node.name.to_string(),
            why: why.to_string(),
        })
    }

    fn admit_granularity(&self, node: NodeId, asked: Option<i64>) -> Result<u32, Refused> {
        let Some(asked) = asked else {
            // As fine as the image's own clusters, within reason.
            let clusters = self.node(node).cluster_bytes().unwrap_or(GRANULARITY_DEFAULT);
            return Ok(clusters.clamp(4096, GRANULARITY_DEFAULT) as u32);
        };
        let asked = u32::try_from(asked).map_err(|_| Refused::GranularityNotAccepted)?;
        if asked < GRANULARITY_MIN || !asked.is_power_of_two() {
            return Err(Refused::BadGranularity);
        }
        Ok(asked)
    }

    /// Finds a bitmap by node and name.
    pub(crate) fn find_bitmap(&self, wanted: &BitmapName) -> Result<&Bitmap, Refused> {
        let node = self.lookup(&wanted.node)?;
        let found = self.place(node).bitmaps.iter().find(|bitmap| *bitmap.name == *wanted.name);
        found.ok_or_else(|| Refused::BitmapNotFound(wanted.name.clone()))
    }

    /// Refuses to change what a bitmap holds while somebody else holds it, or its image, which keeps it, is read-only.
    pub(crate) fn admit_change(&self, wanted: &BitmapName) -> Result<(), Refused> {
        let bitmap = self.find_bitmap(wanted)?;
        bitmap.admit_free()?;
        if bitmap.is_persistent && self.place(self.lookup(&wanted.node)?).read_only {
            return Err(Refused::BitmapReadOnly(wanted.name.clone()));
        }
        Ok(())
    }

    /// Changes a bitmap, or removes it by answering nothing.
    fn change_bitmap(
        &mut self,
        wanted: &BitmapName,
        change: impl FnOnce(&Bitmap) -> Option<Bitmap>,
    ) -> Result<(), Refused> {
        let changed = change(self.find_bitmap(wanted)?);
        let node = self.lookup(&wanted.node)?;
        let bitmaps = &mut self.place_mut(node).bitmaps;
        let index = bitmaps.iter().position(|bitmap| *bitmap.name == *wanted.name);
        let index = index.expect("the bitmap was found just now");
        match changed {
            Some(changed) => bitmaps[index] = changed,
            None => drop(bitmaps.remove(index)),
        }
        Ok(())
    }

    /// `block-dirty-bitmap-remove`.
    pub fn remove_bitmap(&mut self, wanted: &BitmapName) -> Result<(), Refused> {
        self.admit_change(wanted)?;
        self.change_bitmap(wanted, |_| None)
    }

    /// `block-dirty-bitmap-clear`.
    pub(crate) fn clear_bitmap(&mut self, wanted: &BitmapName) -> Result<(), Refused> {
        self.admit_change(wanted)?;
        self.find_bitmap(wanted)?.admit_use()?;
        let none = Ranges::none(&self.budget);
        self.change_bitmap(wanted, |bitmap| Some(bitmap.holding(none)))
    }

    /// `block-dirty-bitmap-enable` and `-disable`.
    pub(crate) fn set_bitmap_recording(
        &mut self,
        wanted: &BitmapName,
        is_recording: bool,
    ) -> Result<(), Refused> {
        self.find_bitmap(wanted)?.admit_use()?;
        // What was dirty stays with the bitmap of before: a request that still runs marks that one only.
        self.change_bitmap(wanted, |bitmap| {
            let dirty = bitmap.dirty.lock().copy();
            Some(Bitmap { is_recording, ..bitmap.holding(dirty) })
        })
    }

    /// `block-dirty-bitmap-merge`: what is dirty in any of `sources` is dirty in `target` too.
    pub(crate) fn merge_bitmaps(
        &mut self,
        target: &BitmapName,
        sources: &[BitmapName],
    ) -> Result<(), Refused> {
        let into = self.find_bitmap(target)?;
        let granularity = u64::from(into.granularity);
        let len = |name: &str| self.lookup(name).ok().and_then(|id| len_bytes(self, id).ok());
        let mut dirty = into.dirty.lock().copy();
        for source in sources {
            if self.find(&source.node).is_none() {
                return Err(Refused::NodeUnknown(source.node.clone()));
            }
            let bitmap = self.find_bitmap(source)?;
            bitmap.admit_use()?;
            if let (Some(target), Some(source)) = (len(&target.node), len(&source.node))
                && target != source
            {
                return Err(Refused::BitmapsOfOtherSizes { target, other: source });
            }
            for (start, end) in bitmap.dirty_ranges() {
                dirty.insert(start / granularity, end.div_ceil(granularity));
            }
        }
        // Only now, as in QEMU, is it looked at whether target may be changed at all.
        self.admit_change(target)?;
        into.admit_use()?;
        self.change_bitmap(target, |bitmap| Some(bitmap.holding(dirty)))
    }

    /// After a node's size has changed: nothing past its end is dirty.
    pub(crate) fn cut_bitmaps(&mut self, node: NodeId) {
        let len = len_bytes(self, node).unwrap_or(u64::MAX);
        for bitmap in &mut self.place_mut(node).bitmaps {
            let granules = len.div_ceil(u64::from(bitmap.granularity));
            bitmap.dirty.lock().truncate(granules);
            if let Some(since) = bitmap.held.since() {
                since.lock().truncate(granules);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ranges::{RANGES_MAX, RANGES_STEP};
    use super::*;

    fn bitmap(granularity: u32) -> Bitmap {
        Bitmap {
            name: "b".into(),
            granularity,
            is_recording: true,
            is_persistent: false,
            is_inconsistent: false,
            held: Held::No,
            dirty: Arc::new(Mutex::new(Ranges::none(&Budget::default()))),
        }
    }

    #[test]
    fn without_memory_a_bitmap_claims_too_much_and_forgets_nothing() {
        let budget = Budget::new(RANGES_STEP * RANGE_BYTES * 8);
        let bitmap = Bitmap { dirty: Arc::new(Mutex::new(Ranges::none(&budget))), ..bitmap(512) };
        (0..10_000).rev().for_each(|n| bitmap.mark(n * 4096, 1));
        assert!(budget.held() <= budget.limit());
        let ranges = bitmap.dirty_ranges();
        assert!(ranges.len() as u64 <= RANGES_STEP * 8, "{} ranges", ranges.len());
        for n in 0..10_000 {
            let at = ranges.partition_point(|(start, _)| *start <= n * 4096);
            assert!(ranges[at - 1].1 > n * 4096, "write {n} is forgotten");
        }
        drop(bitmap);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn neighbours_and_overlaps_become_one_range() {
        let bitmap = bitmap(512);
        for (offset, len) in [(1024, 1), (0, 512), (512, 512), (4096, 10), (1000, 1000)] {
            bitmap.mark(offset, len);
        }
        assert_eq!(bitmap.dirty_ranges(), [(0, 2048), (4096, 4608)]);
        assert_eq!(bitmap.dirty_bytes(), 2560);
    }

    #[test]
    fn a_write_of_everything_costs_one_range() {
        let bitmap = bitmap(512);
        bitmap.mark(100, u64::MAX / 2);
        bitmap.mark(5, 7);
        assert_eq!(bitmap.dirty_ranges().len(), 1);
    }

    #[test]
    fn too_many_ranges_claim_too_much_and_forget_nothing() {
        let bitmap = bitmap(512);
        let writes = RANGES_MAX as u64 + 100;
        for n in (0..writes).rev() {
            bitmap.mark(n * 4096, 1);
        }
        let ranges = bitmap.dirty_ranges();
        assert!(ranges.len() <= RANGES_MAX);
        for n in 0..writes {
            let at = ranges.partition_point(|(start, _)| *start <= n * 4096);
            assert!(ranges[at - 1].1 > n * 4096, "write {n} is forgotten");
        }
    }

    #[test]
    fn a_bitmap_that_does_not_record_stays_as_it_is() {
        let bitmap = Bitmap { is_recording: false, ..bitmap(512) };
        bitmap.mark(0, 4096);
        assert_eq!(bitmap.dirty_bytes(), 0);
    }
}
