//! Minimises a failing run while the same law stays broken.
//!
//! There is one choice log, so commands, guest requests, faults and schedule shrink together. Every decision's smallest
//! value is 0: nothing, none, the first, go on with what ran last. So the one move is *put 0 (or something lower) here
//! and replay tolerantly*; what the run then really decided is the next choice log, which replays strictly.
//!
//! The order is that of delta debugging (Zeller and Hildebrandt 2002): large chunks first, halves next, from the end
//! of the choice log to its start; first the script slots, then everything; then numbers one by one. An entry may only be in
//! the way because the schedule counts on it: so it is also left out together with a stretch of the schedule, under a
//! handful of other schedules, and with some arguments drawn anew.

use crate::choice::{Choices, Decision, Strategy};
use crate::strategy::pct::Pct;
use crate::strategy::random::{Random, Stream};
use crate::strategy::replay::{Recording, rescheduled, tolerant};
use crate::verdict::{Outcome, Verdict};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many other schedules are tried for each entry.
const SCHEDULES: u64 = 64;
/// The shortest stretch of the schedule that is left out is one in so many.
const STRETCHES: usize = 32;

/// Numbers below this one are all tried in place of a larger one.
const SMALL: u32 = 9;

/// How long to go on.
#[derive(Copy, Clone, Debug)]
pub struct Limits {
    /// At most so many runs: the limit that decides, so that the result is the same everywhere.
    pub runs_max: u64,
    /// At most so much time: only against runs that take for ever.
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { runs_max: 20_000, time_max: Duration::from_secs(20) }
    }
}

/// What became of a choice log.
#[derive(Clone, Debug)]
pub struct Minimised {
    /// The shortest run found; its choice log replays strictly.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: u64,
    /// Whether nothing shorter is to be found by these moves, or a limit ended the search.
    pub is_least: bool,
    /// The other laws that shorter forms of the run broke, by how many did: most likely one cause is behind all.
    pub others: BTreeMap<String, u64>,
}

/// Minimises `tape`, whose run breaks `law`. `slots` are the templates of the points where a script entry is decided,
/// 0 meaning no entry. `None` if the choice log does not break that law when it is replayed.
pub fn minimise(
    run: &dyn Fn(Choices) -> Outcome,
    tape: &[Decision],
    law: &str,
    slots: &[&str],
    limits: Limits,
) -> Option<Minimised> {
    let recording = Arc::new(Recording::new(tape.to_vec()));
    let (outcome, _) = tolerant(run, &recording, recording.values());
    if outcome.verdict.law() != law {
        return None;
    }
    let mut search = Search {
        run,
        law,
        slots,
        limits,
        started: Instant::now(),
        runs: 1,
        weight: Weight::of(&outcome.tape, slots),
        best: Arc::new(Recording::new(outcome.tape.clone())),
        outcome,
        others: BTreeMap::new(),
    };
    search.exhaust();
    let is_least = !search.is_spent();
    Some(Minimised { runs: search.runs, is_least, outcome: search.outcome, others: search.others })
}

/// How many script entries of a kind a choice log has: commands, say.
pub fn entries(tape: &[Decision], slot: &str) -> usize {
    tape.iter().filter(|d| d.at().name == slot && d.value() > 0).count()
}

/// What shorter means, the most important first. Every accepted step makes it strictly less, so the search ends.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Weight {
    entries: usize,
    /// Decisions that are not 0.
    remarkable: usize,
    decisions: usize,
    /// All numbers added up.
    sum: u64,
}

impl Weight {
    fn of(tape: &[Decision], slots: &[&str]) -> Self {
        let number = |d: &Decision| match d {
            Decision::Number { value, .. } => u64::from(*value),
            Decision::Option { .. } => 0,
        };
        Weight {
            entries: tape.iter().filter(|d| d.value() > 0 && slots.contains(&d.at().name)).count(),
            remarkable: tape.iter().filter(|d| d.value() > 0).count(),
            decisions: tape.len(),
            sum: tape.iter().map(number).sum(),
        }
    }
}

struct Search<'a> {
    run: &'a dyn Fn(Choices) -> Outcome,
    law: &'a str,
    slots: &'a [&'a str],
    limits: Limits,
    started: Instant,
    runs: u64,
    weight: Weight,
    best: Arc<Recording>,
    outcome: Outcome,
    others: BTreeMap<String, u64>,
}

impl Search<'_> {
    fn exhaust(&mut self) {
        let slots = self.slots;
        loop {
            let before = self.weight;
            self.zero_chunks(|d| slots.contains(&d.at().name));
            self.zero_chunks(|_| true);
            self.zero_chunks(|d| matches!(d, Decision::Option { .. }));
            self.lower_numbers();
            if self.weight == before {
                self.leave_out_entries();
            }
            if self.weight == before || self.is_spent() {
                return;
            }
        }
    }

    fn is_spent(&self) -> bool {
        self.runs >= self.limits.runs_max || self.started.elapsed() >= self.limits.time_max
    }

    /// Replays the best choice log with these values; keeps the result if the law is still broken and it is less.
    fn attempt(&mut self, values: Vec<u32>) -> bool {
        if self.is_spent() {
            return false;
        }
        let outcome = tolerant(self.run, &self.best, values).0;
        self.accept(outcome)
    }

    fn accept(&mut self, outcome: Outcome) -> bool {
        self.runs += 1;
        if outcome.verdict.law() != self.law {
            if outcome.verdict != Verdict::Passed {
                *self.others.entry(outcome.verdict.law().to_owned()).or_default() += 1;
            }
            return false;
        }
        let weight = Weight::of(&outcome.tape, self.slots);
        if weight >= self.weight {
            return false;
        }
        self.weight = weight;
        self.best = Arc::new(Recording::new(outcome.tape.clone()));
        self.outcome = outcome;
        true
    }

    /// Where on the best choice log something remarkable of this sort was decided.
    fn remarkable(&self, sort: &impl Fn(&Decision) -> bool) -> Vec<usize> {
        let tape = self.best.tape().iter().enumerate();
        tape.filter(|(_, d)| d.value() > 0 && sort(d)).map(|(position, _)| position).collect()
    }

    /// Puts 0 everywhere, then in halves, in quarters, one by one; each size from the end to the start.
    fn zero_chunks(&mut self, sort: impl Fn(&Decision) -> bool) {
        let mut size = self.remarkable(&sort).len();
        while size > 0 {
            let mut kept = 0;
            loop {
                let positions = self.remarkable(&sort);
                let Some(end) = positions.len().checked_sub(kept).filter(|&end| end > 0) else { break };
                let chunk = &positions[end.saturating_sub(size)..end];
                let mut values = self.best.values();
                chunk.iter().for_each(|&position| values[position] = 0);
                if !self.attempt(values) {
                    kept += size;
                }
            }
            size /= 2;
        }
    }

    /// Leaves out one entry, or none, with a stretch of the schedule or under another schedule.
    fn leave_out_entries(&mut self) {
        let slots = self.slots;
        let entries = self.remarkable(&|d: &Decision| slots.contains(&d.at().name));
        for entry in entries.into_iter().rev().map(Some).chain([None]) {
            let mut values = self.best.values();
            entry.into_iter().for_each(|position: usize| values[position] = 0);
            if self.reschedule(&values)
                || self.reroll(&values)
                || self.cut_schedule(&values)
                || self.is_spent()
            {
                return;
            }
        }
    }

    fn reschedule(&mut self, values: &[u32]) -> bool {
        (0..SCHEDULES).any(|seed| {
            let schedule: Box<dyn Strategy + Send> =
                if seed.is_multiple_of(2) { Box::new(Pct::new(seed)) } else { Box::new(Random::new(seed)) };
            !self.is_spent() && {
                let outcome = rescheduled(self.run, &self.best, values.to_vec(), schedule);
                self.accept(outcome)
            }
        })
    }

    /// Draws one in four of the arguments anew: what is left out may only have passed time.
    fn reroll(&mut self, values: &[u32]) -> bool {
        (0..SCHEDULES).any(|seed| {
            let mut chance = Stream::new(seed);
            let mut rolled = values.to_vec();
            for (value, decision) in rolled.iter_mut().zip(self.best.tape()) {
                let is_argument =
                    matches!(decision, Decision::Number { .. }) && !self.slots.contains(&decision.at().name);
                if is_argument && chance.below(4) == 0 {
                    *value = chance.below(decision.of());
                }
            }
            self.attempt(rolled)
        })
    }

    /// Half of the schedule, a quarter, down to one in thirty: every stretch of that size, overlapping by half.
    fn cut_schedule(&mut self, values: &[u32]) -> bool {
        let is_pick = |d: &Decision| matches!(d, Decision::Option { .. });
        let picks: Vec<usize> = (0..values.len()).filter(|&i| is_pick(&self.best.tape()[i])).collect();
        let mut size = picks.len() / 2;
        while size > picks.len() / STRETCHES {
            let starts = (0..=picks.len() - size).step_by((size / 2).max(1));
            for start in starts {
                let gone = &picks[start..start + size];
                let kept: Vec<usize> = (0..values.len()).filter(|i| gone.binary_search(i).is_err()).collect();
                let tape = kept.iter().map(|&i| self.best.tape()[i]).collect();
                let values = kept.iter().map(|&i| values[i]).collect();
                if self.is_spent() {
                    return false;
                }
                let outcome = tolerant(self.run, &Arc::new(Recording::new(tape)), values).0;
                if self.accept(outcome) {
                    return true;
                }
            }
            size /= 2;
        }
        false
    }

    /// Tries the smallest numbers, half, and one less in place of every number.
    fn lower_numbers(&mut self) {
        let is_number = |d: &Decision| matches!(d, Decision::Number { .. });
        let mut kept = 0;
        while let Some(&position) = self.remarkable(&is_number).iter().rev().nth(kept) {
            let value = self.best.tape()[position].value();
            let lower =
                (1..SMALL.min(value)).chain([value / 2, value - 1]).filter(|l| (1..value).contains(l));
            let lowered = lower.into_iter().any(|l| {
                let mut values = self.best.values();
                values[position] = l;
                self.attempt(values)
            });
            kept += usize::from(!lowered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;
    use crate::strategy::replay::strict;
    use crate::toy;

    fn failures(count: usize) -> Vec<Outcome> {
        let all = (0..100_000).map(|seed| toy::run(of_seed(seed)));
        let failing: Vec<Outcome> = all.filter(|o| o.verdict.law() == toy::LAW).take(count).collect();
        assert_eq!(failing.len(), count, "the planted bug is found often enough");
        failing
    }

    fn least(outcome: &Outcome) -> Minimised {
        minimise(&toy::run, &outcome.tape, toy::LAW, toy::SLOTS, Limits::default()).expect("the law breaks")
    }

    fn text(tape: &[Decision]) -> String {
        tape.iter().map(|d| format!("{d}\n")).collect()
    }

    // Two commands, device 2, one fault; one pick at most two away from 0, by which client streams.
    #[test]
    fn every_failure_shrinks_to_the_known_minimum() {
        for outcome in failures(100) {
            let found = least(&outcome);
            let tape = &found.outcome.tape;
            assert!(found.is_least);
            assert_eq!(entries(tape, toy::COMMAND), 2, "{}", text(tape));
            assert_eq!(entries(tape, toy::FAULT), 1, "{}", text(tape));
            let picks = tape.iter().filter(|d| matches!(d, Decision::Option { .. }) && d.value() > 0).count();
            assert!(picks <= 2, "{}", text(tape));
            let sum: u32 =
                tape.iter().filter(|d| matches!(d, Decision::Number { .. })).map(Decision::value).sum();
            assert_eq!(sum, 2 + 3 + 2 + 1, "stream, cancel, device 2, one fault: {}", text(tape));
        }
    }

    #[test]
    fn the_result_replays_strictly() {
        for outcome in failures(20) {
            let found = least(&outcome).outcome;
            let (again, divergence) = strict(toy::run, &found.tape);
            assert_eq!(divergence, None);
            assert_eq!(again.verdict, found.verdict);
            assert_eq!(again.history_hash, found.history_hash);
        }
    }

    #[test]
    fn the_same_tape_gives_the_same_result() {
        let outcome = &failures(1)[0];
        assert_eq!(least(outcome).outcome.tape, least(outcome).outcome.tape);
    }

    #[test]
    fn a_limit_ends_the_search_with_a_failing_tape() {
        let outcome = &failures(1)[0];
        let limits = Limits { runs_max: 5, ..Limits::default() };
        let found = minimise(&toy::run, &outcome.tape, toy::LAW, toy::SLOTS, limits).expect("the law breaks");
        assert_eq!((found.runs, found.is_least), (5, false));
        assert_eq!(found.outcome.verdict.law(), toy::LAW);
    }

    #[test]
    fn a_tape_that_breaks_another_law_is_refused() {
        let outcome = &failures(1)[0];
        assert!(minimise(&toy::run, &outcome.tape, "another", toy::SLOTS, Limits::default()).is_none());
    }
}
