//! Edits of the graph: links change, filters come and go, and a node goes with its last holder.

use super::blocker::{Blocker, Reason};
use super::{Driver, Graph, Node, NodeId, User};

impl Graph {
    /// Puts an overlay between a node and all that stands on it.
    pub fn put_above(&mut self, overlay: NodeId, node: NodeId) {
        self.replace(node, overlay);
        self.set_backing(overlay, Some(node));
    }

    /// Moves a backing link, and with it the prohibitions it puts on the node it points to.
    pub fn set_backing(&mut self, overlay: NodeId, backing: Option<NodeId>) {
        self.blockers.retain(|b| b.reason != Reason::BackingOf(overlay));
        self.node_mut(overlay).backing = backing;
        if let Some(node) = backing.filter(|_| !self.is_filter(overlay)) {
            self.blockers.push(Blocker { node, reason: Reason::BackingOf(overlay) });
        }
    }

    /// Somebody comes to a node. One that is written through has stayed writable.
    pub fn let_in(&mut self, user: User) {
        let node = self.node_mut(user.node);
        node.read_only &= !(user.writable && node.may_have_stayed_writable);
        self.users.push(user);
    }

    /// A node and everything it uses in any way.
    pub fn reached(&self, id: NodeId) -> Vec<NodeId> {
        let mut found = vec![id];
        let mut index = 0;
        // Each node is found once.
        while let Some(&at) = found.get(index) {
            let node = self.node(at);
            for child in node.children() {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
            index += 1;
        }
        found
    }

    /// Moves everything that stands on `from` to `to`, except `to` itself.
    pub fn replace(&mut self, from: NodeId, to: NodeId) {
        // What `to` itself stands on keeps what it has, or the graph would bite its tail.
        let own = self.reached(to);
        let parents: Vec<NodeId> = self.parents(from).filter(|parent| !own.contains(parent)).collect();
        for parent in parents {
            if self.node(parent).file == Some(from) {
                self.node_mut(parent).file = Some(to);
            }
            if self.node(parent).backing == Some(from) {
                self.set_backing(parent, Some(to));
            }
            if self.node(parent).target == Some(from) {
                self.node_mut(parent).target = Some(to);
            }
        }
        // A job holds its nodes; its own devices move like everybody's.
        for blocker in self.blockers.iter_mut().filter(|blocker| blocker.node == from) {
            if matches!(blocker.reason, Reason::Job(_, role) if role.is_device()) {
                blocker.node = to;
            }
        }
        for user in self.users.iter_mut().filter(|user| user.node == from) {
            user.node = to;
        }
    }

    /// Puts a job's filter directly above `target`: every parent of `target` now reads the filter.
    pub fn insert_filter(&mut self, target: NodeId, filter: Node) -> NodeId {
        let node = self.node(target);
        let filter = Node {
            filename: node.filename.clone(),
            image: node.image,
            file: Some(target),
            read_only: node.read_only,
            by_monitor: false,
            bytes: node.bytes,
            ..filter
        };
        let filter = self.add(filter);
        self.replace(target, filter);
        filter
    }

    /// Takes a filter out again: its parents read its child. The node itself dies with its last holder, and a commit's
    /// filter reads its child until then.
    pub fn drop_filter(&mut self, filter: NodeId) {
        let node = self.node_mut(filter);
        let child = match node.driver {
            Driver::CommitTop => node.file,
            _ => node.file.take(),
        };
        if let Some(child) = child {
            self.replace(filter, child);
        }
    }

    /// Whether a node is a filter that was taken out and whose name its job still holds. QEMU 10.0 dies of a query that
    /// meets one; whether it is given otherwise is open.
    pub fn is_orphan(&self, id: NodeId) -> bool {
        self.is_filter(id) && self.node(id).file.is_none()
    }

    /// Drops every node that nothing holds any more. Returns whether any was.
    pub fn collect(&mut self) -> bool {
        let mut left = std::mem::take(&mut self.users);
        left.retain(|user| !user.is_left_behind() || self.node(user.node).alive);
        self.users = left;
        let mut any = false;
        // One pass drops at most one level of a chain, so passes are bounded by its depth.
        loop {
            let unheld = self.alive().map(|(id, _)| id).find(|id| !self.is_held(*id));
            let Some(dead) = unheld else { return any };
            self.set_backing(dead, None);
            let node = self.node_mut(dead);
            node.alive = false;
            node.file = None;
            node.target = None;
            any = true;
        }
    }

    fn is_held(&self, id: NodeId) -> bool {
        let is_frozen = self.frozen.iter().any(|(_, node)| *node == id);
        self.node(id).by_monitor || self.is_used(id) || self.held_by_job(id).is_some() || is_frozen
    }
}
