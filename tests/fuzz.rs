//! Random worlds inside `cargo test`: fixed seeds, and proptest over the same choice log.

use midstream::choice::{Choices, Point, Strategy as Decides};
use midstream::strategy::of_seed;
use midstream::strategy::replay::strict;
use midstream::verdict::Verdict;
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use sim::subject::subject;

/// Worlds of one smoke run; CI has more time in campaigns.
const SMOKE: std::ops::RangeInclusive<u64> = 1..=3_000;

#[test]
fn no_law_is_broken_and_every_law_is_checked_in_a_smoke_run() {
    let subject = subject();
    let mut checked = vec![0; subject.laws.iter().filter(|law| !law.is_goal).count()];
    for seed in SMOKE {
        let outcome = subject.quiet(of_seed(seed));
        assert_eq!(outcome.verdict, Verdict::Passed, "cargo midstream fuzz --seed {seed} --runs 1");
        checked.iter_mut().zip(&outcome.laws_checked).for_each(|(sum, more)| *sum += more);
    }
    let laws = subject.laws.iter().filter(|law| !law.is_goal);
    for (law, count) in laws.zip(checked) {
        assert!(count > 0, "nobody looked whether {}", law.name);
    }
}

#[test]
fn the_same_choices_give_the_same_history() {
    for seed in (1..=40).map(|n| n * 1_000) {
        let first = subject().quiet(of_seed(seed));
        let (second, divergence) = strict(|choices| subject().quiet(choices), &first.tape);
        assert!(divergence.is_none(), "seed {seed}: {divergence:?}");
        assert_eq!(first.history_hash, second.history_hash, "seed {seed}");
    }
}

/// Decides by a list of numbers that proptest made, and plainly once they are used up.
#[derive(Debug)]
struct Listed(std::vec::IntoIter<u32>);

impl Decides for Listed {
    fn choose(&mut self, _: Point, of: u32) -> u32 {
        self.0.next().map_or(0, |number| number % of)
    }

    fn pick(&mut self, _: Point, options: &[Point]) -> usize {
        self.0.next().map_or(0, |number| number as usize % options.len())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("traces/proptest.txt"))),
        // A test names its seed; `PROPTEST_RNG_SEED` names another.
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_list_of_numbers_is_a_world_that_keeps_the_laws(numbers in prop::collection::vec(any::<u32>(), 0..1_500)) {
        let outcome = subject().quiet(Choices::new(Box::new(Listed(numbers.into_iter()))));
        prop_assert_eq!(outcome.verdict, Verdict::Passed);
    }
}
