//! Nodes, backing, overlay: the block graph as an operator sees it, and the edits jobs make to it.
//!
//! ```text
//! before      base <- mid <- top          block-stream device=mid base-node=base
//! meanwhile   base <- mid <- #filter <- top   (no layer between mid and base is dropped here)
//! ```
//! A node is never removed from the table, only marked dead, so that a [`NodeId`] stays good for texts.

pub mod blocker;
mod edit;
pub mod permission;

use crate::graph::blocker::{Blocker, Reason};
use std::fmt::Write;
use std::sync::Arc;

/// A node of the graph.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u16);

/// An image file: the unit that holds content and survives a crash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageId(pub u16);

/// A job, in the order of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(pub u16);

/// What a node does with its children.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Driver {
    /// The protocol node over an image file.
    File,
    /// The raw format.
    Raw,
    /// The qcow2 format.
    Qcow2,
    /// Nothing but zeroes.
    NullCo,
    /// A filter that keeps what it reads: a stream's, or an operator's.
    CopyOnRead,
    /// A filter that limits the rate.
    Throttle,
    /// A filter that writes compressed clusters.
    Compress,
    /// A filter that fails on command.
    Blkdebug,
    /// The filter of a commit.
    CommitTop,
    /// The filter of a mirror or an active commit.
    MirrorTop,
    /// The filter of a backup.
    CopyBeforeWrite,
}

impl Driver {
    /// The word of QMP.
    pub fn word(self) -> &'static str {
        match self {
            Driver::File => "file",
            Driver::Raw => "raw",
            Driver::Qcow2 => "qcow2",
            Driver::NullCo => "null-co",
            Driver::CopyOnRead => "copy-on-read",
            Driver::Throttle => "throttle",
            Driver::Compress => "compress",
            Driver::Blkdebug => "blkdebug",
            Driver::CommitTop => "commit_top",
            Driver::MirrorTop => "mirror_top",
            Driver::CopyBeforeWrite => "copy-before-write",
        }
    }

    /// Whether nodes of this driver only pass data through.
    pub fn is_filter(self) -> bool {
        !matches!(self, Driver::File | Driver::Raw | Driver::Qcow2 | Driver::NullCo)
    }

    /// Whether a filter's child hangs on a link that is called `backing`.
    pub fn filters_its_backing(self) -> bool {
        matches!(self, Driver::CommitTop | Driver::MirrorTop)
    }
}

/// One vertex.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    /// The node name; `None` for a generated one that nothing has shown yet.
    pub name: Option<Arc<str>>,
    /// What it does.
    pub driver: Driver,
    /// The file name it was opened with, as its overlays' headers would name it.
    pub filename: Option<Arc<str>>,
    /// The backing file its header names, as last read or written.
    pub header: Option<Arc<str>>,
    /// The image at the end of its `file` links.
    pub image: Option<ImageId>,
    /// The child that holds this node's own bytes; for a filter, the node it filters.
    pub file: Option<NodeId>,
    /// The node read where this one has nothing allocated.
    pub backing: Option<NodeId>,
    /// The node that a backup's filter writes old data to.
    pub target: Option<NodeId>,
    /// Refuses writes now.
    pub read_only: bool,
    /// Was opened so that no job may reopen it for writing.
    pub read_only_for_good: bool,
    /// Turns read-only and back with the wishes of those above.
    pub auto_read_only: bool,
    /// Was to become read-only again after a job; a fault may have kept it from that.
    pub may_have_stayed_writable: bool,
    /// Was added by an operator, who may delete it.
    pub by_monitor: bool,
    /// Was opened with options whose effect the model does not know.
    pub unmodelled: bool,
    /// Its length, if the model knows it.
    pub bytes: Option<u64>,
    /// Still in the graph.
    pub alive: bool,
}

impl Node {
    /// A nameless node without children, writable, the operator's own.
    pub fn new(driver: Driver) -> Node {
        Node {
            name: None,
            driver,
            filename: None,
            header: None,
            image: None,
            file: None,
            backing: None,
            target: None,
            read_only: false,
            read_only_for_good: false,
            auto_read_only: false,
            may_have_stayed_writable: false,
            by_monitor: true,
            unmodelled: false,
            bytes: None,
            alive: true,
        }
    }

    /// All that it reads or writes.
    pub fn children(&self) -> impl Iterator<Item = NodeId> + use<> {
        [self.file, self.backing, self.target].into_iter().flatten()
    }
}

/// A user of the graph that is not a node: a guest's device, or an export.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct User {
    /// Which guest.
    pub guest: u32,
    /// The name of the export, if it is one.
    pub export: Option<String>,
    /// It sits behind the export of that name, which is the user the graph sees.
    pub behind: Option<String>,
    /// Where it reads and writes.
    pub node: NodeId,
    /// Whether it may write.
    pub writable: bool,
}

impl User {
    /// The device of a stream that was refused late, which QEMU 10.0 forgets where the stream's filter stood. Nothing is
    /// judged by it but what a query may show.
    pub fn left_behind(node: NodeId) -> User {
        User { guest: u32::MAX, export: None, behind: Some(String::new()), node, writable: false }
    }

    /// Whether it is the export of that name, or sits behind it.
    pub fn is_of_export(&self, id: &str) -> bool {
        [&self.export, &self.behind].into_iter().any(|of| of.as_deref() == Some(id))
    }

    /// Whether it is a device that a stream left behind.
    pub fn is_left_behind(&self) -> bool {
        self.behind.as_deref() == Some("")
    }
}

/// All nodes, their users, and what is forbidden on them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    /// Guests, in the order of attachment.
    pub users: Vec<User>,
    /// Standing prohibitions, oldest first.
    pub blockers: Vec<Blocker>,
    /// Links that must stay: by which job, and from which node downwards.
    pub frozen: Vec<(JobId, NodeId)>,
    /// Bitmaps that nobody else may use: by which job, of which node, and their names.
    pub held_bitmaps: Vec<(JobId, NodeId, String)>,
}

impl Graph {
    /// Adds a node. Its `file` and `backing` links start here, and forbid what they must.
    pub fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(u16::try_from(self.nodes.len()).expect("a run adds fewer than 65,536 nodes"));
        let backing = node.backing;
        self.nodes.push(Node { backing: None, ..node });
        self.set_backing(id, backing);
        id
    }

    /// Takes back every node added after the first `count`.
    pub fn truncate(&mut self, count: usize) {
        self.nodes.truncate(count);
        self.blockers.retain(|blocker| match blocker.reason {
            Reason::BackingOf(overlay) => usize::from(overlay.0) < count,
            Reason::Job(..) => true,
        });
    }

    /// How many nodes there have ever been.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// A node, dead or alive.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[usize::from(id.0)]
    }

    /// A node, to change it.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[usize::from(id.0)]
    }

    /// Every living node.
    pub fn alive(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0u16..).zip(&self.nodes).filter(|(_, node)| node.alive).map(|(index, node)| (NodeId(index), node))
    }

    /// The same, the youngest first.
    pub fn alive_youngest_first(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let numbered = self.nodes.iter().enumerate().rev().filter(|(_, node)| node.alive);
        numbered.map(|(index, node)| (NodeId(index as u16), node))
    }

    /// The living node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.alive().find(|(_, node)| node.name.as_deref() == Some(name)).map(|(id, _)| id)
    }

    /// The name for texts; a generated name that is not known yet reads as [`GENERATED`].
    pub fn name(&self, id: NodeId) -> &str {
        self.node(id).name.as_deref().unwrap_or(GENERATED)
    }

    /// Whether a node only passes data through.
    pub fn is_filter(&self, id: NodeId) -> bool {
        self.node(id).driver.is_filter()
    }

    /// The child a reader falls through to: a filter's file, any other node's backing.
    pub fn below(&self, id: NodeId) -> Option<NodeId> {
        let node = self.node(id);
        if node.driver.is_filter() { node.file } else { node.backing }
    }

    /// The first node at or below `id` that is no filter; `None` below a filter that has lost its child.
    pub fn unfiltered(&self, id: NodeId) -> Option<NodeId> {
        let mut id = id;
        while self.is_filter(id) {
            id = self.node(id).file?;
        }
        Some(id)
    }

    /// Whether what comes in at `id` goes through `filter` before it comes to a layer.
    pub fn passes(&self, id: NodeId, filter: NodeId) -> bool {
        let below = |id: &NodeId| if self.is_filter(*id) { self.node(*id).file } else { None };
        std::iter::successors(Some(id), below).any(|id| id == filter)
    }

    /// The next node of the chain that is no filter.
    pub fn backing_layer(&self, id: NodeId) -> Option<NodeId> {
        self.below(self.unfiltered(id)?).and_then(|below| self.unfiltered(below))
    }

    /// `id` and everything a reader falls through below it, filters included.
    pub fn downwards(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        std::iter::successors(Some(id), |at| self.below(*at))
    }

    /// The nodes that read `id` directly.
    pub fn parents(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        self.alive()
            .filter(move |(_, node)| [node.backing, node.file, node.target].contains(&Some(id)))
            .map(|(id, _)| id)
    }

    /// Whether anything at all reads `id` or stands on it.
    pub fn is_used(&self, id: NodeId) -> bool {
        let is_there = |user: &User| user.node == id && user.behind.is_none();
        self.parents(id).next().is_some() || self.users.iter().any(is_there)
    }

    /// What is wrong with the graph, if anything: links end at living nodes and no chain bites its tail.
    pub fn malformed(&self) -> Option<String> {
        for (id, node) in self.alive() {
            for child in node.children() {
                if !self.node(child).alive {
                    return Some(format!("`{}` reads the dead node `{}`", self.name(id), self.name(child)));
                }
            }
            if self.downwards(id).take(self.nodes.len() + 1).count() > self.nodes.len() {
                return Some(format!("the chain below `{}` has no end", self.name(id)));
            }
        }
        None
    }

    /// The chain from its base up to `top`: `base <- mid <- top`.
    pub fn chain_text(&self, top: NodeId) -> String {
        let mut nodes: Vec<NodeId> = self.downwards(top).collect();
        nodes.reverse();
        let mut text = String::new();
        for (index, id) in nodes.into_iter().enumerate() {
            let arrow = if index == 0 { "" } else { " <- " };
            write!(text, "{arrow}{}", self.shown(id)).expect("writing to a string never fails");
        }
        text
    }

    fn shown(&self, id: NodeId) -> &str {
        match &self.node(id).name {
            Some(name) => name,
            None if self.is_filter(id) => "(filter)",
            None => "(unnamed)",
        }
    }

    /// Every chain, a line each, drawn from the nodes that no other node reads.
    pub fn drawing(&self) -> String {
        let roots = self.alive().filter(|(id, _)| self.parents(*id).next().is_none());
        let lines: Vec<String> = roots.map(|(id, _)| self.chain_text(id)).collect();
        lines.join("\n")
    }
}

/// Stands in texts for a generated node name, which is random: `#block` and digits.
pub const GENERATED: &str = "#block?";

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(graph: &mut Graph, name: &str, backing: Option<NodeId>) -> NodeId {
        graph.add(Node { name: Some(name.into()), backing, ..Node::new(Driver::Qcow2) })
    }

    fn three() -> (Graph, NodeId, NodeId, NodeId) {
        let mut graph = Graph::default();
        let base = layer(&mut graph, "base", None);
        let mid = layer(&mut graph, "mid", Some(base));
        let top = layer(&mut graph, "top", Some(mid));
        (graph, base, mid, top)
    }

    #[test]
    fn a_filter_comes_between_a_node_and_all_its_parents_and_leaves_no_trace() {
        let (mut graph, _, mid, top) = three();
        graph.users.push(User { guest: 1, export: None, behind: None, node: mid, writable: false });
        let before = graph.drawing();
        let filter =
            graph.insert_filter(mid, Node { name: Some("filt".into()), ..Node::new(Driver::CopyOnRead) });
        assert_eq!(graph.chain_text(top), "base <- mid <- filt <- top");
        assert_eq!(graph.users[0].node, filter);
        assert_eq!(graph.unfiltered(filter), Some(mid));
        graph.drop_filter(filter);
        graph.collect();
        assert_eq!(graph.drawing(), before);
        assert_eq!(graph.users[0].node, mid);
        assert_eq!(graph.malformed(), None);
    }

    #[test]
    fn a_node_dies_with_its_last_holder_and_takes_its_backing_along() {
        let (mut graph, base, mid, top) = three();
        for id in [base, mid] {
            graph.node_mut(id).by_monitor = false;
        }
        assert!(!graph.collect(), "top holds them");
        graph.node_mut(top).by_monitor = false;
        assert!(graph.collect());
        assert_eq!(graph.alive().count(), 0);
    }

    #[test]
    fn a_chain_that_bites_its_tail_is_malformed() {
        let (mut graph, base, _, top) = three();
        graph.set_backing(base, Some(top));
        assert_eq!(graph.malformed().as_deref(), Some("the chain below `base` has no end"));
    }
}
