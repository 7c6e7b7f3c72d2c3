//! How far a campaign goes: which sequences, for how long, which failures it minimises, and which one ends it.

use super::Found;
use crate::live::target::Target;
use midstream::campaign::keep::Keep;
use std::path::PathBuf;
use std::time::Duration;

/// How far a campaign goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The daemon.
    pub target: Target,
    /// The seeds of sequences that failed before, which go first.
    pub before: Vec<u64>,
    /// The seed of the first sequence after them.
    pub seed: u64,
    /// At most so many sequences, those of before not counted.
    pub runs: u64,
    /// No new ones after so long.
    pub time: Option<Duration>,
    /// Daemons side by side.
    pub jobs: usize,
    /// Where traces go.
    pub out: PathBuf,
    /// Of which kinds the first failure is minimised.
    pub minimise: Minimise,
    /// Which sequences leave their history.
    pub history: Option<Keep>,
    /// What ends the campaign, if anything that it finds does.
    pub until: Option<Until>,
}

impl Plan {
    /// The seed of a sequence, counted from 0; none after the last one.
    pub(super) fn seed_of(&self, number: u64) -> Option<u64> {
        let after = number.checked_sub(self.before.len() as u64);
        match after {
            None => self.before.get(number as usize).copied(),
            Some(after) => (after < self.runs).then(|| self.seed.wrapping_add(after)),
        }
    }
}

/// The failure that a campaign waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Until {
    /// Only of these laws; without any, of every law.
    pub laws: Vec<String>,
    /// Known ones count, too.
    pub known_too: bool,
}

impl Until {
    pub(super) fn is_met(&self, found: &Found) -> bool {
        let is_wanted = self.laws.is_empty() || self.laws.contains(&found.law);
        is_wanted && (self.known_too || !found.is_known)
    }
}

/// Which kinds of failures are minimised.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Minimise {
    /// Failures are only counted.
    Nothing,
    /// Those that nobody knows; a known defect has its trace already.
    New,
    /// All.
    All,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::target::Kind;
    use midstream::verdict::{Outcome, Verdict};

    fn plan(before: Vec<u64>, runs: u64) -> Plan {
        let target =
            Target { kind: Kind::Midstreamd, binary: PathBuf::new(), on_disk: false, may_have: None };
        Plan {
            target,
            before,
            seed: 100,
            runs,
            time: None,
            jobs: 1,
            out: PathBuf::new(),
            minimise: Minimise::Nothing,
            history: None,
            until: None,
        }
    }

    #[test]
    fn sequences_that_failed_before_go_first() {
        let seeds = |plan: Plan| (0..6).map_while(|number| plan.seed_of(number)).collect::<Vec<_>>();
        assert_eq!(seeds(plan(vec![7, 9], 3)), [7, 9, 100, 101, 102]);
        assert_eq!(seeds(plan(Vec::new(), 2)), [100, 101]);
        assert_eq!(seeds(plan(Vec::new(), u64::MAX)).len(), 6);
    }

    #[test]
    fn a_live_campaign_ends_with_the_failure_it_waits_for() {
        let verdict = Verdict::Broken { law: "daemon hung".to_owned(), detail: String::new() };
        let found = |is_known| Found::of("x", is_known, 1, Duration::ZERO, &Outcome::of(verdict.clone()));
        let until = |laws: &[&str], known_too| Until {
            laws: laws.iter().map(|law| (*law).to_owned()).collect(),
            known_too,
        };
        assert!(until(&[], false).is_met(&found(false)));
        assert!(!until(&[], false).is_met(&found(true)));
        assert!(until(&[], true).is_met(&found(true)));
        assert!(until(&["daemon hung"], false).is_met(&found(false)));
        assert!(!until(&["daemon crashed"], false).is_met(&found(false)));
    }
}
