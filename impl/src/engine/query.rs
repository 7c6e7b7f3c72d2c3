//! What the engine tells about its nodes.

use super::Engine;
use crate::command::{BitmapInfo, NodeInfo};
use crate::graph::Graph;
use crate::graph::bitmap::Bitmap;
use crate::graph::filename::Filenames;
use crate::id::NodeId;
use crate::io::len_bytes;

impl Engine {
    /// `query-named-block-nodes`: newest first.
    pub fn query_named_block_nodes(&self) -> Vec<NodeInfo> {
        let graph = self.graph();
        let mut names = Filenames::new(&graph);
        let mut nodes: Vec<NodeInfo> = graph.nodes().map(|(id, _)| info(&graph, &mut names, id)).collect();
        nodes.reverse();
        nodes
    }
}

fn info(graph: &Graph, names: &mut Filenames<'_>, id: NodeId) -> NodeInfo {
    let place = graph.place(id);
    let layers_below = std::iter::successors(Some(id), |id| graph.layer_below(*id)).skip(1);
    let backing = graph.place(graph.unfiltered(id)).backing;
    NodeInfo {
        node_name: place.node.name.to_string(),
        driver: place.node.driver_name(),
        read_only: place.read_only,
        file: names.of(id).to_owned(),
        backing_file: backing.filter(|_| !place.node.is_filter()).map(|backing| names.of(backing).to_owned()),
        backing_file_depth: layers_below.take(graph.nodes().count()).count() as u64,
        // A length that cannot be read is shown as nothing rather than refusing the whole answer.
        virtual_size: len_bytes(graph, id).unwrap_or(0),
        cluster_size: place.node.cluster_bytes(),
        bitmaps: place.bitmaps.iter().rev().map(bitmap_info).collect(),
    }
}

fn bitmap_info(bitmap: &Bitmap) -> BitmapInfo {
    BitmapInfo {
        name: bitmap.name.to_string(),
        dirty_bytes: bitmap.dirty_bytes(),
        granularity: bitmap.granularity,
        is_recording: bitmap.is_recording,
    }
}
