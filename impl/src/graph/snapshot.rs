//! A new overlay on a node: from then on its users write into the overlay.
//!
//! ```text
//! before  base <- node          overlay
//! after   base <- node <- overlay, and whoever used node uses overlay
//! ```

use super::Graph;
use super::blocker::Op;
use super::permission::Permissions;
use crate::error::Refused;
use crate::id::NodeId;
use crate::permission::Set;

impl Graph {
    /// `blockdev-snapshot`: checks everything, and puts `overlay` above `node`.
    pub fn snapshot(&mut self, node: &str, overlay: &str) -> Result<(), Refused> {
        let below = self.lookup(node)?;
        self.admit_op(Op::ExternalSnapshot, below)?;
        let above = self.lookup(overlay)?;
        self.put_on_top(below, above)
    }

    /// Puts `overlay`, which is no part of a chain yet, above `node`.
    pub(crate) fn put_on_top(&mut self, node: NodeId, overlay: NodeId) -> Result<(), Refused> {
        self.admit_overlay(overlay)?;
        self.admit_child(overlay, "backing", node)?;
        self.admit_move(node)?;
        // What the overlay itself stands on keeps the node, or the graph would have a loop.
        self.replace(node, overlay);
        self.set_backing(overlay, Some(node));
        self.admit_all_depths()?;
        self.admit_permissions_and_writers(&|_| false)
    }

    /// Nobody may take an overlay's content for something yet, and it must be able to have a backing.
    fn admit_overlay(&self, overlay: NodeId) -> Result<(), Refused> {
        if Permissions::of(self).taken_of(overlay).has(Set::READ) {
            return Err(Refused::OverlayInUse);
        }
        let place = self.place(overlay);
        if place.node.is_filter() {
            return Err(Refused::OverlayIsFilter);
        }
        if place.backing.is_some() {
            return Err(Refused::OverlayHasBacking);
        }
        if place.node.qcow2().is_none() {
            return Err(Refused::OverlayWithoutBacking);
        }
        Ok(())
    }

    /// Refuses a link by which a node would stand on itself.
    pub(crate) fn admit_child(
        &self,
        parent: NodeId,
        link: &'static str,
        child: NodeId,
    ) -> Result<(), Refused> {
        if self.holds(child, parent) {
            let (child, parent) = (self.name(child).to_owned(), self.name(parent).to_owned());
            return Err(Refused::WouldLoop { child, link, parent });
        }
        Ok(())
    }

    /// Whether `wanted` is `from`, or somewhere below it by any links.
    fn holds(&self, from: NodeId, wanted: NodeId) -> bool {
        let mut open = vec![from];
        let mut seen = std::collections::BTreeSet::new();
        while let Some(id) = open.pop() {
            if id == wanted {
                return true;
            }
            if seen.insert(id) {
                open.extend(self.place(id).children());
            }
        }
        false
    }

    /// Refuses to move the parents of a node while a job relies on one of their links to it.
    fn admit_move(&self, node: NodeId) -> Result<(), Refused> {
        let relied = |id: &NodeId| self.below(*id) == Some(node) && self.place(*id).frozen_by.is_some();
        let frozen = self.parents(node).find(relied);
        match frozen {
            Some(parent) => Err(self.frozen(parent, node)),
            None => Ok(()),
        }
    }

    /// What is said of a link that a job relies on.
    pub fn frozen(&self, from: NodeId, to: NodeId) -> Refused {
        let link = self.link_below(from);
        Refused::LinkFrozen { link, from: self.name(from).to_owned(), to: self.name(to).to_owned() }
    }
}
