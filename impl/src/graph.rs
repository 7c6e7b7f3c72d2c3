//! The block graph: nodes, the links between them, and who uses them.
//!
//! A `Graph` is a value. Requests hold the one they began with; an edit clones it, changes the clone, checks it and
//! puts it in place, so a change happens entirely or not at all and nobody ever sees half of one.

pub(crate) mod auto_read_only;
pub(crate) mod backing_image;
pub(crate) mod bitmap;
pub(crate) mod blocker;
pub(crate) mod cell;
pub(crate) mod chain;
pub(crate) mod claim;
pub(crate) mod copy_before_write;
pub(crate) mod depth;
mod draft;
pub(crate) mod failed_flush;
pub(crate) mod filename;
mod freeze;
pub(crate) mod length;
pub(crate) mod mirror_top;
pub(crate) mod node;
mod numbered;
pub(crate) mod options;
pub(crate) mod orphan;
pub(crate) mod permission;
pub(crate) mod snapshot;
mod user;
pub(crate) mod write_threshold;

use crate::budget::{Budget, Share};
use crate::error::Refused;
use crate::id::{JobSerial, NodeId, UserId};
use crate::permission::Set;
use node::{Driver, Filter, Node};
use numbered::Numbered;
use options::NodeOptions;
use orphan::Orphan;
use permission::Permissions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) use draft::SetAside;
pub(crate) use user::{JobChild, JobRole, User, UserKind};

/// QEMU's limit on node names, in bytes.
pub(crate) const NODE_NAME_BYTES_MAX: usize = 31;

/// Nodes, links and users at one moment.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// A graph and its next one share the places that are the same in both.
    nodes: BTreeMap<NodeId, Arc<Place>>,
    users: BTreeMap<UserId, User>,
    orphans: Vec<Orphan>,
    next_id: u64,
    next_generated_name: u64,
    /// What images may hold in memory.
    pub budget: Budget,
}

/// A node and its links.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node itself.
    pub node: Arc<Node>,
    /// The child that holds its bytes (a filter's filtered child too).
    pub file: Option<NodeId>,
    /// The child read where this layer has nothing allocated; a job's own filter stands on its node by this link too.
    pub backing: Option<NodeId>,
    /// A third child: where a copy-before-write saves old data, or the file that holds an image's data.
    pub side: Option<NodeId>,
    /// When that link was made, on the graph's own clock: its ids. Of several reasons the youngest is shown.
    pub backing_since: u64,
    /// Whether the operator made it and may delete it.
    pub monitor_owned: bool,
    /// Whether writes are refused.
    pub read_only: bool,
    /// A job's filter that the operator did not name: clients look through it.
    pub implicit: bool,
    /// How its driver reaches the node it lies on, where that is not simply a file.
    pub lower: Option<Arc<dyn Lower>>,
    /// What the operator said of it beside its driver's own options.
    pub options: Arc<NodeOptions>,
    /// The job that relies on the link to the next node down (backing, or a filter's file), if any.
    pub frozen_by: Option<JobSerial>,
    /// Who records what is written to it.
    pub bitmaps: Vec<bitmap::Bitmap>,
    /// The memory of the node itself, and of all that goes with it.
    pub share: Option<Arc<Share>>,
    /// The files that it relies on.
    pub claims: Vec<Arc<claim::Claim>>,
}

/// How a driver reaches the node it lies on. The graph leads there as long as the driver's own node is in it.
pub trait Lower: std::fmt::Debug + Send + Sync {
    /// The driver's node leaves the graph, which was like this: the way down stays what it was.
    fn keep(&self, graph: &Graph);
}

impl Place {
    /// A node without children, on which nobody relies yet.
    pub fn new(node: Node, read_only: bool) -> Place {
        Place {
            node: Arc::new(node),
            file: None,
            backing: None,
            side: None,
            backing_since: 0,
            monitor_owned: false,
            read_only,
            implicit: false,
            lower: None,
            // It has no options, and what passes it is the business of the nodes below.
            options: Arc::new(options::NodeOptions { unmap: true, ..options::NodeOptions::default() }),
            frozen_by: None,
            bitmaps: Vec::new(),
            share: None,
            claims: Vec::new(),
        }
    }

    /// Whether a raw node shows only a part of what it lies on.
    pub(crate) fn is_window(&self) -> bool {
        let cuts = |value: &options::Plain| *value != options::Plain::Int(0);
        self.options
            .given
            .iter()
            .any(|(name, value)| **name == *"size" || (**name == *"offset" && cuts(value)))
    }

    /// The child at a link.
    pub fn child(&self, link: node::Link) -> Option<NodeId> {
        match link {
            node::Link::File => self.file,
            node::Link::Backing => self.backing,
            node::Link::Side => self.side,
        }
    }

    /// Every child, in a fixed order.
    pub fn children(&self) -> impl Iterator<Item = NodeId> + use<> {
        [self.file, self.backing, self.side].into_iter().flatten()
    }
}

impl Graph {
    /// All nodes, oldest first.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Place)> {
        self.nodes.iter().map(|(id, place)| (*id, &**place))
    }

    /// A node's place.
    pub fn place(&self, id: NodeId) -> &Place {
        self.nodes.get(&id).unwrap_or_else(|| panic!("node {id:?} is used after it was dropped"))
    }

    /// A node's place, to be changed.
    pub(crate) fn place_mut(&mut self, id: NodeId) -> &mut Place {
        let place = self.nodes.get_mut(&id);
        Arc::make_mut(place.unwrap_or_else(|| panic!("node {id:?} is changed after it was dropped")))
    }

    /// The node itself.
    pub fn node(&self, id: NodeId) -> &Arc<Node> {
        &self.place(id).node
    }

    /// A node's name.
    pub fn name(&self, id: NodeId) -> &str {
        &self.place(id).node.name
    }

    /// Whether the node is still in the graph.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// Finds a node by its name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.nodes.iter().find(|(_, place)| *place.node.name == *name).map(|(id, _)| *id)
    }

    /// Finds a node the way `device` arguments name one.
    pub(crate) fn lookup(&self, name: &str) -> Result<NodeId, Refused> {
        self.find(name)
            .ok_or_else(|| Refused::NoSuchNode { device: name.to_owned(), node_name: name.to_owned() })
    }

    /// Finds a node the way `base-node` and `bottom` name one; the text differs.
    pub(crate) fn lookup_node_name(&self, name: &str) -> Result<NodeId, Refused> {
        self.find(name)
            .ok_or_else(|| Refused::NoSuchNode { device: String::new(), node_name: name.to_owned() })
    }

    /// Refuses a name that a new node cannot have.
    pub fn admit_name(&self, name: &str) -> Result<(), Refused> {
        if !crate::error::is_well_formed_id(name) {
            return Err(Refused::InvalidNodeName(name.to_owned()));
        }
        if self.is_taken(name) {
            return Err(Refused::DuplicateNodeName(name.to_owned()));
        }
        if name.len() > NODE_NAME_BYTES_MAX {
            return Err(Refused::NodeNameTooLong);
        }
        Ok(())
    }

    /// A fresh name for a node nobody named.
    pub(crate) fn generate_name(&mut self) -> String {
        loop {
            self.next_generated_name += 1;
            let name = format!("#block{:03}", self.next_generated_name);
            if !self.is_taken(&name) {
                return name;
            }
        }
    }

    /// The next identity.
    pub(crate) fn next_node_id(&mut self) -> NodeId {
        self.next_id += 1;
        NodeId(self.next_id)
    }

    /// Puts a node in.
    pub fn insert(&mut self, id: NodeId, place: Place) {
        assert!(!self.is_taken(&place.node.name), "two nodes named {}", place.node.name);
        self.next_id += 1;
        let before = self.nodes.insert(id, Arc::new(Place { backing_since: self.next_id, ..place }));
        assert!(before.is_none(), "node {id:?} is put in twice");
    }

    /// A filter that is to stand over `node`, with a name that the operator gave it or a fresh one, without links yet.
    pub(crate) fn new_filter(&mut self, node: NodeId, name: Option<&str>, filter: Filter) -> Place {
        let id = self.next_node_id();
        let name: Arc<str> = match name {
            Some(name) => name.into(),
            None => self.generate_name().into(),
        };
        let filename = self.node(node).filename.clone();
        Place::new(Node::new(id, name, filename, Driver::Filter(filter)), false)
    }

    /// Links a layer to what lies below it from now on.
    pub fn set_backing(&mut self, layer: NodeId, backing: Option<NodeId>) {
        self.next_id += 1;
        let since = self.next_id;
        let place = self.place_mut(layer);
        place.backing = backing;
        place.backing_since = since;
    }

    /// Makes everybody who uses `from`, except `except` and jobs' own children, use `to` instead.
    pub(crate) fn move_parents(&mut self, from: NodeId, to: NodeId, except: NodeId) {
        self.move_parents_unless(from, to, |id| id == except);
    }

    /// Puts `to` in the place of `from`, for everybody who uses it and is not part of `to` itself.
    pub fn replace(&mut self, from: NodeId, to: NodeId) {
        let reached = self.reached_from(vec![to]).into_iter();
        let parts: BTreeSet<NodeId> =
            self.nodes.keys().zip(reached).filter(|(_, reached)| *reached).map(|(id, _)| *id).collect();
        self.move_parents_unless(from, to, |id| parts.contains(&id));
    }

    fn move_parents_unless(&mut self, from: NodeId, to: NodeId, stays: impl Fn(NodeId) -> bool) {
        for (id, place) in &mut self.nodes {
            if stays(*id) || !place.children().any(|child| child == from) {
                continue;
            }
            let place = Arc::make_mut(place);
            if place.file == Some(from) {
                place.file = Some(to);
            }
            if place.side == Some(from) {
                place.side = Some(to);
            }
            if place.backing == Some(from) {
                place.backing = Some(to);
                self.next_id += 1;
                place.backing_since = self.next_id;
            }
        }
        for user in self.users.values_mut() {
            if user.kind == UserKind::Guest && user.node == from {
                user.node = to;
            }
        }
    }

    /// The nodes from `root` down alone, without users.
    pub(crate) fn below_and_with(&self, root: NodeId) -> Graph {
        let mut part = Graph { next_id: self.next_id, ..Graph::default() };
        let mut open = vec![root];
        while let Some(id) = open.pop() {
            let place = &self.nodes[&id];
            if part.nodes.insert(id, Arc::clone(place)).is_none() {
                open.extend(place.children());
            }
        }
        part
    }

    /// Drops every node that nobody holds, and hands them back to be closed.
    pub fn collect(&mut self) -> Vec<Arc<Node>> {
        // Mostly operators hold them all.
        if self.nodes.values().all(|place| place.monitor_owned) {
            return Vec::new();
        }
        let owned = self.nodes.iter().filter(|(_, place)| place.monitor_owned).map(|(id, _)| *id);
        // A job relies on the links it froze, whoever releases the node above them.
        let frozen = self.nodes.iter().filter(|(_, place)| place.frozen_by.is_some()).map(|(id, _)| *id);
        let held = owned.chain(frozen).chain(self.users.values().map(|user| user.node)).collect();
        let reached = self.reached_from(held).into_iter();
        let gone: Vec<NodeId> =
            self.nodes.keys().zip(reached).filter(|(_, reached)| !reached).map(|(id, _)| *id).collect();
        gone.into_iter().filter_map(|id| self.nodes.remove(&id)).map(|place| place.node.clone()).collect()
    }

    /// Whether each node, oldest first, is one of these or below them.
    fn reached_from(&self, from: Vec<NodeId>) -> Vec<bool> {
        let nodes = Numbered::of(self);
        let mut reached = vec![false; nodes.len()];
        let mut open = from;
        while let Some(id) = open.pop() {
            let number = nodes.of_node(id);
            if !std::mem::replace(&mut reached[number], true) {
                open.extend(nodes.node(number).1.children());
            }
        }
        reached
    }

    /// Panics unless every link and every user points into the graph and every chain ends.
    pub(crate) fn assert_well_formed(&self) {
        for (id, place) in &self.nodes {
            assert_eq!(*id, place.node.id, "{} stands in another's place", place.node.name);
        }
        // Who stands on older nodes alone, as most do, closes no ring.
        let stands_on_older =
            |id: NodeId, place: &Place| place.children().all(|child| child < id && self.contains(child));
        if !self.nodes.iter().all(|(id, place)| stands_on_older(*id, place)) {
            // It looks up every child.
            let ordered = permission::parents_first(&Numbered::of(self)).len();
            assert_eq!(ordered, self.nodes.len(), "every chain has an end");
        }
        for user in self.users.values() {
            assert!(self.contains(user.node), "{:?} uses a node that was dropped", user.kind);
        }
    }

    /// Whether anybody writes to a node, were it only what it holds already.
    pub fn is_written(&self, id: NodeId) -> bool {
        let writes = Set::WRITE.and(Set::WRITE_UNCHANGED);
        Permissions::of(self).taken_of(id).common(writes) != Set::NONE
    }

    /// Whether somebody writes to a file or changes its length, or a node on it may soon: a commit opens files of a node
    /// before the graph says that it writes. Nobody writes to a file that has left the graph.
    pub(crate) fn may_write_file(&self, file: NodeId) -> bool {
        let writes = Set::WRITE.and(Set::WRITE_UNCHANGED).and(Set::RESIZE);
        self.has_layer_above(file) || Permissions::of(self).taken_of(file).common(writes) != Set::NONE
    }

    /// Whether a node that keeps bytes stands on a node, with filters between them or none.
    fn has_layer_above(&self, id: NodeId) -> bool {
        self.parents(id).any(|parent| !self.node(parent).is_filter() || self.has_layer_above(parent))
    }

    /// Whether anybody may write through a node.
    pub fn has_writer(&self, id: NodeId) -> bool {
        Permissions::of(self).taken_of(id).has(Set::WRITE)
    }

    /// Refuses a graph in which one needs what another does not share.
    pub(crate) fn admit_permissions(&self) -> Result<(), Refused> {
        Permissions::of(self).admit(self)
    }

    /// The same, and refuses writers on nodes that are read-only. Of one that was made so just now (`lately`) QEMU shows
    /// the name.
    pub(crate) fn admit_permissions_and_writers(
        &self,
        lately: &dyn Fn(NodeId) -> bool,
    ) -> Result<(), Refused> {
        let permissions = Permissions::of(self);
        permissions.admit(self)?;
        permissions.admit_writers(lately)
    }
}
