//! Walking down a chain: `base <- mid <- filter -> top`, filters skipped where only layers matter.

use super::node::{Driver, Storage};
use super::{Graph, JobRole, User, UserKind};
use crate::error::Refused;
use crate::id::NodeId;

impl Graph {
    /// Whether the node passes data through unchanged.
    pub fn is_filter(&self, id: NodeId) -> bool {
        self.node(id).is_filter()
    }

    /// The next node down: a filter's filtered child, else the backing.
    pub fn below(&self, id: NodeId) -> Option<NodeId> {
        let place = self.place(id);
        if place.node.is_filter() { place.file.or(place.backing) } else { place.backing }
    }

    /// The name of the link to the next node down.
    pub(crate) fn link_below(&self, id: NodeId) -> &'static str {
        if self.is_filter(id) && self.place(id).file.is_some() { "file" } else { "backing" }
    }

    /// The first node from `id` downwards that is not a filter.
    pub fn unfiltered(&self, id: NodeId) -> NodeId {
        self.chain(id).find(|node| !self.is_filter(*node)).expect("a filter stands on a node")
    }

    /// What keeps the bytes of the first node from `id` downwards that is not a filter.
    pub fn storage(&self, id: NodeId) -> &Storage {
        let mut id = id;
        loop {
            match &self.node(id).driver {
                Driver::Storage(storage) => return storage,
                Driver::Filter(_) => id = self.below(id).expect("a filter stands on a node"),
            }
        }
    }

    /// The next layer below `id`'s layer, filters skipped.
    pub fn layer_below(&self, id: NodeId) -> Option<NodeId> {
        self.below(self.unfiltered(id)).map(|next| self.unfiltered(next))
    }

    /// The last layer of the chain.
    pub(crate) fn lowest_layer(&self, id: NodeId) -> NodeId {
        let last = self.chain(id).last().expect("a chain has at least its top");
        self.unfiltered(last)
    }

    /// The layer above `layer`'s in the chain of `root`, filters skipped.
    pub fn overlay(&self, root: NodeId, layer: NodeId) -> Option<NodeId> {
        let layer = self.unfiltered(layer);
        self.chain(root).find(|id| !self.is_filter(*id) && self.layer_below(*id) == Some(layer))
    }

    /// Every layer that stands on `node`, directly or over filters.
    pub fn overlays(&self, node: NodeId) -> Vec<NodeId> {
        let mut found = Vec::new();
        let mut open = vec![node];
        while let Some(below) = open.pop() {
            for (id, place) in self.nodes().filter(|(id, _)| self.below(*id) == Some(below)) {
                if place.node.is_filter() { open.push(id) } else { found.push(id) }
            }
        }
        found
    }

    /// The nodes from `top` down, `top` first.
    pub fn chain(&self, top: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        // Chains are finite; the bound makes a loop a broken invariant instead of a hang.
        std::iter::successors(Some(top), |id| self.below(*id)).take(self.nodes.len() + 1)
    }

    /// Whether `node` is strictly below `top`.
    pub fn is_below(&self, node: NodeId, top: NodeId) -> bool {
        self.chain(top).skip(1).any(|id| id == node)
    }

    /// Whether no node and no job has `id` as a child: what stands there is the root of a chain.
    pub fn is_root(&self, id: NodeId) -> bool {
        let holds = |user: &User| match &user.kind {
            UserKind::Guest => false,
            UserKind::Job(child) => user.node == id && child.role != JobRole::Root,
        };
        self.parents(id).next().is_none() && !self.users().any(|(_, user)| holds(user))
    }

    /// The nodes that have `id` as a child.
    pub fn parents(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes()
            .filter(move |(_, place)| place.children().any(|child| child == id))
            .map(|(parent, _)| parent)
    }

    /// Finds a node as `lookup` does; it must not be part of another node.
    pub(crate) fn lookup_root(&self, name: &str) -> Result<NodeId, Refused> {
        let root = self.lookup(name)?;
        if self.is_root(root) { Ok(root) } else { Err(Refused::NeedRootNode) }
    }
}
