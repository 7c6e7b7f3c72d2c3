//! A draft of the graph, on which nodes are opened while the graph itself goes on changing.

use super::Graph;
use crate::error::Refused;
use crate::id::NodeId;

/// The first of the identities and names that a draft may use.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct SetAside {
    id: u64,
    name: u64,
}

/// How many are set aside: more than any message has room for, with every chain that its nodes' headers may name.
const SET_ASIDE: u64 = 1 << 32;

impl Graph {
    /// A draft of this graph as it is, and the identities and generated names that are set aside for it alone, so that the
    /// two, and other drafts, may change side by side.
    pub(crate) fn draft(&mut self) -> (Graph, SetAside) {
        let draft = self.clone();
        let first = SetAside { id: self.next_id, name: self.next_generated_name };
        self.next_id += SET_ASIDE;
        self.next_generated_name += SET_ASIDE;
        (draft, first)
    }

    /// What was set aside is used up to where `draft` came; nobody who did not change the graph meanwhile notices.
    pub(crate) fn close_gap(&mut self, aside: SetAside, draft: &Graph) {
        if self.next_id == aside.id + SET_ASIDE {
            self.next_id = draft.next_id;
        }
        if self.next_generated_name == aside.name + SET_ASIDE {
            self.next_generated_name = draft.next_generated_name;
        }
    }

    /// What was set aside is not used.
    pub fn give_back(&mut self, aside: SetAside) {
        let unused = Graph { next_id: aside.id, next_generated_name: aside.name, ..Graph::default() };
        self.close_gap(aside, &unused);
    }

    /// Takes over the nodes `new` of a draft that was made of an earlier state of this graph.
    pub(crate) fn adopt(&mut self, draft: &Graph, new: &[NodeId]) -> Result<(), Refused> {
        for id in new {
            let place = draft.place(*id);
            // A job may have given its filter the name meanwhile, and may hold it even when it is over.
            if self.is_taken(&place.node.name) {
                return Err(Refused::DuplicateNodeName(place.node.name.to_string()));
            }
            // It may have gone with a job that ended since it was looked up.
            if !place.children().all(|child| self.contains(child)) {
                return Err(Refused::ChildGone);
            }
            self.insert(*id, place.clone());
        }
        Ok(())
    }
}
