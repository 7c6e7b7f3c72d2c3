//! `block-dirty-bitmap-*`.

use super::Engine;
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::bitmap::BitmapName;
use crate::graph::length::len_bytes;
use crate::id::NodeId;
use std::collections::BTreeSet;

impl Engine {
    /// Changes bitmaps, between two requests: each write is recorded by the bitmaps of before or by those of after.
    pub(crate) async fn edit_bitmaps(
        &self,
        edit: impl FnOnce(&mut Graph) -> Result<(), Refused> + Send,
    ) -> Result<(), Refused> {
        let _alone = self.gate.drain().await;
        let before = self.graph();
        let ((), dropped) = self.try_edit(edit)?;
        assert!(dropped.is_empty(), "changing bitmaps drops {dropped:?}");
        self.forget_bitmaps(&before).await
    }

    /// `x-debug-block-dirty-bitmap-sha256`.
    pub(crate) fn bitmap_sum(&self, name: &BitmapName) -> Result<String, Refused> {
        let graph = self.graph();
        let id = graph.find(&name.node).ok_or_else(|| Refused::NodeUnknown(name.node.clone()))?;
        let bitmap = graph.find_bitmap(name)?;
        let len = len_bytes(&graph, id).map_err(Refused::io("get the length of", &name.node))?;
        bitmap.sum(len)
    }

    /// Takes bitmaps off the disk that were there before and are not any more. What cannot be taken off stays there as
    /// one that was not stored, which nobody believes.
    pub(super) async fn forget_bitmaps(&self, before: &Graph) -> Result<(), Refused> {
        let after = self.graph();
        for (id, place) in before.nodes() {
            let Some(image) = place.image_of_bitmaps().filter(|_| after.contains(id)) else { continue };
            let kept = after.place(id).bitmaps.iter().filter(|bitmap| bitmap.is_persistent);
            let kept: BTreeSet<&str> = kept.map(|bitmap| &*bitmap.name).collect();
            for bitmap in place.bitmaps.iter().filter(|bitmap| bitmap.is_persistent) {
                if !kept.contains(&*bitmap.name) && !after.place(id).read_only {
                    let removed = image.remove_bitmap(&bitmap.name).await;
                    removed.map_err(Refused::io("remove a bitmap from", before.name(id)))?;
                }
            }
        }
        Ok(())
    }

    /// Says in images that are open for writing that their bitmaps are in use.
    pub(super) async fn use_bitmaps(&self, nodes: &[NodeId]) -> Result<(), Refused> {
        let graph = self.graph();
        for id in nodes.iter().filter(|id| !graph.place(**id).read_only) {
            if let Some(image) = graph.node(*id).qcow2() {
                let marked = image.mark_bitmaps_in_use().await;
                marked.map_err(Refused::io("mark the bitmaps in", graph.name(*id)))?;
            }
        }
        Ok(())
    }
}
