//! A campaign against a live daemon: several at once, each failure put to its name, the first of each minimised.

mod plan;

use super::again::AGAIN;
use super::cuts::Tried;
use super::minimise::{Effort, minimise};
use super::second_reader;
use super::sequence::{Record, run};
use crate::subject;
use midstream::choice::Decision;
use midstream::coverage::Totals;
use midstream::history::History;
use midstream::minimise::entries;
use midstream::panics::{Panic, quietly};
use midstream::strategy::of_seed;
use midstream::trace::Trace;
use midstream::verdict::{Detail, Outcome, Verdict};
use seam::escape::lines;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use plan::{Minimise, Plan, Until};

/// Failures that nobody knows are minimised for so many different kinds; others are only counted.
const NEW_MAX: usize = 24;
/// When the time is over, what was found and not minimised yet gets at least so much more, or a quarter of all.
const GRACE_MIN: Duration = Duration::from_secs(30);
/// How often a campaign reports its progress.
const TICK: Duration = Duration::from_millis(200);
/// The law that the harness breaks when it falls over.
pub const PANICKED: &str = "the harness panicked";

/// The slots of a live sequence: what can be left out of it.
pub const SLOTS: [&str; 12] = [
    "client # command #",
    "guest # lane # request #",
    "live fault #",
    "live kill",
    "layer # region #",
    "client # command # look",
    "client # command # runs on",
    "guest # lane # request # look",
    "guest # lane # request # runs on",
    "guest # lane # request # in flight",
    second_reader::SLOT,
    "disk # request #",
];
/// The slot of a command.
pub const COMMAND: &str = "client # command #";

/// Something a campaign reports while it runs.
#[derive(Debug)]
pub enum News {
    /// Time passed: so many sequences, so many of them that failed, and what all of them saw.
    Tick(u64, u64, Box<Totals>),
    /// A kind of failure, once it has been minimised.
    Found(Box<Found>),
}

/// One kind of failure.
#[derive(Clone, Debug)]
pub struct Found {
    /// The known defect, or what it looks like.
    pub name: String,
    /// Whether it is known.
    pub is_known: bool,
    /// Sequences that failed so.
    pub runs: u64,
    /// The first of them.
    pub seed: u64,
    /// How long into the campaign that was.
    pub after: Duration,
    /// The law it broke.
    pub law: String,
    /// The values, of the shortest sequence.
    pub detail: String,
    /// The file that says how the first of them went, if nobody knows why.
    pub history: Option<PathBuf>,
    /// What was seen of the shortest that was recorded; nothing where the harness fell over.
    pub seen: Option<Box<History>>,
    /// Its commands, and all of its decisions; none as long as it was not minimised.
    pub shortest: Option<Shortest>,
}

/// The shortest sequence that fails so.
#[derive(Clone, Debug)]
pub struct Shortest {
    /// Commands of operators, without those that set up and close.
    pub commands: usize,
    /// It failed again so often, of `AGAIN` times.
    pub reproduced: u32,
    /// Runs it took to get there.
    pub took: u64,
    /// Its trace.
    pub trace: Option<PathBuf>,
    /// How other sequences failed on the way there, by name.
    pub others: BTreeSet<String>,
}

/// A campaign, looked back on.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Sequences, those of the minimiser apart.
    pub runs: u64,
    /// Those that were inconclusive, by the reason.
    pub inconclusive: BTreeMap<String, u64>,
    /// What they checked and reached.
    pub totals: Totals,
    /// Runs of the minimiser.
    pub minimiser_runs: u64,
    /// Requests that were in flight when a command was sent, those of the minimiser apart.
    pub in_flight: u64,
    /// Images that a second reader agreed on, those of the minimiser apart.
    pub read_twice: u64,
    /// Crashes that were tried on the simulated disk, those of the minimiser apart.
    pub crashes: Tried,
    /// Kinds of failures, by name.
    pub found: BTreeMap<String, Found>,
    /// A history that could not be written, and why. It ends the campaign.
    pub unwritten: Option<String>,
    /// Whether somebody asked to stop.
    pub is_early: bool,
    /// Failures that wait to be minimised: the name, the seed and the decisions.
    waiting: VecDeque<(String, u64, Vec<Decision>)>,
}

struct Shared<'a> {
    plan: &'a Plan,
    stop: &'a AtomicBool,
    /// What was waited for was found.
    done: AtomicBool,
    next: AtomicU64,
    started: Instant,
    campaign: Mutex<Campaign>,
}

/// Runs a campaign; `report` gets in this thread what happens.
pub fn fuzz(plan: &Plan, stop: &AtomicBool, report: &mut dyn FnMut(News)) -> Campaign {
    let shared = Shared {
        plan,
        stop,
        done: AtomicBool::new(false),
        next: AtomicU64::new(0),
        started: Instant::now(),
        campaign: Mutex::default(),
    };
    let (sender, found) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let (sender, shared) = (sender.clone(), &shared);
            scope.spawn(move || shared.work(&sender));
        }
        drop(sender);
        loop {
            match found.recv_timeout(TICK) {
                Ok(found) => report(News::Found(Box::new(found))),
                Err(RecvTimeoutError::Timeout) => report(shared.campaign().tick()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    let mut campaign = shared.campaign.into_inner().unwrap_or_else(PoisonError::into_inner);
    campaign.is_early = stop.load(Ordering::Relaxed) && plan.seed_of(campaign.runs).is_some();
    campaign
}

impl Shared<'_> {
    fn campaign(&self) -> MutexGuard<'_, Campaign> {
        self.campaign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        let is_late = self.plan.time.is_some_and(|time| self.started.elapsed() >= time);
        let is_stopped = self.stop.load(Ordering::Relaxed) || self.done.load(Ordering::Relaxed);
        is_late || is_stopped || self.campaign().unwritten.is_some()
    }

    fn work(&self, sender: &Sender<Found>) {
        self.search(sender);
        // What is left over is minimised when the search has ended.
        let grace = self.plan.time.map_or(GRACE_MIN, |time| (time / 4).max(GRACE_MIN));
        let end = Instant::now() + grace;
        while Instant::now() < end && !self.stop.load(Ordering::Relaxed) && self.minimise_next(false, sender)
        {
        }
    }

    fn search(&self, sender: &Sender<Found>) {
        while !self.is_over() {
            if self.minimise_next(true, sender) {
                continue;
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = self.plan.seed_of(number) else { return };
            // With its history: what depends on timing may never come again.
            let lived = quietly(|| run(&self.plan.target, of_seed(seed), Detail::Full));
            let record = match lived {
                Ok(record) => record,
                Err(panic) => {
                    self.panicked(seed, &panic);
                    continue;
                }
            };
            let kept = self.plan.history.as_ref().map(|keep| keep.keep(seed, &record.outcome));
            {
                let mut campaign = self.campaign();
                if let Some(Err(error)) = kept {
                    campaign.unwritten = Some(format!("of seed {seed}: {error}"));
                    return;
                }
                campaign.runs += 1;
                campaign.totals.add(seed, &record.outcome);
                if let Some(why) = record.inconclusive.clone() {
                    *campaign.inconclusive.entry(why).or_default() += 1;
                }
                campaign.crashes += record.crashes;
                campaign.in_flight += record.in_flight;
                campaign.read_twice += record.read_twice;
            }
            if record.outcome.verdict != Verdict::Passed {
                self.failed(seed, &record);
            }
        }
    }

    /// The harness fell over: counted as a kind of its own, and never minimised.
    fn panicked(&self, seed: u64, panic: &Panic) {
        let verdict = Verdict::Broken { law: PANICKED.to_owned(), detail: panic.to_string() };
        let (name, after) = (format!("{PANICKED}: {panic}"), self.started.elapsed());
        let found = Found::of(&name, false, seed, after, &Outcome::of(verdict));
        let mut campaign = self.campaign();
        campaign.runs += 1;
        campaign.found.entry(name).and_modify(|found| found.runs += 1).or_insert(found);
    }

    /// Writes down how a run went that is to be minimised, or that nobody can explain.
    fn keep_history(&self, name: &str, seed: u64, record: &Record) -> Option<PathBuf> {
        let file = file_name(name, seed);
        // What is not minimised can be taken again all the same, as long as it is.
        let _long = self.trace_of(&record.outcome, seed).write(&self.plan.out.join(format!("{file}.json")));
        let path = self.plan.out.join(format!("{file}.txt"));
        let text = format!("{}\n{}\n", record.outcome.history.text(), detail(&record.outcome));
        std::fs::create_dir_all(&self.plan.out)
            .and_then(|()| std::fs::write(&path, &*lines(&text)))
            .is_ok()
            .then_some(path)
    }

    fn failed(&self, seed: u64, record: &Record) {
        let after = self.started.elapsed();
        let (name, is_known) = (record.name(), record.known.is_some());
        {
            let mut campaign = self.campaign();
            let new_kinds = campaign.found.values().filter(|found| !found.is_known).count();
            if let Some(found) = campaign.found.get_mut(&name) {
                found.runs += 1;
                return;
            }
            let mut found = Found::of(&name, is_known, seed, after, &record.outcome);
            if self.plan.until.as_ref().is_some_and(|until| until.is_met(&found)) {
                self.done.store(true, Ordering::Relaxed);
            }
            let is_wanted = match self.plan.minimise {
                Minimise::Nothing => false,
                Minimise::New => !is_known,
                Minimise::All => true,
            };
            found.seen = Some(Box::new(record.outcome.history.clone()));
            found.history =
                if is_wanted || !is_known { self.keep_history(&name, seed, record) } else { None };
            campaign.found.insert(name.clone(), found);
            if !is_wanted || !is_known && new_kinds >= NEW_MAX {
                return;
            }
        }
        let mut campaign = self.campaign();
        // The known ones first: there are few of them, and each is asked for.
        let place = if is_known { 0 } else { campaign.waiting.len() };
        campaign.waiting.insert(place, (name, seed, record.outcome.tape.clone()));
    }

    /// Minimises one failure, if any waits. `fairly`: only if no more runs went into that than into the search.
    fn minimise_next(&self, fairly: bool, sender: &Sender<Found>) -> bool {
        let (name, seed, tape) = {
            let mut campaign = self.campaign();
            if fairly && campaign.minimiser_runs > campaign.runs {
                return false;
            }
            let Some(next) = campaign.waiting.pop_front() else { return false };
            // Counted when it begins, so that not all threads do this at once.
            campaign.minimiser_runs += 1;
            next
        };
        self.minimise_one(&name, seed, &tape, sender);
        true
    }

    fn minimise_one(&self, name: &str, seed: u64, tape: &[Decision], sender: &Sender<Found>) {
        let is_same = |record: &Record| !self.stop.load(Ordering::Relaxed) && record.name() == name;
        let least = minimise(&self.plan.target, tape, &is_same, &Effort::default());
        let mut campaign = self.campaign();
        let Some(least) = least else { return };
        campaign.minimiser_runs += least.took + u64::from(AGAIN);
        let found = campaign.found.get_mut(name).expect("it was put there above");
        found.detail = detail(&least.outcome);
        if let Some(history) = least.history {
            found.seen = Some(Box::new(history));
        }
        let path = self.plan.out.join(format!("{}.json", file_name(name, seed)));
        let trace = self.trace_of(&least.outcome, seed);
        found.shortest = Some(Shortest {
            commands: entries(&least.outcome.tape, COMMAND),
            reproduced: least.reproduced,
            took: least.took,
            trace: trace.write(&path).is_ok().then_some(path),
            others: least.others.into_iter().filter(|other| other != name).collect(),
        });
        // Its receiver lives as long as this thread.
        let _received = sender.send(found.clone());
    }

    fn trace_of(&self, outcome: &Outcome, seed: u64) -> Trace {
        Trace { target: Some(self.plan.target.name()), ..Trace::of(outcome, Some(seed)) }
    }
}

impl Campaign {
    /// How many sequences failed.
    pub fn failures(&self) -> u64 {
        self.found.values().map(|found| found.runs).sum()
    }

    fn tick(&self) -> News {
        News::Tick(self.runs, self.failures(), Box::new(self.totals.clone()))
    }
}

impl Found {
    fn of(name: &str, is_known: bool, seed: u64, after: Duration, outcome: &Outcome) -> Found {
        Found {
            name: name.to_owned(),
            is_known,
            runs: 1,
            seed,
            after,
            law: outcome.verdict.law().to_owned(),
            detail: detail(outcome),
            history: None,
            seen: None,
            shortest: None,
        }
    }
}

fn detail(outcome: &Outcome) -> String {
    midstream::trace::verdict_text(&outcome.verdict).to_owned()
}

/// A name as a file's.
fn file_name(name: &str, seed: u64) -> String {
    let word: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let mut short = String::new();
    for part in word.split('-').filter(|part| !part.is_empty()) {
        if short.len() > 40 {
            break;
        }
        short += part;
        short.push('-');
    }
    format!("{short}{seed}")
}

/// The laws and goals that live sequences count.
pub fn laws() -> &'static [midstream::coverage::Law] {
    subject::subject().laws
}
