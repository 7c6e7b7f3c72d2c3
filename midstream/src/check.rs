//! Tests anybody's block layer: many small runs, each another order of requests, completions, faults and a crash, each
//! judged by what must be true of any device that keeps data; where clients command the layer, by what QEMU would do.

mod explore;
mod guest;
mod settings;
mod world;

use crate::campaign::{self, News, Plan, Seeds, Subject};
use crate::choice::Choices;
use crate::coverage::{Law, Totals};
use crate::layer::BlockLayer;
use crate::minimise::{Limits, entries, minimise};
use crate::scenario::{Abilities, Profile, SLOTS, Scenario};
use crate::strategy::of_seed;
use crate::strategy::replay::strict;
use crate::trace::{Trace, verdict_text};
use crate::verdict::{Detail, Outcome, Verdict};
use crate::witness;
use seam::escape::lines;
use settings::Settings;
use std::fmt::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::thread;

pub use explore::{Counts, Effort, End, Explored, Reduction, Saved, explore, with_explored};

/// The slot of a request.
const REQUEST: &str = "guest # lane # request #";

/// The laws of runs of guests alone, and of runs with clients.
static LAWS_OF_GUESTS: LazyLock<Vec<Law>> = LazyLock::new(|| laws(witness::laws_of_guests()));
static LAWS_OF_CLIENTS: LazyLock<Vec<Law>> = LazyLock::new(|| laws(witness::laws_of_clients()));

fn laws(names: impl Iterator<Item = &'static str>) -> Vec<Law> {
    names.map(|name| Law { name, is_goal: false }).collect()
}

/// What runs are made of: drawn from a profile, or one scenario in every order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Workload {
    /// Every run draws a scenario of its own.
    Profile(Profile),
    /// Every run plays this one.
    Scenario(Scenario),
}

impl From<Profile> for Workload {
    fn from(profile: Profile) -> Workload {
        Workload::Profile(profile)
    }
}

impl From<Scenario> for Workload {
    fn from(scenario: Scenario) -> Workload {
        Workload::Scenario(scenario)
    }
}

/// Tests a layer in so many runs, and panics with what broke: the law, the images, the fewest steps that still break it,
/// and two lines that repeat it, by its seed and by a trace below `target/midstream/`.
///
/// `MIDSTREAM_RUNS`, `MIDSTREAM_SEED` and `MIDSTREAM_SECONDS` change how many runs there are, from which seed on, and for
/// how long; `MIDSTREAM_TRACE` plays one trace instead. The same seeds give the same runs on every machine.
///
/// # Panics
///
/// If a law breaks, if the same seed gives two different runs, or if nothing was judged.
#[track_caller]
pub fn check<L: BlockLayer>(layer: L, workload: impl Into<Workload>, runs: u64) {
    if let Err(failure) = find(layer, workload, runs) {
        panic!("{failure}");
    }
}

/// As [`check`], for whoever wants to look at what was found: the totals of runs in which nothing broke, or the failure.
pub fn find<L: BlockLayer>(
    layer: L,
    workload: impl Into<Workload>,
    runs: u64,
) -> Result<Totals, Box<Failure>> {
    let settings = Settings::of_environment(runs).map_err(Failure::unfounded)?;
    on_subject(layer, workload.into(), |subject| match &settings.trace {
        Some(path) => replay_file(subject, path),
        None => first_failure(subject, &settings),
    })
}

/// The runs of a plan, past what breaks: how often each law was checked and broken, and at which seed first. The
/// environment changes nothing. Runs that leave their history draw no resizes, which the form of histories does not have.
pub fn survey<L: BlockLayer>(
    layer: L,
    workload: impl Into<Workload>,
    plan: &Plan,
) -> Result<Totals, Box<Failure>> {
    let workload = workload.into();
    let is_recorded = plan.history.is_some();
    if is_recorded && workload.is_resizing() {
        return Err(Failure::unfounded("the scenario resizes, and histories have no resizes"));
    }
    let layer = Arc::new(layer);
    let abilities = world::abilities(&layer);
    let abilities = Abilities { resize: abilities.resize && !is_recorded, ..abilities };
    with_abilities(&layer, &workload, abilities, |subject| campaign(subject, plan))
}

/// The run of a seed at which a law broke, made small, and its trace.
pub fn explain<L: BlockLayer>(
    layer: L,
    workload: impl Into<Workload>,
    seed: u64,
) -> Result<(Failure, Trace), Box<Failure>> {
    on_subject(layer, workload.into(), |subject| match subject.quiet(of_seed(seed)).verdict {
        Verdict::Passed => Err(Failure::unfounded(format!("nothing breaks at seed {seed}"))),
        _ => Ok(minimised(subject, seed)),
    })
}

/// Plays a trace once: what breaks in it, or totals of one run. What the trace expects is for the caller to compare.
pub fn replay<L: BlockLayer>(
    layer: L,
    workload: impl Into<Workload>,
    trace: &Trace,
) -> Result<Totals, Box<Failure>> {
    on_subject(layer, workload.into(), |subject| play(subject, trace, "the trace"))
}

/// Everything that happens in the run of one seed, a line each: what images hold, what guests ask and get, how the world
/// ends and what is found then. The same seed gives the same lines on every machine.
pub fn event_log<L: BlockLayer>(
    layer: L,
    workload: impl Into<Workload>,
    seed: u64,
) -> Result<Vec<String>, Box<Failure>> {
    on_subject(layer, workload.into(), |subject| Ok(subject.full(of_seed(seed)).history.lines()))
}

fn abilities_of<L: BlockLayer>(layer: &Arc<L>) -> Abilities {
    world::abilities(layer)
}

fn laws_of(is_commanded: bool) -> &'static [Law] {
    if is_commanded { &LAWS_OF_CLIENTS } else { &LAWS_OF_GUESTS }
}

/// Does something with the runs of a layer.
fn on_subject<L: BlockLayer, T>(
    layer: L,
    workload: Workload,
    work: impl FnOnce(&Subject<'_>) -> Result<T, Box<Failure>>,
) -> Result<T, Box<Failure>> {
    let layer = Arc::new(layer);
    with_abilities(&layer, &workload, world::abilities(&layer), work)
}

fn with_abilities<L: BlockLayer, T>(
    layer: &Arc<L>,
    workload: &Workload,
    abilities: Abilities,
    work: impl FnOnce(&Subject<'_>) -> Result<T, Box<Failure>>,
) -> Result<T, Box<Failure>> {
    refuse(workload, abilities)?;
    let laws = laws_of(workload.is_commanded());
    let run = |choices: Choices, detail: Detail| {
        world::run(layer, |choices| workload.draw(abilities, choices), choices, detail)
    };
    work(&Subject { run: &run, laws, slots: SLOTS, command: REQUEST })
}

impl Workload {
    fn draw(&self, abilities: Abilities, choices: &mut Choices) -> Scenario {
        match self {
            Workload::Profile(profile) => profile.draw(abilities, choices),
            Workload::Scenario(scenario) => scenario.clone(),
        }
    }

    /// Whether it is a scenario in which somebody commands the layer.
    fn is_commanded(&self) -> bool {
        matches!(self, Workload::Scenario(scenario) if scenario.is_commanded())
    }

    /// Whether it is a scenario in which somebody resizes an image.
    fn is_resizing(&self) -> bool {
        let Workload::Scenario(scenario) = self else { return false };
        let mut images = 0..scenario.images.len();
        images.any(|image| scenario.is_resized(image))
    }
}

/// Refuses a scenario that has what the layer lacks, or what no judge has a word for.
fn refuse(workload: &Workload, abilities: Abilities) -> Result<(), Box<Failure>> {
    let Workload::Scenario(scenario) = workload else { return Ok(()) };
    let has_chain = scenario.images.iter().any(|content| content.image.backing.is_some());
    let why = if has_chain && !abilities.chains {
        "the scenario has a chain, and the layer none: see BlockLayer::CHAINS"
    } else if scenario.is_commanded() && !abilities.commands {
        "the scenario has clients, and the layer no monitor: see BlockLayer::monitor"
    } else if scenario.is_commanded() && scenario.is_more_than_io() {
        "in a scenario with clients, guests resize nothing and have no operations of the layer's own: clients do that"
    } else {
        return Ok(());
    };
    Err(Failure::unfounded(why))
}

/// A layer that was found to be wrong, or a check that could not be made.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The law that broke; none if the check itself came to nothing.
    pub law: Option<String>,
    /// Where it broke: what was expected and what was found.
    pub detail: String,
    /// The images, and what was to go wrong with the disk.
    pub images: Vec<String>,
    /// What happened in the shortest run that was found.
    pub steps: Vec<String>,
    /// How short it is.
    pub minimised: String,
    /// The seed of the first run that failed.
    pub seed: Option<u64>,
    /// The shortest run as a file.
    pub trace: Option<PathBuf>,
    /// How to run this test again, and it alone.
    command: String,
}

impl Failure {
    fn unfounded(why: impl Into<String>) -> Box<Failure> {
        Box::new(Failure {
            law: None,
            detail: why.into(),
            images: Vec::new(),
            steps: Vec::new(),
            minimised: String::new(),
            seed: None,
            trace: None,
            command: settings::command(),
        })
    }

    /// The failure of a run whose whole history was kept.
    fn of(outcome: &Outcome, minimised: String, seed: Option<u64>) -> Box<Failure> {
        let story = outcome.history.lines();
        let (images, steps): (Vec<String>, Vec<String>) =
            story.into_iter().partition(|line| line.starts_with("step 0 "));
        let image = |line: String| line.trim_start_matches("step 0").trim_start().to_owned();
        Box::new(Failure {
            law: Some(outcome.verdict.law().to_owned()),
            detail: verdict_text(&outcome.verdict).to_owned(),
            images: images.into_iter().map(image).collect(),
            steps,
            minimised,
            seed,
            trace: None,
            command: settings::command(),
        })
    }

    /// Writes the trace to a file of its own, and says where it is.
    fn leave(&mut self, trace: &Trace, seed: u64) {
        let name = settings::test_name().map_or_else(String::new, |name| name.replace("::", "-") + "-");
        let path = settings::trace_folder().join(format!("{name}{seed}.json"));
        match trace.write(&path) {
            Ok(()) => self.trace = Some(path),
            Err(error) => {
                write!(self.minimised, "\nno trace was left: {}: {error}", path.display())
                    .expect("a string takes any text");
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        match &self.law {
            Some(law) => writeln!(text, "the law `{law}` is broken")?,
            None => writeln!(text, "nothing could be judged")?,
        }
        let mut block = |head: &str, lines: &mut dyn Iterator<Item = &str>| {
            for (number, line) in lines.enumerate() {
                let head = if number == 0 { head } else { "" };
                writeln!(text, "{head:<8}{line}")?;
            }
            Ok(())
        };
        block("", &mut self.detail.lines())?;
        block("images", &mut self.images.iter().map(String::as_str))?;
        block("steps", &mut self.steps.iter().map(String::as_str))?;
        block("", &mut self.minimised.lines())?;
        if let Some(seed) = self.seed {
            writeln!(text, "repro   MIDSTREAM_SEED={seed} MIDSTREAM_RUNS=1 {}", self.command)?;
        }
        if let Some(trace) = &self.trace {
            writeln!(text, "trace   MIDSTREAM_TRACE={} {}", trace.display(), self.command)?;
        }
        f.write_str(&lines(text.trim_end()))
    }
}

impl std::error::Error for Failure {}

/// Plays the trace in a file.
fn replay_file(subject: &Subject<'_>, path: &Path) -> Result<Totals, Box<Failure>> {
    let trace =
        Trace::read(path).map_err(|error| Failure::unfounded(format!("{}: {error}", path.display())))?;
    play(subject, &trace, &path.display().to_string())
}

fn play(subject: &Subject<'_>, trace: &Trace, name: &str) -> Result<Totals, Box<Failure>> {
    let replayed = trace.replay(subject, Detail::Full);
    if replayed.is_broken() {
        let how = format!("{} decisions, from {name}", replayed.outcome.tape.len());
        return Err(Failure::of(&replayed.outcome, how, None));
    }
    if let Some(divergence) = replayed.divergence.as_ref().filter(|_| !replayed.fits()) {
        let why = format!("{name} is of another layer or scenario, or older\n{divergence}");
        return Err(Failure::unfounded(why));
    }
    let mut totals = Totals::default();
    totals.add(trace.seed.unwrap_or_default(), &replayed.outcome);
    Ok(totals)
}

/// Runs until something breaks, and leaves a trace of that.
fn first_failure(subject: &Subject<'_>, settings: &Settings) -> Result<Totals, Box<Failure>> {
    let plan = Plan {
        seeds: Seeds::From(settings.seed),
        runs: settings.runs,
        time: settings.time,
        jobs: thread::available_parallelism().map_or(1, usize::from),
        until_failure: true,
        ending_laws: Vec::new(),
        history: None,
    };
    let totals = campaign(subject, &plan)?;
    match totals.broken.values().map(|broken| broken.seed).min() {
        Some(seed) => {
            let (mut failure, trace) = minimised(subject, seed);
            failure.leave(&trace, seed);
            Err(Box::new(failure))
        }
        None => Ok(totals),
    }
}

/// Runs a plan to its end. That a law broke is no error here; that nothing was judged is.
fn campaign(subject: &Subject<'_>, plan: &Plan) -> Result<Totals, Box<Failure>> {
    let never = AtomicBool::new(false);
    let found = campaign::run(subject, plan, &never, &mut |_: &Totals, _: News<'_>| {});
    if let Some(twice) = found.nondeterminism {
        return Err(Failure::unfounded(format!(
            "{twice}\nwhat decides may be the order of a hash map, a clock, a thread or a file of the layer's own"
        )));
    }
    if let Some(panic) = found.panicked {
        return Err(Failure::unfounded(format!("the harness panicked: {panic}")));
    }
    let totals = found.totals;
    if totals.broken.is_empty() && totals.laws_checked.iter().all(|checks| *checks == 0) {
        return Err(Failure::unfounded(format!("no law was checked in {} runs", totals.runs)));
    }
    Ok(totals)
}

/// The run of a seed that fails, made small.
fn minimised(subject: &Subject<'_>, seed: u64) -> (Failure, Trace) {
    minimised_from(subject, &subject.quiet(of_seed(seed)), Some(seed))
}

/// A run that fails, made small.
fn minimised_from(subject: &Subject<'_>, first: &Outcome, seed: Option<u64>) -> (Failure, Trace) {
    let run = |choices: Choices| subject.quiet(choices);
    let law = first.verdict.law();
    let least = minimise(&run, &first.tape, law, subject.slots, Limits::default());
    let (tape, runs) = least.map_or((first.tape.clone(), 0), |least| (least.outcome.tape, least.runs));
    let (outcome, _) = strict(|choices| subject.full(choices), &tape);
    let (after, before) = (tape.len(), first.tape.len());
    // Fewer requests may take more decisions.
    let instead = if after < before { format!(" instead of {before}") } else { String::new() };
    let mut minimised = format!("{after} decisions{instead}, made fewer in {runs} runs");
    // A scenario that the test wrote down has none that were drawn.
    let requests = entries(&tape, subject.command);
    if requests > 0 {
        minimised = format!("{requests} request{}, {minimised}", if requests == 1 { "" } else { "s" });
    }
    (*Failure::of(&outcome, minimised, seed), Trace::of(&outcome, seed))
}
