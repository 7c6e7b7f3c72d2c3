//! How far a campaign is: a bar on a terminal, a plain line every few seconds elsewhere. Always on stderr.

use crate::report::text::grouped;
use indicatif::{ProgressBar, ProgressStyle};
use midstream::terminal::complain;
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// Between two plain lines.
const PAUSE: Duration = Duration::from_secs(5);

/// The progress of one campaign.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    reported: Instant,
    runs_max: Option<u64>,
    time_max: Option<Duration>,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Progress(since {:?})", self.started)
    }
}

impl Progress {
    /// The progress towards so many runs, or so much time; without either there is no end in sight.
    pub fn new(runs_max: Option<u64>, time_max: Option<Duration>) -> Self {
        let now = Instant::now();
        let bar = stderr().is_terminal().then(|| bar(runs_max.is_some() || time_max.is_some()));
        Progress { bar, started: now, reported: now, runs_max, time_max }
    }

    /// Reports how far it is; `more` is what else there is to say, which is asked for only when it is shown.
    pub fn report(&mut self, runs: u64, failures: u64, more: impl FnOnce() -> String) {
        let elapsed = self.started.elapsed();
        if self.bar.is_none() && self.reported.elapsed() < PAUSE {
            return;
        }
        let message = self.message(runs, failures, elapsed) + &more();
        if let Some(bar) = &self.bar {
            bar.set_position((self.share(runs, elapsed) * 1000.0) as u64);
            bar.set_message(message);
        } else {
            self.reported = Instant::now();
            complain(format_args!("{:>5} s  {message}", elapsed.as_secs()));
        }
    }

    /// `1,000 runs, 200/s, 15 s left, 2 failed`
    fn message(&self, runs: u64, failures: u64, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let share = self.share(runs, elapsed);
        let left = if share > 0.0 {
            format!("{:.0} s left, ", seconds * (1.0 - share) / share)
        } else {
            String::new()
        };
        let speed = grouped((runs as f64 / seconds) as u64);
        format!("{} runs, {speed}/s, {left}{} failed", grouped(runs), grouped(failures))
    }

    /// Prints something above the bar.
    pub fn print(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn share(&self, runs: u64, elapsed: Duration) -> f64 {
        let by_runs = self.runs_max.map_or(0.0, |max| runs as f64 / max.max(1) as f64);
        let by_time = self.time_max.map_or(0.0, |max| elapsed.as_secs_f64() / max.as_secs_f64().max(1e-9));
        by_runs.max(by_time).min(1.0)
    }
}

fn bar(has_end: bool) -> ProgressBar {
    let template =
        if has_end { "{elapsed_precise} [{bar:40}] {msg}" } else { "{elapsed_precise} {spinner} {msg}" };
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    let bar = if has_end { ProgressBar::new(1000) } else { ProgressBar::new_spinner() };
    bar.with_style(style.progress_chars("=> "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whichever_limit_is_nearer_counts() {
        let progress = Progress::new(Some(100), Some(Duration::from_secs(10)));
        assert_eq!(progress.share(50, Duration::from_secs(1)), 0.5);
        assert_eq!(progress.share(10, Duration::from_secs(9)), 0.9);
        assert_eq!(progress.share(10, Duration::from_secs(90)), 1.0);
        assert_eq!(Progress::new(None, None).share(10, Duration::from_secs(90)), 0.0);
    }

    #[test]
    fn a_line_says_how_fast_it_is_and_how_long_it_takes() {
        let progress = Progress::new(Some(4_000), None);
        let line = progress.message(1_000, 2, Duration::from_secs(5));
        assert_eq!(line, "1,000 runs, 200/s, 15 s left, 2 failed");
        assert_eq!(Progress::new(None, None).message(7, 0, Duration::from_secs(1)), "7 runs, 7/s, 0 failed");
    }
}
