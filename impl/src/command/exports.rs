//! What is said and shown of exports.

use crate::graph::bitmap::held::ExportedBitmap;

/// `block-export-add`, of type `nbd`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExportOptions {
    /// `id`.
    pub id: String,
    /// `node-name`.
    pub node_name: String,
    /// `name`: what clients ask for; the node's name unless said.
    pub name: Option<String>,
    /// `description`, for people.
    pub description: Option<String>,
    /// `writable`.
    pub writable: bool,
    /// `iothread`: an object that must be there.
    pub iothread: Option<String>,
    /// `writethrough`: every write is durable before its reply.
    pub writethrough: bool,
    /// `allocation-depth`: clients may ask for `qemu:allocation-depth`.
    pub allocation_depth: bool,
    /// `bitmaps`: clients may ask what is dirty in them.
    pub bitmaps: Vec<ExportedBitmap>,
}

/// One entry of `query-block-exports`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportInfo {
    /// `id`.
    pub id: String,
    /// `node-name`: the node it stands on now.
    pub node_name: String,
    /// `shutting-down`.
    pub shutting_down: bool,
}
