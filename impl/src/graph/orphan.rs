//! What an ended job still holds of nodes that are gone: the name, until the job is dismissed.
//!
//! A stream's filter leaves the graph when the job commits, but the job that was made on it does not release it before
//! it is dismissed. Nothing can be read or done through what is left; only its name is not free yet.

use super::permission::{Edge, Parent};
use super::{Graph, JobChild, JobRole, UserKind};
use crate::id::{JobSerial, NodeId};
use std::sync::Arc;

/// The last of a node that is gone.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The node's name.
    pub name: Arc<str>,
    /// How its job holds it.
    pub held: JobChild,
}

impl Graph {
    /// Takes a job's child off its node, which is about to leave the graph; its name stays behind.
    pub(crate) fn leave_behind(&mut self, node: NodeId, held: JobChild) {
        let orphan = Orphan { name: self.node(node).name.clone(), held };
        self.remove_job_users(orphan.held.serial, Some(orphan.held.role));
        self.orphans.push(orphan);
    }

    /// What ended jobs still hold.
    pub fn orphans(&self) -> &[Orphan] {
        &self.orphans
    }

    /// Whether nobody uses a node but a stream that has ended. QEMU looks at what such a layer takes of its children
    /// only when the job releases it; until then it is as it was when somebody read through it.
    pub fn is_left_behind<'a, E: Iterator<Item = &'a Edge>>(
        &self,
        is_used: bool,
        users: impl FnOnce() -> E,
    ) -> bool {
        let ended = |edge: &Edge| {
            let Parent::User(user) = edge.parent else { return false };
            let kind = self.user(user).map(|user| &user.kind);
            matches!(kind, Some(UserKind::Job(child)) if child.role == JobRole::Intermediate
                && self.orphans.iter().any(|orphan| orphan.held.serial == child.serial))
        };
        !self.orphans.is_empty() && is_used && users().all(ended)
    }

    /// The job is dismissed.
    pub(crate) fn drop_orphans(&mut self, job: JobSerial) {
        self.orphans.retain(|orphan| orphan.held.serial != job);
    }

    /// Whether a name is not free, by a node or by what is left of one.
    pub(super) fn is_taken(&self, name: &str) -> bool {
        self.find(name).is_some() || self.orphans.iter().any(|orphan| *orphan.name == *name)
    }
}
