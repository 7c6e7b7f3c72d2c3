//! The ranges of granules that are dirty in one bitmap.

use crate::budget::{Budget, Share};
use std::collections::BTreeMap;

/// More ranges than this are joined, and what lies between them counts as dirty: memory is bounded, whatever clients
/// write.
pub(super) const RANGES_MAX: usize = 1 << 18;

/// Disjoint ranges of granules: begin and end of each.
#[derive(Debug)]
pub(crate) struct Ranges {
    pub(super) map: BTreeMap<u64, u64>,
    /// The memory they take, in steps.
    pub(super) share: Share,
}

/// Memory of one range, and of its copy while it is stored.
pub(super) const RANGE_BYTES: u64 = 48;
/// Ranges that memory is taken for at a time.
pub(super) const RANGES_STEP: u64 = 256;

impl Ranges {
    pub(super) fn none(budget: &Budget) -> Ranges {
        Ranges { map: BTreeMap::new(), share: budget.nothing() }
    }

    /// The same once more. It is there for a moment only, whatever the budget says.
    pub(super) fn copy(&self) -> Ranges {
        let mut share = self.share.budget().nothing();
        share.grow_anyway(self.share.bytes());
        Ranges { map: self.map.clone(), share }
    }

    /// Whether there is room for one more range.
    fn has_room(&mut self) -> bool {
        let len = self.map.len() as u64;
        let is_held = (len + 1) * RANGE_BYTES <= self.share.bytes();
        self.map.len() < RANGES_MAX && (is_held || self.share.grow_cache(RANGES_STEP * RANGE_BYTES))
    }

    pub(super) fn insert(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start, end);
        // The one before may reach this one; each one behind that begins inside is swallowed.
        if let Some((before, before_end)) = self.map.range(..=start).next_back().map(|(a, b)| (*a, *b))
            && before_end >= start
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((next, next_end)) = self.map.range(start..=end).next().map(|(a, b)| (*a, *b)) {
            self.map.remove(&next);
            end = end.max(next_end);
        }
        if !self.map.contains_key(&start) && !self.has_room() {
            let next = self.map.range(start..).next().or_else(|| self.map.range(..start).next_back());
            // The first one of all is taken in any case.
            if let Some((a, b)) = next.map(|(a, b)| (*a, *b)) {
                self.map.remove(&a);
                (start, end) = (start.min(a), end.max(b));
            }
        }
        self.map.insert(start, end);
    }

    pub(super) fn truncate(&mut self, end: u64) {
        self.map.split_off(&end);
        if let Some((_, last)) = self.map.iter_mut().next_back() {
            *last = (*last).min(end);
        }
    }
}
