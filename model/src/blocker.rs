//! Which operations a job or a backing link forbids on which nodes, and why; and who may write where.
//!
//! A job's blockers stand from its creation until its status is `null`, even when nothing runs any more.
//! The permission rules are the part of QEMU's that streams and guests can meet: writing.

use crate::chain::{Driver, Graph, JobId, NodeId};

/// One standing prohibition.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Blocker {
    /// Where.
    pub node: NodeId,
    /// Why.
    pub reason: Reason,
}

/// Why a node is busy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reason {
    /// A job uses it in a role; this forbids every operation.
    Job(JobId, Role),
    /// It is the backing of an overlay; this forbids deletion, not streaming.
    BackingOf(NodeId),
}

/// As what a stream holds a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Its filter, which guests and overlays read meanwhile.
    Filter,
    /// The node that receives the data: guests may write it.
    Target,
    /// A node between target and base: nobody may write it.
    Intermediate,
}

/// An operation that blockers are asked about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// `block-stream`
    Stream,
    /// `blockdev-del`
    Delete,
}

/// Why somebody may not write: whose link does not share it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unshared {
    /// A job holds the node as intermediate.
    ByJob(JobId),
    /// A node reads it as backing and must see it unchanged.
    ByOverlay(NodeId),
    /// The node above keeps its own bytes in it: a format node, or a filter.
    ByFormat(NodeId),
}

impl Graph {
    /// The reason why `operation` is refused on `node`: the newest blocker speaks.
    pub fn blocked(&self, operation: Operation, node: NodeId) -> Option<Reason> {
        let forbids = |reason: &Reason| operation == Operation::Delete || matches!(reason, Reason::Job(..));
        self.blockers.iter().rev().filter(|b| b.node == node).map(|b| b.reason).find(forbids)
    }

    /// The job that holds a node, and as what.
    pub fn held_by_job(&self, node: NodeId) -> Option<(JobId, Role)> {
        self.blockers.iter().rev().filter(|b| b.node == node).find_map(|b| match b.reason {
            Reason::Job(job, role) => Some((job, role)),
            Reason::BackingOf(_) => None,
        })
    }

    /// A job takes a node.
    pub fn hold(&mut self, job: JobId, node: NodeId, role: Role) {
        self.blockers.push(Blocker { node, reason: Reason::Job(job, role) });
    }

    /// A job lets go of everything it held.
    pub fn release(&mut self, job: JobId) {
        self.blockers.retain(|b| !matches!(b.reason, Reason::Job(holder, _) if holder == job));
    }

    /// Who does not let others write `node`; `None` if writing is shared by all.
    pub fn unshared_write(&self, node: NodeId) -> Option<Unshared> {
        let held = self.blockers.iter().filter(|b| b.node == node);
        let by_job = held.filter_map(|b| match b.reason {
            Reason::Job(job, Role::Intermediate) => Some(Unshared::ByJob(job)),
            _ => None,
        });
        by_job.chain(self.parents(node).filter_map(|parent| self.unshared_by(parent, node))).next()
    }

    fn unshared_by(&self, parent: NodeId, node: NodeId) -> Option<Unshared> {
        let link = self.node(parent);
        match link.driver {
            // A filter, and raw without a limit, share what their own users share; a conflict names the nearest.
            Driver::CopyOnRead | Driver::Raw => {
                self.unshared_write(parent).map(|_| Unshared::ByFormat(parent))
            }
            _ if link.file == Some(node) => Some(Unshared::ByFormat(parent)),
            // An overlay can live with a changing backing only if its own users can.
            _ => self.unshared_write(parent).map(|_| Unshared::ByOverlay(parent)),
        }
    }

    /// A guest that writes somewhere at or below `node`, nearest first.
    pub fn writers_below(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.downwards(node).filter(|at| self.users.iter().any(|user| user.writable && user.node == *at))
    }
}
