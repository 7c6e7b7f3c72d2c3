//! The speed limit: bytes are charged after they were copied, and a slice that is overdrawn delays the next copy.

use seam::Nanos;

/// QEMU's slice.
const SLICE: Nanos = Nanos(100_000_000);

/// What was charged lately.
#[derive(Copy, Clone, Debug, Default)]
pub(crate) struct RateLimit {
    slice_start: Nanos,
    slice_end: Nanos,
    charged: u64,
    /// Charged since the last question, so to whatever slice that is asked in: a copy may take longer than a slice.
    fresh: u64,
    /// After an error that is ignored: nothing is tried before.
    not_before: Nanos,
}

impl RateLimit {
    /// When the next copy may begin: never later than now if the slice has something left.
    pub(crate) fn next_start(&mut self, speed: u64, now: Nanos) -> Nanos {
        if now < self.not_before {
            return self.not_before;
        }
        let fresh = std::mem::take(&mut self.fresh);
        if speed == 0 {
            return now;
        }
        let quota = (speed / 10).max(1);
        if now >= self.slice_end {
            // The slice is over, and what it overdrew is paid for.
            *self = RateLimit { slice_start: now, slice_end: now.plus(SLICE), ..RateLimit::default() };
        }
        self.charged = self.charged.saturating_add(fresh);
        if self.charged < quota {
            return now;
        }
        // A slice that is not used up delays nobody.
        assert!(self.charged >= quota, "{} of {quota} bytes delay the next", self.charged);
        let slices = self.charged as f64 / quota as f64;
        let end = self.slice_start.plus(Nanos((slices * SLICE.0 as f64).ceil() as u64));
        // Worked out anew each time: a raised speed is felt at once.
        self.slice_end = end;
        end
    }

    /// Lets a slice pass before the next copy: what failed just now may succeed then.
    pub(crate) fn delay(&mut self, now: Nanos) {
        self.not_before = now.plus(SLICE);
    }

    /// Charges bytes that were copied.
    pub(crate) fn charge(&mut self, bytes: u64) {
        self.fresh = self.fresh.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    // The disk is slow: when the copy ends, the slice it began in is long over.
    #[test]
    fn a_copy_that_takes_longer_than_a_slice_is_paid_for() {
        for copy_took in [1_000, SLICE.0 / 2, 3 * SLICE.0] {
            let mut rate = RateLimit::default();
            let begun = Nanos(5 * SECOND);
            assert_eq!(rate.next_start(1000, begun), begun);
            rate.charge(8000);
            let next = rate.next_start(1000, begun.plus(Nanos(copy_took)));
            assert!(next >= begun.plus(Nanos(8 * SECOND)), "after {copy_took}: {next:?}");
        }
    }

    #[test]
    fn what_was_copied_without_a_limit_is_not_charged_to_one_set_later() {
        let mut rate = RateLimit::default();
        for second in 1..5 {
            assert_eq!(rate.next_start(0, Nanos(second * SECOND)), Nanos(second * SECOND));
            rate.charge(1 << 30);
        }
        rate.next_start(0, Nanos(5 * SECOND));
        assert_eq!(rate.next_start(1000, Nanos(6 * SECOND)), Nanos(6 * SECOND));
    }
}
