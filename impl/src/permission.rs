//! Permissions: what an edge of the graph takes of a node, or shares with the others there.

use std::fmt;

/// A set of permissions.
#[derive(Copy, Clone, PartialEq, Eq, Default)]
pub struct Set(u8);

impl Set {
    /// Nothing.
    pub const NONE: Set = Set(0);
    /// Reads see a meaningful state.
    pub const READ: Set = Set(1);
    /// Content may change.
    pub const WRITE: Set = Set(2);
    /// Writes that leave the visible content as it is.
    pub(crate) const WRITE_UNCHANGED: Set = Set(4);
    /// The size may change.
    pub const RESIZE: Set = Set(8);
    /// Everything.
    pub const ALL: Set = Set(15);

    /// Both sets together.
    pub const fn and(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    /// What both sets have.
    pub const fn common(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }

    /// What is in here and not in `other`.
    pub const fn without(self, other: Set) -> Set {
        Set(self.0 & !other.0)
    }

    /// Whether all of `other` is in here.
    pub fn has(self, other: Set) -> bool {
        self.0 & other.0 == other.0
    }

    /// As conflicts name them.
    pub fn names(self) -> String {
        let all = [
            (Set::READ, "consistent read"),
            (Set::WRITE, "write"),
            (Set::WRITE_UNCHANGED, "write unchanged"),
            (Set::RESIZE, "resize"),
        ];
        let named: Vec<&str> = all.iter().filter(|(one, _)| self.has(*one)).map(|(_, name)| *name).collect();
        named.join(", ")
    }

    /// The words of x-debug-query-block-graph, in its order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (Set::RESIZE, "resize"),
            (Set::WRITE_UNCHANGED, "write-unchanged"),
            (Set::WRITE, "write"),
            (Set::READ, "consistent-read"),
        ];
        all.into_iter().filter(move |(one, _)| self.has(*one)).map(|(_, word)| word)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (one, letter) in
            [(Set::RESIZE, 'r'), (Set::WRITE_UNCHANGED, 'u'), (Set::WRITE, 'w'), (Set::READ, 'c')]
        {
            if self.has(one) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}
