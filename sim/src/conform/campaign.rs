//! Plays many cases, several at a time, and counts.

use super::case::Case;
use super::corpus::Recording;
use super::player::play;
use super::subject::Subject;
use super::verdict::{Divergences, Verdict};
use midstream::panics::quietly;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Plays one recording on a subject made for it.
pub fn play_one(recording: &Recording, divergences: &Divergences, subject: &mut dyn Subject) -> Verdict {
    let case = match Case::deserialize(&recording.case) {
        Ok(case) => case,
        Err(error) => return Verdict::Panicked(format!("not a case: {error}")),
    };
    match quietly(|| play(&case, subject)) {
        Ok(played) => divergences.judge(recording, played),
        Err(panic) => Verdict::Panicked(panic.to_string()),
    }
}

/// Plays all of them, `jobs` at a time, each on a subject of its own; verdicts in the order of the recordings.
pub fn play_all(
    recordings: &[Recording],
    divergences: &Divergences,
    jobs: usize,
    subject: &(dyn Fn() -> Box<dyn Subject> + Sync),
) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let verdicts: Mutex<Vec<Option<Verdict>>> = Mutex::new(vec![None; recordings.len()]);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, recordings.len().max(1)) {
            scope.spawn(|| {
                while let Some(index) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < recordings.len())
                {
                    let verdict = play_one(&recordings[index], divergences, &mut *subject());
                    verdicts.lock().expect("nobody panics holding it")[index] = Some(verdict);
                }
            });
        }
    });
    let verdicts = verdicts.into_inner().expect("nobody panics holding it");
    verdicts.into_iter().map(|verdict| verdict.expect("every recording was played")).collect()
}

/// How many cases gave what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Equal and all, by category.
    pub categories: BTreeMap<String, (usize, usize)>,
    /// Cases in which the recorded daemon is wrong, and those in which what is right came out.
    pub divergences: (usize, usize),
    /// Cases in which the recorded daemon does not agree with itself.
    pub unstable: usize,
    /// Cases that ask for something that is not possible here.
    pub not_here: usize,
}

impl Totals {
    /// Counts verdicts.
    pub fn count(recordings: &[Recording], verdicts: &[Verdict]) -> Totals {
        let mut totals = Totals::default();
        for (recording, verdict) in recordings.iter().zip(verdicts) {
            match verdict {
                Verdict::RightInstead => {
                    totals.divergences = (totals.divergences.0 + 1, totals.divergences.1 + 1)
                }
                Verdict::NotRight(_) => totals.divergences.0 += 1,
                Verdict::Unstable => totals.unstable += 1,
                Verdict::NotHere(_) => totals.not_here += 1,
                Verdict::Equal | Verdict::Differs(_) | Verdict::Panicked(_) => {
                    let category = totals.categories.entry(recording.category().to_owned()).or_default();
                    category.0 += usize::from(*verdict == Verdict::Equal);
                    category.1 += 1;
                }
            }
        }
        totals
    }

    /// Cases that gave what was recorded.
    pub fn equal(&self) -> usize {
        self.categories.values().map(|(equal, _)| equal).sum()
    }

    /// Cases that were compared.
    pub fn compared(&self) -> usize {
        self.categories.values().map(|(_, compared)| compared).sum()
    }

    /// Whether at least one case was compared, all were equal, and every divergence is as it should be.
    pub fn is_clean(&self) -> bool {
        self.compared() > 0 && self.equal() == self.compared() && self.divergences.0 == self.divergences.1
    }
}
