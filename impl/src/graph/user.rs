//! Who uses a node from outside the graph: guests, exports and jobs.

use super::Graph;
use crate::id::{JobSerial, NodeId, UserId};
use crate::permission::Set;
use std::sync::Arc;

/// Somebody outside the graph who uses a node.
#[derive(Clone, Debug)]
pub struct User {
    /// What is used.
    pub node: NodeId,
    /// By whom.
    pub kind: UserKind,
    /// What the user does with it.
    pub taken: Set,
    /// What the user lets others do.
    pub shared: Set,
}

/// Kinds of users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserKind {
    /// A guest device or an export.
    Guest,
    /// A job's child.
    Job(JobChild),
}

impl UserKind {
    /// Whether it reads or writes through the node as a device does; a job's own access is one too.
    pub fn is_device(&self) -> bool {
        match self {
            UserKind::Guest => true,
            UserKind::Job(child) => child.role == JobRole::Root,
        }
    }
}

/// How a job holds a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobChild {
    /// Which job.
    pub serial: JobSerial,
    /// Its id, for texts.
    pub id: Arc<str>,
    /// Its type, for texts.
    pub kind: &'static str,
    /// What the child is for.
    pub role: JobRole,
}

/// Why a job holds a node.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobRole {
    /// The node the job was made on.
    Main,
    /// The job's own access, through which it reads, writes or copies. It blocks nothing.
    Root,
    /// The node that receives a stream's data.
    Active,
    /// A node whose data is copied.
    Intermediate,
    /// What a commit writes into.
    Base,
    /// What a mirror copies.
    Source,
    /// What a mirror or a backup writes into.
    Target,
}

impl JobRole {
    /// The child's name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            JobRole::Main => "main node",
            JobRole::Root => "root",
            JobRole::Active => "active node",
            JobRole::Intermediate => "intermediate node",
            JobRole::Base => "base",
            JobRole::Source => "source",
            JobRole::Target => "target",
        }
    }
}

impl Graph {
    /// All users, oldest first.
    pub fn users(&self) -> impl Iterator<Item = (UserId, &User)> {
        self.users.iter().map(|(id, user)| (*id, user))
    }

    /// A user, while it lives.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// Adds a user.
    pub(crate) fn add_user(&mut self, node: NodeId, kind: UserKind, taken: Set, shared: Set) -> UserId {
        self.next_id += 1;
        let id = UserId(self.next_id);
        self.users.insert(id, User { node, kind, taken, shared });
        id
    }

    /// Attaches a guest, who reads, or reads and writes, and lets others do so much.
    pub(crate) fn add_guest(&mut self, node: NodeId, writable: bool, shared: Set) -> UserId {
        let taken = if writable { Set::READ.and(Set::WRITE) } else { Set::READ };
        self.add_user(node, UserKind::Guest, taken, shared)
    }

    /// From now on a user lets others do no more than that.
    pub(crate) fn share_less(&mut self, id: UserId, shared: Set) {
        self.users.get_mut(&id).expect("a user that is there").shared = shared;
    }

    /// Removes a user.
    pub(crate) fn remove_user(&mut self, id: UserId) {
        self.users.remove(&id);
    }

    /// Removes every child of a job, or only those of one role.
    pub(crate) fn remove_job_users(&mut self, job: JobSerial, only: Option<JobRole>) {
        self.users.retain(|_, user| match &user.kind {
            UserKind::Job(child) if child.serial == job => only.is_some_and(|only| only != child.role),
            _ => true,
        });
    }
}
