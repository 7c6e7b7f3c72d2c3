//! What an image's header says of the layer below it, changed durably when a job changes a chain.

use crate::format::qcow2::{BackingName, Qcow2};
use crate::graph::Graph;
use crate::id::NodeId;
use seam::{Errno, Host, IoResult};

/// What the operator wants a header to say.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// The string for the header, instead of the file's own name.
    pub file: Option<&'a str>,
    /// Whether a protocol node below is written as `raw`.
    pub mask_protocol: bool,
}

/// Makes the header of `overlay` name `base`, durably. If that fails, the header names what it named before, as far
/// as anybody can see to it.
pub(crate) async fn name_backing(
    host: &dyn Host,
    graph: &Graph,
    overlay: NodeId,
    base: Option<NodeId>,
    wanted: Wanted<'_>,
) -> IoResult<()> {
    let Some(image) = graph.node(overlay).qcow2() else {
        return Err(Errno::ENOTSUP);
    };
    // An empty `backing-file` means that the header names none.
    let name = base.map(|base| backing_name(host, graph, base, wanted)).filter(|name| !name.file.is_empty());
    let before = image.backing();
    let written = write_durably(image, name).await;
    if written.is_err() {
        // Nobody knows which name the disk has now. Both show the same, but the job fails and the old chain goes on:
        // the header says so again, as far as it can.
        let _as_far_as_it_can = write_durably(image, before).await;
    }
    written
}

/// What a header says of `base`.
fn backing_name(host: &dyn Host, graph: &Graph, base: NodeId, wanted: Wanted<'_>) -> BackingName {
    let node = graph.node(graph.unfiltered(base));
    let file = wanted.file.map_or_else(|| backing_filename(host, graph, node.id), str::to_owned);
    let format = if node.outside().is_some() && wanted.mask_protocol { "raw" } else { node.driver_name() };
    BackingName { file, format: Some(format.to_owned()) }
}

/// How a header names a node as its backing.
pub(crate) fn backing_filename(host: &dyn Host, graph: &Graph, id: NodeId) -> String {
    match graph.image_filename(id) {
        json if json.starts_with("json:") => json,
        // A relative name would mean another file: a header's names count from the image's own folder.
        name => host.absolute(&name),
    }
}

async fn write_durably(image: &Qcow2, backing: Option<BackingName>) -> IoResult<()> {
    image.change_backing(backing).await?;
    image.flush().await
}
