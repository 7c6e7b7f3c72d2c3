//! Finding a layer below by its file name, as `base` and `top` name one.
//!
//! What an image's header says of its backing counts: where the backing is the one the header names, a name may be
//! relative to that image, and `.`, `..` and links are resolved. Where the operator put another node below, only
//! that node's own name fits, letter by letter.

use super::Graph;
use crate::id::NodeId;
use seam::Host;

/// The first layer below `top` that `name` means.
pub(crate) fn find(graph: &Graph, host: &dyn Host, top: NodeId, name: &str) -> Option<NodeId> {
    let mut overlay = graph.unfiltered(top);
    while let Some(below) = graph.layer_below(overlay) {
        if is_meant(graph, host, overlay, below, name) {
            return Some(below);
        }
        overlay = below;
    }
    None
}

fn is_meant(graph: &Graph, host: &dyn Host, overlay: NodeId, below: NodeId, name: &str) -> bool {
    let (image, own_name) = (graph.node(overlay), &graph.node(below).filename);
    let named = image.qcow2().and_then(|image| image.backing()).map(|backing| backing.file);
    let combined = named.as_deref().map(|named| beside(&image.filename, named));
    // A node that nobody named came with its overlay, by the name in the header.
    let came_with_overlay = !graph.place(below).monitor_owned && combined.as_deref() == Some(own_name);
    let (Some(named), Some(combined)) =
        (named.filter(|named| named == own_name || came_with_overlay), combined)
    else {
        return name == own_name;
    };
    if has_protocol(name) || has_protocol(&named) {
        return name == named || name == combined;
    }
    let wanted = host.canonical(&beside(&image.filename, name));
    wanted.is_some() && wanted == host.canonical(&combined)
}

/// A name in the header of `image`, from the image's own folder.
fn beside(image: &str, name: &str) -> String {
    match image.rfind('/') {
        Some(slash) if !name.starts_with('/') && !has_protocol(name) => format!("{}/{name}", &image[..slash]),
        _ => name.to_owned(),
    }
}

/// Whether a name begins with a protocol, as `nbd://host` or `json:{}` do.
fn has_protocol(name: &str) -> bool {
    name.find([':', '/']).is_some_and(|at| name[at..].starts_with(':'))
}
