//! Where a job is in its life: one value that carries what only matters there. Nothing here acts.

use super::status::Status;
use seam::Errno;
use std::sync::Arc;

/// A job's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    Undefined,
    Created,
    /// `running`, or `ready` once it is in step with its source.
    AtWork(Asked, Phase),
    /// `paused`, or `standby`.
    Stopped(Phase),
    /// Done, while others of its group are not.
    Waiting {
        cancelled: bool,
    },
    Pending(Finalize),
    Aborting(End),
    Concluded(End),
    Null,
}

/// What a working job was asked to do at its next pause point.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Nothing,
    Pause,
    Cancel,
    /// To cancel, and then to pause: it ends all the same, and counts as paused until it is gone.
    CancelThenPause,
}

/// How far a job's work has come.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// There is something to copy that was there when the job began.
    Copying,
    /// Only what guests write from now on is left to copy.
    Ready(Ending),
}

/// How a ready job is to end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Nobody said yet.
    Open,
    /// By putting its result in the place of its source.
    Pivot,
    /// By leaving everything as it is: a soft cancel.
    Leave,
}

/// An ended job.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    /// A pause that was asked for and not resumed before the end came.
    pub(super) user_paused: bool,
}

/// How far the end of a pending job has come.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Finalize {
    Awaited,
    Cancelled,
    UnderWay,
    /// It has committed, and others of its group have not yet.
    Prepared,
    /// Every job of its group has committed.
    Granted,
}

/// How a job ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// It did what it was made for.
    Success,
    /// An operator, or another job of its group, cancelled it.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

/// Why a job failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// A request did.
    Io(Errno),
    /// Something else, in words.
    Because(Arc<str>),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::Io(errno)
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        Outcome::Failed(failure)
    }
}

impl From<Errno> for Outcome {
    fn from(errno: Errno) -> Outcome {
        Outcome::Failed(Failure::Io(errno))
    }
}

impl Outcome {
    /// The text of query-block-jobs and of BLOCK_JOB_COMPLETED.
    pub(crate) fn error(&self) -> Option<String> {
        match self {
            Outcome::Success => None,
            Outcome::Cancelled => Some("Operation canceled".to_owned()),
            Outcome::Failed(Failure::Io(errno)) => Some(errno.text()),
            Outcome::Failed(Failure::Because(why)) => Some(why.to_string()),
        }
    }
}

/// What became of the last I/O error.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum IoStatus {
    Ok,
    Failed,
    NoSpace,
}

impl IoStatus {
    pub(super) fn word(self) -> &'static str {
        match self {
            IoStatus::Ok => "ok",
            IoStatus::Failed => "failed",
            IoStatus::NoSpace => "nospace",
        }
    }
}

/// A job was cancelled: what its task was doing is over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cancelled;

impl From<Cancelled> for Outcome {
    fn from(_: Cancelled) -> Outcome {
        Outcome::Cancelled
    }
}

impl State {
    pub(super) fn status(&self) -> Status {
        match self {
            State::Undefined => Status::Undefined,
            State::Created => Status::Created,
            State::AtWork(_, Phase::Copying) => Status::Running,
            State::AtWork(_, Phase::Ready(_)) => Status::Ready,
            State::Stopped(Phase::Copying) => Status::Paused,
            State::Stopped(Phase::Ready(_)) => Status::Standby,
            State::Waiting { .. } => Status::Waiting,
            State::Pending(_) => Status::Pending,
            State::Aborting(_) => Status::Aborting,
            State::Concluded(_) => Status::Concluded,
            State::Null => Status::Null,
        }
    }

    /// Whether an operator, or an error that stops, asked for a pause that was not resumed yet.
    pub(super) fn is_user_paused(&self) -> bool {
        match self {
            State::Stopped(_) | State::AtWork(Asked::Pause | Asked::CancelThenPause, _) => true,
            State::Aborting(end) | State::Concluded(end) => end.user_paused,
            _ => false,
        }
    }

    /// How far the work of a job that is not over is.
    pub(super) fn phase(&self) -> Option<Phase> {
        match self {
            State::AtWork(_, phase) | State::Stopped(phase) => Some(*phase),
            _ => None,
        }
    }
}
