//! Mutants of the specification: it lacks one of its permissive rules, and what was kept must be refused then.
//!
//! What was kept are the recordings of the real daemon and the traces of the engine; after them come fresh runs, seed by
//! seed. A run that is judged as before, whatever the rule, does not need it.

#[path = "../../../model/tests/recorded/mod.rs"]
mod recorded;

use crate::panics::quietly;
use crate::strategy::of_seed;
use crate::strategy::replay::strict;
use crate::trace::Trace;
use crate::verdict::{Detail, Outcome};
use crate::world;
use model::{ImageSetup, Rule};
use recorded::{Contents, Run, Seen};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What needs a rule: it is refused without it, by this law.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Catch {
    /// A recording of the real daemon.
    Case(String, String),
    /// A trace of the engine.
    Trace(String, String),
    /// A run with this seed.
    Seed(u64, String),
}

impl fmt::Display for Catch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Catch::Case(name, law) => write!(f, "case  {name}: {law}"),
            Catch::Trace(name, law) => write!(f, "trace {name}: {law}"),
            Catch::Seed(seed, law) => write!(f, "seed  {seed}: {law}"),
        }
    }
}

/// A recording, ready to be played.
struct Case {
    name: String,
    images: Vec<ImageSetup>,
    seen: Vec<Seen>,
}

/// All that was kept and is right.
pub struct Kept {
    contents: Contents,
    cases: Vec<Case>,
    traces: Vec<(String, Trace)>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} cases, {} traces)", self.cases.len(), self.traces.len())
    }
}

impl Kept {
    /// Reads the recordings, and the traces of the workspace at `root`.
    pub fn read(root: &Path) -> Result<Kept, String> {
        let mut kept = Kept { contents: Contents::default(), cases: Vec::new(), traces: traces(root)? };
        for recording in recorded::corpus().into_iter().chain(recorded::jobs()) {
            let images = recorded::images(&recording.case, &mut kept.contents);
            let seen = recorded::seen(&recording.case, &recording.result);
            let case = Case { name: recording.name, images, seen };
            // Where the real daemon is wrong the judge says so, with or without the rule.
            if kept.judge(&case, None).is_none() {
                kept.cases.push(case);
            }
        }
        Ok(kept)
    }

    /// How many recordings and traces there are.
    pub fn counts(&self) -> (usize, usize) {
        (self.cases.len(), self.traces.len())
    }

    /// What needs this rule: the first trace, else the first recording, which are more.
    pub fn catch(&mut self, rule: Rule) -> Option<Catch> {
        self.caught_by_trace(rule).or_else(|| self.caught_by_case(rule))
    }

    fn caught_by_case(&mut self, rule: Rule) -> Option<Catch> {
        let cases = std::mem::take(&mut self.cases);
        let found = cases.iter().find_map(|case| {
            let law = self.judge(case, Some(rule))?;
            Some(Catch::Case(case.name.clone(), law))
        });
        self.cases = cases;
        found
    }

    fn judge(&mut self, case: &Case, without: Option<Rule>) -> Option<String> {
        let mut run = Run::new(&case.images, &mut self.contents);
        if let Some(rule) = without {
            run.model = run.model.without(rule);
        }
        run.play(&case.seen).err().map(|(_, broken)| broken.law.name().to_owned())
    }

    fn caught_by_trace(&self, rule: Rule) -> Option<Catch> {
        self.traces.iter().find_map(|(name, trace)| {
            let take = |choices| world::run_without(rule, choices, Detail::Quiet);
            let law = law_of(|| strict(take, &trace.choices).0);
            (law != trace.expect).then(|| Catch::Trace(name.clone(), law))
        })
    }
}

/// The traces that lie side by side in `traces/`.
fn traces(root: &Path) -> Result<Vec<(String, Trace)>, String> {
    let folder = root.join("traces");
    let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut traces = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let trace = Trace::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            traces.push((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), trace));
        }
    }
    traces.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(traces)
}

/// The lowest of so many seeds whose run is right with the rule and refused without it.
pub fn catching_seed(rule: Rule, seeds: u64, threads: usize) -> Option<Catch> {
    let (next, found) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let search = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds.min(found.load(Ordering::Relaxed)) {
                return;
            }
            let without = |choices| world::run_without(rule, choices, Detail::Quiet);
            if law_of(|| without(of_seed(seed))) != PASSED
                && law_of(|| world::run(of_seed(seed), Detail::Quiet)) == PASSED
            {
                found.fetch_min(seed, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(search);
        }
    });
    let seed = found.into_inner();
    let law = || law_of(|| world::run_without(rule, of_seed(seed), Detail::Quiet));
    (seed <= seeds).then(|| Catch::Seed(seed, law()))
}

/// What a run is called that broke nothing.
const PASSED: &str = "passed";

/// The law that a run broke. A specification with a hole may also trip over itself.
fn law_of(run: impl FnOnce() -> Outcome) -> String {
    match quietly(run) {
        Ok(outcome) => outcome.verdict.law().to_owned(),
        Err(panic) => format!("the judge stops: {panic}"),
    }
}
