//! `block_resize`: a node grows or shrinks while it is in use.

use super::Engine;
use crate::error::Refused;
use crate::graph::UserKind;
use crate::graph::blocker::Op;
use crate::graph::length::len_bytes;
use crate::graph::node::Storage;
use crate::id::NodeId;
use crate::io::BelowNode;
use crate::permission::Set;
use seam::Disk;

/// The largest size QEMU takes.
pub(super) const LEN_BYTES_MAX: u64 = 0x7fff_ffff_c000_0000;

impl Engine {
    /// `block_resize`.
    pub async fn block_resize(
        &self,
        node_name: Option<&str>,
        device: Option<&str>,
        size: i64,
    ) -> Result<(), Refused> {
        let graph = self.graph();
        let wanted = node_name.unwrap_or("");
        let id = graph.find(wanted).ok_or_else(|| Refused::NoSuchNode {
            device: device.unwrap_or("").to_owned(),
            node_name: wanted.to_owned(),
        })?;
        let size = u64::try_from(size).map_err(|_| Refused::SizeNegative)?;
        graph.admit_op(Op::Resize, id)?;
        // Nobody may rely on the size while it changes: the command takes the permission like any other user.
        let (user, dropped) = self.try_edit(|graph| {
            let user = graph.add_user(id, UserKind::Guest, Set::RESIZE, Set::ALL);
            graph.admit_permissions()?;
            Ok::<_, Refused>(user)
        })?;
        assert!(dropped.is_empty(), "a resize drops {dropped:?}");
        let resized = {
            let _alone = self.gate.drain().await;
            let resized = self.resize(id, size).await;
            let _nothing = self.edit(|graph| graph.cut_bitmaps(id));
            resized
        };
        let dropped = self.edit(|graph| graph.remove_user(user));
        self.close(dropped).await;
        resized
    }

    async fn resize(&self, id: NodeId, size: u64) -> Result<(), Refused> {
        if size > LEN_BYTES_MAX {
            return Err(Refused::SizeTooLarge { size, max: LEN_BYTES_MAX });
        }
        let graph = self.graph();
        let _coming = self.open_for_writer(&graph, id).await?;
        let layer = graph.unfiltered(id);
        let place = graph.place(layer);
        if place.read_only || graph.place(id).read_only {
            return Err(Refused::ImageReadOnly);
        }
        let failed = |what| move |errno| Refused::ResizeFailed { what, errno };
        let lies_on = place.file.map(|file| graph.storage(graph.unfiltered(file)));
        match graph.storage(layer) {
            Storage::Raw(_) if matches!(lies_on, Some(Storage::Nbd { remote, .. }) if !remote.holds(size)) => {
                Err(Refused::RemoteNotGrown)
            }
            Storage::File { disk, .. } => disk.resize(size).await.map_err(failed("resize file")),
            Storage::Raw(image) => image.resize(size).await.map_err(failed("resize file")),
            Storage::Qcow2(image) => {
                if !size.is_multiple_of(512) {
                    return Err(Refused::SizeNotInSectors);
                }
                if image.version() < 3 && image.snapshots() > 0 {
                    return Err(Refused::SizeOfSnapshots);
                }
                if let Some(unknown) = place.bitmaps.iter().find(|bitmap| bitmap.is_inconsistent) {
                    return Err(Refused::BitmapInconsistent(unknown.name.to_string()));
                }
                if size < image.len_bytes() {
                    return image.shrink(size).await.map_err(failed("shrink the image"));
                }
                // What a longer layer below has past the old end must not show, not even after a crash.
                let below = place.backing;
                let shows_until = below.map_or(Ok(0), |below| len_bytes(&graph, below));
                let shows_until = shows_until.map_err(failed("zero the new area"))?;
                let grown = image.grow_over(size, shows_until, &BelowNode::of(&graph, layer)).await;
                grown.map_err(|errno| Refused::L1NotGrown { errno })
            }
            Storage::Nbd { remote, .. } => remote.resize(size).await.map_err(|_| Refused::RemoteNotGrown),
            Storage::NullCo(_) => Err(Refused::ResizeNotSupported),
        }
    }
}
