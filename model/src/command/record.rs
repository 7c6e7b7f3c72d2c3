//! What the model knows about one job: what was asked of it, what it has shown, what may still come.

use crate::command::plan::{JobType, Plan, Work};
use crate::command::reply::Refusal;
use crate::command::starting::Start;
use crate::content::Moment;
use crate::graph::{ImageId, NodeId};
use crate::job::{IoStatus, OnError, Status};

/// What a job makes a header name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whose header.
    pub image: ImageId,
    /// The backing file it names then.
    pub names: Option<String>,
    /// Whether it is sure to.
    pub is_certain: bool,
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

/// One job, from its `created` event on; kept after its end.
#[derive(Clone, PartialEq, Debug)]
pub struct Job {
    /// The operator's name for it.
    pub id: String,
    /// What it does to which nodes.
    pub plan: Plan,
    /// When the command that created it was sent.
    pub since: Moment,
    /// Its filter.
    pub filter: NodeId,
    /// Whether the node it writes was read-only before.
    pub read_only_before: bool,
    /// How much there is to do, if that is known from the start.
    pub len_bytes: Option<u64>,
    /// What it does about I/O errors, of its source and of its target.
    pub on_error: Vec<OnError>,
    /// Whether it finalizes itself.
    pub auto_finalize: bool,
    /// Whether it dismisses itself.
    pub auto_dismiss: bool,
    /// The transaction it ends with, by the job that is its first member.
    pub group: Option<u16>,
    /// Completion was asked for: a mirror's target will take its place.
    pub complete_asked: bool,
    /// It was asked to end where it stands, well and without a pivot.
    pub soft_cancelled: bool,
    /// `BLOCK_JOB_READY` has been seen.
    pub ready_reported: bool,
    /// By sector of its target: it is copied for certain.
    pub copies: Vec<bool>,
    /// What it made headers name when it changed the chain.
    pub headers: Vec<Header>,
    /// Another job wrote below what it copies: what it copied, nobody knows.
    pub interfered: bool,
    /// Nothing was below its target when it began: zeroes may have no cluster there.
    pub copies_onto_nothing: bool,
    /// Sectors that guests have changed below its source, of which it was not notified.
    pub changed_beside: Vec<u32>,
    /// It cannot succeed: its target is too short for what it copies.
    pub cannot_fit: bool,
    /// Its base is to grow over a longer layer, which an image of the old version cannot.
    pub may_not_grow: bool,
    /// It failed because somebody could not have borne what it made of the chain.
    pub chain_conflict: bool,
    /// Its status.
    pub status: Status,
    /// What its command must be refused with, since it meets others' needs: any of these.
    pub late: Vec<Refusal>,
    /// Whether an operator or an error paused it.
    pub paused: bool,
    /// Whether a drain held it when it was paused, so that it may go on once more.
    pub drained: bool,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Finalizing was asked for.
    pub finalize_asked: bool,
    /// Dismissal was asked for.
    pub dismiss_asked: bool,
    /// How it went wrong, if it did.
    pub failure: Option<Failure>,
    /// An error stopped it and the operator has not resumed it since.
    pub stopped: bool,
    /// What stopped it, if an error did, and no operator has resumed it since.
    pub io_status: IoStatus,
    /// The event that reports its end has been seen.
    pub ended: bool,
    /// `BLOCK_JOB_PENDING` has been seen.
    pub pending_reported: bool,
    /// Its speed limit.
    pub speed: i64,
    /// The furthest progress it has shown.
    pub offset: i64,
    /// It has given up its filter, and the chain is what it will be.
    pub edited: bool,
    /// What it wrote is read-only again, if it was before.
    pub restored: bool,
}

/// How a job stands, for who does not look into the model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobStanding {
    /// What it does.
    pub job_type: JobType,
    /// Its status.
    pub status: Status,
    /// It is to ignore errors.
    pub ignores_errors: bool,
    /// It is a stream that has nothing to copy.
    pub is_idle: bool,
}

/// Longest backing file name that fits a header.
const BACKING_FILE_MAX: usize = 1023;

impl Job {
    /// A job that has just been created.
    pub fn new(start: &Start, since: Moment, plan: Plan, filter: NodeId) -> Job {
        Job {
            id: start.job_id.clone(),
            plan,
            since,
            filter,
            read_only_before: false,
            len_bytes: None,
            on_error: start.on_error.clone(),
            auto_finalize: start.auto_finalize,
            auto_dismiss: start.auto_dismiss,
            group: None,
            complete_asked: false,
            soft_cancelled: false,
            ready_reported: false,
            copies: Vec::new(),
            headers: Vec::new(),
            interfered: false,
            copies_onto_nothing: false,
            changed_beside: Vec::new(),
            cannot_fit: false,
            may_not_grow: false,
            chain_conflict: false,
            status: Status::Created,
            late: Vec::new(),
            paused: false,
            drained: false,
            cancelled: false,
            finalize_asked: false,
            dismiss_asked: false,
            failure: None,
            stopped: false,
            io_status: IoStatus::Ok,
            ended: false,
            pending_reported: false,
            speed: start.speed,
            offset: 0,
            edited: false,
            restored: false,
        }
    }

    /// How it stands.
    pub fn standing(&self) -> JobStanding {
        let is_idle = match &self.plan.work {
            Work::Stream(span) => span.no_op || span.between.is_empty(),
            _ => false,
        };
        let (job_type, status) = (self.plan.job_type(), self.status);
        JobStanding { job_type, status, ignores_errors: self.on_error.contains(&OnError::Ignore), is_idle }
    }

    /// Whether it still exists.
    pub fn is_live(&self) -> bool {
        self.status != Status::Null
    }

    /// Whether it has certainly released what it copied between, reported or not.
    pub fn has_left(&self) -> bool {
        self.edited
    }

    /// Whether it does or may do its work: between start and end.
    pub fn is_at_work(&self) -> bool {
        matches!(self.status, Status::Created | Status::Running | Status::Paused) || self.is_ready()
    }

    /// Whether it is a mirror that has caught up with its source.
    pub fn is_ready(&self) -> bool {
        matches!(self.status, Status::Ready | Status::Standby)
    }

    /// The string to be written into a header, if the operator gave one.
    pub fn backing_file(&self) -> Option<&String> {
        match &self.plan.work {
            Work::Stream(span) => span.backing_file.as_ref(),
            Work::Commit(span) => span.backing_file.as_ref(),
            _ => None,
        }
    }

    /// Whether a success puts a mirror's target into the place of its source.
    pub fn pivots(&self) -> bool {
        self.plan.becomes_ready() && self.complete_asked
    }

    /// Whether its command must be refused: it was created, and will never run.
    pub fn is_doomed(&self) -> bool {
        !self.late.is_empty()
    }

    /// Whether it must fail: its target is too short, or the string for the header is too long.
    pub fn is_hopeless(&self) -> bool {
        self.cannot_fit || self.backing_file().is_some_and(|file| file.len() > BACKING_FILE_MAX)
    }

    /// Whether nothing of its own keeps it in `pending`.
    pub fn may_finalize_alone(&self) -> bool {
        self.auto_finalize || self.finalize_asked
    }

    /// Whether it stands still until an operator acts, and may do so for ever.
    pub fn waits_for_operator(&self) -> bool {
        match self.status {
            Status::Running | Status::Paused => (self.paused || self.plan.never_ends()) && !self.cancelled,
            Status::Ready | Status::Standby => {
                let asked = self.complete_asked || self.soft_cancelled;
                (self.paused || !asked) && !self.cancelled
            }
            Status::Pending => {
                // One that finalizes itself may wait for another of its transaction.
                let waits = !self.auto_finalize || self.group.is_some();
                waits && !self.finalize_asked && !self.cancelled
            }
            Status::Concluded => !self.auto_dismiss && !self.dismiss_asked,
            _ => false,
        }
    }

    /// The job in a line: `job stream0 running 3/8`.
    pub fn line(&self) -> String {
        let len = self.len_bytes.map_or_else(|| "?".into(), |len| len.to_string());
        let job_type = match self.plan.job_type() {
            crate::command::plan::JobType::Stream => String::new(),
            job_type => format!("{} ", job_type.word()),
        };
        format!("job {} {job_type}{} {}/{len} bytes", self.id, self.status.word(), self.offset)
    }
}
