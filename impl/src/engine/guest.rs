//! A guest: somebody who reads and writes through a node, as a device or an export does.

use super::Engine;
use crate::error::Refused;
use crate::graph::Graph;
use crate::host::{Errno, IoResult};
use crate::id::{NodeId, UserId};
use crate::io::write::Change;
use crate::io::{len_bytes, read, write};
use std::sync::Arc;

/// An attached guest. Dropping it detaches it.
#[derive(Debug)]
pub struct Guest {
    engine: Arc<Engine>,
    user: UserId,
    writable: bool,
}

impl Engine {
    /// Attaches a guest to a node, if everybody else there bears it.
    pub fn open_guest(self: &Arc<Self>, node_name: &str, writable: bool) -> Result<Guest, Refused> {
        let (user, dropped) = self.try_edit(|graph| {
            let node = graph.lookup(node_name)?;
            if writable && graph.place(graph.unfiltered(node)).read_only {
                return Err(Refused::ReadOnly);
            }
            let user = graph.add_guest(node, writable);
            graph.admit_permissions()?;
            Ok(user)
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
    pub async fn read_behind(&self, offset: u64, len: u64, headroom: usize) -> IoResult<Vec<u8>> {
        let _inside = self.engine.gate().enter().await;
        let (graph, node) = self.resolve(offset, len)?;
        let mut bytes = vec![0; headroom + len as usize];
        read::read(&graph, node, offset, &mut bytes[headroom..]).await?;
        Ok(bytes)
    }

    /// Writes at `offset`.
    pub async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        self.change(offset, Change::Data(data)).await
    }

    /// Makes a range read as zeroes.
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        self.change(offset, Change::Zeroes(len)).await
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
        write::change(&graph, node, offset, change).await
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

impl Drop for Guest {
    fn drop(&mut self) {
        // A node that only the guest held has nothing left to flush that anybody could still read.
        let _closed_by_nobody = self.engine.edit(|graph| graph.remove_user(self.user));
    }
}
