//! `x-blockdev-amend`: a job of its own kind, which no `block-job-*` command knows.
//!
//! All that can be amended is a matter of encryption, which no image here has: what is left is the job.

use super::Engine;
use crate::command::JobOptions;
use crate::error::Refused;
use crate::job::life::{AMEND, Failure, Job, NewJob, Outcome};
use crate::job::task::Task;
use std::sync::Arc;

impl Engine {
    /// `x-blockdev-amend`. The job waits to be dismissed, however it ended.
    pub(crate) fn blockdev_amend(
        self: &Arc<Self>,
        job_id: &str,
        node_name: &str,
        driver: &str,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        let node = graph
            .find(node_name)
            .ok_or_else(|| Refused::NoSuchNode { device: String::new(), node_name: node_name.to_owned() })?;
        if graph.node(node).driver_name() != driver {
            return Err(Refused::AmendedDriver);
        }
        let options =
            JobOptions { id: Some(job_id.to_owned()), manual_dismiss: true, ..JobOptions::default() };
        let job = self.make_job(NewJob { kind: AMEND, options, len: 1, group: None, mirror: None })?;
        self.start_job(job.clone(), Amend { job });
        Ok(())
    }
}

struct Amend {
    job: Arc<Job>,
}

impl Task for Amend {
    async fn work(&mut self) -> Result<(), Outcome> {
        self.job.advance(1);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn abort(&mut self) {}

    async fn clean(&mut self) {}
}
