//! Links that a job relies on: nobody may change them while it works.

use super::Graph;
use super::node::{Driver, Filter};
use crate::error::Refused;
use crate::id::{JobSerial, NodeId};

impl Graph {
    /// Refuses to freeze the links from `from` down to `last` while one of them is frozen, or stands on a node that
    /// will go away by itself.
    pub(crate) fn admit_freeze(&self, from: NodeId, last: NodeId) -> Result<(), Refused> {
        let mut id = from;
        while id != last {
            let Some(next) = self.below(id) else { break };
            let link = self.link_below(id);
            if self.place(id).frozen_by.is_some() {
                let (from, to) = (self.name(id).to_owned(), self.name(next).to_owned());
                return Err(Refused::LinkFrozen { link, from, to });
            }
            if matches!(self.node(next).driver, Driver::Filter(Filter::CommitTop | Filter::MirrorTop(_))) {
                return Err(Refused::CannotFreeze { link, to: self.name(next).to_owned() });
            }
            id = next;
        }
        Ok(())
    }

    /// Freezes or thaws the link below each node from `from` down to, but without, the link below `last`.
    pub(crate) fn set_frozen(&mut self, from: NodeId, last: NodeId, by: Option<JobSerial>) {
        let mut id = from;
        while id != last {
            let next = self.below(id).expect("the frozen part of a chain reaches its last node");
            let place = self.place_mut(id);
            assert!(
                by.is_none() || place.frozen_by.is_none(),
                "the link below {} is frozen twice",
                place.node.name
            );
            place.frozen_by = by;
            id = next;
        }
    }
}
