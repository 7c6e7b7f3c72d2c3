//! How a campaign grows while it runs: points for its report, events for a dashboard, words for its progress.

use midstream::coverage::{Law, Totals};
use midstream::terminal;
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// At most one point in so long.
const PAUSE: Duration = Duration::from_secs(1);
/// With more points every second one is dropped, so that a week fits as well as a minute.
const POINTS_MAX: usize = 512;

/// How far a campaign was.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize)]
pub struct Point {
    /// Seconds since its beginning.
    pub seconds: f64,
    /// Runs until then.
    pub runs: u64,
    /// Runs that failed.
    pub failures: u64,
    /// Goals that were reached.
    pub goals: usize,
    /// Runs of which not everything was judged.
    pub inconclusive: u64,
}

/// The growth of a campaign.
#[derive(Debug)]
pub struct Growth {
    started: Instant,
    last: Option<Instant>,
    points: Vec<Point>,
    pause: Duration,
    has_events: bool,
}

impl Growth {
    /// Nothing has run yet. With `has_events`, what happens is written to stdout as lines of JSON.
    pub fn new(has_events: bool) -> Growth {
        Growth { started: Instant::now(), last: None, points: Vec::new(), pause: PAUSE, has_events }
    }

    /// Time has passed.
    pub fn tick(&mut self, totals: &Totals, laws: &[Law]) {
        if self.last.is_some_and(|last| last.elapsed() < self.pause) {
            return;
        }
        self.last = Some(Instant::now());
        self.take(totals, laws);
        if self.has_events {
            let point = self.points.last().expect("it was just taken");
            let rarest = rarest(totals, laws).map(|(goal, _)| goal);
            let event = json!({ "event": "progress", "at": point, "rarest_missing_goal": rarest,
                "states_per_observation": totals.census.mean() });
            terminal::out(format_args!("{event}\n"));
        }
    }

    /// A law broke for the first time.
    pub fn broken(&self, law: &str, seed: u64) {
        if self.has_events {
            let seconds = self.started.elapsed().as_secs_f64();
            let event = json!({ "event": "broken", "seconds": seconds, "law": law, "seed": seed });
            terminal::out(format_args!("{event}\n"));
        }
    }

    /// All points, that of the end among them.
    pub fn end(mut self, totals: &Totals, laws: &[Law]) -> Vec<Point> {
        self.take(totals, laws);
        self.points
    }

    fn take(&mut self, totals: &Totals, laws: &[Law]) {
        if self.points.len() >= POINTS_MAX {
            let mut is_kept = false;
            self.points.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.pause *= 2;
        }
        self.points.push(Point {
            seconds: self.started.elapsed().as_secs_f64(),
            runs: totals.runs,
            failures: totals.failures(),
            goals: totals.counts(laws, true).filter(|(_, count)| *count > 0).count(),
            inconclusive: totals.inconclusive,
        });
    }
}

/// The first goal that was not reached, and how many were not.
fn rarest<'a>(totals: &Totals, laws: &'a [Law]) -> Option<(&'a str, usize)> {
    let mut missing = totals.counts(laws, true).filter(|(_, count)| *count == 0);
    let first = missing.next()?.0;
    Some((first, 1 + missing.count()))
}

/// What else a progress line says: `, 3 goals missing (first: a commit is cancelled), 1.04 states per observation`.
pub fn words(totals: &Totals, laws: &[Law]) -> String {
    let goals = match rarest(totals, laws) {
        Some((goal, 1)) => format!(", still missing: {goal}"),
        Some((goal, missing)) => format!(", {missing} goals missing (first: {goal})"),
        None => String::new(),
    };
    format!("{goals}, {:.2} states per observation", totals.census.mean())
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::strategy::of_seed;
    use midstream::toy;

    #[test]
    fn a_long_campaign_keeps_a_bounded_number_of_points_its_end_among_them() {
        let mut growth = Growth::new(false);
        let mut totals = Totals::default();
        for seed in 0..2_000 {
            totals.add(seed, &toy::run(of_seed(seed)));
            growth.take(&totals, toy::SUBJECT.laws);
        }
        assert!(growth.pause > PAUSE, "they come more rarely");
        let points = growth.end(&totals, toy::SUBJECT.laws);
        assert!(points.len() <= POINTS_MAX + 1, "{}", points.len());
        assert!(points.is_sorted_by_key(|point| point.runs));
        assert_eq!(points.last().map(|point| (point.runs, point.goals)), Some((2_000, 1)));
    }

    #[test]
    fn the_words_name_what_is_missing() {
        let none = words(&Totals::default(), toy::SUBJECT.laws);
        assert_eq!(none, ", still missing: a fault strikes, 0.00 states per observation");
    }
}
