//! `blockdev-add` and `blockdev-del`: nodes come and go.
//!
//! Everything is opened first, on a draft of the graph; then all new nodes go in by one edit, or none does.

use super::Engine;
use super::opening::{Draft, Opener};
use crate::command::BlockdevOptions;
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::auto_read_only::OutsideWriter;
use crate::graph::blocker::Op;
use crate::graph::node::FileAccess;
use crate::id::NodeId;
use std::sync::Arc;

/// What `blockdev-add` describes, open and not in the graph yet.
#[derive(Debug)]
pub struct OpenedNode<'e> {
    draft: Draft<'e>,
    id: NodeId,
}

impl Engine {
    /// `blockdev-add`, all of it.
    pub async fn blockdev_add(self: &Arc<Self>, options: &BlockdevOptions) -> Result<(), Refused> {
        let opened = self.open_node(options).await?;
        self.add_node(opened).await
    }

    /// The first half of `blockdev-add`: opens what it describes. It changes nothing, may take long, and other commands
    /// may run meanwhile.
    pub(crate) async fn open_node(&self, options: &BlockdevOptions) -> Result<OpenedNode<'_>, Refused> {
        if options.node_name.is_none() {
            return Err(Refused::NodeNameMissing);
        }
        let (draft, id) = self.open_new(options).await?;
        Ok(OpenedNode { draft, id })
    }

    /// The second half: puts it into the graph.
    pub async fn add_node(self: &Arc<Self>, opened: OpenedNode<'_>) -> Result<(), Refused> {
        let OpenedNode { draft, id } = opened;
        let ((), dropped) = self.try_edit(|graph| {
            draft.put_into(graph)?;
            graph.place_mut(id).monitor_owned = true;
            graph.admit_permissions_and_writers(&|_| false)
        })?;
        assert!(dropped.is_empty(), "adding a node drops {dropped:?}");
        // Only now: a file that is in the way of others must not be opened for writing meanwhile.
        let opened = match self.open_for_writing(&draft.written).await {
            Ok(_in_the_graph) => self.use_bitmaps(&draft.new).await,
            Err(refused) => Err(refused),
        };
        if opened.is_err() {
            let dropped = self.edit(|graph| graph.place_mut(id).monitor_owned = false);
            self.close(dropped).await;
        }
        opened
    }

    /// Opens a node that is not in the graph yet, as the operator would.
    pub(super) async fn open_new(&self, options: &BlockdevOptions) -> Result<(Draft<'_>, NodeId), Refused> {
        let mut draft = Draft::new(self);
        let id = draft.open(options, Opener::Operator).await?;
        Ok((draft, id))
    }

    /// Opens files that open for writing when a writer comes. The writer comes before the answer is dropped.
    pub(super) async fn open_for_writing(&self, files: &[NodeId]) -> Result<Vec<OutsideWriter>, Refused> {
        let graph = self.graph();
        let mut coming = Vec::new();
        for file in files {
            let node = graph.node(*file);
            if let Some(disk) = node.disk().filter(|_| node.file_access() == Some(FileAccess::Auto)) {
                let opened = disk.open_for_writer().await;
                coming.push(opened.map_err(|errno| Refused::cannot_open(&node.filename, errno, true))?);
            }
        }
        Ok(coming)
    }

    /// Opens what a writer is about to write to, if it is a file that waits for its first writer. What lies below a format
    /// was opened with the format.
    pub(super) async fn open_for_writer(
        &self,
        graph: &Graph,
        node: NodeId,
    ) -> Result<Vec<OutsideWriter>, Refused> {
        let layer = graph.unfiltered(node);
        if graph.place(layer).read_only {
            return Ok(Vec::new());
        }
        self.open_for_writing(&[layer]).await
    }

    /// `blockdev-del`.
    pub async fn blockdev_del(self: &Arc<Self>, node_name: &str) -> Result<(), Refused> {
        let ((), dropped) = self.try_edit(|graph| {
            let id = graph.find(node_name).ok_or_else(|| Refused::NodeNotFound(node_name.to_owned()))?;
            if graph.users().any(|(_, user)| user.node == id && user.kind.is_device()) {
                return Err(Refused::NodeInUse(node_name.to_owned()));
            }
            graph.admit_op(Op::DriveDel, id)?;
            if !graph.place(id).monitor_owned {
                return Err(Refused::NotOwnedByMonitor(node_name.to_owned()));
            }
            if graph.parents(id).next().is_some() {
                return Err(Refused::DeviceInUse(node_name.to_owned()));
            }
            graph.place_mut(id).monitor_owned = false;
            Ok(())
        })?;
        self.close(dropped).await;
        Ok(())
    }
}
