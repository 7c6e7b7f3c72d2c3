//! How choices are made. Every strategy is a small file over one trait, `choice::Strategy`.
//!
//! A campaign mixes strategies; which one a run gets follows from its seed alone, so that a seed repeats a run.

pub mod pct;
pub mod random;
pub mod replay;

use crate::choice::{Choices, Strategy, mix};
use pct::Pct;
use random::Random;

/// One run in so many has its schedule picked by priorities.
const PCT_EVERY: u64 = 4;

/// The choices of the run with this seed.
pub fn of_seed(seed: u64) -> Choices {
    Choices::new(strategy_of_seed(seed))
}

/// The strategy of the run with this seed.
pub fn strategy_of_seed(seed: u64) -> Box<dyn Strategy + Send> {
    // Mixed, or neighbouring seeds would march in step with whatever else follows the seed.
    if mix(seed).is_multiple_of(PCT_EVERY) { Box::new(Pct::new(seed)) } else { Box::new(Random::new(seed)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;

    #[test]
    fn a_seed_is_one_run() {
        for seed in 0..50 {
            assert_eq!(toy::run(of_seed(seed)).history_hash, toy::run(of_seed(seed)).history_hash);
        }
    }

    #[test]
    fn about_one_seed_in_four_is_pct() {
        let pct = (0..1000).filter(|&seed| mix(seed).is_multiple_of(PCT_EVERY)).count();
        assert!((200..300).contains(&pct), "{pct} of 1000");
    }
}
