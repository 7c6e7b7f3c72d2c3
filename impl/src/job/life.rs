//! One job's life: its state, the verbs operators use on it, and the events that tell of it.
//!
//! `become_` makes every transition and tells of it; `admit` admits every verb. The job's own task and the operators
//! meet here and nowhere else.

use super::status::{Status, VerbName};
use crate::command::{BlockJobInfo, Family, OnError};
use crate::engine::events::Events;
use crate::error::Refused;
use crate::event::{Event, JobFacts};
use crate::host::Errno;
use crate::id::JobSerial;
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use std::sync::Arc;

/// A job.
#[derive(Debug)]
pub struct Job {
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
    /// What it does about I/O errors.
    pub on_error: OnError,
    life: Mutex<Life>,
    changed: Signal,
    events: Arc<Events>,
}

/// What changes while a job lives.
#[derive(Debug)]
struct Life {
    state: State,
    speed: u64,
    io_status: IoStatus,
    len: u64,
    offset: u64,
    busy: bool,
}

/// Where a job is in its life, with what only matters there.
#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Undefined,
    Created,
    Running(Asked),
    Paused,
    Waiting,
    Pending(Finalize),
    Aborting(End),
    Concluded(End),
    Null,
}

/// What a running job was asked to do at its next pause point.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Asked {
    Nothing,
    Pause,
    Cancel,
    /// To cancel, and then to pause: it ends all the same, and counts as paused until it is gone.
    CancelThenPause,
}

/// An ended job.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct End {
    outcome: Outcome,
    /// A pause that was asked for and not resumed before the end came.
    user_paused: bool,
}

/// How far the end of a pending job has come.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Finalize {
    Awaited,
    Cancelled,
    UnderWay,
}

/// How a job ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It did what it was made for.
    Success,
    /// An operator cancelled it.
    Cancelled,
    /// It failed.
    Failed(Errno),
}

impl Outcome {
    /// The text of query-block-jobs and of BLOCK_JOB_COMPLETED.
    pub fn error(self) -> Option<String> {
        match self {
            Outcome::Success => None,
            Outcome::Cancelled => Some("Operation canceled".to_owned()),
            Outcome::Failed(errno) => Some(errno.text()),
        }
    }
}

/// What became of the last I/O error.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum IoStatus {
    Ok,
    Failed,
    NoSpace,
}

/// A job was cancelled: what its task was doing is over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Cancelled;

/// What comes of a cancel.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum CancelStep {
    /// The job ends at its next pause point.
    Asked,
    /// It was pending, and ends now.
    Ends,
    /// It takes effect already, and nothing comes between: what was said is said to what comes after.
    TooLate,
}

/// What a running job finds at a pause point.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PausePoint {
    /// Go on.
    Go,
    /// Look again after the next change.
    Wait,
}

impl State {
    fn status(&self) -> Status {
        match self {
            State::Undefined => Status::Undefined,
            State::Created => Status::Created,
            State::Running(_) => Status::Running,
            State::Paused => Status::Paused,
            State::Waiting => Status::Waiting,
            State::Pending(_) => Status::Pending,
            State::Aborting(_) => Status::Aborting,
            State::Concluded(_) => Status::Concluded,
            State::Null => Status::Null,
        }
    }

    /// Whether an operator, or an error that stops, asked for a pause that was not resumed yet.
    fn is_user_paused(&self) -> bool {
        match self {
            State::Paused | State::Running(Asked::Pause | Asked::CancelThenPause) => true,
            State::Aborting(end) | State::Concluded(end) => end.user_paused,
            _ => false,
        }
    }
}

/// What a job is made with.
#[derive(Debug)]
pub struct NewJob {
    /// Its identity.
    pub serial: JobSerial,
    /// Its name.
    pub id: Arc<str>,
    /// Its type.
    pub kind: &'static str,
    /// See [`Job`].
    pub manual_finalize: bool,
    /// See [`Job`].
    pub manual_dismiss: bool,
    /// See [`Job`].
    pub on_error: OnError,
    /// Bytes a second, 0 for unlimited.
    pub speed: u64,
    /// Expected total, bytes.
    pub len: u64,
}

impl Job {
    /// Makes a job and tells of it: `created`.
    pub fn create(new: NewJob, events: Arc<Events>) -> Arc<Job> {
        let NewJob { serial, id, kind, manual_finalize, manual_dismiss, on_error, speed, len } = new;
        let life =
            Life { state: State::Undefined, speed, io_status: IoStatus::Ok, len, offset: 0, busy: false };
        let life = Mutex::new(life);
        let changed = Signal::new();
        let job = Job { serial, id, kind, manual_finalize, manual_dismiss, on_error, life, changed, events };
        job.become_(&mut job.life.lock(), State::Created);
        Arc::new(job)
    }

    /// Every transition of every job.
    fn become_(&self, life: &mut Life, next: State) {
        let (from, to) = (life.state.status(), next.status());
        if from != to {
            assert!(from.may_become(to), "job {} goes from {} to {}", self.id, from.word(), to.word());
            life.state = next;
            self.events.emit(Event::JobStatusChange { id: self.id.to_string(), status: to.word() });
        } else {
            life.state = next;
        }
        self.changed.notify();
    }

    /// Admits or refuses a verb by the table.
    fn admit(&self, status: Status, verb: VerbName) -> Result<(), Refused> {
        if status.admits(verb) {
            return Ok(());
        }
        Err(Refused::VerbNotAccepted { id: self.id.to_string(), status: status.word(), verb: verb.word() })
    }

    // ---- what the job's own task does ----

    /// Starts: `running`.
    pub fn start(&self) {
        self.become_(&mut self.life.lock(), State::Running(Asked::Nothing));
    }

    /// It could not be started after all: `null`.
    pub fn abandon(&self) {
        self.become_(&mut self.life.lock(), State::Null);
    }

    /// How many changes there were, to be read before a look at the job and handed to `changed_since`.
    pub fn changes(&self) -> u64 {
        self.changed.changes()
    }

    /// Waits until the job has changed since `seen`.
    pub async fn changed_since(&self, seen: u64) {
        self.changed.changed_since(seen).await;
    }

    /// Does at a pause point what the operators asked for: pauses, or ends the work.
    pub fn pause_point(&self) -> Result<PausePoint, Cancelled> {
        let mut life = self.life.lock();
        match life.state {
            State::Running(Asked::Nothing) => Ok(PausePoint::Go),
            State::Running(Asked::Cancel | Asked::CancelThenPause) => Err(Cancelled),
            State::Running(Asked::Pause) => {
                self.become_(&mut life, State::Paused);
                Ok(PausePoint::Wait)
            }
            State::Paused => Ok(PausePoint::Wait),
            ref other => panic!("job {} is at work while {}", self.id, other.status().word()),
        }
    }

    /// The speed limit in bytes a second, 0 for none.
    pub fn speed(&self) -> u64 {
        self.life.lock().speed
    }

    /// Says whether the job is doing something.
    pub fn set_busy(&self, busy: bool) {
        self.life.lock().busy = busy;
    }

    /// Sets how far the job is. Progress never goes back and never passes the end.
    pub fn set_offset(&self, offset: u64) {
        let mut life = self.life.lock();
        assert!(offset >= life.offset, "job {} goes back from {} to {offset}", self.id, life.offset);
        assert!(offset <= life.len, "job {} is at {offset} of {}", self.id, life.len);
        life.offset = offset;
    }

    /// Deals with an I/O error as the operator wished; says whether the job goes on with the next range (`ignore`),
    /// tries again (`stop`) or ends (`report`).
    pub fn io_error(&self, errno: Errno) -> &'static str {
        let action = match (self.on_error, errno) {
            (OnError::Ignore, _) => "ignore",
            (OnError::Stop, _) | (OnError::Enospc | OnError::Auto, Errno::ENOSPC) => "stop",
            _ => "report",
        };
        let mut life = self.life.lock();
        // QEMU says `read` even when the write into the top image failed.
        self.events.emit(Event::BlockJobError { device: self.id.to_string(), operation: "read", action });
        if action == "stop" {
            if life.io_status == IoStatus::Ok {
                life.io_status = if errno == Errno::ENOSPC { IoStatus::NoSpace } else { IoStatus::Failed };
            }
            if !life.state.is_user_paused() {
                self.ask_to_pause(&mut life);
            }
        }
        action
    }

    /// The work is done: on to `waiting` and `pending`. Answers false if a pause was asked for at the last moment.
    pub fn work_done(&self) -> Result<bool, Cancelled> {
        let mut life = self.life.lock();
        match life.state {
            State::Running(Asked::Nothing) => {}
            State::Running(Asked::Pause) => return Ok(false),
            State::Running(Asked::Cancel | Asked::CancelThenPause) => return Err(Cancelled),
            ref other => panic!("job {} ends its work while {}", self.id, other.status().word()),
        }
        self.become_(&mut life, State::Waiting);
        let next = if self.manual_finalize { Finalize::Awaited } else { Finalize::UnderWay };
        self.become_(&mut life, State::Pending(next));
        if self.manual_finalize {
            self.events.emit(Event::BlockJobPending { kind: self.kind, id: self.id.to_string() });
        }
        Ok(true)
    }

    /// Waits in `pending` until the job may take effect.
    pub async fn finalized(&self) -> Result<(), Cancelled> {
        loop {
            let seen = self.changes();
            match self.life.lock().state {
                State::Pending(Finalize::UnderWay) => return Ok(()),
                State::Pending(Finalize::Cancelled) => return Err(Cancelled),
                State::Pending(Finalize::Awaited) => {}
                ref other => panic!("job {} waits to be finalized while {}", self.id, other.status().word()),
            }
            self.changed_since(seen).await;
        }
    }

    /// The job failed or was cancelled and now undoes what it prepared.
    pub fn abort(&self, outcome: Outcome) {
        let mut life = self.life.lock();
        let user_paused = life.state.is_user_paused();
        self.become_(&mut life, State::Aborting(End { outcome, user_paused }));
    }

    /// Tells how it ended and concludes.
    pub fn conclude(&self, outcome: Outcome) {
        let mut life = self.life.lock();
        let job = JobFacts {
            kind: self.kind,
            device: self.id.to_string(),
            len: life.len,
            offset: life.offset,
            speed: life.speed as i64,
        };
        self.events.emit(match outcome {
            Outcome::Cancelled => Event::BlockJobCancelled { job },
            _ => Event::BlockJobCompleted { job, error: outcome.error() },
        });
        let user_paused = life.state.is_user_paused();
        self.become_(&mut life, State::Concluded(End { outcome, user_paused }));
    }

    /// Is forgotten.
    pub fn forget(&self) {
        self.become_(&mut self.life.lock(), State::Null);
    }

    // ---- what operators do ----

    /// Whether somebody must wait a moment: the job is taking effect, as nothing may come between.
    pub fn is_finalizing(&self) -> bool {
        matches!(self.life.lock().state, State::Pending(Finalize::UnderWay))
    }

    /// Whether the job is gone, or waits for an operator to dismiss it.
    pub fn is_over(&self) -> bool {
        match self.life.lock().state {
            State::Concluded(_) => self.manual_dismiss,
            State::Null => true,
            _ => false,
        }
    }

    /// Its status.
    pub fn status(&self) -> Status {
        self.life.lock().state.status()
    }

    /// Asks the job to pause at its next pause point.
    pub fn pause(&self) -> Result<(), Refused> {
        let mut life = self.life.lock();
        self.admit(life.state.status(), VerbName::Pause)?;
        if life.state.is_user_paused() {
            return Err(Refused::AlreadyPaused);
        }
        self.ask_to_pause(&mut life);
        Ok(())
    }

    /// A pause that an operator, or an error that stops, asks of a running job. After a cancel it changes only what
    /// operators are told.
    fn ask_to_pause(&self, life: &mut Life) {
        let next = match life.state {
            State::Running(Asked::Cancel) => Asked::CancelThenPause,
            _ => Asked::Pause,
        };
        self.become_(life, State::Running(next));
    }

    /// Undoes a pause.
    pub fn resume(&self) -> Result<(), Refused> {
        let mut life = self.life.lock();
        if !life.state.is_user_paused() {
            return Err(Refused::NotPaused);
        }
        self.admit(life.state.status(), VerbName::Resume)?;
        life.io_status = IoStatus::Ok;
        let next = match life.state {
            State::Running(Asked::CancelThenPause) => Asked::Cancel,
            _ => Asked::Nothing,
        };
        self.become_(&mut life, State::Running(next));
        Ok(())
    }

    /// Cancels, and says what comes of it.
    pub fn cancel(&self, family: Family, force: bool) -> Result<CancelStep, Refused> {
        let mut life = self.life.lock();
        if family == Family::BlockJob && !force && life.state.is_user_paused() {
            return Err(Refused::CancelWhilePaused(self.id.to_string()));
        }
        self.admit(life.state.status(), VerbName::Cancel)?;
        let next = match life.state {
            State::Running(_) | State::Paused => State::Running(Asked::Cancel),
            State::Pending(Finalize::UnderWay) => return Ok(CancelStep::TooLate),
            State::Pending(_) => State::Pending(Finalize::Cancelled),
            ref other => panic!("job {} is cancelled while {}", self.id, other.status().word()),
        };
        let was_pending = life.state.status() == Status::Pending;
        self.become_(&mut life, next);
        Ok(if was_pending { CancelStep::Ends } else { CancelStep::Asked })
    }

    /// Changes the speed limit.
    pub fn set_speed(&self, speed: i64) -> Result<(), Refused> {
        let mut life = self.life.lock();
        self.admit(life.state.status(), VerbName::SetSpeed)?;
        life.speed = u64::try_from(speed).map_err(|_| Refused::NegativeSpeed)?;
        self.changed.notify();
        Ok(())
    }

    /// Lets a ready job finish; a stream is never ready.
    pub fn complete(&self) -> Result<(), Refused> {
        self.admit(self.status(), VerbName::Complete)?;
        Err(Refused::CannotComplete(self.id.to_string()))
    }

    /// Lets a pending job take effect.
    pub fn finalize(&self) -> Result<(), Refused> {
        let mut life = self.life.lock();
        self.admit(life.state.status(), VerbName::Finalize)?;
        if life.state == State::Pending(Finalize::Awaited) {
            self.become_(&mut life, State::Pending(Finalize::UnderWay));
        }
        Ok(())
    }

    /// Whether it may be dismissed.
    pub fn admit_dismiss(&self) -> Result<(), Refused> {
        self.admit(self.status(), VerbName::Dismiss)
    }

    /// Changes options; no job here supports it.
    pub fn change(&self) -> Result<(), Refused> {
        self.admit(self.status(), VerbName::Change)?;
        Err(Refused::ChangeNotSupported)
    }

    /// What query-block-jobs tells.
    pub fn info(&self) -> BlockJobInfo {
        let life = self.life.lock();
        let outcome = match life.state {
            State::Aborting(end) | State::Concluded(end) => Some(end.outcome),
            _ => None,
        };
        BlockJobInfo {
            kind: self.kind,
            device: self.id.to_string(),
            len: life.len,
            offset: life.offset,
            busy: life.busy,
            paused: life.state.is_user_paused(),
            speed: life.speed as i64,
            io_status: match life.io_status {
                IoStatus::Ok => "ok",
                IoStatus::Failed => "failed",
                IoStatus::NoSpace => "nospace",
            },
            ready: false,
            status: life.state.status().word(),
            auto_finalize: !self.manual_finalize,
            auto_dismiss: !self.manual_dismiss,
            error: outcome.and_then(Outcome::error),
        }
    }
}
