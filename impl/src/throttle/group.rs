//! A throttle group at work.
//!
//! Each limit is a bucket that leaks at its rate. A request waits until no bucket it counts in is over the brim, then
//! pours itself in; so one large request may overflow a bucket, and the next ones wait for it.

use crate::sync::range_lock::RangeLock;
use crate::sync::shim::Mutex;
use crate::throttle::{Counted, Limit, Limits};
use seam::Nanos;

const NANOS: u128 = 1_000_000_000;

/// Which way a request goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Direction {
    /// It reads.
    Read,
    /// It writes, zeroes or discards.
    Write,
}

/// A throttle group at work.
#[derive(Debug)]
pub struct Group {
    limits: Limits,
    /// Requests of one direction take turns here.
    pub turns: RangeLock,
    buckets: Mutex<Buckets>,
}

#[derive(Copy, Clone, Debug, Default)]
struct Buckets {
    leaked_at: Nanos,
    /// In the order of `Counted`; levels in billionths, so that nothing is rounded away.
    levels: [u128; 6],
    burst_levels: [u128; 6],
}

const KINDS: [Counted; 6] = [
    Counted::BytesTotal,
    Counted::BytesRead,
    Counted::BytesWrite,
    Counted::RequestsTotal,
    Counted::RequestsRead,
    Counted::RequestsWrite,
];

impl Group {
    /// Empty buckets.
    pub fn new(limits: Limits) -> Group {
        Group { limits, turns: RangeLock::new(), buckets: Mutex::default() }
    }

    /// When the next request of this direction may start.
    pub fn next_start(&self, direction: Direction, now: Nanos) -> Nanos {
        let mut buckets = self.buckets.lock();
        buckets.leak(&self.limits, now);
        let waits = counted_for(direction).map(|kind| {
            let limit = self.limits.of(kind);
            wait(limit, buckets.levels[kind as usize], buckets.burst_levels[kind as usize])
        });
        now.plus(Nanos(waits.max().unwrap_or(0)))
    }

    /// Counts a request of `len` bytes.
    pub(crate) fn pour(&self, direction: Direction, len: u64, now: Nanos) {
        let mut buckets = self.buckets.lock();
        buckets.leak(&self.limits, now);
        let per_request = u128::try_from(self.limits.request_bytes).unwrap_or(0);
        for kind in counted_for(direction) {
            let amount = match kind {
                Counted::BytesTotal | Counted::BytesRead | Counted::BytesWrite => u128::from(len) * NANOS,
                _ if per_request > 0 && u128::from(len) > per_request => {
                    u128::from(len) * NANOS / per_request
                }
                _ => NANOS,
            };
            buckets.levels[kind as usize] += amount;
            if self.limits.of(kind).burst_seconds > 1 {
                buckets.burst_levels[kind as usize] += amount;
            }
        }
    }
}

impl Buckets {
    fn leak(&mut self, limits: &Limits, now: Nanos) {
        let passed = u128::from(now.since(self.leaked_at).0);
        self.leaked_at = now;
        for kind in KINDS {
            let limit = limits.of(kind);
            let (level, burst) = (&mut self.levels[kind as usize], &mut self.burst_levels[kind as usize]);
            *level = level.saturating_sub(unsigned(limit.rate) * passed);
            *burst = burst.saturating_sub(unsigned(limit.burst_rate) * passed);
        }
    }
}

fn counted_for(direction: Direction) -> impl Iterator<Item = Counted> {
    let other = match direction {
        Direction::Read => [Counted::BytesWrite, Counted::RequestsWrite],
        Direction::Write => [Counted::BytesRead, Counted::RequestsRead],
    };
    KINDS.into_iter().filter(move |kind| !other.contains(kind))
}

/// How long a bucket is over its brim, in nanoseconds. Without a burst rate a tenth of a second's worth fits in.
fn wait(limit: Limit, level: u128, burst_level: u128) -> u64 {
    if limit.rate == 0 {
        return 0;
    }
    let (brim, burst_brim) = match limit.burst_rate {
        0 => (unsigned(limit.rate) * NANOS / 10, u128::MAX),
        rate => (unsigned(rate) * unsigned(limit.burst_seconds) * NANOS, unsigned(rate) * NANOS / 10),
    };
    let over = level.saturating_sub(brim);
    let (over, rate) = if over == 0 && limit.burst_seconds > 1 {
        (burst_level.saturating_sub(burst_brim), unsigned(limit.burst_rate))
    } else {
        (over, unsigned(limit.rate))
    };
    u64::try_from(over.div_ceil(rate)).unwrap_or(u64::MAX)
}

fn unsigned(amount: i64) -> u128 {
    u128::try_from(amount).expect("limits were admitted")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::LIMIT_NAMES;

    fn group(given: &[(&str, i64)]) -> Group {
        let find = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        Group::new(Limits::new(LIMIT_NAMES.map(find)))
    }

    /// When each of so many requests starts, in milliseconds, if each comes when the one before has passed.
    fn starts(group: &Group, direction: Direction, len: u64, count: usize) -> Vec<u64> {
        let mut now = Nanos(0);
        let mut starts = Vec::new();
        for _ in 0..count {
            now = group.next_start(direction, now);
            group.pour(direction, len, now);
            starts.push(now.0 / 1_000_000);
        }
        starts
    }

    #[test]
    fn requests_pass_at_the_rate_after_a_tenth_of_a_second() {
        let slow = group(&[("iops-total", 10)]);
        assert_eq!(starts(&slow, Direction::Read, 4096, 5), [0, 0, 100, 200, 300]);
        let bytes = group(&[("bps-write", 1 << 20)]);
        assert_eq!(starts(&bytes, Direction::Write, 1 << 20, 3), [0, 900, 1900]);
        assert_eq!(starts(&bytes, Direction::Read, 1 << 20, 3), [0, 0, 0]);
    }

    #[test]
    fn a_burst_lasts_as_long_as_it_may() {
        let bursting = group(&[("iops-total", 1), ("iops-total-max", 10), ("iops-total-max-length", 2)]);
        let starts = starts(&bursting, Direction::Write, 512, 24);
        assert!(starts[20] <= 2000, "twenty requests in two seconds: {starts:?}");
        assert!(starts[23] >= starts[22] + 900, "then one a second: {starts:?}");
    }

    #[test]
    fn a_large_request_counts_as_several() {
        let sized = group(&[("iops-total", 10), ("iops-size", 4096)]);
        assert_eq!(starts(&sized, Direction::Read, 8192, 3), [0, 100, 300]);
    }
}
