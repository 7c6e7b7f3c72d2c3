//! `change-backing-file`: another name in an image's header. The graph stays as it is.

use super::Engine;
use crate::error::Refused;
use crate::format::qcow2::BackingName;
use crate::graph::Graph;
use crate::graph::backing_image;
use crate::graph::blocker::Op;
use crate::id::NodeId;
use seam::{Errno, IoResult};

impl Engine {
    /// `change-backing-file`.
    pub async fn change_backing_file(&self, device: &str, image: &str, name: &str) -> Result<(), Refused> {
        let _alone = self.gate.drain().await;
        let graph = self.graph();
        let root = graph.lookup_root(device)?;
        let layer = graph.lookup_node_name(image)?;
        if graph.layer_below(layer).is_none() {
            return Err(Refused::NoBackingToChange);
        }
        graph.admit_op(Op::Change, root)?;
        if !graph.chain(root).any(|id| id == layer) {
            return Err(Refused::NotInSameChain(device.to_owned()));
        }
        let was_read_only = graph.place(layer).read_only;
        if was_read_only {
            // Only the image, not the node: nobody may come and write in the meantime.
            self.reopen_images(&self.graph(), layer, true).await?;
        }
        let changed = self.write_name(&self.graph(), layer, name).await;
        if was_read_only {
            let _kept_writable = self.reopen_images(&self.graph(), layer, false).await;
        }
        changed.map_err(|errno| Refused::BackingNotChanged { name: name.to_owned(), errno })
    }

    async fn write_name(&self, graph: &Graph, layer: NodeId, name: &str) -> IoResult<()> {
        let Some(image) = graph.node(layer).qcow2() else {
            return Err(Errno::ENOTSUP);
        };
        // The format of what is named: a header with another one (QEMU writes the image's own) opens nowhere. A file that
        // nobody here knows is taken to hold what is below now, under a new name.
        let named = backing_image::find(graph, &*self.host, layer, name).or_else(|| graph.layer_below(layer));
        let format = named.map(|below| graph.node(below).driver_name().to_owned());
        let name = BackingName { file: name.to_owned(), format };
        image.change_backing(Some(name).filter(|name| !name.file.is_empty())).await?;
        image.flush().await
    }
}
