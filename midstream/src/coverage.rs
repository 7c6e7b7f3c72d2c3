//! What a campaign saw, added up: runs, steps, how often each law was checked, which goals were reached, what broke.
//!
//! Adding up in any order gives the same totals, so the number of threads never shows.

use crate::choice::mix;
use crate::verdict::{Outcome, Verdict};
use model::Census;
use model::judge::taken::StepTaken;
use model::judge::verbs::Combination;
use std::collections::{BTreeMap, BTreeSet};

/// What a count of an `Outcome` is about. Laws are counted in the order they have here, and so are goals.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Law {
    /// A sentence.
    pub name: &'static str,
    /// Whether it cannot be broken, but must have been reached by some run for a campaign to mean something.
    pub is_goal: bool,
}

/// A campaign has to check every law only from so many runs on,
pub const CHECKED_FROM_RUNS: u64 = 1_000;
/// and to reach every goal only from so many: the rarest goals come once in some thousands.
pub const REACHED_FROM_RUNS: u64 = 30_000;

/// So many seeds of inconclusive runs are named.
pub const SEEDS_SHOWN_MAX: usize = 8;

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
    /// Runs of which not everything was judged.
    pub inconclusive: u64,
    /// The lowest seeds of such runs.
    pub inconclusive_seeds: BTreeSet<u64>,
    /// How many states the judge had to keep.
    pub census: Census,
    /// How often each law was checked, in the order of the laws.
    pub laws_checked: Vec<u64>,
    /// How many runs reached each goal, in the order of the goals.
    pub goals_reached: Vec<u64>,
    /// How many runs sent each verb to a job of each type in each status, in the order of `Combination::all`; of runs without
    /// jobs nothing.
    pub verbs_sent: Vec<u64>,
    /// How many runs cannot be explained without each silent step, in the order of `StepTaken::all`; of runs without any
    /// nothing.
    pub steps_taken: Vec<u64>,
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
        if outcome.is_inconclusive {
            self.inconclusive += 1;
            self.add_inconclusive_seed(seed);
        }
        self.census.merge(outcome.census);
        // Histories of different seeds may be alike: the seed distinguishes them, or two of them would add up to nothing.
        self.history_hash = self.history_hash.wrapping_add(mix(outcome.history_hash ^ mix(seed)));
        add(&mut self.laws_checked, outcome.laws_checked.iter().copied());
        add(&mut self.goals_reached, outcome.goals_reached.iter().map(|&reached| u64::from(reached)));
        if !outcome.verbs_sent.is_empty() {
            let is_sent =
                Combination::all().map(|combination| u64::from(outcome.verbs_sent.has(&combination)));
            add(&mut self.verbs_sent, is_sent);
        }
        if !outcome.steps_taken.is_empty() {
            let is_taken = StepTaken::all().map(|step| u64::from(outcome.steps_taken.has(&step)));
            add(&mut self.steps_taken, is_taken);
        }
        if outcome.verdict != Verdict::Passed {
            self.add_broken(outcome.verdict.law(), Broken { runs: 1, seed });
        }
    }

    /// Adds other totals.
    pub fn merge(&mut self, other: &Totals) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.inconclusive += other.inconclusive;
        other.inconclusive_seeds.iter().for_each(|seed| self.add_inconclusive_seed(*seed));
        self.census.merge(other.census);
        self.history_hash = self.history_hash.wrapping_add(other.history_hash);
        add(&mut self.laws_checked, other.laws_checked.iter().copied());
        add(&mut self.goals_reached, other.goals_reached.iter().copied());
        add(&mut self.verbs_sent, other.verbs_sent.iter().copied());
        add(&mut self.steps_taken, other.steps_taken.iter().copied());
        for (law, &broken) in &other.broken {
            self.add_broken(law, broken);
        }
    }

    /// In how many runs something broke.
    pub fn failures(&self) -> u64 {
        self.broken.values().map(|broken| broken.runs).sum()
    }

    /// How often a law was checked, or in how many runs a goal was reached: each law that is no goal, or each goal.
    pub fn counts<'a>(&self, laws: &'a [Law], goals: bool) -> impl Iterator<Item = (&'a str, u64)> {
        let counts = if goals { &self.goals_reached } else { &self.laws_checked };
        let named = laws.iter().filter(move |law| law.is_goal == goals).enumerate();
        named.map(|(index, law)| (law.name, counts.get(index).copied().unwrap_or(0)))
    }

    /// In how many runs each verb was sent to a job of each type in each status.
    pub fn verbs(&self) -> impl Iterator<Item = (Combination, u64)> {
        let count = |index: usize| self.verbs_sent.get(index).copied().unwrap_or(0);
        Combination::all().enumerate().map(move |(index, combination)| (combination, count(index)))
    }

    /// How many runs cannot be explained without each silent step.
    pub fn silent_steps(&self) -> impl Iterator<Item = (StepTaken, u64)> {
        let count = |index: usize| self.steps_taken.get(index).copied().unwrap_or(0);
        StepTaken::all().enumerate().map(move |(index, step)| (step, count(index)))
    }

    /// Goals never reached and laws never checked, if there were enough runs to judge by.
    pub fn vacuous(&self, laws: &[Law]) -> Vec<String> {
        let is_never = |least: u64| move |&(_, count): &(&str, u64)| count == 0 && self.runs >= least;
        let goals = self.counts(laws, true).filter(is_never(REACHED_FROM_RUNS));
        let checks = self.counts(laws, false).filter(is_never(CHECKED_FROM_RUNS));
        let goals = goals.map(|(name, _)| format!("never reached: {name}"));
        goals.chain(checks.map(|(name, _)| format!("never checked: {name}"))).collect()
    }

    fn add_inconclusive_seed(&mut self, seed: u64) {
        self.inconclusive_seeds.insert(seed);
        if self.inconclusive_seeds.len() > SEEDS_SHOWN_MAX {
            self.inconclusive_seeds.pop_last();
        }
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

fn add(totals: &mut Vec<u64>, more: impl Iterator<Item = u64>) {
    for (index, more) in more.enumerate() {
        match totals.get_mut(index) {
            Some(total) => *total += more,
            None => totals.push(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;
    use crate::toy;

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
    fn verbs_are_counted_by_runs() {
        let mut outcome = toy::run(of_seed(1));
        let mut all = Totals::default();
        all.add(1, &outcome);
        assert_eq!(all.verbs_sent, [0; 0], "a world without jobs");
        let paused = Combination::all().nth(40).expect("there are more");
        outcome.verbs_sent.add(paused);
        let mut twice = Totals::default();
        twice.add(2, &outcome);
        all.merge(&twice);
        all.merge(&twice);
        let sent: Vec<_> = all.verbs().filter(|(_, count)| *count > 0).collect();
        assert_eq!(sent, [(paused, 2)]);
    }

    #[test]
    fn silent_steps_are_counted_by_runs() {
        let mut outcome = toy::run(of_seed(1));
        let mut all = Totals::default();
        all.add(1, &outcome);
        assert_eq!(all.steps_taken, [0; 0], "a world without jobs");
        let last = StepTaken::all().last().expect("there are some");
        outcome.steps_taken.add(last);
        let mut once = Totals::default();
        once.add(2, &outcome);
        all.merge(&once);
        all.merge(&once);
        let taken: Vec<_> = all.silent_steps().filter(|(_, count)| *count > 0).collect();
        assert_eq!(taken, [(last, 2)]);
    }

    #[test]
    fn what_was_never_seen_is_vacuous_after_enough_runs() {
        let laws = toy::SUBJECT.laws;
        assert_eq!(totals(0..999).vacuous(laws), Vec::<String>::new());
        // The toy checks two of its laws in every run and never the third.
        assert_eq!(totals(0..1000).vacuous(laws), ["never checked: nobody looks at this law"]);
        let silent = Totals { runs: 1000, ..Totals::default() };
        assert_eq!(silent.vacuous(laws).len(), 2, "goals may be rarer than that");
        let silent = Totals { runs: REACHED_FROM_RUNS, ..silent };
        assert_eq!(silent.vacuous(laws).len(), laws.len());
    }

    #[test]
    fn laws_and_goals_are_counted_apart() {
        let all = totals(0..100);
        let goals: Vec<_> = all.counts(toy::SUBJECT.laws, true).collect();
        assert_eq!(goals, [("a fault strikes", all.goals_reached[0])]);
        let laws: Vec<_> = all.counts(toy::SUBJECT.laws, false).collect();
        assert_eq!(laws, [(toy::LAW, all.steps), ("nobody looks at this law", 0)]);
    }
}
