//! Which operations are refused on which nodes, and why.
//!
//! No blocker is stored: a job blocks the nodes it holds as children for as long as it holds them, and a backing link
//! blocks the backing node. QEMU 10.0: a job child blocks everything, a backing link everything but COMMIT_TARGET,
//! STREAM, BACKUP_SOURCE and BACKUP_TARGET. Which of several is the youngest follows from ids and `backing_since`.

use super::{Graph, JobRole, Place, User, UserKind};
use crate::error::Refused;
use crate::id::NodeId;

/// What somebody wants to do with a node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The words are QEMU's own.
pub enum Op {
    BackupSource,
    BackupTarget,
    Change,
    CommitSource,
    CommitTarget,
    DriveDel,
    ExternalSnapshot,
    InternalSnapshot,
    MirrorSource,
    MirrorTarget,
    Resize,
    Stream,
    Replace,
}

impl Op {
    /// Whether a node may still take part in this while it is somebody's backing.
    fn is_allowed_on_backing(self) -> bool {
        matches!(self, Op::CommitTarget | Op::Stream | Op::BackupSource | Op::BackupTarget)
    }
}

impl Graph {
    /// Refuses `op` on `node` while anybody depends on it. The reason given is the youngest one, as in QEMU.
    pub fn admit_op(&self, op: Op, node: NodeId) -> Result<(), Refused> {
        match self.blocker(op, node) {
            Some(reason) => Err(Refused::Busy { node: self.name(node).to_owned(), reason }),
            None => Ok(()),
        }
    }

    fn blocker(&self, op: Op, node: NodeId) -> Option<String> {
        let by_job = |user: &User| match &user.kind {
            UserKind::Job(child) if user.node == node && child.role != JobRole::Root => Some(child.kind),
            _ => None,
        };
        let job = self.users().filter_map(|(id, user)| Some((id.0, by_job(user)?))).last();
        // A job's filter holds its node by this link too, but is no overlay of it.
        let is_overlay = |place: &&Place| place.backing == Some(node) && !place.node.is_filter();
        let overlay = self.nodes().map(|(_, place)| place).filter(is_overlay).max_by_key(|p| p.backing_since);
        match overlay.filter(|_| !op.is_allowed_on_backing()) {
            Some(place) if job.is_none_or(|(held_since, _)| held_since < place.backing_since) => {
                Some(format!("node is used as backing hd of '{}'", place.node.name))
            }
            _ => job.map(|(_, kind)| format!("block device is in use by block job: {kind}")),
        }
    }
}
