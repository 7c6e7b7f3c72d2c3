//! The life that all jobs share: work, wait until it may take effect, take effect or give up, conclude.

use super::life::{Failure, Job, Outcome};
use super::pace::pace;
use super::rate::RateLimit;
use crate::engine::Engine;
use std::future::Future;
use std::sync::Arc;

/// What one kind of job does. Each step is called at most once, in this order.
pub trait Task: Send + 'static {
    /// Works until nothing is left but to take effect.
    fn work(&mut self) -> impl Future<Output = Result<(), Outcome>> + Send;

    /// Makes what it worked for visible and lasting. If it fails, it is as if it had not been tried.
    fn take_effect(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The job failed or was cancelled: puts everything back. In a group this may come after `take_effect`.
    fn give_up(&mut self) -> impl Future<Output = ()> + Send;

    /// Whatever came of it: what the job changed only for its own time is as before.
    fn clean_up(&mut self) -> impl Future<Output = ()> + Send;
}

impl Engine {
    /// Starts a job that was created (`running`) and lets its task live.
    pub(crate) fn start_job(self: &Arc<Self>, job: Arc<Job>, task: impl Task) {
        job.start();
        self.spawn_job(job, task);
    }

    /// Lets the task of a started job live. The jobs of a group are all started before the first task lives.
    pub(crate) fn spawn_job(self: &Arc<Self>, job: Arc<Job>, task: impl Task) {
        // Whoever looks before the task has begun must not take the job for one that waits.
        job.set_busy(true);
        let name = format!("job {}", job.serial.0);
        self.host().spawn(&name, Box::pin(run(self.clone(), job, task)));
    }
}

/// The whole life of a job's task.
async fn run(engine: Arc<Engine>, job: Arc<Job>, mut task: impl Task) {
    let outcome = match succeed(&engine, &job, &mut task).await {
        Ok(()) => Outcome::Success,
        Err(outcome) => outcome,
    };
    job.set_busy(true);
    if outcome != Outcome::Success {
        job.abort(outcome);
        task.give_up().await;
    }
    task.clean_up().await;
    job.set_busy(false);
    engine.conclude(&job, outcome).await;
}

async fn succeed(engine: &Engine, job: &Job, task: &mut impl Task) -> Result<(), Outcome> {
    task.work().await?;
    // A pause asked for at the very end is honoured before anything takes effect.
    while !job.work_done()? {
        pace(engine, job, &mut RateLimit::default()).await?;
    }
    job.set_busy(false);
    job.finalized().await?;
    job.set_busy(true);
    task.take_effect().await?;
    job.set_busy(false);
    Ok(job.prepared().await?)
}
