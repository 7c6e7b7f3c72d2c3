//! A guest: somebody who reads and writes through a node, as a device or an export does.

use super::Engine;
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::length::len_bytes;
use crate::graph::node::{Driver, Filter};
use crate::id::{NodeId, UserId};
use crate::io::extent::{self, Extent};
use crate::io::write::Change;
use crate::io::{read, write};
use crate::permission::Set;
use seam::{Errno, IoResult};
use std::sync::Arc;

/// An attached guest. Dropping it detaches it.
#[derive(Debug)]
pub struct Guest {
    engine: Arc<Engine>,
    user: UserId,
    writable: bool,
}

/// A piece of what was read.
#[derive(Debug)]
pub(crate) enum Sparse {
    /// So many bytes that are known to be zeroes.
    Zeroes(u64),
    /// Bytes, with the headroom in front of them.
    Data(Vec<u8>),
}

/// Reads a range, an offset and a length, of one graph.
async fn read_in(
    graph: &Arc<Graph>,
    node: NodeId,
    (offset, len): (u64, u64),
    headroom: usize,
) -> IoResult<Vec<u8>> {
    let mut bytes = vec![0; headroom + len as usize];
    read::read(graph, node, offset, &mut bytes[headroom..]).await?;
    Ok(bytes)
}

/// What is known of a range in one graph: at most `max` pieces.
async fn extents_in(
    graph: &Arc<Graph>,
    node: NodeId,
    (offset, len): (u64, u64),
    max: usize,
) -> IoResult<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut known = 0;
    while known < len {
        let next = extent::first(graph, node, offset + known, len - known).await?;
        known += next.len;
        let is_full = extents.len() == max;
        match extents.last_mut() {
            Some(last) if last.is_like(&next) => last.len += next.len,
            Some(_) if is_full => break,
            _ => extents.push(next),
        }
    }
    Ok(extents)
}

impl Engine {
    /// Attaches a guest to a node, if everybody else there allows it. While it is there nobody changes the node's size.
    pub fn open_guest(self: &Arc<Self>, node_name: &str, writable: bool) -> Result<Guest, Refused> {
        self.attach(node_name, writable, Set::ALL.without(Set::RESIZE))
    }

    /// As `open_guest`, for a guest that lets the node's size change.
    pub fn open_resizable_guest(self: &Arc<Self>, node_name: &str, writable: bool) -> Result<Guest, Refused> {
        self.attach(node_name, writable, Set::ALL)
    }

    fn attach(self: &Arc<Self>, node_name: &str, writable: bool, shared: Set) -> Result<Guest, Refused> {
        let (user, dropped) = self.try_edit(|graph| {
            let node = graph.lookup(node_name)?;
            if writable && graph.place(graph.unfiltered(node)).read_only {
                return Err(Refused::ReadOnly);
            }
            // What a guest does is refused before what it forbids others.
            let user = graph.add_guest(node, writable, Set::ALL);
            graph.admit_permissions()?;
            if shared != Set::ALL {
                graph.share_less(user, shared);
                graph.admit_permissions()?;
            }
            Ok::<_, Refused>(user)
        })?;
        assert!(dropped.is_empty(), "attaching a guest drops {dropped:?}");
        Ok(Guest { engine: self.clone(), user, writable })
    }
}

impl Guest {
    /// Reads `len` bytes at `offset`.
    pub async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.read_behind(offset, len, 0).await
    }

    /// As `read`, with `headroom` bytes in front for the caller.
    pub(crate) async fn read_behind(&self, offset: u64, len: u64, headroom: usize) -> IoResult<Vec<u8>> {
        let _inside = self.engine.gate().enter().await;
        let (graph, node) = self.resolve(offset, len)?;
        read_in(&graph, node, (offset, len), headroom).await
    }

    /// Reads only what is not known to be zeroes: at most `max` pieces and the rest, each with `headroom` bytes in front.
    /// All of it is of one graph, though it takes several looks: whoever changes the chain waits until it is read.
    pub(crate) async fn read_sparse(
        &self,
        offset: u64,
        len: u64,
        max: usize,
        headroom: usize,
    ) -> IoResult<Vec<Sparse>> {
        let _inside = self.engine.gate().enter().await;
        let (graph, node) = self.resolve(offset, len)?;
        let mut pieces = Vec::new();
        let mut done = 0;
        for extent in extents_in(&graph, node, (offset, len), max).await? {
            pieces.push(match extent.is_zero {
                true => Sparse::Zeroes(extent.len),
                false => Sparse::Data(read_in(&graph, node, (offset + done, extent.len), headroom).await?),
            });
            done += extent.len;
        }
        if done < len {
            pieces.push(Sparse::Data(read_in(&graph, node, (offset + done, len - done), headroom).await?));
        }
        Ok(pieces)
    }

    /// What is known about a range, piece by piece; at most `max` pieces, so perhaps not to its end.
    pub async fn extents(&self, offset: u64, len: u64, max: usize) -> IoResult<Vec<Extent>> {
        let _inside = self.engine.gate().enter().await;
        let (graph, node) = self.resolve(offset, len)?;
        extents_in(&graph, node, (offset, len), max).await
    }

    /// Writes at `offset`.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.change(offset, Change::Data(data)).await
    }

    /// Makes a range read as zeroes.
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        self.change(offset, Change::Zeroes(len)).await
    }

    /// The same, and its space is not needed.
    pub async fn unmap(&self, offset: u64, len: u64) -> IoResult<()> {
        self.change(offset, Change::Unmap(len)).await
    }

    /// Whether a range can be made to read as zeroes without writing any.
    pub(crate) fn zeroes_fast(&self, offset: u64, len: u64) -> IoResult<bool> {
        let (graph, node) = self.resolve(offset, len)?;
        let layer = graph.unfiltered(node);
        let is_boundary = |at: u64, cluster: u64| at.is_multiple_of(cluster);
        Ok(match graph.node(layer).qcow2() {
            Some(image) => {
                let (cluster, end) = (image.cluster_bytes(), offset + len);
                let whole =
                    is_boundary(offset, cluster) && (is_boundary(end, cluster) || end == image.len_bytes());
                // Version 2 has no clusters that read as zeroes above a backing file.
                whole && image.version() >= 3
            }
            None => true,
        })
    }

    /// Says that a range is not needed any more.
    pub async fn discard(&self, offset: u64, len: u64) -> IoResult<()> {
        self.change(offset, Change::Discard(len)).await
    }

    /// Makes every change that ended before durable.
    pub async fn flush(&self) -> IoResult<()> {
        let _inside = self.engine.gate().enter().await;
        let (graph, node) = self.resolve(0, 0)?;
        write::flush(&graph, node).await
    }

    /// The size of what it reads, in bytes.
    pub fn len_bytes(&self) -> IoResult<u64> {
        let (graph, node) = self.resolve(0, 0)?;
        len_bytes(&graph, node)
    }

    /// The name of the node it reads and writes through.
    pub fn node_name(&self) -> String {
        let graph = self.engine.graph();
        graph.name(self.node(&graph)).to_owned()
    }

    /// Leaves. A node that only this guest held is closed, and its last data made durable.
    pub async fn detach(self) {
        let dropped = self.engine.edit(|graph| graph.remove_user(self.user));
        self.engine.close(dropped).await;
    }

    fn node(&self, graph: &Graph) -> NodeId {
        graph.user(self.user).expect("a guest is attached while it lives").node
    }

    async fn change(&self, offset: u64, change: Change) -> IoResult<()> {
        if !self.writable {
            return Err(Errno::EPERM);
        }
        let _inside = self.engine.gate().enter().await;
        let (graph, node) = self.resolve(offset, change.len_bytes())?;
        write::change(&graph, below_no_copy(&graph, node), offset, change).await
    }

    /// The graph and the node a request runs on; refuses what is not inside the node.
    fn resolve(&self, offset: u64, len: u64) -> IoResult<(Arc<Graph>, NodeId)> {
        let graph = self.engine.graph();
        let node = self.node(&graph);
        let end = offset.checked_add(len).ok_or(Errno::EINVAL)?;
        if end > len_bytes(&graph, node)? {
            return Err(Errno::EINVAL);
        }
        Ok((graph, node))
    }
}

/// The node to write through. Who came while a copy ran stands below its filter, and the copy must learn of the write all
/// the same: in QEMU 10.0 it does not, so a mirror lacks the data, and a backup has what came after its start.
fn below_no_copy(graph: &Graph, node: NodeId) -> NodeId {
    let layer = graph.unfiltered(node);
    let is_copy = |id: &NodeId| {
        matches!(graph.node(*id).driver, Driver::Filter(Filter::MirrorTop(_) | Filter::CopyBeforeWrite(_)))
            && graph.unfiltered(*id) == layer
            && !graph.chain(node).any(|below| below == *id)
    };
    let height = |id: &NodeId| graph.chain(*id).take_while(|below| *below != layer).count();
    graph.nodes().map(|(id, _)| id).filter(is_copy).max_by_key(height).unwrap_or(node)
}

impl Drop for Guest {
    fn drop(&mut self) {
        let dropped = self.engine.edit(|graph| graph.remove_user(self.user));
        // What only this guest held is closed all the same; whoever wants to wait for that calls `detach`.
        if !dropped.is_empty() {
            let engine = Arc::clone(&self.engine);
            self.engine.host().spawn("close", Box::pin(async move { engine.close(dropped).await }));
        }
    }
}
