//! The bits of a persistent bitmap as ranges, and back: the lowest bit of each byte first.

use std::ops::Range;

/// A bitmap that is read is kept in so many ranges, and what lies between them counts as dirty beyond that: memory is
/// bounded, whatever a file holds.
const RANGES_MAX: usize = 1 << 18;

/// Ranges of set bits, in order.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<Range<u64>>);

impl Bits {
    /// Adds bits behind all others; where there are too many ranges, everything up to `until`.
    pub(super) fn add(&mut self, bits: Range<u64>, until: u64) {
        let is_full = self.0.len() >= RANGES_MAX;
        match self.0.last_mut() {
            Some(last) if last.end == bits.start => last.end = bits.end,
            Some(last) if is_full => last.end = until,
            _ => self.0.push(bits),
        }
    }

    /// Adds the bits of one cluster, the lowest bit of each byte first; its first bit is `first`.
    pub(super) fn add_bytes(&mut self, first: u64, bytes: &[u8]) {
        let end = first + bytes.len() as u64 * 8;
        for (n, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            let at = first + n as u64 * 8;
            if *byte == u8::MAX {
                self.add(at..at + 8, end);
                continue;
            }
            for bit in (0..8).filter(|bit| byte & 1 << bit != 0) {
                self.add(at + bit..at + bit + 1, end);
            }
            if self.0.len() >= RANGES_MAX {
                self.add(end..end, end);
                return;
            }
        }
    }

    /// Without what lies past the end of the image.
    pub(super) fn cut(self, granules: u64) -> Vec<Range<u64>> {
        let within = |range: Range<u64>| range.start.min(granules)..range.end.min(granules);
        self.0.into_iter().map(within).filter(|range| !range.is_empty()).collect()
    }
}

/// One cluster of bits: those of `dirty` from `first` on.
pub(super) fn bits_of(dirty: &[Range<u64>], first: u64, cluster_bytes: u64) -> Vec<u8> {
    let end = first + cluster_bytes * 8;
    let mut bytes = vec![0u8; cluster_bytes as usize];
    let from = dirty.partition_point(|range| range.end <= first);
    for range in dirty[from..].iter().take_while(|range| range.start < end) {
        let mut bit = range.start.max(first) - first;
        let stop = range.end.min(end) - first;
        while bit < stop {
            if bit.is_multiple_of(8) && stop - bit >= 8 {
                bytes[(bit / 8) as usize] = u8::MAX;
                bit += 8;
            } else {
                bytes[(bit / 8) as usize] |= 1 << (bit % 8);
                bit += 1;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_become_ranges_and_ranges_bits() {
        let dirty = [3..4, 8..24, 31..33, 100..101, 4000..4096];
        let bytes = bits_of(&dirty, 0, 512);
        let mut bits = Bits::default();
        bits.add_bytes(0, &bytes);
        assert_eq!(bits.cut(4096), dirty);
    }

    #[test]
    fn a_range_that_crosses_clusters_is_whole_in_both() {
        let dirty = vec![4000..4200, 4300..4301];
        let mut bits = Bits::default();
        for n in 0..2 {
            bits.add_bytes(n * 4096, &bits_of(&dirty, n * 4096, 512));
        }
        assert_eq!(bits.cut(8192), dirty);
    }

    #[test]
    fn what_lies_past_the_end_is_not_dirty() {
        let mut bits = Bits::default();
        bits.add(5..10, 4096);
        bits.add(12..20, 4096);
        bits.add(30..31, 4096);
        assert_eq!(bits.cut(13), [5..10, 12..13]);
    }

    #[test]
    fn too_many_ranges_claim_too_much_and_forget_nothing() {
        let mut bits = Bits::default();
        let cluster = vec![0b0101_0101; 2 << 20];
        bits.add_bytes(0, &cluster);
        let ranges = bits.cut(u64::MAX);
        assert!(ranges.len() <= RANGES_MAX);
        assert_eq!(ranges.last().map(|range| range.end), Some(16 << 20));
    }
}
