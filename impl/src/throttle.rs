//! How fast a throttle group lets requests pass: six limits, each a rate and a burst.

pub(crate) mod group;

use crate::error::Refused;

/// No rate is larger, in bytes or requests a second.
pub(crate) const RATE_MAX: i64 = 1_000_000_000_000_000;

/// What one limit counts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Bytes of every request.
    BytesTotal,
    /// Bytes of reads.
    BytesRead,
    /// Bytes of writes.
    BytesWrite,
    /// Every request.
    RequestsTotal,
    /// Reads.
    RequestsRead,
    /// Writes.
    RequestsWrite,
}

/// One limit.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Limit {
    /// A second, on average; 0 is unlimited.
    pub rate: i64,
    /// A second, during a burst; 0 allows none.
    pub burst_rate: i64,
    /// How long a burst may last, in seconds.
    pub burst_seconds: i64,
}

impl Default for Limit {
    fn default() -> Self {
        Limit { rate: 0, burst_rate: 0, burst_seconds: 1 }
    }
}

/// The limits of a group.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// In the order of `Counted`.
    by_kind: [Limit; 6],
    /// A request larger than this counts as several; 0 counts each as one.
    pub request_bytes: i64,
}

/// What the operator calls them: three for each of `Counted`, and the size of a request.
pub(crate) const LIMIT_NAMES: [&str; 19] = [
    "bps-total",
    "bps-total-max",
    "bps-total-max-length",
    "bps-read",
    "bps-read-max",
    "bps-read-max-length",
    "bps-write",
    "bps-write-max",
    "bps-write-max-length",
    "iops-total",
    "iops-total-max",
    "iops-total-max-length",
    "iops-read",
    "iops-read-max",
    "iops-read-max-length",
    "iops-write",
    "iops-write-max",
    "iops-write-max-length",
    "iops-size",
];

impl Limits {
    /// The limits by `LIMIT_NAMES`; what is not given does not limit.
    pub fn new(given: [Option<i64>; LIMIT_NAMES.len()]) -> Limits {
        let limit = |kind: usize| Limit {
            rate: given[3 * kind].unwrap_or(0),
            burst_rate: given[3 * kind + 1].unwrap_or(0),
            burst_seconds: given[3 * kind + 2].unwrap_or(1),
        };
        Limits { by_kind: std::array::from_fn(limit), request_bytes: given[18].unwrap_or(0) }
    }

    /// One limit.
    pub fn of(&self, counted: Counted) -> Limit {
        self.by_kind[counted as usize]
    }

    /// Refuses limits that contradict each other, in QEMU's order.
    pub fn admit(&self) -> Result<(), Refused> {
        let refuse = |why| Err(Refused::BadLimits(why));
        let [bytes, bytes_read, bytes_write, requests, requests_read, requests_write] = self.by_kind;
        for (total, one, other) in
            [(bytes, bytes_read, bytes_write), (requests, requests_read, requests_write)]
        {
            let rates = total.rate != 0 && (one.rate != 0 || other.rate != 0);
            if rates || (total.burst_rate != 0 && (one.burst_rate != 0 || other.burst_rate != 0)) {
                return refuse(
                    "bps/iops/max total values and read/write values cannot be used at the same time",
                );
            }
        }
        let any_requests = [requests, requests_read, requests_write].iter().any(|limit| limit.rate != 0);
        if self.request_bytes != 0 && !any_requests {
            return refuse("iops size requires an iops value to be set");
        }
        self.by_kind.iter().try_for_each(|limit| limit.admit())
    }
}

impl Limit {
    fn admit(&self) -> Result<(), Refused> {
        let bad = |rate: i64| !(0..=RATE_MAX).contains(&rate);
        let why = if bad(self.rate) || bad(self.burst_rate) {
            "bps/iops/max values must be within [0, 1000000000000000]"
        } else if self.burst_seconds == 0 {
            "the burst length cannot be 0"
        } else if self.burst_seconds != 1 && self.burst_rate == 0 {
            "burst length set without burst rate"
        } else if self.burst_rate != 0 && !(1..=RATE_MAX / self.burst_rate).contains(&self.burst_seconds) {
            "burst length too high for this burst rate"
        } else if self.burst_rate != 0 && self.rate == 0 {
            "bps_max/iops_max require corresponding bps/iops values"
        } else if self.burst_rate != 0 && self.burst_rate < self.rate {
            "bps_max/iops_max cannot be lower than bps/iops"
        } else {
            return Ok(());
        };
        Err(Refused::BadLimits(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(given: &[(&str, i64)]) -> Option<Refused> {
        let find = |name: &str| given.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
        Limits::new(LIMIT_NAMES.map(find)).admit().err()
    }

    #[test]
    fn limits_that_contradict_each_other_are_refused() {
        for (given, why) in [
            (&[("iops-total", -1)][..], "bps/iops/max values must be within [0, 1000000000000000]"),
            (
                &[("iops-total", 1), ("iops-read", 2)],
                "bps/iops/max total values and read/write values cannot be used at the same time",
            ),
            (&[("iops-total-max", 1)], "bps_max/iops_max require corresponding bps/iops values"),
            (&[("iops-total-max-length", 0)], "the burst length cannot be 0"),
            (&[("iops-total-max-length", 2)], "burst length set without burst rate"),
            (&[("bps-read", 5), ("bps-read-max", 4)], "bps_max/iops_max cannot be lower than bps/iops"),
            (&[("iops-size", 4096)], "iops size requires an iops value to be set"),
        ] {
            assert_eq!(refused(given), Some(Refused::BadLimits(why)), "{given:?}");
        }
        assert_eq!(refused(&[("bps-total", 1 << 20), ("bps-total-max", 2 << 20), ("iops-read", 9)]), None);
    }
}
