//! Which silent steps a run cannot be explained without, and of which jobs: what one run came to of the list in `silent.rs`.

use crate::command::plan::{JOB_TYPES, JobType};
use std::fmt;

/// A step that nobody sees, without its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepKind {
    /// A command is carried out some time before its reply.
    CommandTakesEffect,
    /// A job that was created among others in its way finds its way free.
    JobFindsItsWayFree,
    /// A job that ends changes the chain before it reports its end.
    JobEditsGraph,
    /// The node that a job has written turns read-only again before it reports its end.
    JobRestoresNode,
    /// The filter that a job has given up goes while the job is still there.
    JobReleasesFilter,
}

/// Every one of them.
pub const STEP_KINDS: [StepKind; 5] = [
    StepKind::CommandTakesEffect,
    StepKind::JobFindsItsWayFree,
    StepKind::JobEditsGraph,
    StepKind::JobRestoresNode,
    StepKind::JobReleasesFilter,
];

impl StepKind {
    /// The words in texts.
    pub fn words(self) -> &'static str {
        match self {
            StepKind::CommandTakesEffect => "a command takes effect before its reply",
            StepKind::JobFindsItsWayFree => "a job finds its way free",
            StepKind::JobEditsGraph => "a job edits the graph before it reports its end",
            StepKind::JobRestoresNode => "the node that a job wrote turns read-only again",
            StepKind::JobReleasesFilter => "a job releases its filter",
        }
    }
}

/// A silent step and the type of the job that it is about; a command need not be about one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepTaken {
    /// The step.
    pub kind: StepKind,
    /// Of a job's own steps its type; of a verb that of its job.
    pub job_type: Option<JobType>,
}

impl fmt::Display for StepTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let job = self.job_type.map_or("no job", JobType::words);
        write!(f, "{} ({job})", self.kind.words())
    }
}

impl StepTaken {
    /// Every one that there can be, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = StepTaken> {
        let job_types = || JOB_TYPES.into_iter().map(Some).chain([None]);
        let all = STEP_KINDS.into_iter();
        let all = all.flat_map(move |kind| job_types().map(move |job_type| StepTaken { kind, job_type }));
        all.filter(|step| step.can_be())
    }

    /// Whether there is such a step.
    pub fn can_be(&self) -> bool {
        self.job_type.is_some() || self.kind == StepKind::CommandTakesEffect
    }

    fn bit(self) -> u8 {
        1 << self.job_type.map_or(JOB_TYPES.len(), |job_type| job_type as usize)
    }
}

/// Those that a run came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StepsTaken([u8; STEP_KINDS.len()]);

impl StepsTaken {
    /// One more.
    pub fn add(&mut self, step: StepTaken) {
        self.0[step.kind as usize] |= step.bit();
    }

    /// All of others.
    pub fn add_all(&mut self, others: StepsTaken) {
        self.0.iter_mut().zip(others.0).for_each(|(own, other)| *own |= other);
    }

    /// Whether the run came to it.
    pub fn has(&self, step: &StepTaken) -> bool {
        self.0[step.kind as usize] & step.bit() != 0
    }

    /// Whether it came to none.
    pub fn is_empty(&self) -> bool {
        *self == StepsTaken::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_what_was_added() {
        let (mut even, mut third) = (StepsTaken::default(), StepsTaken::default());
        assert!(even.is_empty());
        for (index, step) in StepTaken::all().enumerate() {
            if index % 2 == 0 {
                even.add(step);
            }
            if index % 3 == 0 {
                third.add(step);
            }
        }
        even.add_all(third);
        for (index, step) in StepTaken::all().enumerate() {
            assert_eq!(even.has(&step), index % 2 == 0 || index % 3 == 0, "{step}");
        }
    }

    #[test]
    fn only_a_command_is_about_no_job() {
        let names: Vec<String> = StepTaken::all().map(|step| step.to_string()).collect();
        assert_eq!(names.len(), STEP_KINDS.len() * JOB_TYPES.len() + 1);
        let without: Vec<&String> = names.iter().filter(|name| name.ends_with("(no job)")).collect();
        assert_eq!(without, ["a command takes effect before its reply (no job)"]);
    }
}
