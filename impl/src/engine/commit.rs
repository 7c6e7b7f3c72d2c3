//! `block-commit`: which of the two commits is meant, and the start of the intermediate one.

use super::Engine;
use crate::command::CommitArguments;
use crate::error::Refused;
use crate::graph::length::known_len;
use crate::id::NodeId;
use crate::job::commit::Commit;
use crate::job::commit_start::{self, Plan, Region};
use crate::job::life::{Job, NewJob};
use std::sync::Arc;

impl Engine {
    /// `block-commit`. The reply comes after `created` and `running`.
    pub(crate) async fn block_commit(self: &Arc<Self>, arguments: &CommitArguments) -> Result<(), Refused> {
        // Nothing moves between the checks and the edit: no request runs, no other job changes the graph.
        let _alone = self.gate.drain().await;
        match commit_start::admit(&self.graph(), &**self.host(), arguments)? {
            Plan::Active { top, base, .. } => self.start_active_commit(arguments, top, base).await,
            Plan::Intermediate(region) => self.start_commit(arguments, region).await,
        }
    }

    async fn start_commit(
        self: &Arc<Self>,
        arguments: &CommitArguments,
        region: Region,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        region.admit(&graph)?;
        let top_len = known_len(&graph, region.top)?;
        let base_len = known_len(&graph, region.base)?;
        let options = arguments.job.clone();
        let new = NewJob { kind: "commit", options, len: top_len, group: None, mirror: None };
        let job = self.make_job(new)?;
        let base = graph.unfiltered(region.base);
        let was_read_only = graph.place(base).read_only;
        let attached = self.attach_commit(arguments, region, &job, base_len < top_len, was_read_only).await;
        let filter = match attached {
            Ok(filter) => filter,
            Err(refused) => {
                self.abandon_job(&job);
                return Err(refused);
            }
        };
        let commit = Commit {
            core: self.core.clone(),
            job: job.clone(),
            region,
            filter,
            backing_file: arguments.backing_file.clone(),
            mask_protocol: arguments.backing_mask_protocol,
            was_read_only,
            on_error: arguments.on_error,
            fit: 0,
        };
        self.start_job(job, commit);
        Ok(())
    }

    /// Makes base writable and puts the job into the graph, or leaves both as they were.
    async fn attach_commit(
        &self,
        arguments: &CommitArguments,
        region: Region,
        job: &Arc<Job>,
        grows: bool,
        was_read_only: bool,
    ) -> Result<NodeId, Refused> {
        let base = self.graph().unfiltered(region.base);
        if was_read_only {
            self.reopen(base, true).await?;
        }
        let _coming = self.open_for_writer(&self.graph(), base).await?;
        let filter_name = arguments.filter_node_name.as_deref();
        let attached = self
            .try_edit(|graph| commit_start::attach(graph, &region, job.serial, &job.id, filter_name, grows));
        match attached {
            Ok((filter, dropped)) => {
                assert!(dropped.is_empty(), "starting a job drops {dropped:?}");
                Ok(filter)
            }
            Err(refused) => {
                if was_read_only {
                    let _kept_writable = self.reopen(base, false).await;
                }
                Err(refused)
            }
        }
    }
}
