//! What queries show of nodes and of what belongs to them.

use crate::format::qcow2::Snapshot;
use crate::permission::Set;
use std::sync::Arc;

/// One entry of `query-named-block-nodes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeInfo {
    /// `node-name`.
    pub node_name: String,
    /// `drv`.
    pub driver: &'static str,
    /// `ro`.
    pub read_only: bool,
    /// `file`: the node's file name.
    pub file: String,
    /// `backing_file`: file name of the backing node, if any.
    pub backing_file: Option<String>,
    /// `backing_file_depth`: how many nodes lie below in its chain, filters too.
    pub backing_file_depth: u64,
    /// The name of the next of them.
    pub below: Option<String>,
    /// Virtual size in bytes.
    pub virtual_size: u64,
    /// Cluster size in bytes, where the format has one.
    pub cluster_size: Option<u64>,
    /// `dirty-flag`: whether the image was not closed cleanly; nothing where nobody can know.
    pub is_dirty: Option<bool>,
    /// `actual-size`: the space its files take, in bytes, if anybody can say.
    pub actual_size: Option<u64>,
    /// `backing-filename` and what belongs to it, as the image itself says.
    pub named_backing: Option<NamedBacking>,
    /// `snapshots`, in the order of the image.
    pub snapshots: Arc<[Snapshot]>,
    /// `format-specific`.
    pub specific: Option<SpecificInfo>,
    /// `detect_zeroes`.
    pub detect_zeroes: &'static str,
    /// `cache.direct`.
    pub direct: bool,
    /// `cache.no-flush`.
    pub no_flush: bool,
    /// `write_threshold`.
    pub write_threshold: u64,
    /// `dirty-bitmaps`: newest first.
    pub bitmaps: Vec<BitmapInfo>,
}

/// The backing file that an image names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedBacking {
    /// `backing-filename`.
    pub file: String,
    /// `full-backing-filename`: from where the image lies.
    pub full: Option<String>,
    /// `backing-filename-format`.
    pub format: Option<String>,
}

/// What only one kind of node has to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpecificInfo {
    /// Nothing more.
    File,
    /// What the image says of itself.
    Qcow2(crate::format::qcow2::Info),
}

/// `x-debug-query-block-graph`: every node, user and job, and who takes what of whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GraphInfo {
    /// What stands in the graph.
    pub vertices: Vec<VertexInfo>,
    /// The uses between them.
    pub edges: Vec<EdgeInfo>,
}

/// One vertex of the graph as it is debugged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VertexInfo {
    /// Its number, in this answer only.
    pub id: u64,
    /// `block-driver`, `block-backend` or `block-job`.
    pub kind: &'static str,
    /// Its name, empty for a guest's or a job's own access.
    pub name: String,
}

/// One use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeInfo {
    /// Who uses.
    pub parent: u64,
    /// What is used.
    pub child: u64,
    /// The child's name at its parent.
    pub name: &'static str,
    /// What is taken.
    pub taken: Set,
    /// What others may do.
    pub shared: Set,
}

/// One entry of a node's `dirty-bitmaps`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapInfo {
    /// `name`, if it has one.
    pub name: Option<Arc<str>>,
    /// `count`: dirty bytes.
    pub dirty_bytes: u64,
    /// `granularity`, bytes.
    pub granularity: u32,
    /// `recording`.
    pub is_recording: bool,
    /// `persistent`.
    pub is_persistent: bool,
    /// `busy`: somebody holds it.
    pub is_busy: bool,
    /// `inconsistent`.
    pub is_inconsistent: bool,
}
