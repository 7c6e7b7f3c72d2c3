//! `transaction`: several actions, all of them or none.
//!
//! Every action is first done to a draft of the graph, where it finds what the ones before it did. If all of them can
//! be done, they are done to the graph itself in one edit; if not, the jobs that were made are taken back, and nothing
//! else has happened.

use super::Engine;
use super::backup::NewBackup;
use super::opening::Draft;
use super::snapshot::{NewOverlay, SyncOptions};
use crate::command::BackupArguments;
use crate::error::Refused;
use crate::error::backup::TransactionRefused;
use crate::format::qcow2::Qcow2;
use crate::graph::Graph;
use crate::graph::auto_read_only::OutsideWriter;
use crate::graph::blocker::Op;
use crate::graph::cell::Dropped;
use crate::id::NodeId;
use crate::io::write;
use crate::job::group::Group;
use crate::warning::warn;
use std::fmt;
use std::sync::Arc;

/// A change of the graph that can be done to a draft first.
pub(crate) type GraphEdit = Box<dyn Fn(&mut Graph) -> Result<(), Refused> + Send + Sync>;

/// One action.
pub enum Action {
    /// `abort`: refuses the whole transaction.
    Abort,
    /// `blockdev-backup`.
    Backup(BackupArguments),
    /// `blockdev-snapshot`.
    Snapshot {
        /// `node`: what gets an overlay.
        node: String,
        /// `overlay`: a node that is there already.
        overlay: String,
    },
    /// `blockdev-snapshot-sync`.
    SnapshotSync(SyncOptions),
    /// `blockdev-snapshot-internal-sync`.
    InternalSnapshot {
        /// `device`: whose image gets it.
        device: String,
        /// `name`.
        name: String,
    },
    /// Any change of the graph alone.
    Edit {
        /// The action's name.
        name: &'static str,
        /// What it does.
        edit: GraphEdit,
    },
}

impl Action {
    /// What `transaction` calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Abort => "abort",
            Action::Backup(_) => "blockdev-backup",
            Action::Snapshot { .. } => "blockdev-snapshot",
            Action::SnapshotSync(_) => "blockdev-snapshot-sync",
            Action::InternalSnapshot { .. } => "blockdev-snapshot-internal-sync",
            Action::Edit { name, .. } => name,
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `transaction`.
#[derive(Debug)]
pub struct Transaction {
    /// What is to be done, in order.
    pub actions: Vec<Action>,
    /// `completion-mode` is `grouped`: the jobs commit together or not at all.
    pub grouped: bool,
}

/// An action that the draft took.
enum Step {
    Backup(NewBackup),
    Edit(GraphEdit),
    /// An overlay that is there already.
    Snapshot(NodeId, GraphEdit),
    /// An overlay that was made.
    Overlay(NewOverlay),
    /// A snapshot that was made inside an image, by its id.
    Internal(Arc<Qcow2>, String),
}

impl Engine {
    /// `transaction`. The reply comes after every job's `running`.
    pub async fn transaction(self: &Arc<Self>, transaction: Transaction) -> Result<(), Refused> {
        let Transaction { actions, grouped } = transaction;
        if grouped && let Some(alone) = actions.iter().find(|a| !matches!(a, Action::Backup(_))) {
            return Err(Refused::Transaction(TransactionRefused::NotGrouped(alone.name())));
        }
        let group = grouped.then(Group::new);
        // Nothing moves between the draft and the edit: no request runs, no other job changes the graph.
        let _alone = self.gate.drain().await;
        let mut steps = Vec::with_capacity(actions.len());
        let before = self.graph();
        // Overlays are opened in one draft; what else is done first to a copy of the graph uses identities beyond it.
        let mut opened =
            actions.iter().any(|a| matches!(a, Action::SnapshotSync(_))).then(|| Draft::new(self));
        let done = match self.draft(actions, &group, &mut opened, &mut steps).await {
            Ok(_coming) => self.apply(&mut steps, opened.as_ref()),
            Err(refused) => Err(refused),
        };
        match done {
            Ok(dropped) => {
                if !dropped.is_empty() {
                    self.close(dropped).await;
                }
                let settled = self.settle(&steps).await;
                self.start_all(steps);
                self.forget_bitmaps(&before).await?;
                settled
            }
            Err(refused) => {
                self.take_back(steps).await;
                Err(refused)
            }
        }
    }

    /// Does the actions to a draft, and stops at the first that cannot be done. The writers come before the answer is
    /// dropped.
    async fn draft(
        &self,
        actions: Vec<Action>,
        group: &Option<Arc<Group>>,
        opened: &mut Option<Draft<'_>>,
        steps: &mut Vec<Step>,
    ) -> Result<Vec<OutsideWriter>, Refused> {
        let mut coming = Vec::new();
        let mut draft = Graph::clone(&self.graph());
        for action in actions {
            let step = match action {
                Action::Abort => return Err(Refused::Transaction(TransactionRefused::Aborted)),
                Action::Backup(arguments) => {
                    // A target that is not there is refused below.
                    if let Ok(target) = draft.lookup(&arguments.target) {
                        coming.extend(self.open_for_writer(&draft, target).await?);
                    }
                    steps.push(Step::Backup(self.new_backup(&mut draft, &arguments, group.clone())?));
                    continue;
                }
                Action::InternalSnapshot { device, name } => {
                    let (image, id) = self.new_internal_snapshot(&draft, &device, &name).await?;
                    steps.push(Step::Internal(image, id));
                    continue;
                }
                Action::Snapshot { node, overlay } => {
                    let below = draft.lookup(&node)?;
                    draft.admit_op(Op::ExternalSnapshot, below)?;
                    // What was written before the snapshot is durable with it.
                    let flushed = write::flush(&draft, below).await;
                    flushed.map_err(Refused::io("flush", draft.name(below)))?;
                    Step::Snapshot(below, Box::new(move |graph| graph.snapshot(&node, &overlay)))
                }
                Action::SnapshotSync(options) => {
                    let opened = opened.as_mut().expect("there is a draft for overlays");
                    Step::Overlay(self.new_overlay(&Arc::new(draft.clone()), opened, &options).await?)
                }
                Action::Edit { edit, .. } => Step::Edit(edit),
            };
            step.apply(&mut draft, opened.as_ref())?;
            steps.push(step);
        }
        Ok(coming)
    }

    /// Does to the graph what was done to the draft. Answers the nodes that nobody holds any more.
    fn apply(&self, steps: &mut [Step], opened: Option<&Draft<'_>>) -> Result<Vec<Dropped>, Refused> {
        let ((), dropped) = self.try_edit(|graph| {
            if let Some(opened) = opened {
                opened.close_gap(graph);
            }
            steps.iter_mut().try_for_each(|step| match step {
                Step::Backup(backup) => backup.attach(graph),
                step => step.apply(graph, opened),
            })
        })?;
        Ok(dropped)
    }

    /// What got an overlay is read-only from now on, unless somebody else writes to it.
    async fn settle(&self, steps: &[Step]) -> Result<(), Refused> {
        let mut settled = Ok(());
        for step in steps {
            match step {
                Step::Snapshot(below, _) => self.retire(*below).await,
                Step::Overlay(new) => settled = settled.and(self.settle_overlay(new).await),
                _ => {}
            }
        }
        settled
    }

    /// All jobs run before the first works.
    fn start_all(self: &Arc<Self>, steps: Vec<Step>) {
        let jobs = steps.into_iter().filter_map(|step| match step {
            Step::Backup(backup) => Some(backup),
            _ => None,
        });
        let backups: Vec<NewBackup> = jobs.collect();
        backups.iter().for_each(|backup| backup.job.start());
        backups.into_iter().for_each(|backup| self.run_backup(backup));
    }

    /// Ends the jobs that were made, the youngest first; the graph never knew them. So it is with snapshots inside images.
    /// A file that was made for an overlay stays, as in QEMU.
    async fn take_back(&self, steps: Vec<Step>) {
        for step in steps.into_iter().rev() {
            match step {
                Step::Backup(backup) => self.discard_job(&backup.job).await,
                Step::Internal(image, id) => {
                    if let Err(errno) = image.delete_snapshot(&id).await {
                        warn(&**self.host(), &format!("Could not delete snapshot '{id}' again: {errno}"));
                    }
                }
                _ => {}
            }
        }
    }
}

impl Step {
    /// Does it to a graph, where it is a matter of the graph.
    fn apply(&self, graph: &mut Graph, opened: Option<&Draft<'_>>) -> Result<(), Refused> {
        match self {
            Step::Edit(edit) | Step::Snapshot(_, edit) => edit(graph),
            Step::Overlay(new) => new.put(graph, opened.expect("there is a draft for overlays")),
            Step::Backup(_) | Step::Internal(..) => Ok(()),
        }
    }
}
