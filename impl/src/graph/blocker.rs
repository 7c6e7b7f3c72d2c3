//! Which operations are refused on which nodes, and why.
//!
//! No blocker is stored: a job blocks the nodes it holds as children for as long as it holds them, and a backing link
//! blocks the backing node. QEMU 10.0: a job child blocks everything, a backing link everything but COMMIT_TARGET,
//! STREAM, BACKUP_SOURCE and BACKUP_TARGET. Which of several is the youngest, ids and `backing_since` tell.

use super::{Graph, JobRole, User, UserKind};
use crate::error::Refused;
use crate::id::NodeId;

/// What somebody wants to do with a node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Pull the data of lower nodes into it, or through it.
    Stream,
    /// Delete it.
    DriveDel,
}

impl Op {
    /// Whether a node may still take part in this while it is somebody's backing.
    fn is_allowed_on_backing(self) -> bool {
        match self {
            Op::Stream => true,
            Op::DriveDel => false,
        }
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
        let by_job = |user: &User| matches!(&user.kind, UserKind::Job { role, .. } if *role != JobRole::Root);
        let job =
            self.users().filter(|(_, user)| user.node == node && by_job(user)).map(|(id, _)| id.0).last();
        let overlays = self.nodes().map(|(_, place)| place).filter(|place| place.backing == Some(node));
        let overlay = overlays.max_by_key(|place| place.backing_since);
        match overlay.filter(|_| !op.is_allowed_on_backing()) {
            Some(place) if job.is_none_or(|held_since| held_since < place.backing_since) => {
                Some(format!("node is used as backing hd of '{}'", place.node.name))
            }
            _ => job.map(|_| "block device is in use by block job: stream".to_owned()),
        }
    }
}
