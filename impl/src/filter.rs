//! Filters that an operator puts between nodes: what they remember and decide. Their place in the graph, and the
//! requests that pass them, are the graph's and `io`'s business.

pub(crate) mod blkdebug;
pub(crate) mod throttle;
