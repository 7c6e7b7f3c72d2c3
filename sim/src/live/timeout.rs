//! How long a daemon may take over one thing: until a time, or until it has kept a processor busy for too long with it.
//!
//! A daemon that waits uses no processor, and may be slow because the machine is; one that spins is known by the time
//! it has used, however busy the machine, and long before a wait of many seconds is over.

use super::process::ANSWER_MAX;
use std::time::{Duration, Instant};

/// Nothing came for so long: time to ask how busy the daemon is.
const LOOK: Duration = Duration::from_millis(50);
/// So many hundredths of a second of processor time over one thing are a spin: fifteen whole sequences use no more.
const SPIN_TICKS: u64 = 50;

/// Why a wait is over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Over {
    /// There is no time left.
    Late,
    /// The daemon was busy all the while.
    Spins,
}

/// One wait.
#[derive(Debug)]
pub struct Timeout {
    began: Instant,
    /// The processor time that the daemon had used at the first look.
    ticks_before: Option<u64>,
}

impl Timeout {
    /// A wait that begins now.
    pub fn begin() -> Timeout {
        Timeout { began: Instant::now(), ticks_before: None }
    }

    /// How long to wait before the next look.
    pub fn pause(&self) -> Duration {
        LOOK.min(ANSWER_MAX.saturating_sub(self.began.elapsed()))
    }

    /// When the next look is due.
    pub fn next_look(&self) -> Instant {
        Instant::now() + self.pause()
    }

    /// A look, after a pause in which nothing came, at a daemon that has used `ticks` of processor time.
    pub fn look(&mut self, ticks: Option<u64>) -> Option<Over> {
        self.ticks_before = self.ticks_before.or(ticks);
        let used = ticks.zip(self.ticks_before).map_or(0, |(now, before)| now.saturating_sub(before));
        if used >= SPIN_TICKS {
            return Some(Over::Spins);
        }
        (self.began.elapsed() >= ANSWER_MAX).then_some(Over::Late)
    }

    /// How long it took so far, in words.
    pub fn text(&self) -> String {
        format!("{:.1} s", self.began.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spin_is_known_by_the_time_used_since_the_first_look() {
        let mut timeout = Timeout::begin();
        assert_eq!(timeout.look(Some(500)), None);
        assert_eq!(timeout.look(Some(500 + SPIN_TICKS - 1)), None);
        assert_eq!(timeout.look(Some(500 + SPIN_TICKS)), Some(Over::Spins));
    }

    #[test]
    fn who_waits_without_using_time_is_late_at_the_end_only() {
        let mut timeout = Timeout::begin();
        assert_eq!(timeout.look(Some(7)), None);
        timeout.began = timeout.began.checked_sub(ANSWER_MAX).expect("the machine is up for longer");
        assert_eq!(timeout.pause(), Duration::ZERO);
        assert_eq!(timeout.look(Some(7)), Some(Over::Late));
        assert_eq!(Timeout::begin().look(None), None);
    }
}
