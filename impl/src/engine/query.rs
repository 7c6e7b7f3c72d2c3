//! What the engine shows of its nodes.

use super::Engine;
use super::named::beside;
use crate::command::{BitmapInfo, NamedBacking, NodeInfo, SpecificInfo};
use crate::format::qcow2::{BackingName, Snapshot};
use crate::graph::bitmap::Bitmap;
use crate::graph::bitmap::held::Held;
use crate::graph::filename::Filenames;
use crate::graph::length::len_bytes;
use crate::graph::node::{Driver, Filter, Storage};
use crate::graph::{Graph, Place};
use crate::id::NodeId;
use seam::Disk;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sizes are shown in whole sectors.
const SECTOR_BYTES: u64 = 512;

impl Engine {
    /// `query-named-block-nodes`: newest first.
    pub fn query_named_block_nodes(&self) -> Vec<NodeInfo> {
        let graph = self.graph();
        let mut names = Filenames::new(&graph);
        let mut sizes = Sizes::new();
        let mut nodes: Vec<NodeInfo> =
            graph.nodes().map(|(id, _)| info(&graph, &mut names, &mut sizes, id)).collect();
        nodes.reverse();
        nodes
    }
}

/// What the files below a node take, where anybody can say. A node that is reached by two ways is looked at once.
type Sizes = BTreeMap<NodeId, Option<u64>>;

fn info(graph: &Graph, names: &mut Filenames<'_>, sizes: &mut Sizes, id: NodeId) -> NodeInfo {
    let place = graph.place(id);
    let knower = knower(graph, id);
    let backing = place.backing.filter(|_| !place.node.is_filter());
    let below = graph.below(id);
    NodeInfo {
        node_name: place.node.name.to_string(),
        driver: place.node.driver_name(),
        read_only: place.read_only,
        file: names.of(id).to_owned(),
        backing_file: backing.map(|backing| names.of(backing).to_owned()),
        backing_file_depth: graph.chain(id).skip(1).count() as u64,
        below: below.map(|below| graph.name(below).to_owned()),
        // A length that cannot be read is shown as nothing rather than refusing the whole answer.
        virtual_size: len_bytes(graph, id).unwrap_or(0).next_multiple_of(SECTOR_BYTES),
        cluster_size: graph.node(knower).cluster_bytes(),
        is_dirty: is_dirty(graph, knower),
        actual_size: allocated_bytes(graph, sizes, id),
        named_backing: named_backing(place),
        snapshots: snapshots(graph, id, knower),
        specific: specific(&place.node.driver),
        detect_zeroes: place.options.detect_zeroes.word(),
        direct: place.options.direct,
        no_flush: place.options.no_flush,
        write_threshold: place.node.write_threshold.bytes(),
        bitmaps: bitmap_infos(&place.bitmaps),
    }
}

/// The node that knows about clusters: a filter asks what it filters, and a raw node what it lies on.
fn knower(graph: &Graph, id: NodeId) -> NodeId {
    let next = |id: &NodeId| match graph.node(*id).driver {
        Driver::Storage(Storage::Raw(_)) => graph.place(*id).file,
        Driver::Filter(_) => graph.below(*id),
        _ => None,
    };
    std::iter::successors(Some(id), next).last().expect("the node itself is one of them")
}

/// Only what keeps its bytes in a file knows.
fn is_dirty(graph: &Graph, id: NodeId) -> Option<bool> {
    match &graph.node(id).driver {
        Driver::Storage(Storage::Qcow2(image)) => Some(image.is_dirty()),
        Driver::Storage(Storage::File { .. }) => Some(false),
        _ => None,
    }
}

/// What the files below a node take, without those of its backing. A server does not say it, and an error-injecting filter.
fn allocated_bytes(graph: &Graph, sizes: &mut Sizes, id: NodeId) -> Option<u64> {
    if let Some(known) = sizes.get(&id) {
        return *known;
    }
    let place = graph.place(id);
    let bytes = match &place.node.driver {
        // As with lengths, one that cannot be read is shown as nothing.
        Driver::Storage(Storage::File { disk, .. }) => Some(disk.allocated_bytes().unwrap_or(0)),
        // What stands for something outside the graph answers for itself alone.
        Driver::Storage(Storage::Nbd { .. }) | Driver::Filter(Filter::Blkdebug(_)) => None,
        Driver::Filter(Filter::CopyBeforeWrite(_)) => {
            place.file.map_or(Some(0), |child| allocated_bytes(graph, sizes, child))
        }
        _ => {
            let filtered = place.backing.filter(|_| place.node.is_filter());
            let data = place.side.filter(|_| place.node.qcow2().is_some());
            let children = [place.file, filtered, data].into_iter().flatten();
            let mut sizes = children.map(|child| allocated_bytes(graph, sizes, child));
            sizes.try_fold(0, |sum: u64, size| Some(sum.saturating_add(size?)))
        }
    };
    sizes.insert(id, bytes);
    bytes
}

/// Those of the image whose bytes a node passes on. A backup's filter has two children, and passes on neither's.
fn snapshots(graph: &Graph, id: NodeId, knower: NodeId) -> Arc<[Snapshot]> {
    let next = |id: &NodeId| (*id != knower).then(|| graph.place(*id).file.or(graph.below(*id))).flatten();
    let mut way = std::iter::successors(Some(id), next);
    if way.any(|id| matches!(graph.node(id).driver, Driver::Filter(Filter::CopyBeforeWrite(_)))) {
        return Arc::default();
    }
    graph.node(knower).qcow2().map(|image| image.shown_snapshots()).unwrap_or_default()
}

fn named_backing(place: &Place) -> Option<NamedBacking> {
    let BackingName { file, format } = place.node.qcow2()?.backing()?;
    let full = beside(&place.node.filename, &file);
    Some(NamedBacking { file, full, format })
}

fn specific(driver: &Driver) -> Option<SpecificInfo> {
    match driver {
        Driver::Storage(Storage::File { .. }) => Some(SpecificInfo::File),
        Driver::Storage(Storage::Qcow2(image)) => Some(SpecificInfo::Qcow2(image.info())),
        _ => None,
    }
}

/// The youngest first. What is written while a backup holds a bitmap is recorded in one without a name.
fn bitmap_infos(bitmaps: &[Bitmap]) -> Vec<BitmapInfo> {
    let since = bitmaps.iter().rev().filter_map(|bitmap| {
        let dirty_bytes = bitmap.bytes_since()?;
        Some(BitmapInfo {
            name: None,
            dirty_bytes,
            is_persistent: false,
            is_busy: false,
            ..bitmap_info(bitmap)
        })
    });
    since.chain(bitmaps.iter().rev().map(bitmap_info)).collect()
}

fn bitmap_info(bitmap: &Bitmap) -> BitmapInfo {
    BitmapInfo {
        name: Some(Arc::clone(&bitmap.name)),
        dirty_bytes: bitmap.dirty_bytes(),
        granularity: bitmap.granularity,
        is_recording: bitmap.is_recording,
        is_persistent: bitmap.is_persistent,
        is_busy: !matches!(bitmap.held, Held::No),
        is_inconsistent: bitmap.is_inconsistent,
    }
}
