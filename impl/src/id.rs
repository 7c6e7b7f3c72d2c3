//! Identities inside the engine. Operators never see them: they use names.

/// One node of the graph.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// One user of a node that is not a node itself: a guest, or one of a job's children.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UserId(pub u64);

/// One job, from its creation until `null`. Job ids (names) may be used again, serials are not.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobSerial(pub u32);
