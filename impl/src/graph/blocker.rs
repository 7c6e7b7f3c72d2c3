//! Which operations are refused on which nodes, and why.
//!
//! Nothing is stored but ids, which tell ages: a job blocks the nodes it holds as children for as long as it holds them, and a backing link
//! blocks the backing node. QEMU 10.0: a job child blocks everything, a backing link everything but the four below.

use super::{Graph, JobRole, Place, User, UserKind};
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
        let job = self.users().filter(|(_, user)| user.node == node && by_job(user)).last();
        let overlay = self.nodes().filter(|(_, place)| place.backing == Some(node)).last();
        let overlay = overlay.filter(|_| !op.is_allowed_on_backing());
        let younger = |(id, _): (NodeId, &Place)| {
            job.is_none_or(|(user, held)| user.0 < id.0 || self.was_linked_again(held))
        };
        match (job, overlay) {
            (_, Some((id, place))) if younger((id, place)) => {
                Some(format!("node is used as backing hd of '{}'", place.node.name))
            }
            (Some(_), _) => Some("block device is in use by block job: stream".to_owned()),
            _ => None,
        }
    }

    /// When a job's filter goes, the overlays of its target are linked to the target anew.
    fn was_linked_again(&self, held: &User) -> bool {
        let UserKind::Job { serial: job, role: JobRole::Active, .. } = &held.kind else {
            return false;
        };
        !self.users().any(|(_, user)| {
            matches!(&user.kind, UserKind::Job { serial, role: JobRole::Main, .. } if serial == job)
        })
    }
}
