//! `blockdev-snapshot-internal-sync`, `blockdev-snapshot-delete-internal-sync`: what a guest sees is kept inside its
//! image.

use super::Engine;
use crate::error::Refused;
use crate::format::qcow2::{Qcow2, Snapshot};
use crate::graph::Graph;
use crate::graph::blocker::Op;
use seam::Errno;
use std::sync::Arc;

impl Engine {
    /// `blockdev-snapshot-internal-sync`.
    pub(crate) async fn create_internal_snapshot(&self, device: &str, name: &str) -> Result<(), Refused> {
        let _alone = self.gate.drain().await;
        self.new_internal_snapshot(&self.graph(), device, name).await.map(drop)
    }

    /// Makes a snapshot inside the image of a node of this graph. Answers the image, and the snapshot's id.
    pub(super) async fn new_internal_snapshot(
        &self,
        graph: &Graph,
        device: &str,
        name: &str,
    ) -> Result<(Arc<Qcow2>, String), Refused> {
        let root = graph.lookup_root(device)?;
        graph.admit_op(Op::InternalSnapshot, root)?;
        let place = graph.place(root);
        if place.read_only {
            return Err(Refused::DeviceReadOnly(device.to_owned()));
        }
        let Some(image) = place.node.qcow2() else {
            let driver = place.node.driver_name();
            return Err(Refused::NoInternalSnapshots { driver, device: device.to_owned() });
        };
        if name.is_empty() {
            return Err(Refused::SnapshotNameEmpty);
        }
        let now = self.host.wall_clock();
        let (seconds, nanoseconds) = (now.seconds as u32, now.microseconds * 1000);
        let made = image.create_snapshot(name, seconds, nanoseconds).await;
        made.map(|id| (image.clone(), id)).map_err(|errno| match errno {
            Errno::EEXIST => Refused::SnapshotExists { name: name.to_owned(), device: device.to_owned() },
            errno => {
                let (name, device) = (name.to_owned(), device.to_owned());
                Refused::SnapshotNotCreated { name, device, errno }
            }
        })
    }

    /// `blockdev-snapshot-delete-internal-sync`.
    pub(crate) async fn delete_internal_snapshot(
        &self,
        device: &str,
        id: Option<&str>,
        name: Option<&str>,
    ) -> Result<Snapshot, Refused> {
        let _alone = self.gate.drain().await;
        let graph = self.graph();
        let root = graph.lookup_root(device)?;
        if id.is_none() && name.is_none() {
            return Err(Refused::SnapshotNotNamed);
        }
        graph.admit_op(Op::InternalSnapshot, root)?;
        let Some(image) = graph.node(root).qcow2() else {
            return Err(Refused::NoSnapshotList(Errno::ENOTSUP));
        };
        let found = find(image, id, name).await.map_err(Refused::NoSnapshotList)?;
        let word = |text: Option<&str>| text.unwrap_or("null").to_owned();
        let missing =
            || Refused::SnapshotNotFound { id: word(id), name: word(name), device: device.to_owned() };
        let found = found.ok_or_else(missing)?;
        if graph.place(root).read_only {
            return Err(Refused::DeviceReadOnly(device.to_owned()));
        }
        let deleted = image.delete_snapshot(&found).await;
        deleted.map_err(Refused::io("delete a snapshot of", graph.name(root)))
    }
}

/// The id of the snapshot that is meant.
async fn find(image: &Arc<Qcow2>, id: Option<&str>, name: Option<&str>) -> Result<Option<String>, Errno> {
    let all = image.list_snapshots().await?;
    let fits = |given: Option<&str>, own: &str| given.is_none_or(|given| given == own);
    Ok(all.into_iter().find(|s| fits(id, &s.id) && fits(name, &s.name)).map(|s| s.id))
}
