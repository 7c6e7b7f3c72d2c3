//! The speed limit: bytes are charged after they were copied, and a slice that is overdrawn delays the next copy.

use crate::host::Nanos;

/// QEMU's slice.
const SLICE: Nanos = Nanos(100_000_000);

/// What was charged lately.
#[derive(Copy, Clone, Debug, Default)]
pub struct RateLimit {
    slice_start: Nanos,
    slice_end: Nanos,
    charged: u64,
    /// After an error that is ignored: nothing is tried before.
    not_before: Nanos,
}

impl RateLimit {
    /// When the next copy may begin: never later than now if the slice has something left.
    pub fn next_start(&mut self, speed: u64, now: Nanos) -> Nanos {
        if now < self.not_before {
            return self.not_before;
        }
        if speed == 0 {
            return now;
        }
        let quota = (speed / 10).max(1);
        if now >= self.slice_end {
            // The slice is over, and what it overdrew is paid for.
            *self = RateLimit { slice_start: now, slice_end: now.plus(SLICE), ..RateLimit::default() };
        }
        if self.charged < quota {
            return now;
        }
        let slices = self.charged as f64 / quota as f64;
        let end = self.slice_start.plus(Nanos((slices * SLICE.0 as f64).ceil() as u64));
        // Worked out anew each time: a raised speed is felt at once.
        self.slice_end = end;
        end
    }

    /// Lets a slice pass before the next copy: what failed just now may succeed then.
    pub fn delay(&mut self, now: Nanos) {
        self.not_before = now.plus(SLICE);
    }

    /// Charges bytes that were copied.
    pub fn charge(&mut self, bytes: u64) {
        self.charged = self.charged.saturating_add(bytes);
    }
}
