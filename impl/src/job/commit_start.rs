//! What `block-commit` checks before it starts, in QEMU 10.0's order, and the filter of an intermediate commit.
//!
//! ```text
//! before  base <- mid <- top <- overlay <- device
//! after   base <- mid <- top <- filter <- overlay <- device
//! ```

use crate::command::CommitArguments;
use crate::error::Refused;
use crate::graph::backing_image;
use crate::graph::blocker::Op;
use crate::graph::node::Filter;
use crate::graph::{Graph, JobChild, JobRole, UserKind};
use crate::id::{JobSerial, NodeId};
use crate::permission::Set;
use seam::Host;
use std::sync::Arc;

/// Which of the two commits a command means.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Plan {
    /// Somebody writes to top: a mirror into base, which takes top's place in the end.
    Active {
        /// The root of the chain.
        device: NodeId,
        /// What is copied from.
        top: NodeId,
        /// What is copied into.
        base: NodeId,
    },
    /// Nobody writes to top, and something stands on it.
    Intermediate(Region),
}

/// Which part of a chain an intermediate commit works on.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    /// The root of the chain.
    pub device: NodeId,
    /// The uppermost node whose data is copied down.
    pub top: NodeId,
    /// The node that receives the data.
    pub base: NodeId,
}

impl Region {
    /// Refuses a region that holds one layer only.
    pub(crate) fn admit(&self, graph: &Graph) -> Result<(), Refused> {
        if graph.unfiltered(self.top) == graph.unfiltered(self.base) {
            return Err(Refused::TopIsBase);
        }
        Ok(())
    }

    /// The last layer above base.
    pub(crate) fn bottom(&self, graph: &Graph) -> NodeId {
        let above = graph.chain(self.top).take_while(|id| *id != self.base);
        // Filters right above base hide nothing of it: whoever stands on the uppermost of them stands on base.
        let base = graph.unfiltered(self.base);
        let layers = above.filter(|id| !graph.is_filter(*id) && *id != base);
        layers.last().expect("a region has a layer above base")
    }
}

/// Finds what `arguments` mean, or says what is wrong with them.
pub(crate) fn admit(graph: &Graph, host: &dyn Host, arguments: &CommitArguments) -> Result<Plan, Refused> {
    let device = graph.find(&arguments.device);
    let device = device.ok_or_else(|| Refused::DeviceNotFound(arguments.device.clone()))?;
    if !graph.is_root(device) {
        return Err(Refused::NeedRootNode);
    }
    graph.admit_op(Op::CommitSource, device)?;
    let top = find_top(graph, host, device, arguments)?;
    let base = find_base(graph, host, top, arguments)?;
    let end = graph.below(base);
    for id in graph.chain(top).take_while(|id| Some(*id) != end) {
        graph.admit_op(Op::CommitTarget, id)?;
    }
    if top == base {
        return Err(Refused::CommitIntoItself);
    }
    let is_active_layer = graph.unfiltered(top) == graph.unfiltered(device);
    if is_active_layer || graph.has_writer(top) {
        return match arguments.backing_file {
            Some(_) if is_active_layer => Err(Refused::BackingFileOfActive("is the active layer")),
            Some(_) => Err(Refused::BackingFileOfActive("has a writer on it")),
            None => Ok(Plan::Active { device, top, base }),
        };
    }
    // Its header will change, so nobody may be at work on it.
    let overlay = graph.overlay(device, top).expect("what is not the active layer has an overlay");
    graph.admit_op(Op::CommitTarget, overlay)?;
    Ok(Plan::Intermediate(Region { device, top, base }))
}

fn find_top(
    graph: &Graph,
    host: &dyn Host,
    device: NodeId,
    arguments: &CommitArguments,
) -> Result<NodeId, Refused> {
    match (&arguments.top_node, &arguments.top) {
        (Some(_), Some(_)) => Err(Refused::TopTwice),
        (Some(name), None) => find_in_chain(graph, device, name),
        (None, Some(filename)) if graph.node(device).filename == *filename => Ok(device),
        (None, Some(filename)) => backing_image::find(graph, host, device, filename)
            .ok_or_else(|| Refused::TopNotFound(filename.clone())),
        (None, None) => Ok(device),
    }
}

fn find_base(
    graph: &Graph,
    host: &dyn Host,
    top: NodeId,
    arguments: &CommitArguments,
) -> Result<NodeId, Refused> {
    match (&arguments.base_node, &arguments.base) {
        (Some(_), Some(_)) => Err(Refused::BaseTwice),
        (Some(name), None) => find_in_chain(graph, top, name),
        (None, Some(filename)) => backing_image::find(graph, host, top, filename)
            .ok_or_else(|| Refused::NotInBackingChain(filename.clone())),
        (None, None) => Ok(graph.lowest_layer(top)),
    }
}

fn find_in_chain(graph: &Graph, root: NodeId, name: &str) -> Result<NodeId, Refused> {
    let id = graph.lookup_node_name(name)?;
    if id != root && !graph.is_below(id, root) {
        return Err(Refused::NotInThisChain(name.to_owned()));
    }
    Ok(id)
}

/// Puts the filter above top, and the job's children into the graph. An error leaves a graph to be thrown away.
pub(crate) fn attach(
    graph: &mut Graph,
    region: &Region,
    serial: JobSerial,
    id: &Arc<str>,
    filter_name: Option<&str>,
    grows: bool,
) -> Result<NodeId, Refused> {
    if let Some(name) = filter_name {
        graph.admit_name(name)?;
    }
    let child = |role| UserKind::Job(JobChild { serial, id: id.clone(), kind: "commit", role });
    graph.add_user(region.device, child(JobRole::Main), Set::NONE, Set::ALL);
    let filter = insert_filter(graph, region.top, filter_name);
    graph.admit_permissions()?;
    let between: Vec<NodeId> = graph.chain(region.top).take_while(|node| *node != region.base).collect();
    let bottom = region.bottom(graph);
    let mut shared = Set::WRITE.and(Set::WRITE_UNCHANGED);
    for node in between {
        graph.add_user(node, child(JobRole::Intermediate), Set::NONE, shared);
        graph.admit_permissions()?;
        if node == bottom {
            // From here on down everything is a filter on base, which nobody's data is taken from.
            shared = shared.and(Set::READ);
        }
    }
    graph.admit_freeze(filter, region.base)?;
    graph.set_frozen(filter, region.base, Some(serial));
    graph.add_user(region.base, child(JobRole::Base), Set::NONE, Set::ALL);
    let grown = if grows { Set::RESIZE } else { Set::NONE };
    let taken = Set::READ.and(Set::WRITE).and(grown);
    graph.add_user(region.base, child(JobRole::Root), taken, Set::READ.and(Set::WRITE_UNCHANGED));
    graph.add_user(region.top, child(JobRole::Root), Set::NONE, Set::ALL);
    graph.admit_permissions()?;
    Ok(filter)
}

fn insert_filter(graph: &mut Graph, top: NodeId, filter_name: Option<&str>) -> NodeId {
    let mut place = graph.new_filter(top, filter_name, Filter::CommitTop);
    let filter = place.node.id;
    place.read_only = true;
    place.backing = Some(top);
    place.implicit = filter_name.is_none();
    graph.move_parents(top, filter, filter);
    graph.insert(filter, place);
    filter
}

/// Takes the filter out: who stood on it stands on `to`, and the chain below is free.
pub(crate) fn detach(graph: &mut Graph, region: &Region, serial: JobSerial, filter: NodeId, to: NodeId) {
    graph.set_frozen(filter, region.base, None);
    graph.remove_job_users(serial, Some(JobRole::Root));
    graph.move_parents(filter, to, filter);
}
