//! Many runs on all cores.
//!
//! Threads take short blocks of seeds; blocks are added up in the order of their seeds, whoever finishes first. So
//! the result is that of one thread, and what ends early ends after a whole number of blocks and can be resumed.

pub mod again;
pub mod keep;

use crate::campaign::again::{Nondeterminism, check_again};
use crate::campaign::keep::Keep;
use crate::choice::{Choices, mix};
use crate::coverage::{Law, Totals};
use crate::panics::quietly;
use crate::strategy::of_seed;
use crate::verdict::{Detail, Outcome, Verdict};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Seeds a thread takes at once.
const BLOCK: u64 = 16;
/// One passing run in so many is taken twice; every failing one is.
const CHECK_AGAIN_EVERY: u64 = 100;
/// How often the campaign reports its progress.
const TICK: Duration = Duration::from_millis(200);

/// What campaigns run, and what its parts are called.
#[derive(Copy, Clone)]
pub struct Subject<'a> {
    /// One run: a pure function of its choices.
    pub run: &'a (dyn Fn(Choices, Detail) -> Outcome + Sync),
    /// Laws and goals, each in the order of an `Outcome`'s counts.
    pub laws: &'static [Law],
    /// Templates of the points that decide a script entry (0: none): commands, guest requests, faults.
    pub slots: &'static [&'static str],
    /// The slot of a command.
    pub command: &'static str,
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({} laws)", self.laws.len())
    }
}

impl Subject<'_> {
    /// A run without its readable history.
    pub fn quiet(&self, choices: Choices) -> Outcome {
        (self.run)(choices, Detail::Quiet)
    }

    /// A run with its readable history.
    pub fn full(&self, choices: Choices) -> Outcome {
        (self.run)(choices, Detail::Full)
    }
}

/// Which seeds runs have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seeds {
    /// The first has this one, the next the next.
    From(u64),
    /// The first has this one, the next that which comes so much later: a part of a campaign.
    Every {
        /// The first run's.
        first: u64,
        /// From one to the next.
        step: u64,
    },
    /// These, and no more runs than that.
    Listed(Vec<u64>),
}

impl Seeds {
    /// The seed of a run, counted from 0.
    fn of(&self, run: u64) -> Option<u64> {
        match self {
            Seeds::From(first) => Some(first.wrapping_add(run)),
            Seeds::Every { first, step } => Some(first.wrapping_add(run.wrapping_mul(*step))),
            Seeds::Listed(seeds) => seeds.get(usize::try_from(run).ok()?).copied(),
        }
    }
}

/// How far a campaign goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which seeds its runs have.
    pub seeds: Seeds,
    /// At most so many runs.
    pub runs: u64,
    /// No new blocks after so long.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: usize,
    /// End with the first failure.
    pub until_failure: bool,
    /// Only these laws end it then; without any, every law does.
    pub ending_laws: Vec<String>,
    /// Which runs leave their history.
    pub history: Option<Keep>,
}

impl Plan {
    /// Whether a run that broke this law is the last one.
    pub fn ends_with(&self, law: &str) -> bool {
        self.until_failure && (self.ending_laws.is_empty() || self.ending_laws.iter().any(|l| l == law))
    }
}

/// Something a campaign reports while it runs.
#[derive(Debug)]
pub enum News<'a> {
    /// Time passed.
    Tick,
    /// A law broke for the first time; this is its lowest seed.
    Broken {
        /// Which.
        law: &'a str,
        /// Where.
        seed: u64,
    },
}

/// A campaign, looked back on.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// What was seen. Runs cover the seeds from the first on without a gap.
    pub totals: Totals,
    /// The first run that was not the same when taken again. It ends the campaign.
    pub nondeterminism: Option<Nondeterminism>,
    /// The harness itself stopped: its panic, with the seed. It ends the campaign.
    pub panicked: Option<String>,
    /// A history that could not be written, and why. It ends the campaign.
    pub unwritten: Option<String>,
    /// Whether somebody asked to stop.
    pub is_early: bool,
}

/// Runs a campaign; `stop` ends it early. `report` is called in this thread with what happens.
pub fn run(
    subject: &Subject<'_>,
    plan: &Plan,
    stop: &AtomicBool,
    report: &mut dyn FnMut(&Totals, News<'_>),
) -> Campaign {
    let shared = Shared {
        subject,
        plan,
        stop,
        done: AtomicBool::new(false),
        next: AtomicU64::new(0),
        started: Instant::now(),
    };
    let (sender, blocks) = mpsc::channel();
    let mut campaign = Campaign::default();
    thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let sender = sender.clone();
            let shared = &shared;
            scope.spawn(move || shared.work(&sender));
        }
        drop(sender);
        let mut waiting: BTreeMap<u64, Block> = BTreeMap::new();
        let mut expected = 0;
        loop {
            match blocks.recv_timeout(TICK) {
                Ok(block) => {
                    waiting.insert(block.first, block);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(block) = waiting.remove(&expected).filter(|_| !shared.is_done()) {
                expected += BLOCK;
                if campaign.take_in(&block, plan, report) {
                    shared.done.store(true, Ordering::Relaxed);
                }
            }
            report(&campaign.totals, News::Tick);
        }
    });
    campaign.is_early = stop.load(Ordering::Relaxed) && campaign.totals.runs < plan.runs;
    campaign
}

impl Campaign {
    /// Adds a block; true if the campaign ends with it.
    fn take_in(&mut self, block: &Block, plan: &Plan, report: &mut dyn FnMut(&Totals, News<'_>)) -> bool {
        let new: Vec<(&String, u64)> =
            block.totals.broken.iter().map(|(law, broken)| (law, broken.seed)).collect();
        let known: Vec<bool> = new.iter().map(|(law, _)| self.totals.broken.contains_key(*law)).collect();
        self.totals.merge(&block.totals);
        for ((law, seed), _) in new.into_iter().zip(known).filter(|(_, known)| !known) {
            report(&self.totals, News::Broken { law, seed });
        }
        self.nondeterminism = block.nondeterminism.clone();
        self.panicked = block.panicked.clone();
        self.unwritten = block.unwritten.clone();
        let is_failed = self.totals.broken.keys().any(|law| plan.ends_with(law));
        is_failed || self.nondeterminism.is_some() || self.panicked.is_some() || self.unwritten.is_some()
    }
}

/// What one thread made of one block of seeds.
#[derive(Default)]
struct Block {
    /// How many seeds stand before it.
    first: u64,
    totals: Totals,
    nondeterminism: Option<Nondeterminism>,
    panicked: Option<String>,
    unwritten: Option<String>,
}

struct Shared<'a> {
    subject: &'a Subject<'a>,
    plan: &'a Plan,
    stop: &'a AtomicBool,
    /// The campaign has what it needs.
    done: AtomicBool,
    next: AtomicU64,
    started: Instant,
}

impl Shared<'_> {
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        let is_late = self.plan.time.is_some_and(|time| self.started.elapsed() >= time);
        is_late || self.is_done() || self.stop.load(Ordering::Relaxed)
    }

    fn work(&self, sender: &Sender<Block>) {
        while !self.is_over() {
            let first = self.next.fetch_add(BLOCK, Ordering::Relaxed);
            let is_over = first >= self.plan.runs || self.plan.seeds.of(first).is_none();
            if is_over || sender.send(self.block(first)).is_err() {
                return;
            }
        }
    }

    /// The block ends at its first run that ends the campaign, as one thread would.
    fn block(&self, first: u64) -> Block {
        let mut block = Block { first, ..Block::default() };
        for number in first..(first + BLOCK).min(self.plan.runs) {
            let Some(seed) = self.plan.seeds.of(number) else { break };
            match quietly(|| self.one(seed, &mut block)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(panic) => {
                    block.panicked = Some(format!("seed {seed}: {panic}"));
                    break;
                }
            }
        }
        block
    }

    /// One run; false if the campaign ends with it.
    fn one(&self, seed: u64, block: &mut Block) -> bool {
        let detail = if self.plan.history.is_some() { Detail::Full } else { Detail::Quiet };
        let outcome = (self.subject.run)(of_seed(seed), detail);
        block.totals.add(seed, &outcome);
        if let Some(Err(error)) = self.plan.history.as_ref().map(|keep| keep.keep(seed, &outcome)) {
            block.unwritten = Some(format!("of seed {seed}: {error}"));
            return false;
        }
        let is_failed = outcome.verdict != Verdict::Passed;
        if is_failed || mix(!seed).is_multiple_of(CHECK_AGAIN_EVERY) {
            block.nondeterminism = check_again(self.subject, seed, &outcome);
        }
        block.nondeterminism.is_none() && !(is_failed && self.plan.ends_with(outcome.verdict.law()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::What;
    use crate::toy;

    fn campaign(subject: &Subject<'_>, jobs: usize, runs: u64, until_failure: bool) -> (Campaign, Vec<u64>) {
        let plan = Plan {
            seeds: Seeds::From(5),
            runs,
            time: None,
            jobs,
            until_failure,
            ending_laws: Vec::new(),
            history: None,
        };
        let mut seeds = Vec::new();
        let campaign = run(subject, &plan, &AtomicBool::new(false), &mut |_, news| {
            if let News::Broken { seed, .. } = news {
                seeds.push(seed);
            }
        });
        (campaign, seeds)
    }

    #[test]
    fn threads_never_show() {
        let (one, first) = campaign(&toy::SUBJECT, 1, 3_001, false);
        let (four, second) = campaign(&toy::SUBJECT, 4, 3_001, false);
        assert_eq!(one.totals, four.totals);
        assert_eq!(one.totals.runs, 3_001);
        assert_eq!((first.len(), first), (1, second));
        assert!(one.nondeterminism.is_none() && one.panicked.is_none() && !one.is_early);
    }

    #[test]
    fn until_failure_ends_with_the_lowest_failing_seed() {
        let (one, first) = campaign(&toy::SUBJECT, 1, u64::MAX, true);
        let (four, second) = campaign(&toy::SUBJECT, 4, u64::MAX, true);
        assert_eq!(one.totals, four.totals);
        assert_eq!(one.totals.failures(), 1);
        assert_eq!((vec![4 + one.totals.runs], first), (second.clone(), second));
    }

    #[test]
    fn listed_seeds_are_all_that_is_run() {
        let failing = toy::first_failure().0;
        let plan = Plan {
            seeds: Seeds::Listed(vec![failing + 100, failing, failing]),
            runs: u64::MAX,
            time: None,
            jobs: 2,
            until_failure: false,
            ending_laws: Vec::new(),
            history: None,
        };
        let mut reported = Vec::new();
        let found = run(&toy::SUBJECT, &plan, &AtomicBool::new(false), &mut |_, news| {
            if let News::Broken { seed, .. } = news {
                reported.push(seed);
            }
        });
        assert_eq!(found.totals.runs, 3);
        assert!(found.totals.failures() >= 2 && reported.contains(&failing), "{reported:?}");
    }

    #[test]
    fn only_the_laws_asked_for_end_a_campaign() {
        let ending = |law: &str| Plan {
            seeds: Seeds::From(5),
            runs: 3_000,
            time: None,
            jobs: 2,
            until_failure: true,
            ending_laws: vec!["another law".to_owned(), law.to_owned()],
            history: None,
        };
        let take = |plan: &Plan| run(&toy::SUBJECT, plan, &AtomicBool::new(false), &mut |_, _| {}).totals;
        let (on, ended) = (take(&ending("a third law")), take(&ending(toy::LAW)));
        assert_eq!(on.runs, 3_000);
        assert!(on.failures() > 1, "other failures are counted");
        assert_eq!(ended.failures(), 1);
    }

    #[test]
    fn a_run_that_differs_the_second_time_is_found() {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        fn moody(choices: Choices, detail: Detail) -> Outcome {
            let mut outcome = toy::world(choices, detail);
            let call = CALLS.fetch_add(1, Ordering::Relaxed);
            outcome.history_hash ^= call;
            outcome.history.push(0, 0, What::Note(format!("call {call}")));
            outcome
        }
        let (found, _) = campaign(&Subject { run: &moody, ..toy::SUBJECT }, 1, 2_000, false);
        let text = found.nondeterminism.expect("two different fingerprints").to_string();
        assert!(text.contains("first differing line"), "{text}");
        assert!(text.contains("  second  step 0     call "), "{text}");
    }

    #[test]
    fn a_run_that_asks_something_else_the_second_time_is_found() {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        fn restless(mut choices: Choices, detail: Detail) -> Outcome {
            let call = CALLS.fetch_add(1, Ordering::Relaxed);
            choices.choose(crate::choice::Point::new("call #", [call as u32, 0, 0]), 2);
            toy::world(choices, detail)
        }
        let (found, _) = campaign(&Subject { run: &restless, ..toy::SUBJECT }, 1, 2_000, false);
        let text = found.nondeterminism.expect("another point").to_string();
        assert!(text.contains("diverged at decision 1"), "{text}");
    }

    #[test]
    fn a_panic_of_the_harness_ends_the_campaign_with_its_seed() {
        fn broken(choices: Choices, detail: Detail) -> Outcome {
            let outcome = toy::world(choices, detail);
            assert!(outcome.verdict == Verdict::Passed, "the world fell over");
            outcome
        }
        let (found, _) = campaign(&Subject { run: &broken, ..toy::SUBJECT }, 2, 10_000, false);
        let said = found.panicked.expect("it panics");
        assert!(said.contains(": the world fell over ("), "{said}");
        assert!(found.totals.runs < 10_000);
    }

    #[test]
    fn asking_to_stop_ends_early_without_a_gap() {
        let plan = Plan {
            seeds: Seeds::From(1),
            runs: u64::MAX,
            time: None,
            jobs: 2,
            until_failure: false,
            ending_laws: Vec::new(),
            history: None,
        };
        let stop = AtomicBool::new(false);
        let campaign = run(&toy::SUBJECT, &plan, &stop, &mut |totals, _| {
            if totals.runs > 200 {
                stop.store(true, Ordering::Relaxed);
            }
        });
        assert!(campaign.is_early);
        let mut same = Totals::default();
        (1..=campaign.totals.runs).for_each(|seed| same.add(seed, &toy::run(of_seed(seed))));
        assert_eq!(campaign.totals, same);
    }

    #[test]
    fn time_ends_a_campaign() {
        let time = Some(Duration::from_millis(50));
        let plan = Plan {
            seeds: Seeds::From(1),
            runs: u64::MAX,
            time,
            jobs: 1,
            until_failure: false,
            ending_laws: Vec::new(),
            history: None,
        };
        let campaign = run(&toy::SUBJECT, &plan, &AtomicBool::new(false), &mut |_, _| {});
        assert!(campaign.totals.runs > 0 && !campaign.is_early);
    }
}
