//! What operators do with a job. `admit` admits every verb; its table is in `status`.

use super::life::{Job, Life};
use super::state::{Asked, Ending, Finalize, IoStatus, Outcome, Phase, State};
use super::status::{Status, VerbName};
use crate::command::{BlockJobInfo, Family};
use crate::error::Refused;
use crate::graph::mirror_top::CopyMode;
use crate::graph::mirror_top::MirrorTop;

/// What comes of a cancel.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum CancelStep {
    /// The job ends at its next pause point.
    Asked,
    /// It was done, and ends now.
    Ends,
    /// It is being committed, and nothing comes between: what was said is said to what comes after.
    TooLate,
}

impl Job {
    /// Admits or refuses a verb by the table.
    fn admit(&self, status: Status, verb: VerbName) -> Result<(), Refused> {
        if status.admits(verb) {
            return Ok(());
        }
        Err(Refused::VerbNotAccepted { id: self.id.to_string(), status: status.word(), verb: verb.word() })
    }

    /// Whether somebody must wait a moment: the job is taking effect, as nothing may come between.
    pub(crate) fn is_finalizing(&self) -> bool {
        let state = &self.life.lock().state;
        matches!(state, State::Pending(Finalize::UnderWay | Finalize::Prepared | Finalize::Granted))
    }

    /// Asks the job to pause at its next pause point.
    pub(crate) fn pause(&self) -> Result<(), Refused> {
        let mut life = self.life.lock();
        self.admit(life.state.status(), VerbName::Pause)?;
        if life.state.is_user_paused() {
            return Err(Refused::AlreadyPaused);
        }
        self.ask_to_pause(&mut life);
        Ok(())
    }

    /// A pause that an operator, or an error that stops, asks of a job at work. After a cancel it changes only what
    /// operators see.
    pub(super) fn ask_to_pause(&self, life: &mut Life) {
        let next = match life.state {
            State::AtWork(Asked::Cancel, phase) => State::AtWork(Asked::CancelThenPause, phase),
            State::AtWork(_, phase) => State::AtWork(Asked::Pause, phase),
            ref other => panic!("job {} is asked to pause while {}", self.id, other.status().word()),
        };
        self.transition(life, next);
    }

    /// Undoes a pause.
    pub(crate) fn resume(&self) -> Result<(), Refused> {
        let mut life = self.life.lock();
        if !life.state.is_user_paused() {
            return Err(Refused::NotPaused);
        }
        self.admit(life.state.status(), VerbName::Resume)?;
        life.io_status = IoStatus::Ok;
        let next = match life.state {
            State::AtWork(Asked::CancelThenPause, phase) => State::AtWork(Asked::Cancel, phase),
            State::AtWork(_, phase) | State::Stopped(phase) => State::AtWork(Asked::Nothing, phase),
            ref other => panic!("job {} is resumed while {}", self.id, other.status().word()),
        };
        self.transition(&mut life, next);
        Ok(())
    }

    /// Cancels, and says what comes of it. A job that is ready ends well if it is not forced: it leaves everything as
    /// it is.
    pub(crate) fn cancel(&self, family: Family, force: bool) -> Result<CancelStep, Refused> {
        let done = {
            let mut life = self.life.lock();
            if family == Family::BlockJob && !force && life.state.is_user_paused() {
                return Err(Refused::CancelWhilePaused(self.id.to_string()));
            }
            self.admit(life.state.status(), VerbName::Cancel)?;
            match life.state {
                State::AtWork(asked, Phase::Ready(ending)) if !force => {
                    // Who was asked to pivot pivots.
                    let ending = if ending == Ending::Pivot { ending } else { Ending::Leave };
                    self.transition(&mut life, State::AtWork(asked, Phase::Ready(ending)));
                    return Ok(CancelStep::Asked);
                }
                _ => self.force_to_end(&mut life),
            }
        };
        if done == CancelStep::Ends
            && let Some(group) = &self.group
        {
            group.cancel_all();
        }
        Ok(done)
    }

    /// Cancels a job that is not over, wherever it is. One that is paused is resumed for that, and what it met is forgotten.
    pub(super) fn force_to_end(&self, life: &mut Life) -> CancelStep {
        if life.state.is_user_paused() {
            life.io_status = IoStatus::Ok;
        }
        let (next, step) = match life.state {
            State::AtWork(_, phase) | State::Stopped(phase) => {
                (State::AtWork(Asked::Cancel, phase), CancelStep::Asked)
            }
            State::Waiting { .. } => (State::Waiting { cancelled: true }, CancelStep::Ends),
            State::Pending(Finalize::UnderWay | Finalize::Prepared | Finalize::Granted) => {
                return CancelStep::TooLate;
            }
            State::Pending(_) => (State::Pending(Finalize::Cancelled), CancelStep::Ends),
            ref other => panic!("job {} is cancelled while {}", self.id, other.status().word()),
        };
        self.transition(life, next);
        step
    }

    /// Changes the speed limit.
    pub(crate) fn set_speed(&self, speed: i64) -> Result<(), Refused> {
        let mut life = self.life.lock();
        self.admit(life.state.status(), VerbName::SetSpeed)?;
        life.speed = u64::try_from(speed).map_err(|_| Refused::NegativeSpeed)?;
        self.changed.notify();
        Ok(())
    }

    /// Lets a ready job put its result in the place of its source, or of the node that it `replaces`, if there still
    /// is one of that name.
    pub(crate) fn complete(&self, is_there: impl FnOnce(&str) -> bool) -> Result<(), Refused> {
        let mut life = self.life.lock();
        self.admit(life.state.status(), VerbName::Complete)?;
        let pivot = Phase::Ready(Ending::Pivot);
        let next = match life.state {
            State::AtWork(asked, Phase::Ready(Ending::Open | Ending::Pivot)) if !asked.is_cancel() => {
                State::AtWork(asked, pivot)
            }
            State::Stopped(Phase::Ready(Ending::Open | Ending::Pivot)) => State::Stopped(pivot),
            _ => return Err(Refused::CannotComplete(self.id.to_string())),
        };
        let replaces = self.mirror.as_ref().and_then(|top| top.replaces.as_deref());
        if let Some(gone) = replaces.filter(|name| !is_there(name)) {
            return Err(Refused::ReplacedNodeGone(gone.to_owned()));
        }
        self.transition(&mut life, next);
        Ok(())
    }

    /// Commits a pending job, and with it its group.
    pub(crate) fn finalize(&self) -> Result<(), Refused> {
        {
            let mut life = self.life.lock();
            self.admit(life.state.status(), VerbName::Finalize)?;
            self.let_take_effect(&mut life);
        }
        if let Some(group) = &self.group {
            group.finalize_all();
        }
        Ok(())
    }

    pub(super) fn let_take_effect(&self, life: &mut Life) {
        if life.state == State::Pending(Finalize::Awaited) {
            self.transition(life, State::Pending(Finalize::UnderWay));
        }
    }

    /// Whether it may be dismissed.
    pub(crate) fn admit_dismiss(&self) -> Result<(), Refused> {
        self.admit(self.status(), VerbName::Dismiss)
    }

    /// Changes how a mirror copies; no other job has anything to change.
    pub(crate) fn change(&self, copy_mode: CopyMode) -> Result<(), Refused> {
        self.admit(self.status(), VerbName::Change)?;
        self.mirror().ok_or(Refused::ChangeNotSupported)?.change(copy_mode)
    }

    /// What only a mirror has, and no active commit.
    fn mirror(&self) -> Option<&MirrorTop> {
        self.mirror.as_deref().filter(|top| !top.is_commit)
    }

    /// What query-block-jobs shows.
    pub(crate) fn info(&self) -> BlockJobInfo {
        let life = self.life.lock();
        let outcome = match &life.state {
            State::Aborting(end) | State::Concluded(end) => Some(&end.outcome),
            _ => None,
        };
        let is_at_its_end = matches!(life.state, State::Waiting { .. } | State::Pending(_));
        BlockJobInfo {
            kind: self.kind,
            device: self.id.to_string(),
            len: life.len,
            offset: life.offset,
            busy: life.busy,
            // A mirror that is about to end counts as paused: in QEMU its source is quiet from here on.
            paused: life.state.is_user_paused() || (self.mirror.is_some() && is_at_its_end),
            speed: life.speed as i64,
            io_status: life.io_status.word(),
            ready: matches!(life.state.phase(), Some(Phase::Ready(_))),
            status: life.state.status().word(),
            auto_finalize: !self.manual_finalize,
            auto_dismiss: !self.manual_dismiss,
            actively_synced: self.mirror().map(MirrorTop::is_actively_synced),
            error: outcome.and_then(Outcome::error),
        }
    }
}

impl Asked {
    fn is_cancel(self) -> bool {
        matches!(self, Asked::Cancel | Asked::CancelThenPause)
    }
}
