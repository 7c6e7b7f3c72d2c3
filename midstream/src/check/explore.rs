//! Every schedule and every crash of a small scenario, within stated bounds.
//!
//! Nothing of a run is saved: whoever wants another schedule takes the run again from its start (stateless model checking,
//! Godefroid 1997). Runs are taken in batches of the same size whatever the number of threads, and what they found is added
//! up in their order, so that the counts do not depend on the threads.

mod crashes;
mod known;
mod pilot;
mod saved;
mod search;

pub use saved::Saved;

use super::world::Prepared;
use super::{Failure, REQUEST, Workload, abilities_of, minimised_from, refuse};
use crate::campaign::Subject;
use crate::choice::{Choices, Point, Strategy};
use crate::layer::BlockLayer;
use crate::scenario::{Bounds, SLOTS, Scenario};
use crate::trace::Trace;
use crate::verdict::{Detail, Outcome};
use crate::world::crash::Ending;
use search::Search;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// How much an exploration leaves out of what is the same.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Reduction {
    /// Nothing: every order of every step, for comparison.
    Nothing,
    /// Orders of steps that commute.
    Sleep,
    /// These, and whatever follows a state that was reached before.
    #[default]
    Full,
}

/// How an exploration is carried out: nothing here changes what it finds.
#[derive(Clone, Debug)]
pub struct Effort {
    /// Threads.
    pub jobs: usize,
    /// What is left out.
    pub reduction: Reduction,
    /// No new batch of runs after this moment.
    pub until: Option<Instant>,
    /// Nor after this was raised.
    pub stop: Arc<AtomicBool>,
    /// Where an exploration of the same scenario was left.
    pub resumed: Option<Saved>,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { jobs: 1, reduction: Reduction::Full, until: None, stop: Arc::default(), resumed: None }
    }
}

/// What an exploration has seen.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Runs that came to their end.
    pub schedules: u64,
    /// Runs that were left where another had been, or where all that could happen would only have come in another order.
    pub pruned: u64,
    /// Different states.
    pub states: u64,
    /// Different states in which the world was ended, each in one way.
    pub crash_points: u64,
    /// Different contents that were left then, each judged.
    pub crashes: u64,
    /// Runs that came to their end and could not be judged to it.
    pub inconclusive: u64,
    /// Crash points with more writes to lose than every subset was tried of.
    pub sampled_points: u64,
}

/// How an exploration ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// Nothing is left.
    Complete,
    /// The bound of runs was reached.
    Runs,
    /// Somebody asked to stop, or the time was over.
    Stopped,
    /// A law broke.
    Broken,
}

/// An exploration, looked back on.
#[derive(Clone, Debug)]
pub struct Explored {
    /// How it ended.
    pub end: End,
    /// What was seen.
    pub counts: Counts,
    /// A number for the contents of all files at each different end.
    pub last_contents: BTreeSet<u64>,
    /// A number for the contents of all files that each different crash left.
    pub crash_contents: BTreeSet<u64>,
    /// What is left to do, where something is.
    pub saved: Option<Saved>,
    /// What broke, in the shortest run that was found, and its trace.
    pub broken: Option<(Failure, Trace)>,
}

/// The states that were reached, each with what slept there; and the crashes that were tried.
#[derive(Clone, Debug, Default)]
struct Visited {
    states: BTreeMap<u64, Vec<u64>>,
    crash_points: BTreeSet<u64>,
    /// By what the judge knew and what was left: a number for what was left.
    left: BTreeMap<u64, u64>,
}

impl Visited {
    /// What slept in that state when it was reached; nothing if it was not.
    fn slept(&self, state: u64) -> Option<&[u64]> {
        self.states.get(&state).map(Vec::as_slice)
    }

    fn has_crashed(&self, point: u64) -> bool {
        self.crash_points.contains(&point)
    }

    fn has_left(&self, left: u64) -> bool {
        self.left.contains_key(&left)
    }
}

/// Takes every schedule of a scenario, and ends the world at every step in every way that the bounds allow. The scenario's
/// own crash counts for nothing.
pub fn explore<L: BlockLayer>(
    layer: L,
    scenario: Scenario,
    bounds: &Bounds,
    effort: &Effort,
) -> Result<Explored, Box<Failure>> {
    let prepared = Arc::new(prepare(layer, scenario, bounds)?);
    let mut search = Search::new(prepared.clone(), bounds.clone(), effort.reduction);
    if let Some(saved) = effort.resumed.clone() {
        search.resume(saved);
    }
    let end = search.run(effort).map_err(Failure::unfounded)?;
    let saved = matches!(end, End::Runs | End::Stopped).then(|| search.save());
    let broken = search.broken.take().map(|script| explain_script(&prepared, &script));
    Ok(Explored {
        end,
        last_contents: std::mem::take(&mut search.last_contents),
        counts: search.counts(),
        crash_contents: search.crash_contents(),
        saved,
        broken,
    })
}

/// Replays a trace of an exploration of this scenario.
pub fn with_explored<L: BlockLayer, T>(
    layer: L,
    scenario: Scenario,
    bounds: &Bounds,
    work: impl FnOnce(&Subject<'_>) -> T,
) -> Result<T, Box<Failure>> {
    let prepared = prepare(layer, scenario, bounds)?;
    Ok(on_prepared(&prepared, work))
}

fn prepare<L: BlockLayer>(
    layer: L,
    scenario: Scenario,
    bounds: &Bounds,
) -> Result<Prepared<L>, Box<Failure>> {
    let scenario = Scenario { crash: None, ..scenario };
    let layer = Arc::new(layer);
    let workload = Workload::Scenario(scenario.clone());
    refuse(&workload, abilities_of(&layer))?;
    Prepared::new(layer, scenario, bounds.crashes.clone()).map_err(Failure::unfounded)
}

fn on_prepared<L: BlockLayer, T>(prepared: &Prepared<L>, work: impl FnOnce(&Subject<'_>) -> T) -> T {
    let run = |choices: Choices, detail: Detail| prepared.run(choices, detail, |_| None);
    let laws = super::laws_of(prepared.scenario.is_commanded());
    work(&Subject { run: &run, laws, slots: SLOTS, command: REQUEST })
}

/// The run that broke a law: the choices, then how the world ended, and each write's fate.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Script {
    picks: Vec<u16>,
    end: Option<(Ending, Vec<u32>)>,
}

/// Takes the run again, and makes it short.
fn explain_script<L: BlockLayer>(prepared: &Prepared<L>, script: &Script) -> (Failure, Trace) {
    on_prepared(prepared, |subject| {
        let outcome = subject.quiet(Choices::new(Box::new(Scripted::new(script, &prepared.ends))));
        minimised_from(subject, &outcome, None)
    })
}

/// Follows a script.
struct Scripted {
    picks: std::vec::IntoIter<u16>,
    end: Option<usize>,
    numbers: std::vec::IntoIter<u32>,
}

/// Each write's fate by itself, among the choices of what survives.
const EACH: u32 = 2;

impl Scripted {
    fn new(script: &Script, ends: &[Ending]) -> Scripted {
        let end = script.end.as_ref();
        let index = end.and_then(|(ending, _)| ends.iter().position(|other| other == ending));
        let mut numbers = vec![EACH];
        numbers.extend(end.iter().flat_map(|(_, fates)| fates));
        let ends_behind = index.map(|index| ends.len() - index);
        Scripted { picks: script.picks.clone().into_iter(), end: ends_behind, numbers: numbers.into_iter() }
    }
}

impl Strategy for Scripted {
    fn choose(&mut self, _: Point, _: u32) -> u32 {
        self.numbers.next().unwrap_or(0)
    }

    fn pick(&mut self, _: Point, options: &[Point]) -> usize {
        match (self.picks.next(), self.end) {
            (Some(pick), _) => usize::from(pick),
            (None, Some(behind)) => options.len() - behind,
            (None, None) => 0,
        }
    }
}

/// What a run was, if a law broke in it.
fn broken(outcome: &Outcome) -> bool {
    outcome.verdict != crate::verdict::Verdict::Passed
}
