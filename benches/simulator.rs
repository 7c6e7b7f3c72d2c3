//! The whole simulator on one core: runs and steps a second, where the time goes, and how many schedules an exploration takes
//! a second. Writes its part of docs/performance.md if it is run with `--write`.
//!
//!     cargo bench -p midstream-benches --bench simulator -- --write

mod samples;

use midstream::check::{Effort, End};
use midstream::explore;
use midstream::scenario::ScenarioFile;
use midstream::strategy::of_seed;
use mimalloc::MiMalloc;
use rustix::time::{ClockId, clock_gettime};
use samples::{PHASES, PLACES};
use sim::layer::Ours;
use sim::subject::subject;
use std::fmt::Write;
use std::{env, fs};

/// As the command has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often everything is measured.
const TURNS: usize = 7;
/// Runs of a turn: enough for light and heavy worlds to even out.
const RUNS: u64 = 1_000;
/// The argument with which it starts itself to be looked at.
const ONLY_RUNS: &str = "--only-runs";
/// The scenario that is explored, and its text.
const SCENARIO: &str = "stream-write.toml";
const SCENARIO_TEXT: &str = include_str!("../tests/scenarios/stream-write.toml");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md");
const BEGIN: &str = "<!-- simulator: written by benches/simulator.rs, not by hand -->\n";
const END: &str = "<!-- end of simulator -->\n";

fn main() {
    let has = |word: &str| env::args().any(|argument| argument == word);
    if has(ONLY_RUNS) {
        let _steps = runs();
        return;
    }
    let text = format!("{}\n{}", rates(), shares());
    print!("{text}");
    if has("--write") {
        let page = fs::read_to_string(PAGE).expect("the page is there");
        let (before, rest) = page.split_once(BEGIN).expect("the page has a place for this");
        let (_, after) = rest.split_once(END).expect("the place has an end");
        fs::write(PAGE, format!("{before}{BEGIN}\n{text}\n{END}{after}")).expect("the page can be written");
    }
}

/// All runs of a turn, and their steps.
fn runs() -> u64 {
    let subject = subject();
    (1..=RUNS).map(|seed| subject.quiet(of_seed(seed)).steps).sum()
}

/// Every schedule of the scenario.
fn explored() -> u64 {
    let file = ScenarioFile::parse(SCENARIO_TEXT).expect("a scenario of ours");
    let effort = Effort { jobs: 1, ..Effort::default() };
    let explored = explore(Ours::<true>, file.scenario, &file.bounds, &effort).expect("it can be judged");
    assert_eq!(explored.end, End::Complete, "nothing is left");
    explored.counts.schedules + explored.counts.pruned
}

fn rates() -> String {
    let (mut each_run, mut each_schedule) = (Vec::new(), Vec::new());
    let (mut steps, mut schedules) = (0, 0);
    for _ in 0..TURNS {
        let (of_runs, took) = timed(runs);
        each_run.push(took / RUNS as f64);
        let (of_schedules, took) = timed(explored);
        each_schedule.push(took / of_schedules as f64);
        (steps, schedules) = (of_runs, of_schedules);
    }
    let run = 1.0 / median(each_run);
    let (steps_each, schedule) = (steps as f64 / RUNS as f64, 1.0 / median(each_schedule));
    let mut text = "| what | a second, on one core |\n|---|---:|\n".to_owned();
    let mut line =
        |what: &str, rate: f64| writeln!(text, "| {what} | {rate:.0} |").expect("texts take anything");
    line(&format!("runs of `fuzz` ({steps_each:.0} steps each; seeds 1 to {RUNS})"), run);
    line("steps of them", run * steps_each);
    line(&format!("schedules of `explore` ({schedules} of {SCENARIO}, with those left early)"), schedule);
    text
}

/// Where the time of runs goes: two ways to divide the same samples.
fn shares() -> String {
    let Some(stacks) = samples::of(ONLY_RUNS) else {
        return "skipped: where the time goes, for which perf(1) is needed\n".to_owned();
    };
    let mut text = format!("{} samples of the processor:\n", stacks.len());
    for (head, rules) in [("phase of a run", PHASES), ("whose code", PLACES)] {
        write!(text, "\n| {head} | share |\n|---|---:|\n").expect("texts take anything");
        for (name, share) in samples::shares(&stacks, rules) {
            writeln!(text, "| {name} | {:.1} % |", share * 100.0).expect("texts take anything");
        }
    }
    text
}

/// What something came to, and for how many seconds this process had the processor meanwhile: what else the machine does
/// counts for nothing.
fn timed(work: impl FnOnce() -> u64) -> (u64, f64) {
    let before = processor_seconds();
    let came_to = work();
    (came_to, processor_seconds() - before)
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
