//! Why a step on the metadata did not finish: a table is not in memory, or the image or disk is bad.

use super::damage::Damage;
use seam::Errno;

/// What a table in the cache is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum TableKind {
    L2,
    RefcountBlock,
}

/// A table to be loaded before the step is tried again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Missing {
    pub at: u64,
    pub kind: TableKind,
}

/// Why a step did not finish. It changed nothing it must not change twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    Missing(Missing),
    Failed(Errno),
    Damaged(Box<Damage>),
}
