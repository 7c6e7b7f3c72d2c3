//! Which operations a job or a backing link forbids on which nodes, and why; and which links are frozen.
//!
//! The blockers of a stream or a commit stand from its creation until its status is `null`, even when nothing runs any
//! more; those of a mirror or a backup fall when it gives up its filter.

use crate::graph::{Driver, Graph, JobId, NodeId};

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
    /// A job uses it in a role; this forbids every operation, unless the role is that of a device.
    Job(JobId, Role),
    /// It is the backing of an overlay; this forbids changes of the node itself, not streaming.
    BackingOf(NodeId),
}

/// As what a job holds a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// The filter of a stream or a backup, which guests and overlays read meanwhile.
    Filter,
    /// A stream's receiver of data: guests may write it.
    Target,
    /// A node between a stream's target and base: nobody may write it.
    Intermediate,
    /// The node a commit was started on.
    Device,
    /// A node whose data is committed: nobody may trust what lies below it.
    Committed,
    /// The node data is committed into.
    Base,
    /// The filter of a mirror or an active commit.
    MirrorFilter,
    /// What is mirrored.
    Source,
    /// What receives the mirror, the active commit, or the backup.
    Copy,
    /// The device a stream reads through.
    StreamDevice,
    /// The device a commit writes its base through; whether the base may have to grow.
    BaseDevice(bool),
    /// The device a commit reads its top through.
    TopDevice,
    /// The device a mirror writes through: whether it may have to grow, and whether others may write and read.
    CopyDevice(bool, bool),
}

impl Role {
    /// Whether it is a device of the job's own, which forbids nothing.
    pub fn is_device(self) -> bool {
        matches!(self, Role::StreamDevice | Role::BaseDevice(_) | Role::TopDevice | Role::CopyDevice(..))
    }
}

/// An operation that blockers are asked about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Operation {
    /// `block-stream`
    Stream,
    /// `block-commit`, for the nodes it is about to change.
    CommitTarget,
    /// `block-commit`, for the node it is asked of; and anything that only jobs forbid.
    Change,
    /// `blockdev-backup`, for what it reads.
    BackupSource,
    /// `blockdev-backup`, for what it writes.
    BackupTarget,
    /// Anything that a backing link forbids as well: deletion, resizing, mirroring onto, a snapshot of it.
    Delete,
}

impl Graph {
    /// The reason why `operation` is refused on `node`: the newest blocker speaks.
    pub fn blocked(&self, operation: Operation, node: NodeId) -> Option<Reason> {
        let forbids = |reason: &Reason| match reason {
            Reason::Job(_, role) => !role.is_device(),
            Reason::BackingOf(_) => matches!(operation, Operation::Delete | Operation::Change),
        };
        self.blockers.iter().rev().filter(|b| b.node == node).map(|b| b.reason).find(forbids)
    }

    /// The overlays that stand on a node.
    pub fn overlays(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.blockers.iter().filter(move |b| b.node == node).filter_map(|b| match b.reason {
            Reason::BackingOf(overlay) => Some(overlay),
            Reason::Job(..) => None,
        })
    }

    /// The job that holds a node, and as what; a device is named only if there is nothing else.
    pub fn held_by_job(&self, node: NodeId) -> Option<(JobId, Role)> {
        let held = self.blockers.iter().rev().filter(|b| b.node == node);
        held.filter_map(|b| match b.reason {
            Reason::Job(job, role) => Some((job, role)),
            Reason::BackingOf(_) => None,
        })
        .min_by_key(|(_, role)| role.is_device())
    }

    /// A job takes a node.
    pub fn hold(&mut self, job: JobId, node: NodeId, role: Role) {
        self.blockers.push(Blocker { node, reason: Reason::Job(job, role) });
    }

    /// A job releases everything it held.
    pub fn release(&mut self, job: JobId) {
        self.frozen.retain(|(holder, _)| *holder != job);
        self.blockers.retain(|b| !matches!(b.reason, Reason::Job(holder, _) if holder == job));
    }

    /// A job gives up its own devices.
    pub fn release_devices(&mut self, job: JobId) {
        let is_device =
            |b: &Blocker| matches!(b.reason, Reason::Job(holder, role) if holder == job && role.is_device());
        self.blockers.retain(|b| !is_device(b));
    }

    /// A job freezes the links from `top` down to `bottom`.
    pub fn freeze(&mut self, job: JobId, top: NodeId, bottom: NodeId) {
        let links: Vec<NodeId> = self.downwards(top).take_while(|node| *node != bottom).collect();
        self.frozen.extend(links.into_iter().map(|node| (job, node)));
    }

    /// A job no longer relies on any link.
    pub fn unfreeze(&mut self, job: JobId) {
        self.frozen.retain(|(holder, _)| *holder != job);
    }

    /// Whether the link from `node` down the chain must stay as it is.
    pub fn is_frozen(&self, node: NodeId) -> bool {
        self.frozen.iter().any(|(_, above)| *above == node)
    }

    /// The first link from `top` down to `bottom` that cannot be frozen, because a commit's filter hangs on it.
    pub fn unfreezable(&self, top: NodeId, bottom: NodeId) -> Option<NodeId> {
        let links = self.downwards(top).take_while(|node| *node != bottom);
        let below = links.filter_map(|node| self.below(node));
        below.into_iter().find(|node| self.node(*node).driver == Driver::CommitTop)
    }
}
