//! `blockdev-mirror`, and the start that it shares with an active commit.

use super::Engine;
use crate::command::{CommitArguments, JobOptions, MirrorArguments};
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::mirror_top::CopyMode;
use crate::id::NodeId;
use crate::job::life::NewJob;
use crate::job::mirror::Mirror;
use crate::job::mirror_start::{self, Plan, Scope};
use crate::job::state::Ending;
use std::sync::Arc;

impl Engine {
    /// `blockdev-mirror`. The reply comes after `created` and `running`.
    pub(crate) async fn blockdev_mirror(
        self: &Arc<Self>,
        arguments: &MirrorArguments,
    ) -> Result<(), Refused> {
        // Nothing moves between the checks and the edit: no request runs, no other job changes the graph.
        let _alone = self.gate.drain().await;
        let plan = mirror_start::admit(&self.graph(), arguments)?;
        let _coming = self.open_for_writer(&self.graph(), plan.target).await?;
        self.start_mirror(plan, &arguments.job, false)
    }

    /// `block-commit` of a node that somebody writes to: a mirror into base, which takes its place in the end.
    pub(super) async fn start_active_commit(
        self: &Arc<Self>,
        arguments: &CommitArguments,
        top: NodeId,
        base: NodeId,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        let bottom = graph.overlay(top, base).ok_or(Refused::MirrorIntoItself)?;
        let layer = graph.unfiltered(base);
        let was_read_only = graph.place(layer).read_only;
        if was_read_only {
            self.reopen(layer, true).await?;
        }
        let _coming = self.open_for_writer(&graph, base).await?;
        let plan = Plan {
            source: top,
            target: base,
            scope: Scope::DownTo(bottom),
            is_commit: true,
            replaces: None,
            filter_name: arguments.filter_node_name.clone(),
            copy_mode: CopyMode::Background,
            granularity: None,
            buffer_bytes: 0,
            on_source_error: arguments.on_error,
            on_target_error: arguments.on_error,
        };
        let started = self.start_mirror(plan, &arguments.job, was_read_only);
        if started.is_err() && was_read_only {
            let _kept_writable = self.reopen(layer, false).await;
        }
        started
    }

    /// `was_read_only`: the base of a commit was made writable for the job.
    fn start_mirror(
        self: &Arc<Self>,
        plan: Plan,
        options: &JobOptions,
        was_read_only: bool,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        plan.admit(&graph)?;
        let top = Arc::new(plan.mirror_top(&graph)?);
        // A filter that cannot stand there is refused before a job is made.
        plan.put_filter(&mut Graph::clone(&graph), top.clone())?;
        let (kind, options, mirror) = (plan.kind(), options.clone(), Some(top.clone()));
        let new = NewJob { kind, options, len: 0, group: None, mirror };
        let (job, filter) =
            self.create_job(new, |graph, serial, id| plan.attach(graph, serial, id, top.clone()))?;
        let mirror = Mirror {
            core: self.core.clone(),
            job: job.clone(),
            top,
            filter,
            scope: plan.scope,
            buffer_bytes: plan.buffer_bytes(self.core.tuning()),
            on_source_error: plan.on_source_error,
            on_target_error: plan.on_target_error,
            was_read_only,
            ending: Ending::Open,
        };
        self.start_job(job, mirror);
        Ok(())
    }
}
