//! The life that all jobs share: work, wait until it may commit, commit or abort, conclude.

use super::life::{Failure, Job, Outcome};
use super::pace::pace;
use super::rate::RateLimit;
use crate::core::Core;
use std::future::Future;

/// What one kind of job does. Each step is called at most once, in this order.
pub(crate) trait Task: Send + 'static {
    /// Works until nothing is left but to commit.
    fn work(&mut self) -> impl Future<Output = Result<(), Outcome>> + Send;

    /// Makes what it worked for visible and lasting. If it fails, it is as if it had not been tried.
    fn prepare(&mut self) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The job failed or was cancelled: puts everything back. In a group this may come after `prepare`.
    fn abort(&mut self) -> impl Future<Output = ()> + Send;

    /// Whatever came of it: what the job changed only for its own time is as before.
    fn clean(&mut self) -> impl Future<Output = ()> + Send;
}

/// The whole life of a job's task. Answers how it ended; the job has yet to conclude.
pub(crate) async fn run(core: &Core, job: &Job, mut task: impl Task) -> Outcome {
    let outcome = match succeed(core, job, &mut task).await {
        Ok(()) => Outcome::Success,
        Err(outcome) => outcome,
    };
    job.set_busy(true);
    if outcome != Outcome::Success {
        job.abort(outcome.clone());
        task.abort().await;
    }
    task.clean().await;
    job.set_busy(false);
    outcome
}

async fn succeed(core: &Core, job: &Job, task: &mut impl Task) -> Result<(), Outcome> {
    task.work().await?;
    // A pause asked for at the very end is honoured before anything is committed.
    while !job.work_done()? {
        pace(core, job, &mut RateLimit::default()).await?;
    }
    job.set_busy(false);
    job.finalized().await?;
    job.set_busy(true);
    task.prepare().await?;
    job.set_busy(false);
    Ok(job.prepared().await?)
}
