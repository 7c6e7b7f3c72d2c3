//! What a campaign saw, added up: runs, steps, how often each law was checked, which goals were reached, what broke.
//!
//! Adding up in any order gives the same totals, so the number of threads never shows.

use crate::strategy::mix;
use crate::verdict::{Outcome, Verdict};
use std::collections::BTreeMap;

/// Names for the counts of an `Outcome`.
#[derive(Copy, Clone, Debug)]
pub struct Names {
    /// Laws by index.
    pub laws: &'static [&'static str],
    /// Goals by index: what a campaign must have reached to mean something.
    pub goals: &'static [&'static str],
}

/// A campaign has to reach every goal only from so many runs on.
pub const VACUOUS_FROM_RUNS: u64 = 1_000;

/// One law that broke.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// In so many runs.
    pub runs: u64,
    /// The lowest seed that breaks it.
    pub seed: u64,
}

/// Counts of any number of runs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Runs.
    pub runs: u64,
    /// Steps of all runs.
    pub steps: u64,
    /// How often each law was checked.
    pub laws_checked: Vec<u64>,
    /// How many runs reached each goal.
    pub goals_reached: Vec<u64>,
    /// What broke, by law.
    pub broken: BTreeMap<String, Broken>,
    /// One number for all histories; the same for the same seeds on every machine and any number of threads.
    pub history_hash: u64,
}

impl Totals {
    /// Adds one run.
    pub fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.runs += 1;
        self.steps += outcome.steps;
        // Histories of different seeds may be alike: the seed tells them apart, or two of them would add up to nothing.
        self.history_hash = self.history_hash.wrapping_add(mix(outcome.history_hash ^ mix(seed)));
        add(&mut self.laws_checked, outcome.laws_checked.iter().copied());
        add(&mut self.goals_reached, outcome.goals_reached.iter().map(|&reached| u64::from(reached)));
        if outcome.verdict != Verdict::Passed {
            self.add_broken(outcome.verdict.law(), Broken { runs: 1, seed });
        }
    }

    /// Adds other totals.
    pub fn merge(&mut self, other: &Totals) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.history_hash = self.history_hash.wrapping_add(other.history_hash);
        add(&mut self.laws_checked, other.laws_checked.iter().copied());
        add(&mut self.goals_reached, other.goals_reached.iter().copied());
        for (law, &broken) in &other.broken {
            self.add_broken(law, broken);
        }
    }

    /// In how many runs something broke.
    pub fn failures(&self) -> u64 {
        self.broken.values().map(|broken| broken.runs).sum()
    }

    /// Goals never reached and laws never checked, if there were enough runs to tell.
    pub fn vacuous(&self, names: Names) -> Vec<String> {
        if self.runs < VACUOUS_FROM_RUNS {
            return Vec::new();
        }
        let missing = |names: &'static [&'static str], counts: &[u64]| {
            let count = move |i: usize| counts.get(i).copied().unwrap_or(0);
            names
                .iter()
                .enumerate()
                .filter(|&(i, _)| count(i) == 0)
                .map(|(_, name)| *name)
                .collect::<Vec<_>>()
        };
        let goals = missing(names.goals, &self.goals_reached);
        let laws = missing(names.laws, &self.laws_checked);
        let goals = goals.iter().map(|goal| format!("never reached: {goal}"));
        goals.chain(laws.iter().map(|law| format!("never checked: {law}"))).collect()
    }

    fn add_broken(&mut self, law: &str, more: Broken) {
        match self.broken.get_mut(law) {
            Some(known) => {
                known.runs += more.runs;
                known.seed = known.seed.min(more.seed);
            }
            None => {
                self.broken.insert(law.to_owned(), more);
            }
        }
    }
}

fn add(totals: &mut Vec<u64>, more: impl ExactSizeIterator<Item = u64>) {
    if totals.len() < more.len() {
        totals.resize(more.len(), 0);
    }
    for (total, more) in totals.iter_mut().zip(more) {
        *total += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;
    use crate::toy;

    const NAMES: Names = Names { laws: &["first", "second"], goals: &["third", "fourth"] };

    fn totals(seeds: impl Iterator<Item = u64>) -> Totals {
        let mut totals = Totals::default();
        seeds.for_each(|seed| totals.add(seed, &toy::run(of_seed(seed))));
        totals
    }

    #[test]
    fn the_order_of_runs_never_shows() {
        let mut halves = totals(500..1000);
        halves.merge(&totals((0..500).rev()));
        assert_eq!(halves, totals(0..1000));
        assert_ne!(halves.history_hash, totals(0..999).history_hash);
    }

    #[test]
    fn the_lowest_failing_seed_is_kept() {
        let all = totals(0..2000);
        let lowest = toy::first_failure().0;
        assert_eq!(all.broken[toy::LAW].seed, lowest);
        assert_eq!(all.failures(), all.broken[toy::LAW].runs);
        assert!(all.failures() > 1);
    }

    #[test]
    fn what_was_never_seen_is_vacuous_after_enough_runs() {
        assert_eq!(totals(0..999).vacuous(NAMES), Vec::<String>::new());
        // The toy never checks its second law.
        assert_eq!(totals(0..1000).vacuous(NAMES), ["never checked: second"]);
        let silent = Totals { runs: 1000, ..Totals::default() };
        assert_eq!(silent.vacuous(NAMES).len(), 4);
    }
}
