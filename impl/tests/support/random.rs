//! The tests' generator: ChaCha8, one number, one sequence.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Draws numbers.
#[derive(Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.any() % n
    }

    /// Yes, once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A range within `len`, in steps of `unit`, of at most `max` units.
    pub fn range(&mut self, len: u64, unit: u64, max: u64) -> (u64, u64) {
        let units = len / unit;
        let start = self.below(units);
        let count = 1 + self.below((units - start).min(max));
        (start * unit, count * unit)
    }
}
