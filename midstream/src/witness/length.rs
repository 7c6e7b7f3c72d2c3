//! How long an image is by now, as far as anybody outside the layer can know.
//!
//! The specification knows devices of one length. So to it an image is as long as it ever becomes in the run: what a
//! resize cuts off is discarded, what it adds is made zeroes, and how many sectors there are is the content of one more
//! sector, on a device of its own, that a resize writes and a flush makes durable. What holds of data holds of lengths.

use std::ops::Range;

/// The length of one image, in sectors: two numbers while a resize is under way, and after one that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Length {
    min: u64,
    max: u64,
    is_changing: bool,
}

/// What a resize does to data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Effect {
    /// Sectors that are gone, or may be: whoever reads one while it is still there may read zeroes already.
    pub(crate) discarded: Range<u64>,
    /// Sectors that were not there before.
    pub(crate) zeroed: Range<u64>,
}

impl Length {
    /// So many sectors.
    pub(crate) fn new(sectors: u64) -> Length {
        Length { min: sectors, max: sectors, is_changing: false }
    }

    /// The sectors that are there for sure.
    pub(crate) fn sectors(&self) -> u64 {
        self.min
    }

    /// A resize begins; none while another is under way.
    pub(crate) fn begin(&mut self, sectors: u64) -> Option<Effect> {
        if self.is_changing {
            return None;
        }
        let effect =
            Effect { discarded: self.min.min(sectors)..self.max, zeroed: self.max..self.max.max(sectors) };
        *self = Length { min: self.min.min(sectors), max: self.max.max(sectors), is_changing: true };
        Some(effect)
    }

    /// It has ended, well or not.
    pub(crate) fn end(&mut self, sectors: u64, is_done: bool) {
        assert!(self.is_changing, "a resize to {sectors} sectors ends and has not begun");
        self.is_changing = false;
        if is_done {
            (self.min, self.max) = (sectors, sectors);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(discarded: Range<u64>, zeroed: Range<u64>) -> Option<Effect> {
        Some(Effect { discarded, zeroed })
    }

    #[test]
    fn a_shrink_discards_and_a_growth_makes_zeroes() {
        let mut length = Length::new(16);
        assert_eq!(length.begin(10), effect(10..16, 16..16));
        assert_eq!((length.sectors(), length.begin(20)), (10, None), "one at a time");
        length.end(10, true);
        assert_eq!(length.begin(24), effect(10..10, 10..24));
        assert_eq!(length.sectors(), 10, "what is new is not there yet");
        length.end(24, true);
        assert_eq!(length, Length::new(24));
    }

    // After a shrink that failed the image may still be long, and a resize to that length then does nothing.
    #[test]
    fn after_a_failure_both_lengths_are_possible() {
        let mut length = Length::new(16);
        length.begin(8);
        length.end(8, false);
        assert_eq!(length.sectors(), 8);
        assert_eq!(length.begin(20), effect(8..16, 16..20));
        length.end(20, false);
        assert_eq!(length.begin(12), effect(8..20, 20..20));
        length.end(12, true);
        assert_eq!(length, Length::new(12));
    }
}
