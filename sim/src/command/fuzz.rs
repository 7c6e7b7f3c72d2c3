//! `midstream fuzz`: a campaign of random runs, and a short trace for every law it breaks.

use super::laws::{check_law, check_live_law, sentence};
use super::limits::{at_least_1, check_folder, jobs, seconds};
use super::{Exit, refuse};
use crate::live;
use crate::live::campaign::{Shorten, Until};
use crate::live::target::Target;
use crate::report::progress::Progress;
use crate::report::text::program;
use crate::report::{Cost, json, text};
use clap::Args;
use midstream::campaign::keep::Keep;
use midstream::campaign::{self, Campaign, News, Plan, Subject};
use midstream::coverage::Totals;
use midstream::minimise::{Limits, entries, minimise};
use midstream::panics::{Panic, quietly};
use midstream::strategy::of_seed;
use midstream::terminal::shown;
use midstream::trace::Trace;
use midstream::verdict::Outcome;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Without a limit a campaign takes so long.
const SECONDS: u64 = 30;
/// Traces are written for so many laws; the runs that break others are only counted.
const TRACES_MAX: usize = 10;
/// A failure is minimised for at most so long.
const MINIMISE_MAX: Duration = Duration::from_secs(10);
/// A second interrupt ends the process with the code shells give it.
const INTERRUPTED: i32 = 130;

/// Run random worlds until a law breaks or a limit ends it; run i has the seed S + i.
#[derive(Args, Debug)]
pub(super) struct Fuzz {
    /// The seed of the first run: a number, or `random`. It is printed, and a campaign with it is the same again.
    #[arg(long, value_name = "S", default_value = "random", value_parser = parse_seed)]
    seed: u64,
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
    /// Only a failure of this law is the first failure; others are told and counted. Can be given more than once;
    /// `midstream laws` lists them.
    #[arg(long, value_name = "LAW", requires = "until_failure", value_parser = sentence)]
    law: Vec<String>,
    /// Drive a live daemon instead: `qemu` or `midstreamd`, with `:PATH` if it is not on the search path. Then every kind
    /// of job is among the commands, and the seeds of two campaigns need not give the same.
    #[arg(long, value_name = "KIND[:PATH]")]
    target: Option<Target>,
    /// The images of the live daemon lie on a simulated disk behind NBD, which the tape orders; every sequence is judged as
    /// if it had been killed, or the power cut, at many of its points. The same as `--target KIND+disk`. Not midstreamd,
    /// which is no NBD client.
    #[arg(long, requires = "target")]
    disk: bool,
    /// Known divergences of the live daemon fail the campaign too, and end it with --until-failure.
    #[arg(long, requires = "target")]
    strict: bool,
}

pub(super) fn parse_seed(text: &str) -> Result<u64, String> {
    if text == "random" {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| e.to_string())?;
        // Short enough to be read aloud.
        return Ok(now.as_micros() as u64 % 1_000_000_000_000);
    }
    text.parse().map_err(|_| "neither a number nor `random`".to_owned())
}

impl Fuzz {
    pub(super) fn run(&self, subject: &Subject) -> Exit {
        if let Some(target) = &self.target {
            return self.live(subject, target);
        }
        let known = self.law.iter().try_for_each(|law| check_law(subject, law));
        let known = known.map_err(|problem| format!("--law: {problem}"));
        if let Err(problem) = known.and_then(|()| check_folder("--out", &self.out)) {
            return refuse(&problem);
        }
        let stop = match stop_on_interrupt() {
            Ok(stop) => stop,
            Err(error) => return refuse(&format!("cannot listen for interrupts: {error}")),
        };
        let history = match self.keep() {
            Ok(history) => history,
            Err(exit) => return exit,
        };
        let plan = Plan { history, ..self.plan() };
        self.announce(&plan);
        let started = Instant::now();
        let mut failures = Failures { fuzz: self, subject, traces: BTreeMap::new() };
        let mut progress = Progress::new(self.runs, plan.time);
        let mut trouble = None;
        let mut campaign = campaign::run(subject, &plan, &stop, &mut |totals, news| match news {
            News::Tick => progress.tell(totals.runs, totals.failures()),
            News::Broken { law, seed } => match quietly(|| failures.block(law, seed)) {
                Ok(block) => progress.print(|| self.say(&block)),
                Err(panic) => {
                    trouble = Some(minimising(seed, &panic));
                    stop.store(true, Ordering::Relaxed);
                }
            },
        });
        campaign.panicked = campaign.panicked.or(trouble);
        progress.end();
        let cost = Cost::now(started.elapsed(), plan.jobs);
        self.conclude(subject, &campaign, cost, &failures.traces)
    }

    /// The daemon to drive, if all that was asked of it can be done.
    fn checked(&self, subject: &Subject, target: &Target) -> Result<Target, String> {
        let known = self.law.iter().try_for_each(|law| check_live_law(subject, law));
        known.map_err(|problem| format!("--law: {problem}"))?;
        check_folder("--out", &self.out)?;
        let target = if self.disk { target.on_disk()? } else { target.clone() };
        target.check().map_err(|problem| format!("--target: {problem}"))?;
        Ok(target)
    }

    fn live(&self, subject: &Subject, target: &Target) -> Exit {
        let target = match self.checked(subject, target) {
            Ok(target) => target,
            Err(why) => return refuse(&why),
        };
        let stop = match stop_on_interrupt() {
            Ok(stop) => stop,
            Err(error) => return refuse(&format!("cannot listen for interrupts: {error}")),
        };
        let history = match self.keep() {
            Ok(history) => history,
            Err(exit) => return exit,
        };
        let plan = self.plan();
        self.announce(&plan);
        let plan = live::campaign::Plan {
            history,
            target,
            seed: plan.seed,
            runs: plan.runs,
            time: plan.time,
            jobs: plan.jobs,
            out: self.out.clone(),
            // A known divergence has its trace already; only who wants to see them all wants theirs made anew.
            shorten: if self.strict { Shorten::All } else { Shorten::New },
            until: self.until_failure.then(|| Until { laws: self.law.clone(), known_too: self.strict }),
        };
        let started = Instant::now();
        let mut progress = Progress::new(self.runs, plan.time);
        let campaign = live::campaign::fuzz(&plan, &stop, &mut |news| match news {
            live::campaign::News::Tick(runs, failures) => progress.tell(runs, failures),
            live::campaign::News::Found(found) => {
                progress.print(|| self.say(&live::report::failure(&found)));
            }
        });
        progress.end();
        let cost = Cost::now(started.elapsed(), plan.jobs);
        if campaign.is_early {
            self.say(&self.resume(campaign.runs));
        }
        self.say(&live::report::table(&campaign, &plan, cost));
        if self.json {
            say!("{}", live::report::json(&campaign, &plan, cost));
        }
        let fails = |found: &live::campaign::Found| self.strict || !found.is_known;
        if campaign.found.values().any(|found| found.law == live::campaign::PANICKED) {
            return Exit::Panicked;
        }
        if let Some(unwritten) = &campaign.unwritten {
            self.say(&format!("history not written {unwritten}"));
        }
        match (campaign.found.values().any(fails), campaign.is_early) {
            (true, _) => Exit::Broken,
            _ if campaign.unwritten.is_some() => Exit::Usage,
            (false, true) => Exit::Early,
            (false, false) => Exit::Clean,
        }
    }

    fn plan(&self) -> Plan {
        let default = (self.runs.is_none() && !self.until_failure).then_some(SECONDS);
        let cores = || available_parallelism().map_or(1, NonZeroUsize::get);
        let jobs = self.jobs.map_or_else(cores, |jobs| jobs as usize);
        Plan {
            seed: self.seed,
            runs: self.runs.unwrap_or(u64::MAX),
            time: self.seconds.or(default).map(Duration::from_secs),
            jobs,
            until_failure: self.until_failure,
            ending_laws: self.law.clone(),
            history: None,
        }
    }

    /// Which runs leave their history; the folder is there then.
    fn keep(&self) -> Result<Option<Keep>, Exit> {
        let keep = self.history.as_ref().map(|folder| Keep::new(folder, self.history_all));
        let folder = self.history.as_deref().unwrap_or(Path::new("")).display();
        keep.transpose().map_err(|error| refuse(&format!("--history {folder}: {error}")))
    }

    fn announce(&self, plan: &Plan) {
        let end = match (self.runs, plan.time) {
            (Some(runs), _) => format!("{} runs", text::grouped(runs)),
            (None, Some(time)) => format!("{} s", time.as_secs()),
            (None, None) => "until something breaks".to_owned(),
        };
        complain!("fuzz from seed {}, {end}, {} threads", plan.seed, plan.jobs);
    }

    /// People read stdout unless a program does.
    fn say(&self, text: &str) {
        if self.json {
            complain!("{text}");
        } else {
            say!("{text}");
        }
    }

    /// The command that does what is left after so many runs.
    fn resume(&self, done: u64) -> String {
        let mut line = format!("resume  {} fuzz --seed {}", program(), self.seed.wrapping_add(done));
        let mut option = |name: &str, value: &dyn fmt::Display| {
            write!(line, " --{name} {value}").expect("a string takes any text");
        };
        if let Some(runs) = self.runs {
            option("runs", &runs.saturating_sub(done));
        }
        if let Some(seconds) = self.seconds {
            option("seconds", &seconds);
        }
        if let Some(jobs) = self.jobs {
            option("jobs", &jobs);
        }
        option("out", &text::quoted(&self.out.display().to_string()));
        if let Some(history) = &self.history {
            option("history", &text::quoted(&history.display().to_string()));
        }
        for law in &self.law {
            option("law", &text::quoted(law));
        }
        if let Some(target) = &self.target {
            option("target", &text::quoted(&target.to_string()));
        }
        line + if self.disk { " --disk" } else { "" }
            + if self.strict { " --strict" } else { "" }
            + if self.history_all { " --history-all" } else { "" }
            + if self.until_failure { " --until-failure" } else { "" }
            + if self.json { " --json" } else { "" }
    }

    /// Whether the trace of a law is what somebody waits for.
    fn is_wanted(&self, law: &str) -> bool {
        self.law.iter().any(|wanted| wanted == law)
    }

    fn conclude(
        &self,
        subject: &Subject,
        campaign: &Campaign,
        cost: Cost,
        traces: &BTreeMap<String, PathBuf>,
    ) -> Exit {
        let totals = &campaign.totals;
        if let Some(nondeterminism) = &campaign.nondeterminism {
            let repro = text::repro(Some(nondeterminism.seed), None);
            self.say(&format!("FAIL  not deterministic\n{nondeterminism}\n{repro}"));
        }
        if let Some(panicked) = &campaign.panicked {
            self.say(&format!("FAIL  the harness panicked\n{panicked}"));
        }
        if let Some(unwritten) = &campaign.unwritten {
            self.say(&format!("history not written {unwritten}"));
        }
        let exit = exit(campaign, totals.vacuous(subject.laws).is_empty());
        // Beside anything worse, and in a campaign that was cut short, what was not seen means nothing.
        if exit == Exit::Vacuous {
            for vacuous in totals.vacuous(subject.laws) {
                self.say(&format!("VACUOUS  {vacuous}"));
            }
        }
        if campaign.is_early {
            self.say(&self.resume(totals.runs));
        }
        self.say(&text::totals(totals, subject.laws, self.seed, cost));
        if self.json {
            say!("{}", json::campaign(campaign, subject.laws, self.seed, cost, traces));
        }
        exit
    }
}

/// The panic of the harness in a variant of a run.
fn minimising(seed: u64, panic: &Panic) -> String {
    format!("seed {seed}, while its trace was made shorter: {panic}")
}

/// What is worst about a campaign.
fn exit(campaign: &Campaign, is_telling: bool) -> Exit {
    let totals: &Totals = &campaign.totals;
    if campaign.panicked.is_some() {
        Exit::Panicked
    } else if campaign.nondeterminism.is_some() {
        Exit::Nondeterministic
    } else if !totals.broken.is_empty() {
        Exit::Broken
    } else if campaign.unwritten.is_some() {
        Exit::Usage
    } else if campaign.is_early {
        Exit::Early
    } else if !is_telling {
        Exit::Vacuous
    } else {
        Exit::Clean
    }
}

fn stop_on_interrupt() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first interrupt only raises the flag, the second finds it raised.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

struct Failures<'a> {
    fuzz: &'a Fuzz,
    subject: &'a Subject<'a>,
    traces: BTreeMap<String, PathBuf>,
}

impl Failures<'_> {
    /// Minimises the run of `seed`, writes its trace, and tells all about it.
    fn block(&mut self, law: &str, seed: u64) -> String {
        let found = self.subject.quiet(of_seed(seed));
        // Those that somebody waits for always leave one; others only while nobody waits for anything else.
        let has_trace = self.fuzz.law.is_empty() && self.traces.len() < TRACES_MAX;
        if !has_trace && !self.fuzz.is_wanted(law) {
            return text::failure(&found) + &text::repro(Some(seed), None);
        }
        let (least, runs) = self.least(&found, law);
        let path = self.fuzz.out.join(format!("{seed}.json"));
        let mut block = text::failure(&least);
        match Trace::of(&least, Some(seed)).write(&path) {
            Ok(()) => {
                block += &text::repro(Some(seed), Some(&path));
                self.traces.insert(law.to_owned(), path);
            }
            Err(error) => {
                block += &text::repro(Some(seed), None);
                writeln!(block, "trace   {}: not written: {error}", shown(&path))
                    .expect("a string takes any text");
            }
        }
        let commands = entries(&least.tape, self.subject.command);
        let decisions = [least.tape.len(), found.tape.len()];
        writeln!(block, "        {}", text::shortened(commands, decisions, runs))
            .expect("a string takes any text");
        block
    }

    fn least(&self, found: &Outcome, law: &str) -> (Outcome, u64) {
        let run = |choices| self.subject.quiet(choices);
        let limits = Limits { time_max: MINIMISE_MAX, ..Limits::default() };
        match minimise(&run, &found.tape, law, self.subject.slots, limits) {
            Some(least) => (least.outcome, least.runs),
            None => (found.clone(), 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::campaign::Nondeterminism;
    use midstream::choice::Choices;
    use midstream::coverage::Broken;
    use midstream::toy;
    use midstream::verdict::{Detail, INVARIANTS, Verdict};

    fn fuzz(out: PathBuf) -> Fuzz {
        let (runs, law) = (Some(2_000), Vec::new());
        Fuzz {
            seed: 1,
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
        }
    }

    #[test]
    fn what_is_left_is_told_with_every_option_that_was_given() {
        let given =
            Fuzz { jobs: Some(3), law: vec!["every job ends".to_owned()], ..fuzz(PathBuf::from("a b")) };
        assert_eq!(
            given.resume(1_500),
            format!(
                "resume  {} fuzz --seed 1501 --runs 500 --jobs 3 --out 'a b' --law 'every job ends' \
                 --until-failure --json",
                program()
            )
        );
        let kept =
            Fuzz { history: Some(PathBuf::from("h")), history_all: true, ..fuzz(PathBuf::from("new")) };
        assert!(kept.resume(1).contains(" --history h --history-all --until-failure"), "{}", kept.resume(1));
        let (runs, seconds) = (None, Some(9));
        let plain = Fuzz { runs, seconds, until_failure: false, json: false, ..fuzz(PathBuf::from("new")) };
        assert_eq!(plain.resume(5), format!("resume  {} fuzz --seed 6 --seconds 9 --out new", program()));
    }

    /// The toy, but a failure of two commands is more than its harness bears: only the minimiser gets there.
    fn fragile(choices: Choices, detail: Detail) -> Outcome {
        let outcome = toy::world(choices, detail);
        let is_short = entries(&outcome.tape, toy::COMMAND) <= 2;
        assert!(!is_short || outcome.verdict == Verdict::Passed, "the world fell over");
        outcome
    }

    #[test]
    fn a_harness_that_falls_over_while_a_trace_is_made_shorter_is_its_own_end() {
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
    fn a_law_that_nobody_waits_for_is_told_without_a_trace() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let fuzz = Fuzz { law: vec![INVARIANTS.to_owned()], ..fuzz(folder.path().join("new")) };
        let mut failures = Failures { fuzz: &fuzz, subject: &toy::SUBJECT, traces: BTreeMap::new() };
        let seed = toy::first_failure().0;
        let block = failures.block(toy::LAW, seed);
        assert!(block.ends_with(&format!("--seed {seed} --runs 1\n")), "{block}");
        assert!(failures.traces.is_empty() && !folder.path().join("new").exists());
    }

    #[test]
    fn the_worst_of_a_campaign_is_its_end() {
        let mut campaign = Campaign::default();
        assert_eq!(exit(&campaign, true), Exit::Clean);
        assert_eq!(exit(&campaign, false), Exit::Vacuous);
        campaign.is_early = true;
        assert_eq!(exit(&campaign, false), Exit::Early);
        campaign.unwritten = Some(String::new());
        assert_eq!(exit(&campaign, true), Exit::Usage);
        campaign.totals.broken.insert("a law".to_owned(), Broken { runs: 1, seed: 1 });
        assert_eq!(exit(&campaign, true), Exit::Broken);
        let difference = String::new();
        campaign.nondeterminism = Some(Nondeterminism { seed: 1, hashes: [1, 2], difference });
        assert_eq!(exit(&campaign, true), Exit::Nondeterministic);
        campaign.panicked = Some(String::new());
        assert_eq!(exit(&campaign, true), Exit::Panicked);
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

    #[test]
    fn a_folder_that_cannot_be_written_is_told_in_the_block() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let fuzz = fuzz(file.path().join("new"));
        let mut failures = Failures { fuzz: &fuzz, subject: &toy::SUBJECT, traces: BTreeMap::new() };
        let block = failures.block(toy::LAW, toy::first_failure().0);
        assert!(block.contains("not written: "), "{block}");
    }
}
