//! What all jobs have in common: how one is made, what operators say to it, how it is forgotten.

use super::Engine;
use crate::command::{BlockJobInfo, Family, Verb};
use crate::error::{Refused, is_well_formed_id};
use crate::graph::Graph;
use crate::id::JobSerial;
use crate::job::life::{Job, NewJob, Outcome};
use crate::job::status::Status;
use crate::job::task::{self, Task};
use crate::job::verbs::CancelStep;
use std::sync::Arc;

impl Engine {
    /// Makes a job (`created`) and lets `attach` put it into the graph; `start_job` comes next. If it is refused after
    /// `created`, it is `null` at once and the graph is as before.
    pub(crate) fn create_job<T>(
        &self,
        new: NewJob,
        attach: impl FnOnce(&mut Graph, JobSerial, &Arc<str>) -> Result<T, Refused>,
    ) -> Result<(Arc<Job>, T), Refused> {
        let job = self.make_job(new)?;
        match self.try_edit(|graph| attach(graph, job.serial, &job.id)) {
            Ok((attached, dropped)) => {
                assert!(dropped.is_empty(), "starting a job drops {dropped:?}");
                Ok((job, attached))
            }
            Err(refused) => {
                self.abandon_job(&job);
                Err(refused)
            }
        }
    }

    /// Starts a job that was created (`running`) and lets its task live.
    pub(crate) fn start_job(self: &Arc<Self>, job: Arc<Job>, task: impl Task) {
        job.start();
        self.spawn_job(job, task);
    }

    /// Lets the task of a started job live. The jobs of a group are all started before the first task lives.
    pub(crate) fn spawn_job(self: &Arc<Self>, job: Arc<Job>, task: impl Task) {
        // Whoever looks before the task has begun must not take the job for one that waits.
        job.set_busy(true);
        let name = format!("job {} {}", job.id, job.serial.0);
        let engine = self.clone();
        let life = async move {
            let outcome = task::run(&engine.core, &job, task).await;
            engine.conclude(&job, outcome).await;
        };
        self.host().spawn(&name, Box::pin(life));
    }

    /// Makes a job: `created`. Its id is taken from now on. Whoever made it puts it into the graph and starts it, or
    /// abandons it.
    pub(crate) fn make_job(&self, new: NewJob) -> Result<Arc<Job>, Refused> {
        let id = new.options.id.as_deref().unwrap_or("");
        if !is_well_formed_id(id) {
            return Err(Refused::InvalidJobId(id.to_owned()));
        }
        let mut jobs = self.jobs.lock();
        if jobs.by_serial.values().any(|job| *job.id == *id) {
            return Err(Refused::DuplicateJobId(id.to_owned()));
        }
        jobs.next_serial += 1;
        let serial = JobSerial(jobs.next_serial);
        let is_speed_negative = new.options.speed < 0;
        let job = Job::create(serial, new, self.events.clone());
        if is_speed_negative {
            job.abandon();
            return Err(Refused::NegativeSpeed);
        }
        jobs.by_serial.insert(serial, job.clone());
        Ok(job)
    }

    /// Forgets a job that was made and could not be put into the graph: `null`.
    pub(crate) fn abandon_job(&self, job: &Job) {
        let mut jobs = self.jobs.lock();
        job.abandon();
        jobs.by_serial.remove(&job.serial);
    }

    /// Takes back a job that was created and is not started after all; what it put into the graph is out again.
    pub(crate) async fn discard_job(&self, job: &Arc<Job>) {
        job.discard();
        self.forget(job).await;
    }

    /// Finds a job by its id, the way one of the command families does.
    fn find_job(&self, family: Family, id: &str) -> Result<Arc<Job>, Refused> {
        let jobs = self.jobs.lock();
        let mut known = jobs.by_serial.values().filter(|job| family == Family::Job || job.is_block_job());
        let found = known.find(|job| *job.id == *id).cloned();
        found.ok_or_else(|| not_found(family, id))
    }

    /// A job that is being committed lets nothing come between: who asks meanwhile sees what comes after.
    pub(crate) async fn let_jobs_take_effect(&self) {
        loop {
            let found = self.jobs.lock().by_serial.values().find(|job| job.is_finalizing()).cloned();
            let Some(job) = found else { return };
            wait_until_over(&job).await;
        }
    }

    /// One verb on one job. Finalizing, and cancelling a pending job, reply when the job has concluded.
    pub(crate) async fn job_verb(
        self: &Arc<Self>,
        family: Family,
        id: &str,
        verb: Verb,
    ) -> Result<(), Refused> {
        let done = self.verb_on_job(family, id, verb).await;
        done.map_err(|refused| if is_about_nobody(&refused) { not_found(family, id) } else { refused })
    }

    async fn verb_on_job(self: &Arc<Self>, family: Family, id: &str, verb: Verb) -> Result<(), Refused> {
        let mut job = self.find_job(family, id)?;
        // A job that is being committed lets nothing come between; what is said to it then is said to what comes after.
        while job.is_finalizing() {
            wait_until_over(&job).await;
            job = self.find_job(family, id)?;
        }
        match verb {
            Verb::Cancel { force } => loop {
                match job.cancel(family, force)? {
                    CancelStep::Asked => return Ok(()),
                    CancelStep::Ends => {
                        wait_until_over(&job).await;
                        return Ok(());
                    }
                    CancelStep::TooLate => {
                        wait_until_over(&job).await;
                        job = self.find_job(family, id)?;
                    }
                }
            },
            Verb::Pause => job.pause(),
            Verb::Resume => job.resume(),
            Verb::SetSpeed(speed) => job.set_speed(speed),
            Verb::Complete => job.complete(|name| self.graph().find(name).is_some()),
            Verb::Change(copy_mode) => job.change(copy_mode),
            Verb::Finalize => {
                job.finalize()?;
                wait_until_over(&job).await;
                Ok(())
            }
            Verb::Dismiss => {
                job.admit_dismiss()?;
                self.forget(&job).await;
                Ok(())
            }
        }
    }

    /// The job emits how it ended, and is forgotten unless the operator wants to do that.
    async fn conclude(&self, job: &Arc<Job>, outcome: Outcome) {
        job.conclude(outcome);
        if !job.manual_dismiss {
            self.forget(job).await;
        }
    }

    /// `null`: the nodes it held are free, and its id may be used again.
    pub(super) async fn forget(&self, job: &Arc<Job>) {
        let dropped = {
            // Under the lock, so that nobody sees a new job with this id before the old one is gone, or the graph without
            // the job before the job is gone.
            let mut jobs = self.jobs.lock();
            let dropped = self.edit(|graph| {
                graph.remove_job_users(job.serial, None);
                graph.drop_orphans(job.serial);
            });
            job.forget();
            jobs.by_serial.remove(&job.serial);
            dropped
        };
        self.close(dropped).await;
    }

    /// `query-block-jobs`: newest first.
    pub fn query_block_jobs(&self) -> Vec<BlockJobInfo> {
        let jobs = self.jobs.lock();
        jobs.by_serial.values().rev().filter(|job| job.is_block_job()).map(|job| job.info()).collect()
    }

    /// `query-jobs`: newest first.
    pub(crate) fn query_jobs(&self) -> Vec<BlockJobInfo> {
        self.jobs.lock().by_serial.values().rev().map(|job| job.info()).collect()
    }
}

fn not_found(family: Family, id: &str) -> Refused {
    match family {
        Family::BlockJob => Refused::BlockJobNotFound(id.to_owned()),
        Family::Job => Refused::JobNotFound,
    }
}

/// Whether the job was forgotten between the moment it was found and the verb: `null` is no state operators see.
fn is_about_nobody(refused: &Refused) -> bool {
    matches!(refused, Refused::VerbNotAccepted { status, .. } if *status == Status::Null.word())
}

/// Waits until a job is gone, or waits to be dismissed.
pub(super) async fn wait_until_over(job: &Job) {
    loop {
        let seen = job.changes();
        if job.is_over() {
            return;
        }
        job.changed_since(seen).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_was_forgotten_meanwhile_is_not_found() {
        let refused = |status| Refused::VerbNotAccepted { id: "j".to_owned(), status, verb: "finalize" };
        assert!(is_about_nobody(&refused("null")));
        assert!(!is_about_nobody(&refused("running")));
        assert!(!is_about_nobody(&Refused::NotPaused));
    }
}
