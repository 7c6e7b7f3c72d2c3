//! A change of a node that a guest asks for, as the laws of bitmaps and thresholds see it.

use midstream::request::Operation;
use std::ops::Range;

/// A change of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Write {
    /// The name of the node that keeps the bytes, below filters.
    pub node: String,
    /// What it is.
    pub operation: Operation,
    /// Which bytes of the node.
    pub bytes: Range<u64>,
}
