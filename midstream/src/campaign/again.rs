//! A run, taken again: one that is not the same the second time makes every verdict worthless.

use crate::campaign::Subject;
use crate::strategy::replay::strict;
use crate::verdict::Outcome;
use std::fmt;

/// A run that was not the same when taken again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nondeterminism {
    /// Its seed.
    pub seed: u64,
    /// The fingerprints of both histories.
    pub hashes: [u64; 2],
    /// Where they first differ.
    pub difference: String,
}

impl fmt::Display for Nondeterminism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = self.hashes;
        writeln!(f, "seed {}: the same choices gave history {first:016x}, then {second:016x}", self.seed)?;
        f.write_str(&self.difference)
    }
}

/// Takes a run again by its choice log and says where it differs.
pub fn check_again(subject: &Subject<'_>, seed: u64, outcome: &Outcome) -> Option<Nondeterminism> {
    let (again, divergence) = strict(|choices| subject.quiet(choices), &outcome.tape);
    if divergence.is_none() && again.history_hash == outcome.history_hash {
        return None;
    }
    let difference = match divergence {
        Some(divergence) => divergence.to_string(),
        None => first_difference(subject, outcome),
    };
    Some(Nondeterminism { seed, hashes: [outcome.history_hash, again.history_hash], difference })
}

fn first_difference(subject: &Subject<'_>, outcome: &Outcome) -> String {
    let history = || strict(|choices| subject.full(choices), &outcome.tape).0.history.lines();
    let (first, second) = (history(), history());
    let lines = first.len().max(second.len());
    let line =
        |history: &[String], i: usize| history.get(i).cloned().unwrap_or_else(|| "nothing more".to_owned());
    let differs = (0..lines).find(|&i| first.get(i) != second.get(i));
    differs.map_or_else(
        || "the readable histories are alike: what differs is in the fingerprint only".to_owned(),
        |i| {
            format!(
                "first differing line {}\n  first   {}\n  second  {}",
                i + 1,
                line(&first, i),
                line(&second, i)
            )
        },
    )
}
