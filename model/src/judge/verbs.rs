//! Which verbs were sent to jobs of which type, in which status: what one run tried of the second table of [`crate::job`].

use crate::command::plan::{JOB_TYPES, JobType};
use crate::job::{STATUSES, Status, VERBS, Verb};
use std::fmt;

/// A verb that is sent to a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Combination {
    /// The job's type.
    pub job_type: JobType,
    /// Its status at that moment.
    pub status: Status,
    /// The verb; the job need not accept it.
    pub verb: Verb,
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to a {} {}", self.verb.word(), self.status.word(), self.job_type.words())
    }
}

impl Combination {
    /// Every one that a job can come to, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Combination> {
        let of_status = |job_type| STATUSES.map(|status| (job_type, status));
        let places = JOB_TYPES.into_iter().flat_map(of_status);
        let all =
            places.flat_map(|(job_type, status)| VERBS.map(|verb| Combination { job_type, status, verb }));
        all.filter(|combination| combination.can_be())
    }

    /// Whether a job of that type is ever found in that status.
    pub fn can_be(&self) -> bool {
        match self.status {
            Status::Undefined | Status::Null => false,
            Status::Ready | Status::Standby => {
                matches!(self.job_type, JobType::ActiveCommit | JobType::Mirror)
            }
            _ => true,
        }
    }
}

/// Those that a run has tried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct VerbsSent([[u8; STATUSES.len()]; JOB_TYPES.len()]);

impl VerbsSent {
    /// One more.
    pub fn add(&mut self, combination: Combination) {
        let Combination { job_type, status, verb } = combination;
        self.0[job_type as usize][status as usize] |= 1 << verb as usize;
    }

    /// Whether it was tried.
    pub fn has(&self, combination: &Combination) -> bool {
        let Combination { job_type, status, verb } = *combination;
        self.0[job_type as usize][status as usize] & 1 << verb as usize != 0
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        *self == VerbsSent::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_what_was_added() {
        let mut sent = VerbsSent::default();
        assert!(sent.is_empty());
        for (index, combination) in Combination::all().enumerate().filter(|(index, _)| index % 3 == 0) {
            assert!(!sent.has(&combination), "{index}");
            sent.add(combination);
        }
        for (index, combination) in Combination::all().enumerate() {
            assert_eq!(sent.has(&combination), index % 3 == 0, "{combination}");
        }
    }

    #[test]
    fn only_jobs_that_are_completed_by_hand_come_to_be_ready() {
        assert_eq!(Combination::all().count(), (5 * 7 + 2 * 2) * VERBS.len());
        let names: Vec<String> = Combination::all().map(|combination| combination.to_string()).collect();
        assert_eq!(names[0], "cancel to a created stream");
        assert!(names.contains(&"complete to a standby active commit".to_owned()));
        assert!(!names.iter().any(|name| name.ends_with("ready stream")));
    }
}
