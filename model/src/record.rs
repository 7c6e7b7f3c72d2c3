//! What the model knows about one job: what was asked of it, what it has shown, what may still come.

use crate::chain::NodeId;
use crate::command::StreamArguments;
use crate::content::Moment;
use crate::job::{OnError, Status};
use crate::stream::Plan;

/// Three-valued knowledge: commands of other clients may have struck at a moment nobody saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    /// Certainly not.
    No,
    /// Perhaps.
    Maybe,
    /// Certainly.
    Yes,
}

/// Whether the job has already given up its place in the graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit {
    /// Its filter stands.
    NotYet,
    /// It may happen at any moment, before the event that tells it.
    Unsure,
    /// Its filter is gone, and the chain is what it will be.
    Done,
}

/// How a job went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// An error ended it.
    Reported,
    /// An error was passed over; it ends with that error nevertheless.
    Ignored,
    /// Something failed while it was finalized.
    Finalizing,
}

/// One stream job, from its `created` event on; kept after its end.
#[derive(Clone, Debug)]
pub struct Job {
    /// The operator's name for it.
    pub id: String,
    /// What it does to which nodes.
    pub plan: Plan,
    /// Its filter.
    pub filter: NodeId,
    /// Whether the target was read-only before.
    pub read_only_before: bool,
    /// Length of the target, if the model knows it.
    pub len_bytes: Option<u64>,
    /// What it does about I/O errors.
    pub on_error: OnError,
    /// Whether it finalizes itself.
    pub auto_finalize: bool,
    /// Whether it dismisses itself.
    pub auto_dismiss: bool,
    /// The string to be written into the target's header, if the operator gave one.
    pub backing_file: Option<String>,
    /// Its status.
    pub status: Status,
    /// Every status it had, with the moment it took it.
    pub statuses: Vec<(Moment, Status)>,
    /// Whether an operator or an error paused it.
    pub paused: Known,
    /// Whether it was cancelled.
    pub cancelled: Known,
    /// Finalizing was asked for.
    pub finalize_asked: bool,
    /// Dismissal was asked for.
    pub dismiss_asked: bool,
    /// How it went wrong, if it did.
    pub failure: Option<Failure>,
    /// An error stopped it and the operator has not resumed it since.
    pub stopped: bool,
    /// The event that tells its end has been seen.
    pub ended: bool,
    /// `BLOCK_JOB_PENDING` has been seen.
    pub pending_told: bool,
    /// The speeds it may have.
    pub speeds: Vec<i64>,
    /// The furthest progress it has shown.
    pub offset: i64,
    /// Its place in the graph.
    pub edit: Edit,
}

/// Longest backing file name that fits a header.
const BACKING_FILE_MAX: usize = 1023;

impl Job {
    /// A job that has just been created.
    pub fn new(arguments: &StreamArguments, plan: Plan, filter: NodeId, now: Moment) -> Job {
        Job {
            id: arguments.job_id.clone(),
            plan,
            filter,
            read_only_before: false,
            len_bytes: None,
            on_error: arguments.on_error,
            auto_finalize: arguments.auto_finalize,
            auto_dismiss: arguments.auto_dismiss,
            backing_file: arguments.backing_file.clone(),
            status: Status::Created,
            statuses: vec![(now, Status::Created)],
            paused: Known::No,
            cancelled: Known::No,
            finalize_asked: false,
            dismiss_asked: false,
            failure: None,
            stopped: false,
            ended: false,
            pending_told: false,
            speeds: vec![arguments.speed],
            offset: 0,
            edit: Edit::NotYet,
        }
    }

    /// Whether it still exists.
    pub fn is_live(&self) -> bool {
        self.status != Status::Null
    }

    /// Whether it does or may do its work: between start and end.
    pub fn is_at_work(&self) -> bool {
        matches!(self.status, Status::Created | Status::Running | Status::Paused)
    }

    /// Whether it had this status at `since` or later.
    pub fn had_since(&self, status: Status, since: Moment) -> bool {
        let last_before = self.statuses.iter().rposition(|(moment, _)| *moment <= since).unwrap_or(0);
        self.statuses[last_before..].iter().any(|(_, had)| *had == status)
    }

    /// Whether it existed at `since` or later.
    pub fn lived_since(&self, since: Moment) -> bool {
        self.is_live() || self.statuses.last().is_some_and(|(moment, _)| *moment > since)
    }

    /// Whether it has existed without a break from `since` until now.
    pub fn lives_since(&self, since: Moment) -> bool {
        self.is_live() && self.statuses[0].0 <= since
    }

    /// Whether writing the header must fail: the string it was given is too long.
    pub fn is_hopeless(&self) -> bool {
        self.backing_file.as_ref().is_some_and(|file| file.len() > BACKING_FILE_MAX)
    }

    /// Whether nothing keeps it in `pending`.
    pub fn may_finalize(&self) -> bool {
        self.auto_finalize || self.finalize_asked
    }

    /// Whether it stands still until an operator acts, and may do so for ever.
    pub fn waits_for_operator(&self) -> bool {
        match self.status {
            Status::Running | Status::Paused => self.paused != Known::No && self.cancelled != Known::Yes,
            Status::Pending => !self.auto_finalize && !self.finalize_asked && self.cancelled != Known::Yes,
            Status::Concluded => !self.auto_dismiss && !self.dismiss_asked,
            _ => false,
        }
    }

    /// The job in a line: `job stream0 running 3/8`.
    pub fn line(&self) -> String {
        let len = self.len_bytes.map_or_else(|| "?".into(), |len| len.to_string());
        format!("job {} {} {}/{len} bytes", self.id, self.status.word(), self.offset)
    }
}

impl Known {
    /// Forgets a certain `No`.
    pub fn at_least_maybe(self) -> Known {
        if self == Known::No { Known::Maybe } else { self }
    }
}
