//! A node as the disk of the driver above it: qcow2 over raw over file, qcow2 over an error-injecting filter, and so on.
//!
//! Which node that is, the graph says anew with every request, so a filter that came between is passed. Before its
//! parent is in the graph, and once it has left it, the disk keeps the part of the graph below itself.

use super::write::{self, Change};
use super::{grow, read};
use crate::graph::cell::GraphCell;
use crate::graph::length::len_bytes;
use crate::graph::node::Link;
use crate::graph::{Graph, Lower};
use crate::id::NodeId;
use crate::sync::shim::Mutex;
use seam::debug_event::DebugEvent;
use seam::{Disk, Errno, IoResult, Pending};
use std::sync::{Arc, Weak};

/// What a driver lies on.
#[derive(Debug)]
pub(crate) struct NodeDisk {
    /// Not held: the graph holds the parent, and that this.
    live: Weak<GraphCell>,
    parent: NodeId,
    link: Link,
    kept: Mutex<Option<Kept>>,
}

/// The way down while the graph does not know it.
#[derive(Clone, Debug)]
struct Kept {
    below: Arc<Graph>,
    child: NodeId,
    /// Whether the graph is still to get this way down, and until then leads down another.
    is_ahead: bool,
}

impl Kept {
    /// The way down to `child` as `graph` has it.
    fn down(graph: &Graph, child: NodeId, is_ahead: bool) -> Kept {
        Kept { below: Arc::new(graph.below_and_with(child)), child, is_ahead }
    }
}

impl NodeDisk {
    /// The way from `parent`, which is about to come into the graph, to `child`.
    pub(crate) fn new(
        live: &Arc<GraphCell>,
        draft: &Graph,
        parent: NodeId,
        link: Link,
        child: NodeId,
    ) -> Arc<NodeDisk> {
        NodeDisk::with(live, parent, link, Kept::down(draft, child, false))
    }

    /// The same of a parent that is in the graph, and stands on something else there until it is joined.
    pub(crate) fn ahead(
        live: &Arc<GraphCell>,
        draft: &Graph,
        parent: NodeId,
        link: Link,
        child: NodeId,
    ) -> Arc<NodeDisk> {
        NodeDisk::with(live, parent, link, Kept::down(draft, child, true))
    }

    /// The graph has it: from now on it leads down.
    pub(crate) fn join(&self) {
        if let Some(kept) = &mut *self.kept.lock() {
            kept.is_ahead = false;
        }
    }

    fn with(live: &Arc<GraphCell>, parent: NodeId, link: Link, kept: Kept) -> Arc<NodeDisk> {
        Arc::new(NodeDisk { live: Arc::downgrade(live), parent, link, kept: Mutex::new(Some(kept)) })
    }

    fn resolve(&self) -> IoResult<(Arc<Graph>, NodeId)> {
        let mut kept = self.kept.lock();
        let is_ahead = kept.as_ref().is_some_and(|kept| kept.is_ahead);
        if let Some(graph) =
            self.live.upgrade().map(|live| live.get()).filter(|live| !is_ahead && live.contains(self.parent))
        {
            kept.take();
            let child = graph.place(self.parent).child(self.link).ok_or(Errno::EIO)?;
            return Ok((graph, child));
        }
        let kept = kept.clone().ok_or(Errno::EIO)?;
        Ok((kept.below, kept.child))
    }

    /// Begins a request where the parent's child is now.
    fn begin<T: Send + 'static>(
        &self,
        request: impl FnOnce(Arc<Graph>, NodeId) -> Pending<'static, IoResult<T>>,
    ) -> Pending<'static, IoResult<T>> {
        match self.resolve() {
            Ok((graph, child)) => request(graph, child),
            Err(errno) => Box::pin(std::future::ready(Err(errno))),
        }
    }

    fn change(&self, offset: u64, change: Change) -> Pending<'static, IoResult<()>> {
        self.begin(|graph, child| {
            Box::pin(async move {
                grow::grow(&graph, child, offset + change.len_bytes()).await?;
                write::change(&graph, child, offset, change).await
            })
        })
    }
}

impl Lower for NodeDisk {
    fn keep(&self, graph: &Graph) {
        let child = graph.place(self.parent).child(self.link);
        let kept = child.map(|child| Kept::down(graph, child, false));
        *self.kept.lock() = kept;
    }
}

impl Disk for NodeDisk {
    fn len_bytes(&self) -> IoResult<u64> {
        let (graph, child) = self.resolve()?;
        len_bytes(&graph, child)
    }

    fn read(&self, offset: u64, mut buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        self.begin(|graph, child| {
            Box::pin(async move {
                read::padded(&graph, child, offset, &mut buffer).await?;
                Ok(buffer)
            })
        })
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        self.change(offset, Change::Data(data))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.change(offset, Change::Zeroes(len))
    }

    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.change(offset, Change::Unmap(len))
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.begin(|graph, child| {
            Box::pin(async move {
                let len = len_bytes(&graph, child)?.saturating_sub(offset).min(len);
                if len == 0 {
                    return Ok(());
                }
                write::change(&graph, child, offset, Change::Discard(len)).await
            })
        })
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        self.begin(|graph, child| Box::pin(async move { write::flush(&graph, child).await }))
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.begin(|graph, child| Box::pin(async move { grow::grow(&graph, child, len_bytes).await }))
    }

    fn reopen(&self, _writable: bool) -> Pending<'static, IoResult<()>> {
        // Access is changed on the node that is a file, by whoever changes access.
        Box::pin(std::future::ready(Ok(())))
    }

    fn debug_event(&self, event: DebugEvent) {
        if let Ok((graph, child)) = self.resolve()
            && let Some(rules) = graph.node(child).blkdebug()
        {
            rules.observe(event);
        }
    }
}
