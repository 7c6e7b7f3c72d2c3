//! Other children for a node that is reopened.

use super::options::can_change_link;
use super::queue::child_options;
use crate::command::{BackingOptions, BlockdevOptions, ChildOptions, DriverOptions};
use crate::error::Refused;
use crate::graph::Graph;
use crate::graph::node::{Driver, Filter, Link};
use crate::id::NodeId;

/// Links a node to the children that its options name.
pub(super) fn change(graph: &mut Graph, id: NodeId, options: &BlockdevOptions) -> Result<(), Refused> {
    for link in [Link::Backing, Link::File] {
        if !can_change_link(graph.node(id), link) {
            continue;
        }
        let name = graph.node(id).driver.child_name(link);
        match child_options(&options.driver, link) {
            Some(ChildOptions::Reference(child)) => {
                let child = graph.lookup_node_name(child)?;
                graph.admit_child(id, name, child)?;
                change_one(graph, id, link, Some(child))?;
            }
            None if link == Link::Backing && has_no_backing(&options.driver) => {
                change_one(graph, id, link, None)?;
            }
            // What came with its parent stays; anything else is found out later.
            Some(ChildOptions::Inline(_)) | None => {}
        }
    }
    Ok(())
}

/// Whether options say that there is no layer below.
fn has_no_backing(driver: &DriverOptions) -> bool {
    matches!(driver, DriverOptions::Qcow2 { backing: BackingOptions::None, .. })
}

/// Refuses options that say nothing of a backing that is there, or that the header names.
pub(super) fn admit_backing(graph: &Graph, id: NodeId, options: &BlockdevOptions) -> Result<(), Refused> {
    let place = graph.place(id);
    let Some(image) = place.node.qcow2() else { return Ok(()) };
    let is_said = matches!(
        &options.driver,
        DriverOptions::Qcow2 { backing: BackingOptions::None | BackingOptions::Child(_), .. }
    );
    match is_said || (place.backing.is_none() && image.backing().is_none()) {
        true => Ok(()),
        false => Err(Refused::BackingMissing(place.node.name.to_string())),
    }
}

fn change_one(graph: &mut Graph, id: NodeId, link: Link, wanted: Option<NodeId>) -> Result<(), Refused> {
    let present = graph.place(id).child(link);
    if present == wanted {
        return Ok(());
    }
    if let Some(present) = present {
        if skip_implicit(graph, present) == wanted {
            return Ok(());
        }
        let name = graph.node(id).driver.child_name(link);
        if graph.place(present).implicit {
            return Err(Refused::ImplicitChild { link: name, node: graph.name(id).to_owned() });
        }
        // A commit's filter stands where it was put until the job ends. QEMU 10.0 dies of such a command.
        let is_commit =
            link == Link::Backing && matches!(graph.node(present).driver, Driver::Filter(Filter::CommitTop));
        let is_frozen = graph.place(id).frozen_by.is_some() && graph.below(id) == Some(present);
        if is_frozen || is_commit {
            return Err(graph.frozen(id, present));
        }
    }
    match link {
        Link::Backing => graph.set_backing(id, wanted),
        Link::File | Link::Side => graph.place_mut(id).file = wanted,
    }
    Ok(())
}

/// The node that clients see where they look at `id`.
fn skip_implicit(graph: &Graph, id: NodeId) -> Option<NodeId> {
    graph.chain(id).find(|node| !graph.place(*node).implicit)
}
