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
use crate::remote::Remote;
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
    /// How far it may be written before that is reported.
    pub write_threshold: Arc<WriteThreshold>,
}

/// What a node does: it keeps bytes, or passes requests on to the one child it filters.
#[derive(Debug)]
pub enum Driver {
    /// It keeps bytes.
    Storage(Storage),
    /// It passes them on unchanged.
    Filter(Filter),
}

/// What keeps bytes.
#[derive(Debug)]
pub enum Storage {
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
    /// Zeroes, and nothing kept.
    NullCo(Null),
    /// A disk behind an NBD server.
    Nbd {
        /// The disk.
        remote: Arc<Remote>,
        /// How writable it is.
        access: FileAccess,
    },
}

/// What passes requests on, and does something about them.
#[derive(Debug)]
pub enum Filter {
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
    /// A commit's filter: marks the place of a chain from which a commit copies, and changes nothing.
    CommitTop,
    /// A mirror's filter, and an active commit's: it notes for the job what guests write, or copies it at once.
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
        matches!(
            self,
            Driver::Storage(Storage::File { .. } | Storage::NullCo(_) | Storage::Nbd { .. })
                | Driver::Filter(Filter::Blkdebug(_))
        )
    }

    /// What QEMU calls the child at a link.
    pub(crate) fn child_name(&self, link: Link) -> &'static str {
        match (self, link) {
            (Driver::Filter(Filter::Blkdebug(_)), Link::File) => "image",
            (_, Link::File) => "file",
            (_, Link::Backing) => "backing",
            (Driver::Filter(Filter::CopyBeforeWrite(_)), Link::Side) => "target",
            (_, Link::Side) => "data-file",
        }
    }
}

/// What `read-only` and `auto-read-only` made of a node that stands for a file or a server's disk.
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
    /// A node that nothing has passed through yet.
    pub fn new(id: NodeId, name: Arc<str>, filename: String, driver: Driver) -> Node {
        Node { id, name, filename, driver, requests: RangeLock::new(), write_threshold: Arc::default() }
    }

    /// The driver's name as QMP shows it.
    pub(crate) fn driver_name(&self) -> &'static str {
        match &self.driver {
            Driver::Storage(Storage::File { .. }) => "file",
            Driver::Storage(Storage::Raw(_)) => "raw",
            Driver::Storage(Storage::Qcow2(_)) => "qcow2",
            Driver::Storage(Storage::NullCo(_)) => "null-co",
            Driver::Storage(Storage::Nbd { .. }) => "nbd",
            Driver::Filter(Filter::CopyOnRead { .. }) => "copy-on-read",
            Driver::Filter(Filter::Blkdebug(_)) => "blkdebug",
            Driver::Filter(Filter::Throttle(_)) => "throttle",
            Driver::Filter(Filter::Compress) => "compress",
            Driver::Filter(Filter::CommitTop) => "commit_top",
            Driver::Filter(Filter::MirrorTop(_)) => "mirror_top",
            Driver::Filter(Filter::CopyBeforeWrite(_)) => "copy-before-write",
        }
    }

    /// Whether it passes data through unchanged.
    pub fn is_filter(&self) -> bool {
        matches!(self.driver, Driver::Filter(_))
    }

    /// The file of the host, of a node that is one.
    pub fn disk(&self) -> Option<&Arc<WatchedDisk>> {
        match &self.driver {
            Driver::Storage(Storage::File { disk, .. }) => Some(disk),
            _ => None,
        }
    }

    /// What is outside of the graph, of a node that stands for it: a file of the host, or a server's disk.
    pub(crate) fn outside(&self) -> Option<&dyn Disk> {
        match &self.driver {
            Driver::Storage(Storage::File { disk, .. }) => Some(&**disk),
            Driver::Storage(Storage::Nbd { remote, .. }) => Some(&**remote),
            _ => None,
        }
    }

    /// How writable that is.
    pub(crate) fn file_access(&self) -> Option<FileAccess> {
        match &self.driver {
            Driver::Storage(Storage::File { access, .. } | Storage::Nbd { access, .. }) => Some(*access),
            _ => None,
        }
    }

    /// The qcow2 image, of a node that is one.
    pub fn qcow2(&self) -> Option<&Arc<Qcow2>> {
        match &self.driver {
            Driver::Storage(Storage::Qcow2(image)) => Some(image),
            _ => None,
        }
    }

    /// The rules of a filter that injects errors.
    pub fn blkdebug(&self) -> Option<&Arc<Blkdebug>> {
        match &self.driver {
            Driver::Filter(Filter::Blkdebug(rules)) => Some(rules),
            _ => None,
        }
    }

    /// Cluster size in bytes, where the format has one.
    pub fn cluster_bytes(&self) -> Option<u64> {
        self.qcow2().map(|image| image.cluster_bytes())
    }

    /// Makes what was written durable, and everything else this node still held in memory with it.
    pub async fn flush(&self) -> IoResult<()> {
        match &self.driver {
            Driver::Storage(Storage::File { disk, .. }) => disk.flush().await,
            Driver::Storage(Storage::Raw(image)) => image.flush().await,
            Driver::Storage(Storage::Qcow2(image)) => image.flush().await,
            Driver::Storage(Storage::Nbd { remote, .. }) => remote.flush().await,
            Driver::Storage(Storage::NullCo(_)) | Driver::Filter(_) => Ok(()),
        }
    }

    /// Whether a flush that fails now leaves something behind.
    pub(crate) fn has_unflushed(&self) -> bool {
        self.qcow2().is_none_or(|image| image.has_unflushed())
    }

    /// As `flush`, and what only a close writes (clusters that were freed lately) is written too.
    pub async fn close(&self) -> IoResult<()> {
        match self.qcow2() {
            Some(image) => image.close().await,
            None => self.flush().await,
        }
    }
}
