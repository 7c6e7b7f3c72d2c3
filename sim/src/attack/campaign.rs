//! An attack of many rounds, kind after kind, and its totals.

use super::draw::inputs;
use super::finding::{Finding, LATE};
use super::material::Material;
use super::round::{Played, Ring};
use super::{KINDS, Kind, readers};
use crate::live::target::Target;
use midstream::campaign::Subject;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Findings are made small and kept up to this number; after that the attack ends.
const FINDINGS_MAX: usize = 20;

/// What is attacked, and how long.
#[derive(Clone, Debug)]
pub struct Attack {
    /// The daemon.
    pub target: Target,
    /// This command, which reads hostile traces and histories in processes of their own.
    pub command: PathBuf,
    /// The seed of the first round; the next has the next.
    pub seed: u64,
    /// At most so many rounds.
    pub rounds: u64,
    /// No new rounds after so long.
    pub time: Option<Duration>,
    /// What images may make the daemon hold, in bytes.
    pub budget: u64,
    /// Only these kinds.
    pub kinds: Vec<Kind>,
}

/// What a kind came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Rounds, and inputs in them.
    pub rounds: u64,
    /// Inputs that were sent or read.
    pub inputs: u64,
    /// Answers on the other monitor.
    pub answers: u64,
    /// The longest of them.
    pub longest: Duration,
    /// The most a daemon held.
    pub peak_bytes: u64,
    /// Rounds that found something.
    pub findings: u64,
}

/// An attack, looked back on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attacked {
    /// By kind.
    pub totals: BTreeMap<Kind, Totals>,
    /// What was found, each as small as it could be made.
    pub findings: Vec<Finding>,
    /// Rounds that were late, and were not when they were played again.
    pub late_once: u64,
    /// Whether somebody asked to stop.
    pub is_early: bool,
}

/// Something an attack reports while it goes on.
#[derive(Debug)]
pub enum News<'a> {
    /// A round is over: so many were played, and so many found something.
    Round(u64, u64),
    /// What one of them found.
    Found(&'a Finding),
}

impl Attack {
    /// Attacks; `report` gets every round and every finding.
    pub fn run(&self, stop: &AtomicBool, report: &mut dyn FnMut(News<'_>)) -> Result<Attacked, String> {
        let material = Material::gather(&self.target)?;
        let ring = self.ring(&material);
        let kinds = if self.kinds.is_empty() { KINDS.to_vec() } else { self.kinds.clone() };
        let (began, mut attacked) = (Instant::now(), Attacked::default());
        for number in 0..self.rounds {
            attacked.is_early = stop.load(Ordering::Relaxed);
            let is_late = self.time.is_some_and(|time| began.elapsed() >= time);
            if attacked.is_early || is_late || attacked.findings.len() >= FINDINGS_MAX {
                break;
            }
            let kind = kinds[(number % kinds.len() as u64) as usize];
            let inputs = inputs(kind, self.seed.wrapping_add(number), &material);
            let mut played = ring.play(kind, &inputs)?;
            if played.wrong.as_ref().is_some_and(|(verdict, _)| verdict == LATE) {
                // A machine that is busy with something else makes anybody late, once.
                attacked.late_once += 1;
                played = ring.play(kind, &inputs)?;
                attacked.late_once -= u64::from(played.wrong.is_some());
            }
            attacked.totals.entry(kind).or_default().add(&played);
            if let Some(wrong) = played.wrong {
                let finding = ring.smallest(kind, inputs, wrong);
                report(News::Found(&finding));
                attacked.findings.push(finding);
            }
            report(News::Round(number + 1, attacked.findings.len() as u64));
        }
        Ok(attacked)
    }

    /// Plays a finding again; what is for our readers, in this process.
    pub fn replay(&self, finding: &Finding, subject: &Subject) -> Result<Played, String> {
        if !finding.kind.is_for_daemon() {
            return Ok(readers::all(finding.kind, &finding.inputs, subject));
        }
        self.ring(&Material::gather(&self.target)?).play(finding.kind, &finding.inputs)
    }

    fn ring<'a>(&'a self, material: &'a Material) -> Ring<'a> {
        Ring { target: &self.target, command: &self.command, material, budget: self.budget }
    }
}

impl Totals {
    fn add(&mut self, played: &Played) {
        self.rounds += 1;
        self.inputs += played.inputs;
        self.answers += played.answers;
        self.longest = self.longest.max(played.longest);
        self.peak_bytes = self.peak_bytes.max(played.peak_bytes);
        self.findings += u64::from(played.wrong.is_some());
    }
}

impl Attacked {
    /// Kinds of which there was no input at all: an attack without them proves nothing.
    pub fn missing(&self, kinds: &[Kind]) -> Vec<Kind> {
        let has_some = |kind: &Kind| self.totals.get(kind).is_some_and(|totals| totals.inputs > 0);
        kinds.iter().copied().filter(|kind| !has_some(kind)).collect()
    }
}

/// Every finding that a folder keeps, with its file's name.
pub fn kept(folder: &Path) -> Result<Vec<(String, Finding)>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.display().to_string();
        Finding::read(&path).map(|finding| (name.clone(), finding)).map_err(|why| format!("{name}: {why}"))
    };
    paths.into_iter().map(read).collect()
}
