//! The generator of all hostile input and of the tests: ChaCha8, one number, one sequence.

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

    /// A place in something that has so many.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// Yes, once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }

    /// A range within `len`, in steps of `unit`, of at most `max` units.
    pub fn range(&mut self, len: u64, unit: u64, max: u64) -> (u64, u64) {
        let units = len / unit;
        let start = self.below(units);
        let count = 1 + self.below((units - start).min(max));
        (start * unit, count * unit)
    }
}
