//! Layers change between read-only and read-write while they are in use.

use super::Core;
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::node::{Driver, FileAccess, Node, Storage};
use crate::id::NodeId;
use seam::{Errno, IoResult};

impl Core {
    /// Changes a layer, and the file below it as far as it may be, between read-only and read-write.
    pub(crate) async fn reopen(&self, id: NodeId, writable: bool) -> Result<(), Refused> {
        let graph = self.graph();
        if graph.place(id).options.force_share {
            return Err(Refused::OptionFixed("force-share".to_owned()));
        }
        if graph.place(id).read_only != writable {
            // An operator was first. What fails now would be taken back to a mode that it was not in.
            return Ok(());
        }
        if writable {
            let mut after = Graph::clone(&graph);
            set_read_only(&mut after, id, false);
            after.admit_permissions()?;
        } else {
            // From here on nobody comes to write; if somebody has come already, it stays writable.
            self.try_edit(|graph| {
                if graph.is_written(id) {
                    return Err(Refused::ReadOnly);
                }
                set_read_only(graph, id, true);
                Ok(())
            })?;
        }
        let reopened = self.reopen_images(&graph, id, writable).await;
        // What could not be closed is written on, unless it could not be opened again either.
        let stays_closed = !writable && graph.node(id).qcow2().is_some_and(|image| !image.is_writable());
        if reopened.is_ok() == writable && !stays_closed {
            self.edit(|graph| set_read_only(graph, id, false));
        }
        reopened
    }

    /// The format and its file change together or not at all.
    pub(crate) async fn reopen_images(
        &self,
        graph: &Graph,
        id: NodeId,
        writable: bool,
    ) -> Result<(), Refused> {
        let place = graph.place(id);
        if place.options.force_share {
            return Err(Refused::OptionFixed("force-share".to_owned()));
        }
        if place.node.is_filter() {
            // What it stands on keeps its own mode.
            return Ok(());
        }
        if let Some(disk) = place.node.outside() {
            // A layer that is a file or a server's disk itself.
            let reopened = disk.reopen(writable).await;
            return reopened.map_err(|errno| Refused::cannot_open(&place.node.filename, errno, writable));
        }
        if !writable {
            place.hand_over_bitmaps();
            set_format_writable(&place.node, false).await.map_err(Refused::io("reopen", graph.name(id)))?;
        }
        if let Err(refused) = self.reopen_files(graph, id, writable).await {
            if !writable {
                set_format_writable(&place.node, true)
                    .await
                    .map_err(Refused::io("reopen", graph.name(id)))?;
            }
            return Err(refused);
        }
        if writable && let Err(errno) = set_format_writable(&place.node, true).await {
            let _stays_open_for_nobody = self.reopen_files(graph, id, false).await;
            return Err(Refused::io("reopen", graph.name(id))(errno));
        }
        Ok(())
    }

    /// All files of a layer, or none.
    async fn reopen_files(&self, graph: &Graph, id: NodeId, writable: bool) -> Result<(), Refused> {
        for (n, file) in files(graph, id).enumerate() {
            if let Err(refused) = self.reopen_file(graph, file, writable).await {
                for done in files(graph, id).take(n) {
                    let _stays_open_for_nobody = self.reopen_file(graph, done, !writable).await;
                }
                return Err(refused);
            }
        }
        Ok(())
    }

    async fn reopen_file(&self, graph: &Graph, file: NodeId, writable: bool) -> Result<(), Refused> {
        let place = graph.place(file);
        let (Some(disk), Some(access)) = (place.node.outside(), place.node.file_access()) else {
            if place.read_only && writable {
                return Err(Refused::ReadOnly);
            }
            // What lies between only passes the change on.
            return match place.file {
                Some(file) => Box::pin(self.reopen_file(graph, file, writable)).await,
                None => Ok(()),
            };
        };
        match access {
            FileAccess::Fixed if writable && place.read_only => Err(Refused::ReadOnly),
            FileAccess::Fixed => Ok(()),
            FileAccess::Auto | FileAccess::Inherited => disk
                .reopen(writable)
                .await
                .map_err(|errno| Refused::cannot_open(&place.node.filename, errno, writable)),
        }
    }
}

/// Marks a layer, and the file that follows it, as read-only or not.
pub(crate) fn set_read_only(graph: &mut Graph, id: NodeId, read_only: bool) {
    graph.place_mut(id).read_only = read_only;
    let follows = |file: &NodeId| graph.node(*file).file_access() == Some(FileAccess::Inherited);
    let following: Vec<NodeId> = files(graph, id).filter(follows).collect();
    for file in following {
        graph.place_mut(file).read_only = read_only;
    }
}

/// The nodes a layer's bytes lie in: its file, and the data file of an image that has one.
fn files(graph: &Graph, id: NodeId) -> impl Iterator<Item = NodeId> {
    let place = graph.place(id);
    let data = place.side.filter(|_| place.node.qcow2().is_some());
    place.file.into_iter().chain(data)
}

async fn set_format_writable(node: &Node, writable: bool) -> IoResult<()> {
    match &node.driver {
        Driver::Storage(Storage::Qcow2(image)) => {
            if !writable {
                image.store_bitmaps().await?;
            }
            image.set_writable(writable).await
        }
        Driver::Storage(Storage::Raw(image)) => image.set_writable(writable).await,
        Driver::Storage(Storage::File { .. } | Storage::NullCo(_) | Storage::Nbd { .. }) => Ok(()),
        Driver::Filter(_) => Err(Errno::ENOTSUP),
    }
}
