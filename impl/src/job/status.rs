//! The two tables of a job's life: which status may follow which, and which verb is admitted where. QEMU 10.0.

/// A job's status.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Status {
    /// Not made yet.
    Undefined,
    /// Made, not started.
    Created,
    /// At work.
    Running,
    /// Stopped at a pause point.
    Paused,
    /// In step with its source, waiting to be completed.
    Ready,
    /// Paused while ready.
    Standby,
    /// Done, waiting for the other jobs of its transaction.
    Waiting,
    /// Done, waiting to commit.
    Pending,
    /// Undoing what it prepared.
    Aborting,
    /// Over, waiting to be forgotten.
    Concluded,
    /// Forgotten.
    Null,
}

use Status::*;

impl Status {
    /// The word QMP uses.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Undefined => "undefined",
            Created => "created",
            Running => "running",
            Paused => "paused",
            Ready => "ready",
            Standby => "standby",
            Waiting => "waiting",
            Pending => "pending",
            Aborting => "aborting",
            Concluded => "concluded",
            Null => "null",
        }
    }

    /// The transition table.
    pub(crate) fn has_transition_to(self, next: Status) -> bool {
        let allowed: &[Status] = match self {
            Undefined => &[Created],
            Created => &[Running, Aborting, Null],
            Running => &[Paused, Ready, Waiting, Aborting],
            Paused => &[Running],
            Ready => &[Standby, Waiting, Aborting],
            Standby => &[Ready],
            Waiting => &[Pending, Aborting],
            Pending => &[Aborting, Concluded],
            Aborting => &[Aborting, Concluded],
            Concluded => &[Null],
            Null => &[],
        };
        allowed.contains(&next)
    }

    /// The verb table.
    pub(crate) fn admits(self, verb: VerbName) -> bool {
        let admitted: &[Status] = match verb {
            VerbName::Cancel => &[Created, Running, Paused, Ready, Standby, Waiting, Pending],
            VerbName::Pause | VerbName::Resume | VerbName::SetSpeed | VerbName::Change => {
                &[Created, Running, Paused, Ready, Standby]
            }
            VerbName::Complete => &[Ready, Standby],
            VerbName::Finalize => &[Pending],
            VerbName::Dismiss => &[Concluded],
        };
        admitted.contains(&self)
    }
}

/// A verb without its argument.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The words speak for themselves.
pub(crate) enum VerbName {
    Cancel,
    Pause,
    Resume,
    SetSpeed,
    Complete,
    Finalize,
    Dismiss,
    Change,
}

impl VerbName {
    /// The word refusals use.
    pub(crate) fn word(self) -> &'static str {
        match self {
            VerbName::Cancel => "cancel",
            VerbName::Pause => "pause",
            VerbName::Resume => "resume",
            VerbName::SetSpeed => "set-speed",
            VerbName::Complete => "complete",
            VerbName::Finalize => "finalize",
            VerbName::Dismiss => "dismiss",
            VerbName::Change => "change",
        }
    }
}
