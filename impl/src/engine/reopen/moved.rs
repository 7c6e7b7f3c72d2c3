//! Nodes that are made anew by a reopen: what lies in another file, or in another part of it, and members of another group.

use super::queue::Queued;
use crate::command::{DriverOptions, FilterOptions};
use crate::engine::Engine;
use crate::engine::opening::window;
use crate::error::Refused;
use crate::filter::throttle::Member;
use crate::format::qcow2::Qcow2;
use crate::format::raw::Raw;
use crate::graph::claim::Claim;
use crate::graph::node::{Driver, FileAccess, Filter, Link, Node, Storage};
use crate::graph::{Graph, Place};
use crate::id::NodeId;
use crate::io::node_disk::NodeDisk;
use crate::object::Object;
use seam::Disk;
use std::sync::Arc;

/// A node that is to take the place of one of the same identity.
pub(super) struct Moved {
    node: Arc<Node>,
    /// What it lies on, if that was made anew as well.
    under: Option<Under>,
}

/// What a driver lies on.
struct Under {
    disk: Arc<dyn Disk>,
    /// The way there, where that is not simply a file.
    lower: Option<Arc<NodeDisk>>,
    claims: Vec<Arc<Claim>>,
}

impl Moved {
    /// Takes its place in a graph.
    pub(super) fn put_into(&self, graph: &mut Graph) {
        let place = graph.place_mut(self.node.id);
        place.node = self.node.clone();
        if let Some(under) = &self.under {
            place.lower = under.lower.clone().map(|lower| lower as _);
            place.claims.clone_from(&under.claims);
        }
    }

    /// The node.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The graph has it.
    pub(super) fn join(&self) {
        if let Some(lower) = self.under.as_ref().and_then(|under| under.lower.as_ref()) {
            lower.join();
        }
    }
}

impl Engine {
    /// Makes anew whatever has to be.
    pub(super) async fn open_moved(
        &self,
        before: &Graph,
        after: &Graph,
        queue: &[Queued<'_>],
    ) -> Result<Vec<Moved>, Refused> {
        let mut moved = Vec::new();
        for Queued { id, options, .. } in queue {
            let Some(options) = options else { continue };
            if let Some(node) = self.move_one(before, after, *id, &options.driver).await? {
                moved.push(node);
            }
        }
        Ok(moved)
    }

    async fn move_one(
        &self,
        before: &Graph,
        after: &Graph,
        id: NodeId,
        options: &DriverOptions,
    ) -> Result<Option<Moved>, Refused> {
        let (old, new) = (before.place(id), after.place(id));
        let is_elsewhere = old.file != new.file;
        let given_anew = |name| old.options.given(name) != new.options.given(name);
        let (driver, under) = match (&old.node.driver, options) {
            (
                Driver::Filter(Filter::Throttle(member)),
                DriverOptions::Filter { filter: FilterOptions::Throttle { group }, .. },
            ) => match self.member_of(group, member)? {
                Some(member) => (Driver::Filter(Filter::Throttle(Arc::new(member))), None),
                None => return Ok(None),
            },
            (Driver::Storage(Storage::Raw(_)), DriverOptions::Raw { offset, size, .. })
                if is_elsewhere || given_anew("offset") || given_anew("size") =>
            {
                let under = self.open_under(after, new).await?;
                let filename = &new.node.filename;
                let disk = window(under.disk.clone(), *offset, *size, filename)?;
                let raw = Raw::open(disk, !new.read_only);
                let raw = raw.map_err(|errno| Refused::CannotOpen { filename: filename.clone(), errno })?;
                (Driver::Storage(Storage::Raw(raw)), Some(under))
            }
            (Driver::Storage(Storage::Qcow2(_)), _) if is_elsewhere => {
                let under = self.open_under(after, new).await?;
                let image = self.open_image_anew(after, new, &under).await?;
                (Driver::Storage(Storage::Qcow2(image)), Some(under))
            }
            _ => return Ok(None),
        };
        let child = new.file.expect("what is made anew lies on something");
        let node = Node::new(id, old.node.name.clone(), after.node(child).filename.clone(), driver);
        let node = Arc::new(Node { write_threshold: old.node.write_threshold.clone(), ..node });
        Ok(Some(Moved { node, under }))
    }

    /// The membership in a group, if it is another one.
    fn member_of(&self, group: &str, present: &Member) -> Result<Option<Member>, Refused> {
        let found = self.objects().find(group);
        let found = found.filter(|object| matches!(**object, Object::ThrottleGroup(_)));
        let group = found.ok_or_else(|| Refused::NoThrottleGroup(group.to_owned()))?;
        let is_other = !Arc::ptr_eq(&group, &present.group);
        let (host, gate, ending) = (present.host.clone(), present.gate.clone(), present.ending.clone());
        Ok(is_other.then_some(Member { group, host, gate, ending }))
    }

    /// What a node of that graph lies on, which is not the present one yet.
    async fn open_under(&self, graph: &Graph, place: &Place) -> Result<Under, Refused> {
        let child = place.file.expect("what is made anew lies on something");
        let mut claims = Vec::new();
        let mut at = Some(child);
        while let Some(id) = at {
            let node = graph.node(id);
            let refused = |errno| Refused::cannot_open(&node.filename, errno, !place.read_only);
            if !place.read_only
                && node.file_access() == Some(FileAccess::Auto)
                && let Some(disk) = node.outside()
            {
                disk.reopen(true).await.map_err(refused)?;
            }
            // Filters rely on nothing by themselves.
            if let Some(disk) = node.disk() {
                claims.push(Arc::new(Claim::new(disk.clone()).await.map_err(refused)?));
            }
            at = graph.place(id).file.filter(|_| node.is_filter());
        }
        Ok(match graph.node(child).disk() {
            Some(disk) => Under { disk: disk.clone(), lower: None, claims },
            None => {
                let lower = NodeDisk::ahead(&self.graph, graph, place.node.id, Link::File, child);
                Under { disk: lower.clone(), lower: Some(lower), claims }
            }
        })
    }

    async fn open_image_anew(
        &self,
        graph: &Graph,
        place: &Place,
        under: &Under,
    ) -> Result<Arc<Qcow2>, Refused> {
        let filename = &graph.node(place.file.expect("an image lies in a file")).filename;
        let data: Option<Arc<dyn Disk>> = match place.side.map(|data| (data, graph.node(data).disk())) {
            Some((_, Some(disk))) => Some(disk.clone()),
            Some((data, None)) => Some(NodeDisk::new(&self.graph, graph, place.node.id, Link::Side, data)),
            None => None,
        };
        let allowance = self.allowance();
        let image =
            Qcow2::open_within(under.disk.clone(), data, filename, !place.read_only, &allowance).await;
        image.map_err(|error| Refused::MalformedImage(error.to_string()))
    }
}
