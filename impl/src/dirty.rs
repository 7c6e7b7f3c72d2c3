//! Which parts of a node a mirror or a backup still has to copy: one bit for each chunk.
//!
//! Marking rounds outwards, forgetting rounds inwards: a chunk of which anything is left to copy stays marked.

use crate::budget::{Budget, OverBudget, Share};

/// More chunks than this are not distinguished: the map stays within 2 MiB, whatever size an image claims to have.
const CHUNKS_MAX: u64 = 1 << 24;

/// The map.
#[derive(Debug)]
pub struct DirtyMap {
    len_bytes: u64,
    chunk_bytes: u64,
    words: Vec<u64>,
    marked: u64,
    /// Where the next look begins: the walk goes round, so that a busy start does not starve the end.
    cursor: u64,
    /// What it takes of the budget.
    _share: Share,
}

impl DirtyMap {
    /// A map of `len_bytes` in which nothing is marked. Chunks are at least `chunk_bytes`, a power of two.
    pub fn new(len_bytes: u64, chunk_bytes: u64, budget: &Budget) -> Result<DirtyMap, OverBudget> {
        assert!(chunk_bytes.is_power_of_two(), "chunks of {chunk_bytes} bytes");
        let mut chunk_bytes = chunk_bytes;
        while len_bytes.div_ceil(chunk_bytes) > CHUNKS_MAX {
            chunk_bytes *= 2;
        }
        let chunks = len_bytes.div_ceil(chunk_bytes);
        let words = chunks.div_ceil(64);
        let _share = budget.take(8 * words, || "The map of what a job has to copy".to_owned())?;
        let words = vec![0; words as usize];
        Ok(DirtyMap { len_bytes, chunk_bytes, words, marked: 0, cursor: 0, _share })
    }

    /// The size of a chunk.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// How many bytes are marked, in whole chunks but for the last one.
    pub fn bytes(&self) -> u64 {
        let whole = self.marked * self.chunk_bytes;
        let chunks = self.chunks();
        let overhang = chunks * self.chunk_bytes - self.len_bytes;
        if chunks > 0 && self.is_marked(chunks - 1) { whole - overhang } else { whole }
    }

    /// Whether nothing is left to copy.
    pub fn is_clean(&self) -> bool {
        self.marked == 0
    }

    /// Marks every chunk that `start..end` touches.
    pub fn mark(&mut self, start: u64, end: u64) {
        let end = end.min(self.len_bytes);
        self.change(start / self.chunk_bytes, end.div_ceil(self.chunk_bytes), true);
    }

    /// Forgets every chunk that lies in `start..end` with all its bytes.
    pub fn forget(&mut self, start: u64, end: u64) {
        let end = if end >= self.len_bytes { self.chunks() } else { end / self.chunk_bytes };
        self.change(start.div_ceil(self.chunk_bytes), end, false);
    }

    /// Takes out the next marked chunk and those right behind it, `bytes_max` at most but one chunk at least. Answers
    /// their bytes.
    pub fn take(&mut self, bytes_max: u64) -> Option<(u64, u64)> {
        let first = self.next_marked(self.cursor).or_else(|| self.next_marked(0))?;
        let limit = first.saturating_add((bytes_max / self.chunk_bytes).max(1)).min(self.chunks());
        let end = (first + 1..limit).find(|chunk| !self.is_marked(*chunk)).unwrap_or(limit);
        self.change(first, end, false);
        self.cursor = end;
        Some((first * self.chunk_bytes, (end * self.chunk_bytes).min(self.len_bytes)))
    }

    /// The first marked chunk that `start..end` touches and those right behind it that it touches too. Answers their
    /// bytes, and leaves them marked.
    pub(crate) fn first_marked(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        let limit = end.min(self.len_bytes).div_ceil(self.chunk_bytes);
        let first = self.next_marked(start / self.chunk_bytes).filter(|first| *first < limit)?;
        let last = (first + 1..limit).find(|chunk| !self.is_marked(*chunk)).unwrap_or(limit);
        Some((first * self.chunk_bytes, (last * self.chunk_bytes).min(self.len_bytes)))
    }

    fn chunks(&self) -> u64 {
        self.len_bytes.div_ceil(self.chunk_bytes)
    }

    fn is_marked(&self, chunk: u64) -> bool {
        self.words[(chunk / 64) as usize] >> (chunk % 64) & 1 == 1
    }

    /// Sets or clears the chunks `first..end`, a word at a time.
    fn change(&mut self, first: u64, end: u64, mark: bool) {
        assert!(end <= self.chunks(), "chunks {first} to {end} of {}", self.chunks());
        let mut chunk = first;
        while chunk < end {
            let count = (64 - chunk % 64).min(end - chunk);
            let mask = (u64::MAX >> (64 - count)) << (chunk % 64);
            let word = &mut self.words[(chunk / 64) as usize];
            let before = word.count_ones();
            *word = if mark { *word | mask } else { *word & !mask };
            self.marked = self.marked + u64::from(word.count_ones()) - u64::from(before);
            chunk += count;
        }
        assert!(self.marked <= self.chunks(), "{} of {} chunks are marked", self.marked, self.chunks());
    }

    fn next_marked(&self, from: u64) -> Option<u64> {
        let mut chunk = from;
        while chunk < self.chunks() {
            let rest = self.words[(chunk / 64) as usize] >> (chunk % 64);
            if rest != 0 {
                return Some(chunk + u64::from(rest.trailing_zeros()));
            }
            chunk += 64 - chunk % 64;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(len_bytes: u64, chunk_bytes: u64) -> DirtyMap {
        DirtyMap::new(len_bytes, chunk_bytes, &Budget::default()).expect("a budget without a limit")
    }

    #[test]
    fn a_map_is_a_part_of_the_budget() {
        let budget = Budget::new(100);
        let refused = DirtyMap::new(64 * 512 * 16, 512, &budget).unwrap_err();
        assert_eq!((refused.wanted, refused.left), (128, 100));
        let map = DirtyMap::new(64 * 512 * 8, 512, &budget).expect("it fits");
        assert_eq!(budget.held(), 64);
        drop(map);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn marking_rounds_outwards_and_forgetting_inwards() {
        let mut map = map(1000, 256);
        map.mark(255, 257);
        assert_eq!(map.bytes(), 512);
        map.forget(1, 511);
        assert_eq!(map.bytes(), 512);
        map.forget(0, 511);
        assert_eq!(map.bytes(), 256);
        assert_eq!(map.take(4096), Some((256, 512)));
        assert!(map.is_clean());
    }

    #[test]
    fn the_last_chunk_ends_where_the_node_ends() {
        let mut map = map(1000, 256);
        map.mark(999, 5000);
        assert_eq!(map.bytes(), 232);
        assert_eq!(map.take(1), Some((768, 1000)));
        map.mark(0, 1000);
        assert_eq!(map.bytes(), 1000);
        map.forget(0, 1000);
        assert!(map.is_clean());
    }

    #[test]
    fn a_look_finds_the_first_marked_chunks_of_a_range_and_leaves_them() {
        let mut map = map(10 * 256, 256);
        map.mark(512, 1024);
        map.mark(2 * 1024, 10 * 256);
        for _ in 0..2 {
            assert_eq!(map.first_marked(0, 2560), Some((512, 1024)));
            assert_eq!(map.first_marked(0, 512), None);
            assert_eq!(map.first_marked(800, 801), Some((768, 1024)));
            assert_eq!(map.first_marked(1024, 2048), None);
            assert_eq!(map.first_marked(1024, u64::MAX), Some((2048, 2560)));
        }
    }

    // A guest that writes to the start all the time must not keep the end from being copied.
    #[test]
    fn the_walk_goes_round() {
        let mut map = map(64 * 256, 256);
        map.mark(0, 64 * 256);
        assert_eq!(map.take(1024), Some((0, 1024)));
        map.mark(0, 256);
        assert_eq!(map.take(u64::MAX), Some((1024, 64 * 256)));
        assert_eq!(map.take(1024), Some((0, 256)));
        assert_eq!(map.take(1024), None);
    }

    #[test]
    fn a_size_from_a_hostile_header_costs_little_memory() {
        let mut map = map(u64::MAX / 2, 512);
        assert!(map.words.len() * 8 <= 2 << 20);
        map.mark(0, u64::MAX / 2);
        assert_eq!(map.bytes(), u64::MAX / 2);
    }

    // Against a list of truths: any marks, forgets and takes.
    #[test]
    fn any_history_agrees_with_a_list_of_truths() {
        let (len, chunk) = (200 * 64 - 10, 64);
        let mut map = map(len, chunk);
        let mut truth = [false; 200];
        let mut state = 7u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for _ in 0..5000 {
            let start = draw(len);
            let end = start + 1 + draw((len - start).min(3000));
            let end = end.min(len);
            match draw(3) {
                0 => {
                    map.mark(start, end);
                    (start / chunk..end.div_ceil(chunk)).for_each(|c| truth[c as usize] = true);
                }
                1 => {
                    map.forget(start, end);
                    let last = if end == len { 200 } else { end / chunk };
                    (start.div_ceil(chunk)..last).for_each(|c| truth[c as usize] = false);
                }
                _ => {
                    let taken = map.take(1 + draw(1000));
                    assert_eq!(taken.is_none(), !truth.contains(&true));
                    for c in taken.map_or(0..0, |(start, end)| start / chunk..end.div_ceil(chunk)) {
                        assert!(std::mem::take(&mut truth[c as usize]), "chunk {c} was not marked");
                    }
                }
            }
            let count = truth.iter().filter(|marked| **marked).count() as u64;
            let overhang = if truth[199] { 10 } else { 0 };
            assert_eq!(map.bytes(), count * chunk - overhang);
        }
    }
}
