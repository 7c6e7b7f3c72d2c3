//! One job's life, as its own task lives it: it works, pauses, ends, and emits an event for each step.
//!
//! `transition` makes every transition of every job. What operators ask is in `verbs`, what jobs that end together owe
//! each other in `group`, the order of a life in `task`.

use super::group::Group;
use super::state::{Asked, End, Ending, Finalize, IoStatus, Phase, State};
use super::status::Status;
use crate::command::{JobOptions, OnError};
use crate::core::events::Events;
use crate::event::{Event, JobFacts};
use crate::graph::mirror_top::MirrorTop;
use crate::id::JobSerial;
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use seam::Errno;
use std::sync::Arc;

pub(crate) use super::state::{Cancelled, Failure, Outcome};

/// The types of the jobs that are no block jobs.
pub(crate) const AMEND: &str = "amend";
/// See [`AMEND`].
pub(crate) const CREATE: &str = "create";

/// A job.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its identity.
    pub serial: JobSerial,
    /// Its name.
    pub id: Arc<str>,
    /// Its type.
    pub kind: &'static str,
    /// Whether a finished job waits in `pending` for the operator.
    pub manual_finalize: bool,
    /// Whether an ended job waits in `concluded` for the operator.
    pub manual_dismiss: bool,
    /// The jobs it commits together with, itself among them.
    pub(super) group: Option<Arc<Group>>,
    /// A mirror's filter, and an active commit's.
    pub(super) mirror: Option<Arc<MirrorTop>>,
    pub(super) life: Mutex<Life>,
    pub(super) changed: Signal,
    pub(super) events: Arc<Events>,
}

/// What changes while a job lives.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) state: State,
    pub(super) speed: u64,
    pub(super) io_status: IoStatus,
    pub(super) len: u64,
    pub(super) offset: u64,
    pub(super) busy: bool,
}

/// What a running job finds at a pause point.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum PausePoint {
    /// Go on.
    Go,
    /// Look again after the next change.
    Wait,
}

/// Which half of a copy failed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Reading what is to be copied.
    Read,
    /// Writing it.
    Write,
}

/// What a job does about an I/O error.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reaction {
    /// It ends.
    Report,
    /// It goes on with the next range.
    Ignore,
    /// It stops, and tries again when it is resumed.
    Stop,
}

impl Reaction {
    /// How a policy reacts to an error.
    pub(crate) fn of(policy: OnError, errno: Errno) -> Reaction {
        match (policy, errno) {
            (OnError::Ignore, _) => Reaction::Ignore,
            (OnError::Stop, _) | (OnError::Enospc | OnError::Auto, Errno::ENOSPC) => Reaction::Stop,
            _ => Reaction::Report,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Reaction::Report => "report",
            Reaction::Ignore => "ignore",
            Reaction::Stop => "stop",
        }
    }
}

/// What a job is made with.
#[derive(Debug)]
pub(crate) struct NewJob {
    /// Its type.
    pub kind: &'static str,
    /// What the operator says of it. Its id is well-formed.
    pub options: JobOptions,
    /// Expected total, bytes.
    pub len: u64,
    /// The jobs it commits together with; none: it is alone.
    pub group: Option<Arc<Group>>,
    /// A mirror's filter, and an active commit's.
    pub mirror: Option<Arc<MirrorTop>>,
}

impl Job {
    /// Makes a job: `created`.
    pub(crate) fn create(serial: JobSerial, new: NewJob, events: Arc<Events>) -> Arc<Job> {
        let NewJob { kind, options, len, group, mirror } = new;
        let JobOptions { id, speed, manual_finalize, manual_dismiss } = options;
        let id: Arc<str> = id.unwrap_or_default().into();
        // A negative speed is refused once the job is made.
        let speed = u64::try_from(speed).unwrap_or(0);
        let life =
            Life { state: State::Undefined, speed, io_status: IoStatus::Ok, len, offset: 0, busy: false };
        let life = Mutex::new(life);
        let changed = Signal::new();
        let job =
            Job { serial, id, kind, manual_finalize, manual_dismiss, group, mirror, life, changed, events };
        job.transition(&mut job.life.lock(), State::Created);
        let job = Arc::new(job);
        if let Some(group) = &job.group {
            group.add(&job);
        }
        job
    }

    /// Every transition of every job.
    pub(super) fn transition(&self, life: &mut Life, next: State) {
        let (from, to) = (life.state.status(), next.status());
        if from != to {
            assert!(from.has_transition_to(to), "job {} goes from {} to {}", self.id, from.word(), to.word());
            life.state = next;
            self.events.emit(Event::JobStatusChange { id: self.id.to_string(), status: to.word() });
        } else {
            life.state = next;
        }
        self.changed.notify();
    }

    /// Starts: `running`.
    pub(crate) fn start(&self) {
        self.transition(&mut self.life.lock(), State::AtWork(Asked::Nothing, Phase::Copying));
    }

    /// It could not be made after all: `null`.
    pub(crate) fn abandon(&self) {
        self.transition(&mut self.life.lock(), State::Null);
    }

    /// It was made and is not started after all, because another job of its group could not be made.
    pub(crate) fn discard(&self) {
        let end = End { outcome: Outcome::Cancelled, user_paused: false };
        let mut life = self.life.lock();
        self.transition(&mut life, State::Aborting(end.clone()));
        self.transition(&mut life, State::Concluded(end));
    }

    /// How many changes there were, to be read before a look at the job and handed to `changed_since`.
    pub(crate) fn changes(&self) -> u64 {
        self.changed.changes()
    }

    /// Waits until the job has changed since `seen`.
    pub(crate) async fn changed_since(&self, seen: u64) {
        self.changed.changed_since(seen).await;
    }

    /// Does at a pause point what the operators asked for: pauses, or ends the work.
    pub(crate) fn pause_point(&self) -> Result<PausePoint, Cancelled> {
        let mut life = self.life.lock();
        match life.state {
            State::AtWork(Asked::Nothing, _) => Ok(PausePoint::Go),
            State::AtWork(Asked::Cancel | Asked::CancelThenPause, _) => Err(Cancelled),
            State::AtWork(Asked::Pause, phase) => {
                self.transition(&mut life, State::Stopped(phase));
                Ok(PausePoint::Wait)
            }
            State::Stopped(_) => Ok(PausePoint::Wait),
            ref other => panic!("job {} is at work while {}", self.id, other.status().word()),
        }
    }

    /// The speed limit in bytes a second, 0 for none.
    pub(crate) fn speed(&self) -> u64 {
        self.life.lock().speed
    }

    /// Says whether the job is doing something.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.life.lock().busy = busy;
    }

    /// Sets how far the job is. Progress never goes back and never passes the end.
    pub(crate) fn set_offset(&self, offset: u64) {
        let mut life = self.life.lock();
        assert!(offset >= life.offset, "job {} goes back from {} to {offset}", self.id, life.offset);
        assert!(offset <= life.len, "job {} is at {offset} of {}", self.id, life.len);
        life.offset = offset;
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&self, done: u64) {
        let mut life = self.life.lock();
        // Only who works makes progress.
        assert!(
            life.state.phase().is_some(),
            "job {} advances while {}",
            self.id,
            life.state.status().word()
        );
        life.offset += done;
        life.len = life.len.max(life.offset);
    }

    /// So many bytes are left to do, however many there were: guests write while the job works.
    pub(crate) fn set_remaining(&self, remaining: u64) {
        let mut life = self.life.lock();
        life.len = life.offset + remaining;
    }

    /// Emits an I/O error, and deals with it as the operator wished.
    pub(crate) fn io_error(&self, policy: OnError, operation: Operation, errno: Errno) -> Reaction {
        let reaction = Reaction::of(policy, errno);
        let mut life = self.life.lock();
        self.events.emit(Event::BlockJobError {
            device: self.id.to_string(),
            operation: match operation {
                Operation::Read => "read",
                Operation::Write => "write",
            },
            action: reaction.word(),
        });
        if reaction == Reaction::Stop {
            if life.io_status == IoStatus::Ok {
                life.io_status = if errno == Errno::ENOSPC { IoStatus::NoSpace } else { IoStatus::Failed };
            }
            if !life.state.is_user_paused() {
                self.ask_to_pause(&mut life);
            }
        }
        reaction
    }

    /// From here on only what guests write is left to copy: `ready`.
    pub(crate) fn enter_ready(&self) {
        let mut life = self.life.lock();
        let State::AtWork(asked, Phase::Copying) = life.state else {
            panic!("job {} becomes ready while {}", self.id, life.state.status().word());
        };
        self.transition(&mut life, State::AtWork(asked, Phase::Ready(Ending::Open)));
        self.events.emit(Event::BlockJobReady { job: self.facts(&life) });
    }

    /// How a job that is ready is to end; nothing if it is not ready yet.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self.life.lock().state.phase() {
            Some(Phase::Ready(ending)) => Some(ending),
            _ => None,
        }
    }

    /// The work is done: on to `waiting`, and to `pending` when every job of the group is that far. Answers false if
    /// a pause was asked for at the last moment.
    pub(crate) fn work_done(&self) -> Result<bool, Cancelled> {
        {
            let mut life = self.life.lock();
            match life.state {
                State::AtWork(Asked::Nothing, _) => {}
                State::AtWork(Asked::Pause, _) => return Ok(false),
                State::AtWork(Asked::Cancel | Asked::CancelThenPause, _) => return Err(Cancelled),
                ref other => panic!("job {} ends its work while {}", self.id, other.status().word()),
            }
            self.transition(&mut life, State::Waiting { cancelled: false });
            if self.group.is_none() {
                self.enter_pending(&mut life, !self.manual_finalize);
            }
        }
        if let Some(group) = &self.group {
            group.one_waits();
        }
        Ok(true)
    }

    /// On to `pending`, and at once to taking effect if nobody waits for an operator.
    pub(super) fn enter_pending(&self, life: &mut Life, at_once: bool) {
        // Nobody who was cancelled gets as far as this.
        assert_eq!(life.state, State::Waiting { cancelled: false }, "job {} becomes pending", self.id);
        let next = if at_once { Finalize::UnderWay } else { Finalize::Awaited };
        self.transition(life, State::Pending(next));
        if self.manual_finalize {
            self.events.emit(Event::BlockJobPending { kind: self.kind, id: self.id.to_string() });
        }
    }

    /// Waits in `waiting` and `pending` until the job may commit.
    pub(crate) async fn finalized(&self) -> Result<(), Cancelled> {
        loop {
            let seen = self.changes();
            match self.life.lock().state {
                State::Pending(Finalize::UnderWay) => return Ok(()),
                State::Pending(Finalize::Cancelled) | State::Waiting { cancelled: true } => {
                    return Err(Cancelled);
                }
                State::Pending(Finalize::Awaited) | State::Waiting { cancelled: false } => {}
                ref other => panic!("job {} waits to be finalized while {}", self.id, other.status().word()),
            }
            self.changed_since(seen).await;
        }
    }

    /// The job has committed; waits until every job of its group has.
    pub(crate) async fn prepared(&self) -> Result<(), Cancelled> {
        let Some(group) = &self.group else {
            return Ok(());
        };
        group.one_is_prepared(self)?;
        loop {
            let seen = self.changes();
            match self.life.lock().state {
                State::Pending(Finalize::Granted) => return Ok(()),
                State::Pending(Finalize::Cancelled) => return Err(Cancelled),
                State::Pending(Finalize::Prepared) => {}
                ref other => panic!("job {} waits for its group while {}", self.id, other.status().word()),
            }
            self.changed_since(seen).await;
        }
    }

    /// The job failed or was cancelled and now undoes what it prepared; the others of its group end with it.
    pub(crate) fn abort(&self, outcome: Outcome) {
        assert_ne!(outcome, Outcome::Success, "job {} gives up what it did well", self.id);
        {
            let mut life = self.life.lock();
            let user_paused = life.state.is_user_paused();
            self.transition(&mut life, State::Aborting(End { outcome, user_paused }));
        }
        if let Some(group) = &self.group {
            group.cancel_all();
        }
    }

    /// Emits how it ended and concludes.
    pub(crate) fn conclude(&self, outcome: Outcome) {
        let mut life = self.life.lock();
        // What its events say is what became of it.
        let has_committed = matches!(life.state, State::Pending(Finalize::UnderWay | Finalize::Granted));
        assert_eq!(outcome == Outcome::Success, has_committed, "job {} ends with {outcome:?}", self.id);
        if self.is_block_job() {
            let job = self.facts(&life);
            self.events.emit(match outcome {
                Outcome::Cancelled => Event::BlockJobCancelled { job },
                _ => Event::BlockJobCompleted { job, error: outcome.error() },
            });
        }
        let user_paused = life.state.is_user_paused();
        self.transition(&mut life, State::Concluded(End { outcome, user_paused }));
    }

    /// Is forgotten.
    pub(crate) fn forget(&self) {
        self.transition(&mut self.life.lock(), State::Null);
    }

    /// Whether the job is gone, or waits for an operator to dismiss it.
    pub(crate) fn is_over(&self) -> bool {
        match &self.life.lock().state {
            State::Concluded(_) => self.manual_dismiss,
            State::Null => true,
            _ => false,
        }
    }

    /// Whether the commands and events of block jobs are for it.
    pub(crate) fn is_block_job(&self) -> bool {
        ![AMEND, CREATE].contains(&self.kind)
    }

    /// Its status.
    pub(crate) fn status(&self) -> Status {
        self.life.lock().state.status()
    }

    fn facts(&self, life: &Life) -> JobFacts {
        JobFacts {
            kind: self.kind,
            device: self.id.to_string(),
            len: life.len,
            offset: life.offset,
            speed: life.speed as i64,
        }
    }
}
