//! `midstream fuzz`: a campaign of random runs, and a short trace for every law it breaks.

mod ending;
mod failures;
mod leave;
mod live;
mod live_report;

use super::laws::{check_law, sentence};
use super::limits::{at_least_1, check_folder, jobs, seconds};
use super::seeds::{self, Seed};
use super::{Exit, refuse};
use crate::live::target::Target;
use crate::report::growth::{self, Growth};
use crate::report::progress::Progress;
use crate::report::{Cost, text};
use crate::shard::Part;
use crate::shard::part::Asked;
use clap::Args;
use ending::Ended;
use failures::Failures;
use midstream::campaign::keep::Keep;
use midstream::campaign::{self, News, Plan, Seeds, Subject};
use midstream::panics::{Panic, quietly};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

/// Without a limit a campaign takes so long.
const SECONDS: u64 = 30;
/// A second interrupt ends the process with the code shells give it.
const INTERRUPTED: i32 = 130;

/// Run random worlds until a law breaks or a limit ends it; run i has the seed S + i.
#[derive(Args, Debug)]
pub(super) struct Fuzz {
    /// The seed of the first run: a number, or `random`, a fresh one. It is printed, and a campaign with it is the same again.
    /// Before a fresh one, the seeds of all traces in --out are run, which failed before.
    #[arg(long, value_name = "S", default_value = "random", value_parser = Seed::parse)]
    seed: Seed,
    /// End after so many runs.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = at_least_1())]
    runs: Option<u64>,
    /// End after so many seconds; 30 when no other end is given.
    #[arg(long, value_name = "T", value_parser = seconds())]
    seconds: Option<u64>,
    /// Threads; all cores when not given. The result does not depend on it.
    #[arg(long, value_name = "N", value_parser = jobs())]
    jobs: Option<u64>,
    /// Where to put traces of failures.
    #[arg(long, value_name = "DIR", default_value = "traces/new")]
    out: PathBuf,
    /// Write the history of every run that fails or is inconclusive to DIR/SEED.jsonl, for `midstream judge`.
    #[arg(long, value_name = "DIR")]
    history: Option<PathBuf>,
    /// Write the histories of all runs there.
    #[arg(long, requires = "history")]
    history_all: bool,
    /// End with one line of JSON on stdout; everything else goes to stderr.
    #[arg(long)]
    json: bool,
    /// End with the first failure; of a live daemon, with the first that is not known.
    #[arg(long)]
    until_failure: bool,
    /// Only a failure of this law is the first failure; others are reported and counted. Can be given more than once;
    /// `midstream laws` lists them.
    #[arg(long, value_name = "LAW", requires = "until_failure", value_parser = sentence)]
    law: Vec<String>,
    /// Drive a live daemon instead: `qemu` or `midstreamd`, with `:PATH` if it is not on the search path. Then every kind
    /// of job is among the commands, and the seeds of two campaigns need not give the same.
    #[arg(long, value_name = "KIND[:PATH]")]
    target: Option<Target>,
    /// The images of the live daemon lie on a simulated disk behind NBD, which the choice log orders; every sequence is judged as
    /// if it had been killed, or the power cut, at many of its points. The same as `--target KIND+disk`. Not midstreamd,
    /// which is no NBD client.
    #[arg(long, requires = "target")]
    disk: bool,
    /// Known defects of the live daemon fail the campaign too, and end it with --until-failure.
    #[arg(long, requires = "target")]
    strict: bool,
    /// Only one part of the campaign, for several machines: `I/N`, counted from 0, has every N-th seed from S + I on, and
    /// of --runs its share. `env`, or `env/N` where a scheduler does not say how many there are, asks the environment of
    /// Slurm, Kubernetes, HyperQueue or AWS Batch. Leaves a file in --result, for `midstream merge`.
    #[arg(long, value_name = "I/N", conflicts_with = "target", value_parser = Asked::parse)]
    shard: Option<Asked>,
    /// Where a part leaves its result; the folder of --out when not given.
    #[arg(long, value_name = "DIR", requires = "shard")]
    result: Option<PathBuf>,
    /// Write a report to DIR: a page, the pages of the failures, and JUnit XML.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// With --json: write what happens to stdout as lines of JSON, one every second or so and one for each law that breaks;
    /// the last one is that of --json.
    #[arg(long, requires = "json", conflicts_with = "target")]
    json_events: bool,
}

impl Fuzz {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        let exit = match &self.target {
            Some(target) => self.live(subject, target),
            None => self.simulated(subject),
        };
        exit.unwrap_or_else(|problem| refuse(&problem))
    }

    fn simulated(&self, subject: &Subject) -> Result<Exit, String> {
        let named = self.law.iter().try_for_each(|law| check_law(subject, law));
        named.map_err(|problem| format!("--law: {problem}"))?;
        check_folder("--out", &self.out)?;
        self.report.iter().try_for_each(|folder| check_folder("--report", folder))?;
        let part = self.part()?;
        let stop = stop_on_interrupt()?;
        let plan = Plan { history: self.keep()?, ..self.plan(part) };
        let mut failures = Failures::new(self, subject);
        // A part has its own seeds and no others.
        let before = if part.is_some() { Vec::new() } else { self.failed_before(None) };
        let mut again = Ended::default();
        if !before.is_empty() {
            complain!("{}", seeds::announced(&before));
            let listed = Seeds::Listed(before.clone());
            let listed = Plan { seeds: listed, runs: before.len() as u64, time: None, ..plan.clone() };
            again = self.campaign(&listed, &stop, &mut failures);
            self.say(&seeds::concluded(before.len(), again.campaign.totals.failures(), &self.out));
            if again.ends(&plan, &stop) {
                let exit = self.conclude(&again, 0, &failures, &before, &again);
                return self.leave(&again, part, &failures).map(|()| exit);
            }
        }
        self.announce(&plan);
        let ended = self.campaign(&plan, &stop, &mut failures);
        let done = ended.campaign.totals.runs * part.map_or(1, |part| part.of);
        let exit = self.conclude(&ended, done, &failures, &before, &again);
        self.leave(&ended, part, &failures).map(|()| exit)
    }

    /// Runs a campaign; reports each law that it breaks.
    fn campaign(&self, plan: &Plan, stop: &AtomicBool, failures: &mut Failures<'_>) -> Ended {
        let started = Instant::now();
        let mut progress = Progress::new(Some(plan.runs).filter(|runs| *runs < u64::MAX), plan.time);
        let mut trouble = None;
        let subject = failures.subject;
        let mut growth = Growth::new(self.json_events);
        let mut campaign = campaign::run(subject, plan, stop, &mut |totals, news| match news {
            News::Tick => {
                progress.report(totals.runs, totals.failures(), || growth::words(totals, subject.laws));
                growth.tick(totals, subject.laws);
            }
            News::Broken { law, seed } => match quietly(|| failures.block(law, seed)) {
                Ok(block) => {
                    growth.broken(law, seed);
                    progress.print(|| self.say(&block));
                }
                Err(panic) => {
                    trouble = Some(minimising(seed, &panic));
                    stop.store(true, Ordering::Relaxed);
                }
            },
        });
        campaign.panicked = campaign.panicked.or(trouble);
        progress.end();
        let points = growth.end(&campaign.totals, subject.laws);
        Ended { campaign, cost: Some(Cost::now(started.elapsed(), plan.jobs)), points }
    }

    /// The seeds that go first: whoever names one wants the runs of that one alone.
    fn failed_before(&self, target: Option<&str>) -> Vec<u64> {
        if self.seed.is_fresh { seeds::failed_before(&self.out, target) } else { Vec::new() }
    }

    fn plan(&self, part: Option<Part>) -> Plan {
        let default = (self.runs.is_none() && !self.until_failure).then_some(SECONDS);
        let cores = || available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs = self.jobs.map_or_else(cores, |jobs| jobs as usize);
        Plan {
            seeds: match part {
                None => Seeds::From(self.seed.number),
                Some(part) => {
                    Seeds::Every { first: self.seed.number.wrapping_add(part.index), step: part.of }
                }
            },
            runs: self.runs.map_or(u64::MAX, |runs| part.map_or(runs, |part| part.share(runs))),
            time: self.seconds.or(default).map(Duration::from_secs),
            jobs,
            until_failure: self.until_failure,
            ending_laws: self.law.clone(),
            history: None,
        }
    }

    /// Which runs leave their history; the folder is there then.
    fn keep(&self) -> Result<Option<Keep>, String> {
        let keep = self.history.as_ref().map(|folder| Keep::new(folder, self.history_all));
        let folder = self.history.as_deref().unwrap_or(Path::new("")).display();
        keep.transpose().map_err(|error| format!("--history {folder}: {error}"))
    }

    fn announce(&self, plan: &Plan) {
        let end = match (self.runs, plan.time) {
            (Some(runs), _) => text::counted(runs, "run"),
            (None, Some(time)) => format!("{} s", time.as_secs()),
            (None, None) => "until something breaks".to_owned(),
        };
        let fresh = if self.seed.is_fresh { " (fresh)" } else { "" };
        let threads = text::counted(plan.jobs as u64, "thread");
        complain!("fuzz from seed {}{fresh}, {end}, {threads}", self.seed.number);
    }

    /// People read stdout unless a program does.
    fn say(&self, text: &str) {
        if self.json {
            complain!("{text}");
        } else {
            say!("{text}");
        }
    }

    /// Whether the trace of a law is what somebody waits for.
    fn is_wanted(&self, law: &str) -> bool {
        self.law.iter().any(|wanted| wanted == law)
    }
}

/// The panic of the harness in a variant of a run.
fn minimising(seed: u64, panic: &Panic) -> String {
    format!("seed {seed}, while its trace was minimised: {panic}")
}

fn stop_on_interrupt() -> Result<Arc<AtomicBool>, String> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first interrupt only raises the flag, the second finds it raised.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| format!("cannot listen for interrupts: {error}"))?;
    }
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::choice::Choices;
    use midstream::minimise::entries;
    use midstream::strategy::of_seed;
    use midstream::toy;
    use midstream::trace::Trace;
    use midstream::verdict::{Detail, Outcome, Verdict};

    pub(super) fn fuzz(out: PathBuf) -> Fuzz {
        let (runs, law) = (Some(2_000), Vec::new());
        Fuzz {
            seed: Seed { number: 1, is_fresh: false },
            runs,
            seconds: None,
            jobs: None,
            out,
            json: true,
            until_failure: true,
            law,
            target: None,
            disk: false,
            strict: false,
            history: None,
            history_all: false,
            shard: None,
            result: None,
            report: None,
            json_events: false,
        }
    }

    /// The toy, but a failure of two commands is more than its harness can take: only the minimiser gets there.
    fn fragile(choices: Choices, detail: Detail) -> Outcome {
        let outcome = toy::world(choices, detail);
        let is_short = entries(&outcome.tape, toy::COMMAND) <= 2;
        assert!(!is_short || outcome.verdict == Verdict::Passed, "the world fell over");
        outcome
    }

    #[test]
    fn a_harness_that_falls_over_while_a_trace_is_minimised_is_its_own_end() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let subject = Subject { run: &fragile, ..toy::SUBJECT };
        assert_eq!(fuzz(folder.path().join("new")).run(&subject), Exit::Panicked);
    }

    #[test]
    fn a_law_by_an_unknown_name_is_a_usage_error() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let fuzz = Fuzz { law: vec!["no such law".to_owned()], ..fuzz(folder.path().to_owned()) };
        assert_eq!(fuzz.run(&toy::SUBJECT), Exit::Usage);
    }

    #[test]
    fn seeds_that_failed_before_run_before_a_fresh_one_and_never_beside_one_that_was_named() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let failing = toy::first_failure().0;
        // From here on the toy passes for a while.
        let passing = (failing + 1..)
            .find(|first| {
                (*first..first + 3)
                    .all(|seed| !toy::SUBJECT.quiet(of_seed(seed)).verdict.law().contains(toy::LAW))
            })
            .expect("most runs pass");
        let plain = |is_fresh| Fuzz {
            seed: Seed { number: passing, is_fresh },
            runs: Some(3),
            until_failure: false,
            ..fuzz(folder.path().join("new"))
        };
        assert_eq!(plain(true).run(&toy::SUBJECT), Exit::Clean, "nothing has failed before");
        assert_eq!(
            Fuzz { seed: Seed { number: failing, is_fresh: false }, ..plain(false) }.run(&toy::SUBJECT),
            Exit::Broken
        );
        assert_eq!(plain(true).failed_before(None), [failing]);
        assert_eq!(plain(true).run(&toy::SUBJECT), Exit::Broken, "it fails again");
        assert_eq!(plain(false).run(&toy::SUBJECT), Exit::Clean, "a seed that is named is all there is");
        let mended = Subject { run: &mended, ..toy::SUBJECT };
        assert_eq!(plain(true).run(&mended), Exit::Clean, "it fails no more");
    }

    fn mended(choices: Choices, detail: Detail) -> Outcome {
        Outcome { verdict: Verdict::Passed, ..toy::world(choices, detail) }
    }

    #[test]
    fn a_failure_leaves_a_short_trace_that_replays() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        assert_eq!(fuzz(folder.path().join("new")).run(&toy::SUBJECT), Exit::Broken);
        let seed = (1..).find(|&seed| toy::run(of_seed(seed)).verdict.law() == toy::LAW).expect("it breaks");
        let trace = Trace::read(&folder.path().join(format!("new/{seed}.json"))).expect("a trace");
        assert_eq!((trace.seed, entries(&trace.choices, toy::COMMAND)), (Some(seed), 2));
        let replayed = trace.replay(&toy::SUBJECT, midstream::verdict::Detail::Quiet);
        assert!(replayed.is_expected(&trace) && replayed.divergence.is_none());
    }
}
