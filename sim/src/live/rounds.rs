//! Rounds of one ordeal after the other: sequences with guests, flushes and jobs, each stopped in the middle, and looked at
//! afterwards by the model, by our check and by our repair.

use super::plan::Ordeal;
use super::sequence::{Record, run_through};
use super::target::Target;
use midstream::history::What;
use midstream::history::observed::Observed;
use midstream::panics::quietly;
use midstream::request::Operation;
use midstream::strategy::of_seed;
use midstream::verdict::{Detail, Verdict};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Every ordeal, as the table names it.
pub const ORDEALS: [(Ordeal, &str); 3] =
    [(Ordeal::Kill, "kill -9"), (Ordeal::Term, "SIGTERM"), (Ordeal::Full, "ENOSPC")];

/// What rounds of one ordeal came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Rounds.
    pub rounds: u64,
    /// Those of which only a part was judged.
    pub inconclusive: u64,
    /// Those in which a job was under way when the process was stopped.
    pub with_jobs: u64,
    /// Writes of guests, and flushes that ended well.
    pub writes: u64,
    /// See above.
    pub flushes: u64,
    /// Rounds in which a request or a job met the error.
    pub errors: u64,
    /// Clusters that leaked, and were given back by our repair.
    pub leaks: u64,
    /// Rounds that broke a law.
    pub broken: u64,
}

/// A round that broke a law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Its ordeal.
    pub ordeal: Ordeal,
    /// Its seed.
    pub seed: u64,
    /// The law, and what was found.
    pub law: String,
    /// See above.
    pub detail: String,
}

/// Rounds to be played.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// The daemon.
    pub target: Target,
    /// The ordeal.
    pub ordeal: Ordeal,
    /// The seed of the first.
    pub seed: u64,
    /// How many.
    pub rounds: u64,
    /// Daemons side by side.
    pub jobs: usize,
}

impl Rounds {
    /// Plays them all, unless somebody asks to stop; `report` gets how many were played, and how many broke a law.
    pub fn run(&self, stop: &AtomicBool, report: &(dyn Fn(u64, u64) + Sync)) -> (Totals, Vec<Broken>) {
        let (next, done) = (AtomicU64::new(0), Mutex::new((Totals::default(), Vec::new())));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.rounds {
                            return;
                        }
                        let (totals, broken) = self.one(self.seed.wrapping_add(number));
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.0.add(&totals);
                        done.1.extend(broken);
                        report(done.0.rounds, done.0.broken);
                    }
                });
            }
        });
        let (totals, mut broken) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        broken.sort_by_key(|broken: &Broken| broken.seed);
        (totals, broken)
    }

    fn one(&self, seed: u64) -> (Totals, Option<Broken>) {
        let broken = |law: &str, detail: String| {
            let (ordeal, law) = (self.ordeal, law.to_owned());
            Some(Broken { ordeal, seed, law, detail })
        };
        let run = || run_through(&self.target, of_seed(seed), Detail::Full, Some(self.ordeal));
        let (totals, broken) = match quietly(run) {
            Err(panic) => (Totals::default(), broken("the harness never panics", panic.to_string())),
            Ok(record) => {
                let broken = match &record.outcome.verdict {
                    Verdict::Passed => None,
                    verdict => broken(verdict.law(), midstream::trace::verdict_text(verdict).to_owned()),
                };
                (Totals::of(&record), broken)
            }
        };
        (Totals { rounds: 1, broken: u64::from(broken.is_some()), ..totals }, broken)
    }
}

impl Totals {
    fn of(record: &Record) -> Totals {
        let mut totals = Totals {
            leaks: record.leaks,
            inconclusive: u64::from(record.outcome.is_inconclusive),
            ..Totals::default()
        };
        let (mut flushing, mut jobs, mut is_stopped, mut met) = (Vec::new(), 0_i64, false, false);
        for entry in &record.outcome.history.entries {
            let What::Observed(observed) = &entry.what else { continue };
            match observed {
                Observed::Began { request, asked, .. } => match asked.operation {
                    Operation::Flush => flushing.push(*request),
                    Operation::Read => {}
                    _ => totals.writes += 1,
                },
                Observed::Ended { request, result } => {
                    totals.flushes += u64::from(result.is_ok() && flushing.contains(request));
                    met |= result.is_err();
                }
                Observed::Event { text } => {
                    jobs += i64::from(text.contains(r#""status": "created""#));
                    jobs -= i64::from(text.contains(r#""status": "null""#));
                    met |= text.contains("BLOCK_JOB_ERROR") || text.contains("No space left");
                }
                Observed::Crash { .. } if !is_stopped => {
                    is_stopped = true;
                    totals.with_jobs += u64::from(jobs > 0);
                }
                _ => {}
            }
        }
        totals.errors = u64::from(met);
        totals
    }

    fn add(&mut self, other: &Totals) {
        self.rounds += other.rounds;
        self.inconclusive += other.inconclusive;
        self.with_jobs += other.with_jobs;
        self.writes += other.writes;
        self.flushes += other.flushes;
        self.errors += other.errors;
        self.leaks += other.leaks;
        self.broken += other.broken;
    }
}
