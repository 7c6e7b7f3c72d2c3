//! What one part of a campaign leaves behind: a file that says which seeds it ran, what was seen, and what failed.

use super::Part;
use midstream::coverage::{Broken, Law, Totals};
use midstream::trace::Trace;
use model::judge::taken::StepTaken;
use model::judge::verbs::Combination;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The version of the files that are written and read.
pub const VERSION: u32 = 1;
/// The name of such a file begins so.
const PREFIX: &str = "shard-";
/// One that was put together is called so.
pub const MERGED: &str = "merged.json";

/// Which runs: from a seed on, every so many.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Runs {
    /// The seed of the first run of the whole campaign.
    pub campaign: u64,
    /// Which part of it.
    pub part: u64,
    /// Of how many.
    pub of: u64,
}

/// What was seen of some runs, by names: laws come and go between versions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// How many runs were asked for; none if only time ended it.
    pub asked: Option<u64>,
    /// Runs.
    pub runs: u64,
    /// Their steps.
    pub steps: u64,
    /// Runs of which not everything was judged.
    pub inconclusive: u64,
    /// The lowest seeds of such runs.
    pub inconclusive_seeds: BTreeSet<u64>,
    /// Observations judged, the states left behind them, and the most there were at once.
    pub states: [u64; 3],
    /// How often each law was checked.
    pub laws: BTreeMap<String, u64>,
    /// How many runs reached each goal.
    pub goals: BTreeMap<String, u64>,
    /// How many runs sent which verb to which job.
    #[serde(default)]
    pub verbs: BTreeMap<String, u64>,
    /// How many runs cannot be explained without which silent step.
    #[serde(default)]
    pub silent_steps: BTreeMap<String, u64>,
    /// Of each law that broke: in how many runs, and the lowest seed.
    pub broken: BTreeMap<String, (u64, u64)>,
    /// The fingerprint of all histories.
    pub history_hash: String,
    /// Somebody ended it before it was done.
    pub early: bool,
    /// What ended it that should not have: a panic of the harness, or two histories of one seed.
    pub trouble: Option<String>,
    /// Milliseconds on the wall.
    pub milliseconds: u64,
}

/// The file of a part, or of several.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Its version.
    pub version: u32,
    /// Each part once.
    pub parts: Vec<(Runs, Seen)>,
    /// The shortest trace of each law and bucket, as its file has it.
    pub traces: Vec<Kept>,
}

/// A trace that is kept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The law that it breaks.
    pub law: String,
    /// What its failure has in common with others of one cause.
    pub bucket: String,
    /// How many decisions it has.
    pub decisions: usize,
    /// The file.
    pub trace: String,
}

impl Seen {
    /// What a campaign's totals say.
    pub fn of(totals: &Totals, laws: &[Law]) -> Seen {
        let named =
            |goals| totals.counts(laws, goals).map(|(name, count)| (name.to_owned(), count)).collect();
        let census = totals.census;
        Seen {
            runs: totals.runs,
            steps: totals.steps,
            inconclusive: totals.inconclusive,
            inconclusive_seeds: totals.inconclusive_seeds.clone(),
            states: [census.observations, census.states, census.states_max],
            laws: named(false),
            goals: named(true),
            verbs: by_name(totals.verbs()),
            silent_steps: by_name(totals.silent_steps()),
            broken: totals
                .broken
                .iter()
                .map(|(law, broken)| (law.clone(), (broken.runs, broken.seed)))
                .collect(),
            history_hash: format!("{:016x}", totals.history_hash),
            ..Seen::default()
        }
    }

    /// The same as totals, of the laws that there are now.
    pub fn totals(&self, laws: &[Law]) -> Totals {
        let counts = |of: &BTreeMap<String, u64>, goals| {
            let named = laws.iter().filter(move |law| law.is_goal == goals);
            named.map(|law| of.get(law.name).copied().unwrap_or(0)).collect()
        };
        let [observations, states, states_max] = self.states;
        let broken =
            self.broken.iter().map(|(law, (runs, seed))| (law.clone(), Broken { runs: *runs, seed: *seed }));
        Totals {
            runs: self.runs,
            steps: self.steps,
            inconclusive: self.inconclusive,
            inconclusive_seeds: self.inconclusive_seeds.clone(),
            census: model::Census { observations, states, states_max },
            laws_checked: counts(&self.laws, false),
            goals_reached: counts(&self.goals, true),
            verbs_sent: in_order(&self.verbs, Combination::all()),
            steps_taken: in_order(&self.silent_steps, StepTaken::all()),
            broken: broken.collect(),
            history_hash: u64::from_str_radix(&self.history_hash, 16).unwrap_or(0),
        }
    }
}

/// Those of some counts that are not 0, by their names.
fn by_name<T: ToString>(counts: impl Iterator<Item = (T, u64)>) -> BTreeMap<String, u64> {
    counts.filter(|(_, count)| *count > 0).map(|(counted, count)| (counted.to_string(), count)).collect()
}

/// Counts by names, in the order of what was counted; nothing if there are none.
fn in_order<T: ToString>(counts: &BTreeMap<String, u64>, all: impl Iterator<Item = T>) -> Vec<u64> {
    if counts.is_empty() {
        return Vec::new();
    }
    all.map(|counted| counts.get(&counted.to_string()).copied().unwrap_or(0)).collect()
}

impl Kept {
    /// A trace that was written to a file, if it can be read.
    pub fn of_file(path: &Path) -> Option<Kept> {
        Kept::of(fs::read_to_string(path).ok()?)
    }

    /// A trace by its text, if it is one.
    pub fn of(text: String) -> Option<Kept> {
        let trace = Trace::parse(&text).ok()?;
        let bucket = bucket(&trace.verdict);
        Some(Kept { law: trace.law, bucket, decisions: trace.choices.len(), trace: text })
    }
}

/// What the failures of one cause have in common: the first line of the verdict without its names and numbers.
fn bucket(verdict: &str) -> String {
    let line = verdict.lines().next().unwrap_or_default();
    let without = |word: &str| {
        if word.contains(|c: char| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() }
    };
    line.split(' ').map(without).collect::<Vec<_>>().join(" ")
}

impl Results {
    /// Those of one part.
    pub fn of_part(campaign: u64, part: Part, seen: Seen, traces: impl Iterator<Item = PathBuf>) -> Results {
        let runs = Runs { campaign, part: part.index, of: part.of };
        let mut traces: Vec<Kept> = traces.filter_map(|path| Kept::of_file(&path)).collect();
        traces.sort();
        Results { version: VERSION, parts: vec![(runs, seen)], traces }
    }

    /// Writes the file of a part into a folder, whole or not at all.
    pub fn write(&self, folder: &Path, name: &str) -> io::Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(name);
        let beside = folder.join(format!(".{name}.{}", std::process::id()));
        fs::write(&beside, serde_json::to_string(self).expect("numbers and texts are always JSON") + "\n")?;
        fs::rename(&beside, &path)?;
        Ok(path)
    }

    /// The file name of a part.
    pub fn file_name(campaign: u64, part: Part) -> String {
        let width = part.of.to_string().len();
        format!("{PREFIX}{:0width$}-of-{}-seed-{campaign}.json", part.index, part.of)
    }

    /// Reads every file of that kind in a folder, in the order of their names.
    pub fn read_all(folder: &Path) -> Result<Vec<Results>, String> {
        let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut paths: Vec<PathBuf> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_result(path)).collect();
        paths.sort();
        paths.iter().map(|path| Results::read(path)).collect()
    }

    fn read(path: &Path) -> Result<Results, String> {
        let problem = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = fs::read_to_string(path).map_err(|error| problem(&error))?;
        let results: Results = serde_json::from_str(&text).map_err(|error| problem(&error))?;
        if results.version != VERSION {
            return Err(problem(&format!("version {} is not {VERSION}", results.version)));
        }
        let is_part = |(runs, _): &(Runs, Seen)| Part::new(runs.part, runs.of).is_ok();
        if !results.parts.iter().all(is_part) {
            return Err(problem(&"a part that there cannot be"));
        }
        Ok(results)
    }
}

fn is_result(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".json") && (name.starts_with(PREFIX) || name == MERGED)
}
