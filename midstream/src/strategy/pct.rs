//! Probabilistic Concurrency Testing (Burckhardt and others, ASPLOS 2010) for the schedule; numbers by chance.
//!
//! Whatever can be picked has a random priority and the highest on offer always runs. At a few steps, drawn
//! beforehand, what is about to run falls below everything else. A bug that needs d such orderings among k steps
//! of n tasks is found with a chance of at least 1 / (n * k^(d-1)) a run, however rare it is in a random walk.

use crate::choice::mix;
use crate::choice::{Point, Strategy};
use crate::strategy::random::Stream;

/// At most so many orderings besides the first.
const CHANGES_MAX: u32 = 4;
/// The number of picks in a run is not known beforehand, so the change points are drawn among the first 2^k of
/// them, with k between these: short and long runs both get their share.
const LENGTH_LOG2: std::ops::Range<u32> = 4..12;
/// Priorities are not fair. Whoever was preferred so many times in a row falls to the bottom, or a task that waits
/// for another by asking again and again would wait for ever.
const STREAK_MAX: u32 = 400;

/// Priorities for the schedule, chance for the rest.
#[derive(Debug)]
pub struct Pct {
    stream: Stream,
    salt: u64,
    changes: Vec<u32>,
    picks: u32,
    /// Fallen to the bottom; the later the lower.
    fallen: Vec<Point>,
    last: Point,
    streak: u32,
}

impl Pct {
    /// The choices of `seed`.
    pub fn new(seed: u64) -> Self {
        let mut stream = Stream::new(seed);
        let length = 1 << (LENGTH_LOG2.start + stream.below(LENGTH_LOG2.end - LENGTH_LOG2.start));
        let count = stream.below(CHANGES_MAX + 1);
        let changes = (0..count).map(|_| stream.below(length)).collect();
        let salt = u64::from(stream.below(u32::MAX));
        Pct { stream, salt, changes, picks: 0, fallen: Vec::new(), last: Point::new("", [0; 3]), streak: 0 }
    }

    /// Higher runs first. Drawn by hashing, so that nothing needs to be remembered of what never falls.
    fn priority(&self, point: Point) -> u64 {
        if let Some(when) = self.fallen.iter().position(|p| p.of == point.of && *p == point) {
            return (self.fallen.len() - when) as u64 - 1;
        }
        let [a, b, c] = point.of.map(u64::from);
        let numbers = (a << 42) ^ (b << 21) ^ c;
        // Above everything that fell.
        mix(mix(self.salt ^ numbers) ^ scent(point.name)) | 1 << 63
    }

    fn highest(&self, options: &[Point]) -> usize {
        let mut best = (0, self.priority(options[0]));
        for (index, &option) in options.iter().enumerate().skip(1) {
            let priority = self.priority(option);
            if priority > best.1 {
                best = (index, priority);
            }
        }
        best.0
    }

    fn fall(&mut self, point: Point) {
        self.fallen.retain(|&p| p != point);
        self.fallen.push(point);
    }
}

impl Strategy for Pct {
    fn choose(&mut self, _: Point, of: u32) -> u32 {
        self.stream.below(of)
    }

    fn pick(&mut self, _: Point, options: &[Point]) -> usize {
        let mut index = self.highest(options);
        let streak = if options[index] == self.last { self.streak + 1 } else { 0 };
        if self.changes.contains(&self.picks) || streak >= STREAK_MAX {
            self.fall(options[index]);
            index = self.highest(options);
        }
        self.streak = if options[index] == self.last { streak } else { 0 };
        self.last = options[index];
        self.picks += 1;
        index
    }
}

/// Distinguishes names by their ends, which costs a tenth of hashing them. Two alike would share a priority, no more.
fn scent(name: &str) -> u64 {
    let bytes = name.as_bytes();
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(&first), Some(&last)) => u64::from_le_bytes(first) ^ u64::from_le_bytes(last).rotate_left(29),
        _ => bytes.iter().fold(0, |scent, &byte| scent << 8 | u64::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choices;
    use crate::strategy::random::Random;
    use crate::toy;

    #[test]
    fn one_task_stays_preferred_until_a_change_point() {
        let tasks: Vec<Point> = (0..5).map(|i| Point::new("task #", [i, 0, 0])).collect();
        for seed in 0..100 {
            let mut pct = Pct::new(seed);
            let picked: Vec<usize> =
                (0..200).map(|_| pct.pick(Point::new("schedule", [0; 3]), &tasks)).collect();
            let switches = picked.windows(2).filter(|w| w[0] != w[1]).count();
            assert!(switches <= CHANGES_MAX as usize, "seed {seed}: {switches} switches");
        }
    }

    #[test]
    fn nobody_is_preferred_for_ever() {
        let tasks: Vec<Point> = (0..2).map(|i| Point::new("task #", [i, 0, 0])).collect();
        let mut pct = Pct::new(3);
        let mut seen = [0; 2];
        for _ in 0..5_000 {
            seen[pct.pick(Point::new("schedule", [0; 3]), &tasks)] += 1;
        }
        assert!(seen.iter().all(|&s| s > 1_000), "{seen:?}");
    }

    // The feared ordering: everything one task does happens between two steps of another.
    #[test]
    fn an_ordering_bug_is_found_more_often_than_by_chance() {
        let found = |make: &dyn Fn(u64) -> Box<dyn Strategy + Send>| {
            (0..20_000).filter(|&seed| toy::starved(Choices::new(make(seed)))).count()
        };
        let pct = found(&|seed| Box::new(Pct::new(seed)));
        let random = found(&|seed| Box::new(Random::new(seed)));
        assert!(pct > 200, "PCT found it {pct} times");
        assert!(pct > 10 * random, "PCT found it {pct} times, chance {random}");
    }
}
