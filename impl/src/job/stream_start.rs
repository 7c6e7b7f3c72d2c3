//! What `block-stream` checks before it starts, in QEMU 10.0's order, and the filter it puts in.
//!
//! ```text
//! before  base <- bottom <- mid <- target <- overlay
//! after   base <- bottom <- mid <- target <- filter <- overlay
//! ```

use crate::command::StreamArguments;
use crate::error::Refused;
use crate::graph::backing_image;
use crate::graph::blocker::Op;
use crate::graph::node::Filter;
use crate::graph::{Graph, JobChild, JobRole, UserKind};
use crate::id::{JobSerial, NodeId};
use crate::permission::Set;
use seam::Host;
use std::sync::Arc;

/// Which part of a chain a stream works on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    /// The node that receives the data.
    pub target: NodeId,
    /// The last layer whose data is copied; target's own layer if there is nothing to do.
    pub bottom: NodeId,
    /// The node directly above base: bottom, or the lowest filter between the two.
    pub above_base: NodeId,
    /// What hangs below when the job starts. It is not held: it may change until the job completes.
    pub base: Option<NodeId>,
}

impl Region {
    /// Whether target already holds all there is.
    pub(crate) fn is_empty(&self, graph: &Graph) -> bool {
        graph.unfiltered(self.target) == self.bottom
    }
}

/// Finds the region that `arguments` mean, or says what is wrong with them (rows 1 to 10 of the order).
pub(crate) fn admit(graph: &Graph, host: &dyn Host, arguments: &StreamArguments) -> Result<Region, Refused> {
    admit_exclusions(arguments)?;
    let target = graph.lookup(&arguments.device)?;
    let base = find_base(graph, host, target, arguments)?;
    let bottom = find_bottom(graph, target, arguments)?;
    admit_blockers(graph, target, base, bottom)?;
    if arguments.backing_file.is_some() && base.is_none() {
        return Err(Refused::BackingFileWithoutBase);
    }
    let (bottom, above_base) = match (bottom, base) {
        (Some(bottom), _) => (bottom, bottom),
        (None, Some(base)) => above(graph, target, base)?,
        (None, None) => {
            let last = graph.lowest_layer(target);
            (last, last)
        }
    };
    Ok(Region { target, bottom, above_base, base: graph.below(above_base) })
}

fn admit_exclusions(arguments: &StreamArguments) -> Result<(), Refused> {
    let base = arguments.base.is_some();
    let base_node = arguments.base_node.is_some();
    let bottom = arguments.bottom.is_some();
    if base && base_node {
        return Err(Refused::Exclusive { one: "base", other: "base-node" });
    }
    if base && bottom {
        return Err(Refused::Exclusive { one: "base", other: "bottom" });
    }
    if bottom && base_node {
        return Err(Refused::Exclusive { one: "bottom", other: "base-node" });
    }
    Ok(())
}

fn find_base(
    graph: &Graph,
    host: &dyn Host,
    target: NodeId,
    arguments: &StreamArguments,
) -> Result<Option<NodeId>, Refused> {
    if let Some(filename) = &arguments.base {
        let found = backing_image::find(graph, host, target, filename);
        return found.map(Some).ok_or_else(|| Refused::NotInBackingChain(filename.clone()));
    }
    let Some(name) = &arguments.base_node else {
        return Ok(None);
    };
    let base = graph.lookup_node_name(name)?;
    if !graph.is_below(base, target) {
        return Err(Refused::NotABackingImage { node: name.clone(), device: arguments.device.clone() });
    }
    Ok(Some(base))
}

fn find_bottom(
    graph: &Graph,
    target: NodeId,
    arguments: &StreamArguments,
) -> Result<Option<NodeId>, Refused> {
    let Some(name) = &arguments.bottom else {
        return Ok(None);
    };
    let bottom = graph.lookup_node_name(name)?;
    if graph.is_filter(bottom) {
        return Err(Refused::BottomIsFilter(name.clone()));
    }
    if bottom != target && !graph.is_below(bottom, target) {
        return Err(Refused::NotInChain { node: name.clone(), device: arguments.device.clone() });
    }
    Ok(Some(bottom))
}

/// Nobody may be at work on any node from target down to, but without, base. The first busy one from the top wins.
fn admit_blockers(
    graph: &Graph,
    target: NodeId,
    base: Option<NodeId>,
    bottom: Option<NodeId>,
) -> Result<(), Refused> {
    let end = bottom.map_or(base, |bottom| graph.below(bottom));
    for id in graph.chain(target).take_while(|id| Some(*id) != end) {
        graph.admit_op(Op::Stream, id)?;
    }
    Ok(())
}

/// The last layer above `base`, and the node directly above it.
fn above(graph: &Graph, target: NodeId, base: NodeId) -> Result<(NodeId, NodeId), Refused> {
    let above_base = graph.chain(target).find(|id| graph.below(*id) == Some(base));
    let layers = graph.chain(target).take_while(|id| *id != base).filter(|id| !graph.is_filter(*id));
    match (above_base, layers.last()) {
        (Some(above_base), Some(overlay)) => Ok((overlay, above_base)),
        _ => Err(Refused::BaseNotInChain {
            base: graph.name(base).to_owned(),
            top: graph.name(target).to_owned(),
        }),
    }
}

/// A name that the new filter cannot have (row 13).
pub(crate) fn admit_filter_name(graph: &Graph, arguments: &StreamArguments) -> Result<(), Refused> {
    match &arguments.filter_node_name {
        Some(name) => graph.admit_name(name).map_err(|refused| Refused::FilterNotCreated(Box::new(refused))),
        None => Ok(()),
    }
}

/// Puts the filter in, freezes the chain below it and makes the job hold its nodes. Answers the filter.
pub(crate) fn attach(
    graph: &mut Graph,
    region: &Region,
    serial: JobSerial,
    id: &Arc<str>,
    filter_name: Option<&str>,
) -> Result<NodeId, Refused> {
    let copy_on_read = Filter::CopyOnRead { bottom: Some(region.bottom) };
    let mut place = graph.new_filter(region.target, filter_name, copy_on_read);
    let filter = place.node.id;
    place.read_only = graph.place(region.target).read_only;
    place.file = Some(region.target);
    place.implicit = filter_name.is_none();
    graph.move_parents(region.target, filter, filter);
    graph.insert(filter, place);
    graph.set_frozen(filter, region.bottom, Some(serial));
    let between: Vec<NodeId> =
        graph.chain(region.target).skip(1).take_while(|node| Some(*node) != region.base).collect();
    let child = |role| UserKind::Job(JobChild { serial, id: id.clone(), kind: "stream", role });
    let no_resize = Set::ALL.without(Set::RESIZE);
    graph.add_user(filter, child(JobRole::Main), Set::NONE, Set::ALL);
    graph.add_user(filter, child(JobRole::Root), Set::READ, no_resize);
    graph.add_user(region.target, child(JobRole::Active), Set::NONE, no_resize);
    graph.admit_permissions()?;
    // One by one from the top, so that a conflict names the first node that brings it about.
    for node in between {
        let quiet = Set::READ.and(Set::WRITE_UNCHANGED);
        graph.add_user(node, child(JobRole::Intermediate), Set::NONE, quiet);
        graph.admit_permissions()?;
    }
    Ok(filter)
}

/// Takes the filter out again: its parents use target, and the chain below is free. The job keeps the filter's name.
pub(crate) fn detach(graph: &mut Graph, region: &Region, serial: JobSerial, filter: NodeId) {
    graph.set_frozen(filter, region.bottom, None);
    graph.move_parents(filter, region.target, filter);
    graph.remove_job_users(serial, Some(JobRole::Root));
    let held = graph.users().find_map(|(_, user)| match &user.kind {
        UserKind::Job(child) if child.serial == serial && child.role == JobRole::Main => Some(child.clone()),
        _ => None,
    });
    graph.leave_behind(filter, held.expect("a stream is made on its filter"));
}
