//! For whom a node is opened, and what it takes over from there.

use crate::command::{BlockdevOptions, NodeSettings};

/// What a child takes over from the node it is opened for.
#[derive(Copy, Clone, Debug)]
pub(in crate::engine) enum Opener {
    /// The operator, by name.
    Operator,
    /// A node that stands on it, so deep below the first, and is read-only or not.
    Parent { depth: u32, read_only: bool, inherited: Inherited },
    /// An overlay, so deep below the first.
    Overlay { depth: u32, inherited: Inherited },
}

/// Settings that go down to children that do not say.
#[derive(Copy, Clone, Debug, Default)]
pub(in crate::engine) struct Inherited {
    pub(super) direct: bool,
    pub(super) no_flush: bool,
    pub(super) force_share: bool,
    pub(super) unmap: bool,
}

impl Opener {
    fn inherited(self) -> Inherited {
        match self {
            Opener::Operator => Inherited::default(),
            Opener::Parent { inherited, .. } | Opener::Overlay { inherited, .. } => inherited,
        }
    }

    /// How many nodes stand above what is opened.
    pub(super) fn depth(self) -> u32 {
        match self {
            Opener::Operator => 0,
            Opener::Parent { depth, .. } | Opener::Overlay { depth, .. } => depth,
        }
    }

    /// Whether what is opened is read-only, if its options do not say.
    pub(super) fn read_only(self) -> bool {
        match self {
            Opener::Operator => false,
            Opener::Parent { read_only, .. } => read_only,
            Opener::Overlay { .. } => true,
        }
    }

    /// The settings of a node with such options, where it is opened.
    pub(super) fn settle(self, settings: &NodeSettings) -> Inherited {
        let above = self.inherited();
        Inherited {
            direct: settings.direct.unwrap_or(above.direct),
            no_flush: settings.no_flush.unwrap_or(above.no_flush),
            force_share: settings.force_share.unwrap_or(above.force_share),
            unmap: settings.unmap.unwrap_or(matches!(self, Opener::Parent { .. })),
        }
    }

    /// Who opens the children of a node with such options.
    pub(super) fn parent(self, options: &BlockdevOptions, read_only: bool) -> Opener {
        Opener::Parent { depth: self.depth() + 1, read_only, inherited: self.settle(&options.settings) }
    }

    /// Who opens its backing.
    pub(super) fn overlay(self, options: &BlockdevOptions) -> Opener {
        Opener::Overlay { depth: self.depth() + 1, inherited: self.settle(&options.settings) }
    }
}
