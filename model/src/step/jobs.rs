//! Events: each must be the next in its job's life, and have a cause.

use crate::command::Command;
use crate::command::plan::{JobType, Work};
use crate::command::record::{Failure, Job};
use crate::event::{Event, News, Progress};
use crate::graph::JobId;
use crate::job::{ErrorAction, IoStatus, Status};
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::step::state::{Phase, State};

/// The error of a full disk, in words.
const NO_SPACE: &str = "No space left on device";

impl State {
    pub(super) fn event(&mut self, event: &Event<'_>, more: &mut Vec<State>) -> Result<(), Broken> {
        self.count(LawId::EventOrder);
        if let News::Status(Status::Created) = event.news {
            return self.created(event.job, more);
        }
        let Some(id) = self.find_job(event.job) else {
            if let Some(at) = self.unmodelled.iter().position(|(name, _)| name == event.job) {
                return self.unmodelled_job_reported(at, event);
            }
            let what = format!("{} for `{}`, which is no living job", event.words(), event.job);
            return Err(self.broken(LawId::EventOrder, what));
        };
        match event.news {
            News::Status(status) => {
                let before = self.job(id).status;
                self.status_changed(id, status)?;
                more.extend(self.half_finalized(id, before, status));
                Ok(())
            }
            News::Error(action, operation) => self.failed(id, action, operation),
            News::Pending(kind) => self.reported_pending(id, kind),
            News::Ready(progress) => self.reported_ready(id, progress),
            News::Completed(progress, error) => self.completed(id, progress, error),
            News::Cancelled(progress) => self.cancelled(id, progress),
        }
    }

    /// Of a job of an unknown type only the table is known.
    fn unmodelled_job_reported(&mut self, at: usize, event: &Event<'_>) -> Result<(), Broken> {
        let News::Status(next) = event.news else { return Ok(()) };
        let (name, status) = self.unmodelled[at].clone();
        self.hold(LawId::StatusTable, status.may_become(next), |_| {
            format!("job {name} went from {} to {}", status.word(), next.word())
        })?;
        self.unmodelled[at].1 = next;
        self.unmodelled.retain(|(_, status)| *status != Status::Null);
        Ok(())
    }

    fn status_changed(&mut self, id: JobId, next: Status) -> Result<(), Broken> {
        let status = self.job(id).status;
        self.hold(LawId::StatusTable, status.may_become(next), |state| {
            format!("job {} went from {} to {}", state.job(id).id, status.word(), next.word())
        })?;
        self.in_order(id, status, next)?;
        if self.job(id).group.is_some() && next == Status::Pending {
            self.group_waits(id)?;
        }
        if next == Status::Aborting && self.job(id).edited {
            let what = format!("job {} had changed the chain before it failed", self.job(id).id);
            return Err(self.broken(LawId::GraphKept, what));
        }
        self.has_cause(id, status, next)?;
        if (status, next) == (Status::Created, Status::Running) {
            self.may_run(id)?;
        }
        let goes_on =
            matches!((status, next), (Status::Paused, Status::Running) | (Status::Standby, Status::Ready));
        if goes_on && self.job(id).paused && self.goes_on_once(id) {
            self.job_mut(id).drained = false;
        } else if (status, next) == (Status::Paused, Status::Running) {
            // The end of another job of its transaction may have woken it, and nobody has paused it since.
            let job = self.job_mut(id);
            if std::mem::replace(&mut job.paused, false) {
                job.io_status = IoStatus::Ok;
            }
        }
        if (status, next) == (Status::Pending, Status::Aborting) {
            // The header may have been written before the job failed.
            self.finalizing(id);
        }
        self.job_mut(id).status = next;
        match next {
            Status::Pending if self.may_finalize(id) => self.finalizing(id),
            Status::Aborting if status == Status::Created => self.give_up(id),
            Status::Aborting => {
                let job = self.job_mut(id);
                if status == Status::Pending && !job.cancelled && job.failure.is_none() {
                    job.failure = Some(Failure::Finalizing);
                }
            }
            Status::Null => self.vanished(id, status),
            _ => {}
        }
        Ok(())
    }

    /// What the table leaves open: an end is reported before it is concluded, a failed job does not complete.
    fn in_order(&self, id: JobId, status: Status, next: Status) -> Result<(), Broken> {
        let job = self.job(id);
        let wrong = match next {
            Status::Concluded if !job.ended => "was concluded before its end was reported",
            Status::Waiting if job.failure.is_some() => "waits for completion after an error",
            Status::Waiting if job.cancelled => "waits for completion after it was cancelled",
            Status::Ready if status == Status::Running && !job.plan.becomes_ready() => {
                "is ready, and is no mirror"
            }
            Status::Waiting if status == Status::Running && job.plan.becomes_ready() => {
                "waits for completion and was never ready"
            }
            Status::Waiting if status == Status::Ready && !job.ready_reported => {
                "was ready without saying so"
            }
            Status::Waiting if job.plan.never_ends() => "has no end of its own",
            Status::Aborting if job.ended => "aborts after its end was reported",
            Status::Null if status == Status::Created && !self.may_fail_at_start(id) => {
                "vanished instead of starting"
            }
            _ => return Ok(()),
        };
        Err(self.broken(LawId::EventOrder, format!("job {} {wrong}", job.id)))
    }

    /// Moves that only an operator or an error can cause.
    fn has_cause(&mut self, id: JobId, status: Status, next: Status) -> Result<(), Broken> {
        let job = self.job(id);
        let name = job.id.clone();
        let (cause, what) = match (status, next) {
            (Status::Paused, Status::Running) => {
                let cause =
                    !job.paused || self.is_quitting() || self.group_fails(id) || self.goes_on_once(id);
                (cause, "runs again though nobody resumed or cancelled it")
            }
            (Status::Standby, Status::Ready) => {
                let cause = !job.paused || self.is_quitting() || self.goes_on_once(id);
                (cause, "is ready again though nobody resumed or cancelled it")
            }
            (Status::Ready, Status::Waiting) => {
                let cause = job.complete_asked || job.soft_cancelled;
                (cause, "leaves ready though nobody completed or cancelled it")
            }
            (Status::Created, Status::Aborting) if self.is_in_open_transaction(id) => (true, ""),
            (Status::Pending | Status::Waiting, Status::Aborting) if self.group_fails(id) => (true, ""),
            (Status::Pending, Status::Aborting) => {
                let chain_conflict = self.has_chain_conflict(id) && self.allows(Rule::ChainConflict);
                let job = self.job_mut(id);
                job.chain_conflict = chain_conflict;
                let hopeless = job.is_hopeless() || chain_conflict;
                let meets_fault =
                    self.is_struck_since(self.job(id).since) && self.allows(Rule::FinalizingFails);
                let fails = meets_fault && self.may_finalize(id) || hopeless;
                let fails = fails || self.fails_for_no_cause(id);
                // Which of the two it was, its end will show.
                (fails || self.was_cancelled(id), "aborts in pending without cancel or fault")
            }
            (_, Status::Aborting) => {
                let unfit = job.cannot_fit || job.may_not_grow && job.offset == 0;
                let failed = job.failure.is_some() || unfit || self.group_fails(id);
                let caused = failed || self.failed_silently(id) || self.was_cancelled(id);
                (caused, "aborts without cancel or error")
            }
            (Status::Concluded, Status::Null) => {
                let is_free = job.auto_dismiss || job.dismiss_asked || self.is_quitting();
                (is_free, "vanished though nobody dismissed it")
            }
            _ => return Ok(()),
        };
        self.hold(LawId::Cause, cause, |_| format!("job {name} {what}"))
    }

    /// Whether a paused job was woken by the end of a drain before it was paused, and has not got to see that yet.
    fn goes_on_once(&self, id: JobId) -> bool {
        self.job(id).drained && self.allows(Rule::DrainEndsLate)
    }

    /// Whether the chain that a stream makes breaks what another job needs.
    fn has_chain_conflict(&self, id: JobId) -> bool {
        let Work::Stream(span) = &self.job(id).plan.work else { return false };
        let mut after = self.graph.clone();
        after.finish_stream(span);
        !after.conflicts_beyond(&self.graph).is_empty()
    }

    /// Others than a stream first look what there is to copy, or make room for it: an error ends them then, untold.
    fn failed_silently(&mut self, id: JobId) -> bool {
        let job = self.job(id);
        let is_silent = job.plan.job_type() != JobType::Stream
            && (self.is_struck_since(job.since) || self.may_fail_anyway(id));
        let silent = is_silent && self.allows(Rule::FailsSilently);
        if silent {
            self.job_mut(id).failure = Some(Failure::Reported);
        }
        silent
    }

    /// Whether the transaction that created it is not answered yet: another of its actions may have been refused.
    fn is_in_open_transaction(&self, id: JobId) -> bool {
        self.fronts().any(|front| {
            matches!(front.command(), Ok(Command::Transaction(..))) && front.created.contains(&id)
        })
    }

    pub(super) fn members(&self, id: JobId) -> impl Iterator<Item = &Job> {
        let group = self.job(id).group;
        self.jobs.iter().map(|job| &**job).filter(move |job| group.is_some() && job.group == group)
    }

    /// Whether nothing keeps a job in `pending`: of a transaction all members wait while one waits to be finalized by hand,
    /// and who finalizes one finalizes all.
    pub(super) fn may_finalize(&self, id: JobId) -> bool {
        match self.job(id).group {
            None => self.job(id).may_finalize_alone(),
            Some(_) => {
                self.members(id).all(|job| job.auto_finalize)
                    || self.members(id).any(|job| job.finalize_asked)
            }
        }
    }

    /// Whether another job of the same transaction has failed or was cancelled.
    fn group_fails(&self, id: JobId) -> bool {
        let fails = |job: &Job| job.failure.is_some() || job.cancelled || job.status == Status::Aborting;
        self.members(id).any(fails)
    }

    /// Jobs of one transaction are pending only when all of them have done their work.
    fn group_waits(&mut self, id: JobId) -> Result<(), Broken> {
        let early = self.members(id).find(|job| job.is_at_work()).map(|job| job.id.clone());
        self.hold(LawId::EventOrder, early.is_none(), |_| {
            format!("a transaction is pending and its job {} still works", early.unwrap_or_default())
        })
    }

    fn is_quitting(&self) -> bool {
        self.phase == Phase::Quitting
    }

    fn was_cancelled(&self, id: JobId) -> bool {
        self.job(id).cancelled || self.is_quitting()
    }

    fn failed(&mut self, id: JobId, action: ErrorAction, operation: &str) -> Result<(), Broken> {
        let job = self.job(id);
        let (name, status, on_error) = (job.id.clone(), job.status, job.on_error.clone());
        let may_fail = self.is_struck_since(self.job(id).since) || self.may_fail_anyway(id);
        self.hold(LawId::NoFaultNoFailure, may_fail, |_| {
            format!("job {name} met an I/O error, and no fault has struck since it began")
        })?;
        // Others than a stream have several requests on the way, and each may fail.
        let is_stream = self.job(id).plan.job_type() == JobType::Stream;
        let is_last = is_stream || !self.allows(Rule::SeveralErrors);
        if !matches!(status, Status::Running | Status::Ready)
            || is_last && self.job(id).failure == Some(Failure::Reported)
        {
            let what = format!("job {name} met an I/O error in {}", status.word());
            return Err(self.broken(LawId::EventOrder, what));
        }
        // QEMU names every error of a stream a read, even when the write failed.
        let named = operation == "read" || operation == "write" && !is_stream;
        let no_space = self.is_no_space(id);
        // The first choice is for what is read, the other for what is written.
        let choice = if operation == "write" { on_error.last() } else { on_error.first() };
        let allowed = choice.is_some_and(|choice| choice.allows(action, no_space));
        self.hold(LawId::EventFields, named && allowed, |_| {
            let choices: Vec<&str> = on_error.iter().map(|choice| choice.word()).collect();
            let (choices, action) = (choices.join(" and "), action.word());
            format!("job {name} with on-error {choices} reported {action} for a {operation}")
        })?;
        let job = self.job_mut(id);
        let goal = match action {
            ErrorAction::Report => {
                job.failure = Some(Failure::Reported);
                LawId::ErrorReported
            }
            ErrorAction::Ignore => {
                // Only a stream ends with the first error it passed over; the others try again.
                if is_stream {
                    job.failure = Some(Failure::Ignored);
                }
                LawId::ErrorIgnored
            }
            ErrorAction::Stop => {
                job.stopped = true;
                job.paused = true;
                if job.io_status == IoStatus::Ok {
                    job.io_status = IoStatus::Error(no_space);
                }
                LawId::ErrorStopped
            }
        };
        self.count(goal);
        Ok(())
    }

    /// Whether the error that a job met just now says that the disk is full; nothing, if it may be this one or another.
    fn is_no_space(&self, id: JobId) -> Option<bool> {
        let mut errors = self.faults_since(self.job(id).since).map(|fault| fault.error == NO_SPACE);
        let first = errors.next().filter(|_| !self.may_fail_anyway(id))?;
        errors.all(|other| other == first).then_some(first)
    }

    fn reported_pending(&mut self, id: JobId, kind: &str) -> Result<(), Broken> {
        let job = self.job(id);
        let in_order = job.status == Status::Pending && !job.auto_finalize && !job.pending_reported;
        if !in_order || kind != job.plan.kind().word() {
            let what = format!("BLOCK_JOB_PENDING of type {kind} for job {} out of order", job.id);
            return Err(self.broken(LawId::EventOrder, what));
        }
        self.job_mut(id).pending_reported = true;
        Ok(())
    }

    fn reported_ready(&mut self, id: JobId, progress: Progress<'_>) -> Result<(), Broken> {
        let job = self.job(id);
        if job.status != Status::Ready || job.ready_reported {
            let what = format!("job {} reported that it is ready in {}", job.id, job.status.word());
            return Err(self.broken(LawId::EventOrder, what));
        }
        self.job_mut(id).ready_reported = true;
        self.progress_reported(id, progress)
    }

    fn completed(&mut self, id: JobId, progress: Progress<'_>, error: Option<&str>) -> Result<(), Broken> {
        self.progress_reported(id, progress)?;
        match error {
            None => self.succeeded(id, progress),
            Some(error) => self.ended_with(id, error),
        }
    }

    fn succeeded(&mut self, id: JobId, progress: Progress<'_>) -> Result<(), Broken> {
        let job = self.job(id);
        let name = job.id.clone();
        let is_reported = job.auto_finalize || job.pending_reported;
        if job.status != Status::Pending || job.ended || !is_reported || job.failure.is_some() {
            let what = format!("job {name} completed in {}", job.status.word());
            return Err(self.broken(LawId::EventOrder, what));
        }
        let cancelled = job.cancelled;
        let whole = progress.offset == progress.len;
        let allowed = self.may_finalize(id);
        self.hold(LawId::Cause, allowed && !cancelled, |_| {
            format!("job {name} completed; finalizing allowed: {allowed}, cancelled: {cancelled}")
        })?;
        self.hold(LawId::Progress, whole, |_| {
            format!("job {name} completed at {} of {} bytes", progress.offset, progress.len)
        })?;
        self.finish(id);
        Ok(())
    }

    fn ended_with(&mut self, id: JobId, error: &str) -> Result<(), Broken> {
        let job = self.job(id);
        let name = job.id.clone();
        if (job.cannot_fit || job.may_not_grow) && job.failure.is_none() {
            self.job_mut(id).failure = Some(Failure::Reported);
        }
        let job = self.job(id);
        if job.failure.is_none() && job.status == Status::Aborting && self.group_fails(id) {
            // It was no other's failure that made it abort, but its own.
            self.failed_silently(id);
        }
        let job = self.job(id);
        if job.status != Status::Aborting || job.ended || job.failure.is_none() {
            let what = format!("job {name} failed with `{error}` in {}", job.status.word());
            return Err(self.broken(LawId::EventOrder, what));
        }
        let finalizing = job.failure == Some(Failure::Finalizing);
        let hopeless = job.cannot_fit
            || job.may_not_grow && error == "Operation not supported"
            || job.is_hopeless() && error == "Invalid argument"
            || job.chain_conflict && error == "Operation not permitted";
        let armed =
            self.is_fault(error, job.since) || self.may_fail_anyway(id) || self.is_for_bitmaps(id, error);
        self.hold(LawId::NoFaultNoFailure, hopeless || armed, |state| {
            let since = state.job(id).since;
            format!("job {name} failed with `{error}`; since it began: {}", state.faults_text(since))
        })?;
        if finalizing {
            self.count(LawId::FinalizeFailed);
        }
        self.give_up(id);
        Ok(())
    }

    fn cancelled(&mut self, id: JobId, progress: Progress<'_>) -> Result<(), Broken> {
        self.progress_reported(id, progress)?;
        let caused = self.group_fails(id) || self.is_in_open_transaction(id) || self.was_cancelled(id);
        let job = self.job(id);
        if job.status != Status::Aborting || job.ended || !caused {
            let what = format!("job {} reported its cancellation in {}", job.id, job.status.word());
            return Err(self.broken(LawId::EventOrder, what));
        }
        // The rest of its transaction may notice it later than everybody else.
        self.job_mut(id).cancelled = true;
        self.give_up(id);
        Ok(())
    }

    fn progress_reported(&mut self, id: JobId, progress: Progress<'_>) -> Result<(), Broken> {
        let job = self.job(id);
        let fits = progress.kind == job.plan.kind().word() && job.speed == progress.speed;
        self.hold(LawId::EventFields, fits, |state| {
            let job = state.job(id);
            let kind = job.plan.kind().word();
            let Progress { kind: reported, speed, .. } = progress;
            format!(
                "job {}: reported as a {reported} with a speed of {speed}, expected a {kind} with a speed of {}",
                job.id, job.speed
            )
        })?;
        self.advanced(id, progress.offset, progress.len)
    }

    /// Progress was reported, by an event or a query.
    pub(super) fn advanced(&mut self, id: JobId, offset: i64, len: i64) -> Result<(), Broken> {
        let job = self.job(id);
        let before = job.offset;
        // A backup counts whole clusters of at least 64 KiB, the last one too.
        let is_rounded = |bytes: u64| {
            job.plan.job_type() == JobType::Backup
                && i64::try_from(bytes.next_multiple_of(65_536)) == Ok(len)
                && self.allows(Rule::BackupRounded)
        };
        let is_len = |bytes: u64| len == 0 || i64::try_from(bytes) == Ok(len) || is_rounded(bytes);
        let whole = job.len_bytes.is_none_or(is_len);
        let within = offset <= len || self.may_pass_its_end(id);
        let forward = before <= offset && 0 <= offset && within;
        self.hold(LawId::Progress, whole && forward, |state| {
            let job = state.job(id);
            let known = job.len_bytes.map_or("unknown length".to_owned(), |len| format!("{len} bytes"));
            format!("job {} at {offset} of {len} bytes; was at {before} of {known}", job.id)
        })?;
        if before != offset {
            self.job_mut(id).offset = offset;
        }
        Ok(())
    }
}
