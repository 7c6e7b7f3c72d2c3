//! What was kept of runs that are right: traces of the engine, recordings of the real daemon, histories; and fresh runs.

mod recorded;

use super::rules::Run;
use crate::judge;
use crate::world;
use midstream::history::observed::Observed;
use midstream::history::{History, Recorder, What};
use midstream::strategy::of_seed;
use midstream::strategy::replay::strict;
use midstream::trace::Trace;
use midstream::verdict::{Detail, Outcome, Verdict};
use model::Observation;
use recorded::{Contents, Recording};
use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Everything that was kept.
pub struct Kept {
    traces: Vec<(String, Trace)>,
    recordings: Vec<Recording>,
    histories: Vec<(String, History)>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (traces, recordings, histories) = self.counts();
        write!(f, "Kept({traces} traces, {recordings} recordings, {histories} histories)")
    }
}

impl Kept {
    /// Of the workspace at `root`, and the histories of some more folders.
    pub fn read(root: &Path, more: &[PathBuf]) -> Result<Kept, String> {
        let mut histories = histories(&root.join("tests/histories"))?;
        for folder in more {
            histories.extend(self::histories(folder)?);
        }
        let recordings = recorded::corpus().into_iter().chain(recorded::jobs()).collect();
        Ok(Kept { traces: traces(&root.join("traces"))?, recordings, histories })
    }

    /// How many traces, recordings and histories there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.traces.len(), self.recordings.len(), self.histories.len())
    }

    /// How many runs there are in all.
    pub fn count(&self) -> usize {
        self.traces.len() + self.recordings.len() + self.histories.len()
    }

    /// One of them: the traces come first, then the recordings, then the histories.
    pub fn run(&self, index: usize) -> Option<Run> {
        if let Some((name, trace)) = self.traces.get(index) {
            let (outcome, _) = strict(|choices| world::run(choices, Detail::Full), &trace.choices);
            return passed("trace", name.clone(), outcome);
        }
        let index = index - self.traces.len();
        if let Some(recording) = self.recordings.get(index) {
            return Some(Run {
                kind: "case",
                name: recording.name.clone(),
                history: of_recording(recording),
            });
        }
        let (name, history) = &self.histories[index - self.recordings.len()];
        Some(Run { kind: "history", name: name.clone(), history: history.clone() })
    }
}

/// The run of a seed.
pub fn fresh(seed: u64) -> Option<Run> {
    passed("seed", seed.to_string(), world::run(of_seed(seed), Detail::Full))
}

fn passed(kind: &'static str, name: String, outcome: Outcome) -> Option<Run> {
    (outcome.verdict == Verdict::Passed).then_some(Run { kind, name, history: outcome.history })
}

/// What the specification was shown of a recording, up to the first law that it breaks.
fn of_recording(recording: &Recording) -> History {
    let mut contents = Contents::default();
    let images = recorded::images(&recording.case, &mut contents);
    let seen = recorded::seen(&recording.case, &recording.result);
    let mut history = History::new(Recorder::World, images.clone());
    let mut listener = |observation: &Observation<'_>| {
        history.push(0, 0, What::Observed(Observed::of(observation)));
    };
    let mut run = recorded::Run::new(&images, &mut contents);
    run.listener = Some(&mut listener);
    // Where the real daemon is wrong, the history ends with the law that it breaks: nobody takes that for right.
    let _is_right = run.play(&seen);
    history
}

/// The traces that lie side by side in a folder.
fn traces(folder: &Path) -> Result<Vec<(String, Trace)>, String> {
    let read = |path: &Path| Trace::read(path).map_err(|error| format!("{}: {error}", path.display()));
    files(folder, "json")?.iter().map(|path| Ok((stem(path), read(path)?))).collect()
}

/// The histories of a folder that the model can judge. Some are spoilt on purpose, or for another specification.
fn histories(folder: &Path) -> Result<Vec<(String, History)>, String> {
    let mut histories = Vec::new();
    for path in files(folder, "jsonl")? {
        let file = File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Ok(Some(history)) = judge::read(BufReader::new(file)) {
            histories.push((stem(&path), history));
        }
    }
    Ok(histories)
}

/// The files of a folder with that extension, by name.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, String> {
    let problem = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).map_err(problem)?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(problem)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    Ok(paths)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
