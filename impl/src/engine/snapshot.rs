//! `blockdev-snapshot`, `blockdev-snapshot-sync`: a chain grows at its top.

use super::Engine;
use super::opening::{Draft, Opener};
use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions};
use crate::error::Refused;
use crate::format::qcow2::{BackingName, CreateError, CreateOptions, Qcow2};
use crate::graph::Graph;
use crate::graph::blocker::Op;
use crate::graph::filename::Filenames;
use crate::graph::length::known_len;
use crate::id::NodeId;
use crate::io::write;
use crate::job::header::backing_filename;
use seam::Errno;
use std::sync::Arc;

/// `blockdev-snapshot-sync`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncOptions {
    /// `device`.
    pub device: Option<String>,
    /// `node-name`: what gets an overlay.
    pub node_name: Option<String>,
    /// `snapshot-file`: the overlay's file.
    pub file: String,
    /// `snapshot-node-name`.
    pub overlay_name: Option<String>,
    /// `format`; default qcow2.
    pub format: Option<String>,
    /// `mode` is `existing`: the image is there already.
    pub must_exist: bool,
}

impl Engine {
    /// `blockdev-snapshot`: an overlay that is open already.
    pub(crate) async fn blockdev_snapshot(&self, node: &str, overlay: &str) -> Result<(), Refused> {
        let _alone = self.gate.drain().await;
        let below = self.graph().lookup(node)?;
        self.graph().admit_op(Op::ExternalSnapshot, below)?;
        self.flush_below(below).await?;
        let ((), dropped) = self.try_edit(|graph| graph.snapshot(node, overlay))?;
        self.close(dropped).await;
        self.retire(below).await;
        Ok(())
    }

    /// `blockdev-snapshot-sync`: the overlay is made and opened too. It lives as long as somebody uses it.
    pub(crate) async fn blockdev_snapshot_sync(
        self: &Arc<Self>,
        options: &SyncOptions,
    ) -> Result<(), Refused> {
        let _alone = self.gate.drain().await;
        let mut draft = Draft::new(self);
        let new = self.new_overlay(&self.graph(), &mut draft, options).await?;
        let ((), dropped) = self.try_edit(|graph| {
            draft.close_gap(graph);
            new.put(graph, &draft)
        })?;
        self.close(dropped).await;
        self.settle_overlay(&new).await
    }

    /// Makes the overlay of `blockdev-snapshot-sync` and opens it in the draft. It is in no other graph yet.
    pub(super) async fn new_overlay(
        &self,
        graph: &Arc<Graph>,
        draft: &mut Draft<'_>,
        options: &SyncOptions,
    ) -> Result<NewOverlay, Refused> {
        let below = admit_sync(graph, options)?;
        // What was written before the snapshot is durable with it.
        write::flush(graph, below).await.map_err(Refused::io("flush", graph.name(below)))?;
        let name = admit_overlay_name(graph, options)?;
        if !options.must_exist {
            self.create_overlay(graph, below, options).await?;
        }
        let (opened, written) = (draft.new.len(), draft.written.len());
        let overlay = draft.open(&overlay_options(name, options)?, Opener::Operator).await?;
        let (nodes, written) = (draft.new[opened..].to_vec(), draft.written[written..].to_vec());
        Ok(NewOverlay { below, overlay, nodes, written })
    }

    /// The overlay is in the graph: what is below it is not written any more, and it is.
    pub(super) async fn settle_overlay(&self, new: &NewOverlay) -> Result<(), Refused> {
        self.retire(new.below).await;
        let graph = self.graph();
        let written: Vec<_> = new.written.iter().copied().filter(|id| graph.contains(*id)).collect();
        self.open_for_writing(&written).await.map(drop)
    }

    /// A node under its new overlay becomes read-only, unless somebody else writes to it.
    pub(crate) async fn retire(&self, below: NodeId) {
        let graph = self.graph();
        // With an overlay that nobody used, everything below may have gone that nobody else uses.
        if graph.contains(below) && !graph.place(below).read_only {
            let _stays_writable = self.reopen(below, false).await;
        }
    }

    /// What was written before the snapshot is durable with it.
    async fn flush_below(&self, below: NodeId) -> Result<(), Refused> {
        let graph = self.graph();
        write::flush(&graph, below).await.map_err(Refused::io("flush", graph.name(below)))
    }

    /// How a new overlay names what it stands on: as the chain is now, not as the image alone would be opened.
    fn overlaid_filename(&self, graph: &Graph, node: NodeId) -> String {
        match Filenames::new(graph).of(node) {
            json if json.starts_with("json:") => json.to_owned(),
            _ => backing_filename(&*self.host, graph, node),
        }
    }

    async fn create_overlay(
        &self,
        graph: &Graph,
        below: NodeId,
        options: &SyncOptions,
    ) -> Result<(), Refused> {
        match options.format.as_deref() {
            None | Some("qcow2") => {}
            Some("raw") => return Err(Refused::FormatWithoutBacking("raw".to_owned())),
            Some(other) => return Err(Refused::UnknownFormat(other.to_owned())),
        }
        let node = graph.node(graph.unfiltered(below));
        let backing = BackingName {
            file: self.overlaid_filename(graph, node.id),
            format: Some(node.driver_name().to_owned()),
        };
        let len_bytes = known_len(graph, below)?;
        self.host.report(&formatting(&options.file, len_bytes, &backing));
        let create = CreateOptions { len_bytes, backing: Some(backing), ..CreateOptions::default() };
        let cannot = |errno| Refused::CannotCreate { filename: options.file.clone(), errno };
        let disk = self.host.create(&options.file).await.map_err(cannot)?;
        Qcow2::create(&disk, &create).await.map_err(|error| match error {
            CreateError::Disk(errno) => cannot(errno),
            CreateError::BackingName => cannot(Errno::EINVAL),
            other => Refused::MalformedImage(other.to_string()),
        })
    }
}

/// An overlay that is open in a draft.
#[derive(Debug)]
pub(super) struct NewOverlay {
    below: NodeId,
    overlay: NodeId,
    /// It, and what it lies on.
    nodes: Vec<NodeId>,
    written: Vec<NodeId>,
}

impl NewOverlay {
    /// Puts it into a graph, above what it stands on.
    pub(super) fn put(&self, graph: &mut Graph, draft: &Draft<'_>) -> Result<(), Refused> {
        draft.put_nodes_into(graph, &self.nodes)?;
        graph.put_on_top(self.below, self.overlay)
    }
}

/// What is said of every image that is made, with all that it is made with.
fn formatting(file: &str, len_bytes: u64, backing: &BackingName) -> String {
    // Commas part the options, so within one they are doubled.
    let name = backing.file.replace(',', ",,");
    let format = backing.format.as_deref().unwrap_or("raw");
    format!(
        "Formatting '{file}', fmt=qcow2 cluster_size=65536 extended_l2=off compression_type=zlib \
         size={len_bytes} backing_file={name} backing_fmt={format} lazy_refcounts=off refcount_bits=16"
    )
}

fn admit_sync(graph: &Graph, options: &SyncOptions) -> Result<NodeId, Refused> {
    let node_name = options.node_name.as_deref().unwrap_or("");
    let below = graph.find(node_name).ok_or_else(|| Refused::NoSuchNode {
        device: options.device.clone().unwrap_or_default(),
        node_name: node_name.to_owned(),
    })?;
    graph.admit_op(Op::ExternalSnapshot, below)?;
    Ok(below)
}

fn admit_overlay_name(graph: &Graph, options: &SyncOptions) -> Result<String, Refused> {
    let name = options.overlay_name.clone().ok_or(Refused::OverlayNameMissing)?;
    if graph.find(&name).is_some() {
        return Err(Refused::OverlayNameInUse);
    }
    Ok(name)
}

fn overlay_options(name: String, options: &SyncOptions) -> Result<BlockdevOptions, Refused> {
    let file = ChildOptions::named_file(options.file.clone());
    let ChildOptions::Inline(plain) = file.clone() else { unreachable!("a named file is described inline") };
    let driver = match options.format.as_deref() {
        None | Some("qcow2") => DriverOptions::qcow2(file, BackingOptions::None),
        Some("raw") => DriverOptions::Raw { file, offset: 0, size: None },
        Some(other) => return Err(Refused::UnknownFormat(other.to_owned())),
    };
    Ok(BlockdevOptions { node_name: Some(name), driver, ..*plain })
}
