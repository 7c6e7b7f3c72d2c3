//! `blockdev-backup`, alone or as an action of a transaction.

use super::Engine;
use super::transaction::{Action, Transaction};
use crate::command::BackupArguments;
use crate::error::Refused;
use crate::graph::Graph;
use crate::id::NodeId;
use crate::job::backup::Backup;
use crate::job::backup_start::{self, Plan};
use crate::job::group::Group;
use crate::job::life::{Job, NewJob};
use std::sync::Arc;

/// A backup whose job was made, and that is not in the engine's graph yet.
#[derive(Debug)]
pub(super) struct NewBackup {
    /// Its job.
    pub job: Arc<Job>,
    plan: Plan,
    filter: Option<NodeId>,
}

impl Engine {
    /// `blockdev-backup`: a transaction of one action, as in QEMU.
    pub(crate) async fn blockdev_backup(self: &Arc<Self>, arguments: BackupArguments) -> Result<(), Refused> {
        let actions = vec![Action::Backup(arguments)];
        self.transaction(Transaction { actions, grouped: false }).await
    }

    /// Makes the job of a backup (`created`) and puts it into a graph that is only a draft.
    pub(super) fn new_backup(
        &self,
        draft: &mut Graph,
        arguments: &BackupArguments,
        group: Option<Arc<Group>>,
    ) -> Result<NewBackup, Refused> {
        let plan = backup_start::admit(draft, &self.tuning, arguments)?;
        let (options, len) = (arguments.job.clone(), plan.unsaved_bytes);
        let job = self.make_job(NewJob { kind: "backup", options, len, group, mirror: None })?;
        let mut backup = NewBackup { job, plan, filter: None };
        match backup.attach(draft) {
            Ok(()) => Ok(backup),
            Err(refused) => {
                self.abandon_job(&backup.job);
                Err(refused)
            }
        }
    }

    /// Lets a started backup live.
    pub(super) fn run_backup(self: &Arc<Self>, backup: NewBackup) {
        let NewBackup { job, plan, filter } = backup;
        let filter = filter.expect("a backup runs after it was put into the graph");
        let task = Backup { core: self.core.clone(), job: job.clone(), plan, filter, has_failed: false };
        self.spawn_job(job, task);
    }
}

impl NewBackup {
    /// Puts it into a graph.
    pub(super) fn attach(&mut self, graph: &mut Graph) -> Result<(), Refused> {
        self.filter = Some(self.plan.attach(graph, self.job.serial, &self.job.id)?);
        Ok(())
    }
}
