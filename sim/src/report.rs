//! What the command prints: text for people, one line of JSON for programs.

pub mod chain;
pub mod growth;
pub mod json;
pub mod junit;
pub mod lanes;
pub mod page;
pub mod progress;
pub mod story;
pub mod text;

use midstream::coverage::Totals;
use std::fs;
use std::time::Duration;

/// How long a campaign took.
#[derive(Copy, Clone, Default, Debug)]
pub struct Cost {
    /// On the wall.
    pub wall: Duration,
    /// Of all threads, as far as the system reports.
    pub cpu_seconds: f64,
    /// Of all processes it started and saw the end of.
    pub children_cpu_seconds: f64,
}

impl Cost {
    /// The cost of this process so far. `jobs` threads are assumed busy all the time where the system does not report it.
    pub fn now(wall: Duration, jobs: usize) -> Self {
        let measured = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_seconds(&stat));
        let (cpu_seconds, children_cpu_seconds) = measured.unwrap_or((wall.as_secs_f64() * jobs as f64, 0.0));
        Cost { wall, cpu_seconds, children_cpu_seconds }
    }

    /// Runs a second.
    pub fn runs_per_second(&self, totals: &Totals) -> f64 {
        totals.runs as f64 / self.seconds()
    }

    /// Steps a second.
    pub fn steps_per_second(&self, totals: &Totals) -> f64 {
        totals.steps as f64 / self.seconds()
    }

    fn seconds(&self) -> f64 {
        self.wall.as_secs_f64().max(1e-9)
    }
}

/// User and system time of proc(5) `stat`: the 14th and 15th field, in hundredths, and the next two for the processes it
/// started. The name before may hold anything.
fn cpu_seconds(stat: &str) -> Option<(f64, f64)> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let mut seconds = || Some((ticks()? + ticks()?) as f64 / 100.0);
    Some((seconds()?, seconds()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 100 60 20 0 1 0 12345";
        assert_eq!(cpu_seconds(stat), Some((3.0, 1.6)));
        assert_eq!(cpu_seconds("7 (short) S 1"), None);
    }
}
