//! Layers change between read-only and read-write while they are in use.

use super::Engine;
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::node::{Driver, FileAccess, Node};
use crate::host::{Errno, IoResult};
use crate::id::NodeId;

impl Engine {
    /// Changes a layer, and the file below it as far as it may be, between read-only and read-write.
    pub(crate) async fn reopen(&self, id: NodeId, writable: bool) -> Result<(), Refused> {
        let graph = self.graph();
        if !writable {
            // From here on nobody comes to write; if somebody has come already, it stays writable.
            self.try_edit(|graph| {
                if graph.has_writer(id) {
                    return Err(Refused::ReadOnly);
                }
                set_read_only(graph, id, true);
                Ok(())
            })?;
        }
        let reopened = self.reopen_images(&graph, id, writable).await;
        if reopened.is_ok() == writable {
            self.edit(|graph| set_read_only(graph, id, false));
        }
        reopened
    }

    /// The format and its file change together or not at all.
    async fn reopen_images(&self, graph: &Graph, id: NodeId, writable: bool) -> Result<(), Refused> {
        let place = graph.place(id);
        if !writable {
            set_format_writable(&place.node, false).await.map_err(Refused::Io)?;
        }
        if let Some(file) = place.file {
            let reopened = self.reopen_file(graph, file, writable).await;
            if reopened.is_err() && !writable {
                set_format_writable(&place.node, true).await.map_err(Refused::Io)?;
            }
            reopened?;
        }
        if writable && let Err(errno) = set_format_writable(&place.node, true).await {
            if let Some(file) = place.file {
                let _stays_open_for_nobody = self.reopen_file(graph, file, false).await;
            }
            return Err(Refused::Io(errno));
        }
        Ok(())
    }

    async fn reopen_file(&self, graph: &Graph, file: NodeId, writable: bool) -> Result<(), Refused> {
        let place = graph.place(file);
        let Driver::File { disk, access } = &place.node.driver else {
            return if place.read_only && writable { Err(Refused::ReadOnly) } else { Ok(()) };
        };
        match access {
            FileAccess::Fixed if writable && place.read_only => Err(Refused::ReadOnly),
            FileAccess::Fixed => Ok(()),
            FileAccess::Auto | FileAccess::Inherited => disk
                .reopen(writable)
                .await
                .map_err(|errno| Refused::CannotOpen { filename: place.node.filename.clone(), errno }),
        }
    }
}

/// Marks a layer, and the file that follows it, as read-only or not.
fn set_read_only(graph: &mut Graph, id: NodeId, read_only: bool) {
    graph.place_mut(id).read_only = read_only;
    let follows = |file: &NodeId| {
        matches!(graph.node(*file).driver, Driver::File { access: FileAccess::Inherited, .. })
    };
    if let Some(file) = graph.place(id).file.filter(follows) {
        graph.place_mut(file).read_only = read_only;
    }
}

async fn set_format_writable(node: &Node, writable: bool) -> IoResult<()> {
    match &node.driver {
        Driver::Qcow2(image) => image.set_writable(writable).await,
        Driver::Raw(image) => image.set_writable(writable).await,
        Driver::File { .. } => Ok(()),
        Driver::CopyOnRead { .. } | Driver::CommitTop => Err(Errno::ENOTSUP),
    }
}
