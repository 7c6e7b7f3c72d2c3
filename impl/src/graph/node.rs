//! One node: its name, its driver, and the requests in flight on it. Its links live in the graph.

use crate::filter::blkdebug::Blkdebug;
use crate::filter::throttle::Member;
use crate::format::null::Null;
use crate::format::qcow2::Qcow2;
use crate::format::raw::Raw;
use crate::graph::copy_before_write::CopyBeforeWrite;
use crate::graph::mirror_top::MirrorTop;
use crate::graph::write_threshold::{WatchedDisk, WriteThreshold};
use crate::id::NodeId;
use crate::sync::range_lock::RangeLock;
use seam::{Disk, IoResult};
use std::sync::Arc;

/// A vertex of the block graph. It never changes; what changes is its place in the graph.
#[derive(Debug)]
pub struct Node {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: Arc<str>,
    /// The file name it was opened by; a filter's is that of its child.
    pub filename: String,
    /// What it does.
    pub driver: Driver,
    /// Guest and job requests on this node, by byte range. A copy-on-read is alone on its clusters.
    pub requests: RangeLock,
    /// How far it may be written before somebody is told.
    pub write_threshold: Arc<WriteThreshold>,
}

/// Node drivers.
#[derive(Debug)]
pub enum Driver {
    /// A file of the host.
    File {
        /// The file.
        disk: Arc<WatchedDisk>,
        /// How writable it is.
        access: FileAccess,
        /// Whether others are kept from it.
        locks: bool,
    },
    /// Guest bytes as they are.
    Raw(Arc<Raw>),
    /// A qcow2 image.
    Qcow2(Arc<Qcow2>),
    /// Reads through it also copy what they find below its child, down to `bottom`, into that child. A stream puts one
    /// in, an operator may too.
    CopyOnRead {
        /// The last layer whose data is copied; none: every layer's.
        bottom: Option<NodeId>,
    },
    /// Errors on demand.
    Blkdebug(Arc<Blkdebug>),
    /// Requests wait for their group's limits.
    Throttle(Arc<Member>),
    /// What is written through it in whole clusters is compressed.
    Compress,
    /// Zeroes, and nothing kept.
    NullCo(Null),
    /// A commit's filter: marks the place of a chain from which a commit copies, and changes nothing.
    CommitTop,
    /// A mirror's filter, and an active commit's: it tells the job what guests write, or copies it at once.
    MirrorTop(Arc<MirrorTop>),
    /// A backup's filter: before guests write, what was there is saved in its other child.
    CopyBeforeWrite(Arc<CopyBeforeWrite>),
}

/// Which of its links a node reaches a child by.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// See [`super::Place::file`].
    File,
    /// See [`super::Place::backing`].
    Backing,
    /// See [`super::Place::side`].
    Side,
}

impl Driver {
    /// Whether it stands for something outside the graph rather than for a format.
    pub fn is_protocol(&self) -> bool {
        matches!(self, Driver::File { .. } | Driver::Blkdebug(_) | Driver::NullCo(_))
    }

    /// What QEMU calls the child at a link.
    pub fn child_name(&self, link: Link) -> &'static str {
        match (self, link) {
            (Driver::Blkdebug(_), Link::File) => "image",
            (_, Link::File) => "file",
            (_, Link::Backing) => "backing",
            (Driver::CopyBeforeWrite(_), Link::Side) => "target",
            (_, Link::Side) => "data-file",
        }
    }
}

/// What `read-only` and `auto-read-only` made of a file node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FileAccess {
    /// As the operator said; never changes.
    Fixed,
    /// Read-only underneath until somebody above writes.
    Auto,
    /// Follows its parent, which made it.
    Inherited,
}

impl Node {
    /// The driver's name as QMP shows it.
    pub fn driver_name(&self) -> &'static str {
        match &self.driver {
            Driver::File { .. } => "file",
            Driver::Raw(_) => "raw",
            Driver::Qcow2(_) => "qcow2",
            Driver::CopyOnRead { .. } => "copy-on-read",
            Driver::Blkdebug(_) => "blkdebug",
            Driver::Throttle(_) => "throttle",
            Driver::Compress => "compress",
            Driver::NullCo(_) => "null-co",
            Driver::CommitTop => "commit_top",
            Driver::MirrorTop(_) => "mirror_top",
            Driver::CopyBeforeWrite(_) => "copy-before-write",
        }
    }

    /// Whether it passes data through unchanged.
    pub fn is_filter(&self) -> bool {
        match self.driver {
            Driver::CopyOnRead { .. }
            | Driver::CommitTop
            | Driver::MirrorTop(_)
            | Driver::CopyBeforeWrite(_)
            | Driver::Blkdebug(_)
            | Driver::Throttle(_)
            | Driver::Compress => true,
            Driver::File { .. } | Driver::Raw(_) | Driver::Qcow2(_) | Driver::NullCo(_) => false,
        }
    }

    /// Cluster size in bytes, where the format has one.
    pub fn cluster_bytes(&self) -> Option<u64> {
        match &self.driver {
            Driver::Qcow2(image) => Some(image.cluster_bytes()),
            _ => None,
        }
    }

    /// Makes what was written durable, and everything else this node still held in memory with it.
    pub async fn flush(&self) -> IoResult<()> {
        match &self.driver {
            Driver::File { disk, .. } => disk.flush().await,
            Driver::Raw(image) => image.flush().await,
            Driver::Qcow2(image) => image.flush().await,
            Driver::CopyOnRead { .. }
            | Driver::CommitTop
            | Driver::MirrorTop(_)
            | Driver::CopyBeforeWrite(_)
            | Driver::Blkdebug(_)
            | Driver::Throttle(_)
            | Driver::Compress
            | Driver::NullCo(_) => Ok(()),
        }
    }

    /// Whether a flush that fails now leaves something behind.
    pub fn has_unflushed(&self) -> bool {
        match &self.driver {
            Driver::Qcow2(image) => image.has_unflushed(),
            _ => true,
        }
    }

    /// As `flush`, and what only a close writes (clusters that were freed lately) is written too.
    pub async fn close(&self) -> IoResult<()> {
        match &self.driver {
            Driver::Qcow2(image) => image.close().await,
            _ => self.flush().await,
        }
    }
}
