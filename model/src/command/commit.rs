//! `block-commit`: which nodes are emptied into which base, and the fixed order in which it is refused.
//!
//! Where nobody writes the top, the job copies once and then drops the nodes from the chain; where somebody does, or the
//! top is the active layer, it follows the writes until it is asked to complete: an *active* commit, a mirror by nature.

use crate::command::plan::{Plan, Work, admit_filter, admit_job_id};
use crate::command::reply::Refusal;
use crate::command::starting::{Ends, Start};
use crate::command::stream::{admit, admit_range, admit_writable, find_by_file, find_node};
use crate::graph::blocker::{Operation, Role};
use crate::graph::permission::WRITE;
use crate::graph::{Driver, Graph, NodeId};

/// What a commit moves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The uppermost node whose data moves.
    pub top: NodeId,
    /// The node that receives the data.
    pub base: NodeId,
    /// Every node from `top` down to the one above the base, filters included.
    pub between: Vec<NodeId>,
    /// It follows the writes of the top until it is asked to complete.
    pub is_active: bool,
    /// The string to be written into the overlays' headers, if the operator gave one.
    pub backing_file: Option<String>,
}

/// Judges a `block-commit` in the state of `graph`. `ends` are the ends, the top by file and the top by node.
pub fn plan(
    graph: &Graph,
    start: &Start,
    ends: (&Ends, &Option<String>, &Option<String>),
    job_id_in_use: &dyn Fn(&str) -> bool,
) -> Result<Plan, Refusal> {
    let (ends, top_file, top_node) = ends;
    let device = graph.find(&start.device).ok_or_else(|| Refusal::NoSuchDevice(start.device.clone()))?;
    must_be_root(graph, device)?;
    admit(graph, Operation::Stream, device)?;
    let top = find_top(graph, device, top_file.as_deref(), top_node.as_deref())?;
    let base = find_base(graph, top, ends)?;
    admit_range(graph, Operation::CommitTarget, top, graph.below(base))?;
    if top == base {
        return Err(Refusal::Plain("cannot commit an image into itself"));
    }
    let is_top = graph.unfiltered(top) == graph.unfiltered(device);
    let written = graph.edges().iter().any(|edge| edge.child == top && edge.needs & WRITE != 0);
    let is_active = is_top || written;
    if is_active && ends.backing_file.is_some() {
        return Err(Refusal::Plain(match is_top {
            true => "'backing-file' specified, but 'top' is the active layer",
            false => "'backing-file' specified, but 'top' has a writer on it",
        }));
    }
    let span = Span {
        top,
        base,
        between: graph.downwards(top).take_while(|node| *node != base).collect(),
        is_active,
        backing_file: ends.backing_file.clone(),
    };
    if is_active {
        return active(graph, start, span, job_id_in_use);
    }
    let is_overlay =
        |node: &NodeId| !graph.is_filter(*node) && graph.backing_layer(*node) == graph.unfiltered(top);
    let overlay = graph.downwards(device).find(is_overlay);
    if let Some(overlay) = overlay {
        admit(graph, Operation::CommitTarget, overlay)?;
    }
    if graph.unfiltered(top) == graph.unfiltered(base) {
        return Err(Refusal::Plain("Invalid files for merge: top and base are the same"));
    }
    admit_job_id(&start.job_id, job_id_in_use)?;
    Ok(Plan {
        under: top,
        filter: Driver::CommitTop,
        holds: holds(graph, device, &span),
        holds_filter: Vec::new(),
        written: Some(base),
        frozen_to: Some(base),
        work: Work::Commit(span),
    })
}

/// The nodes that a commit of layers nobody writes to holds.
fn holds(graph: &Graph, device: NodeId, span: &Span) -> Vec<(NodeId, Role)> {
    let mut holds = vec![(device, Role::Device)];
    holds.extend(span.between.iter().map(|node| (*node, Role::Committed)));
    holds.extend([
        (span.base, Role::Base),
        (span.base, Role::BaseDevice(must_grow(graph, span.base, span.top))),
        (span.top, Role::TopDevice),
    ]);
    holds
}

fn active(
    graph: &Graph,
    start: &Start,
    span: Span,
    job_id_in_use: &dyn Fn(&str) -> bool,
) -> Result<Plan, Refusal> {
    if !graph.may_reopen(span.base) {
        return Err(Refusal::ReadOnly);
    }
    // The base is made writable before there is a job (commit_active_start in QEMU 10.0).
    admit_writable(graph, span.base)?;
    if graph.unfiltered(span.top) == graph.unfiltered(span.base) {
        return Err(Refusal::Plain("Can't mirror node into itself"));
    }
    admit_filter(graph, start, "")?;
    admit_job_id(&start.job_id, job_id_in_use)?;
    let (top, base) = (span.top, span.base);
    let mut holds = vec![(top, Role::Source), (base, Role::Copy)];
    let below = graph.downwards(top).skip(1).take_while(|node| *node != base);
    holds.extend(below.map(|node| (node, Role::Committed)));
    holds.push((base, Role::CopyDevice(must_grow(graph, base, top), true)));
    Ok(Plan {
        under: top,
        filter: Driver::MirrorTop,
        holds,
        holds_filter: vec![Role::MirrorFilter],
        written: Some(base),
        frozen_to: Some(base),
        work: Work::Commit(span),
    })
}

/// Whether a base is shorter than what is committed into it.
fn must_grow(graph: &Graph, base: NodeId, top: NodeId) -> bool {
    // Of a base whose length is not known it is not said that it must.
    graph.node(base).bytes.is_some() && graph.node(base).bytes < graph.node(top).bytes
}

/// A node that another node or a job uses, other than as a device, is no root.
pub fn must_be_root(graph: &Graph, device: NodeId) -> Result<(), Refusal> {
    let held = graph.held_by_job(device).is_some_and(|(_, role)| !role.is_device());
    match graph.parents(device).next() {
        None if !held => Ok(()),
        _ => Err(Refusal::Plain("Need a root block node")),
    }
}

fn find_top(
    graph: &Graph,
    device: NodeId,
    file: Option<&str>,
    node: Option<&str>,
) -> Result<NodeId, Refusal> {
    match (file, node) {
        (Some(_), Some(_)) => Err(Refusal::Plain("'top-node' and 'top' are mutually exclusive")),
        (None, Some(name)) => {
            let top = find_node(graph, name)?;
            in_chain(graph, device, top, name)
        }
        (Some(file), None) if graph.node(device).filename.as_deref() == Some(file) => Ok(device),
        (Some(file), None) => find_by_file(graph, device, file)
            .ok_or_else(|| Refusal::Named("Top image file ", file.to_owned(), " not found")),
        (None, None) => Ok(device),
    }
}

fn find_base(graph: &Graph, top: NodeId, ends: &Ends) -> Result<NodeId, Refusal> {
    match (&ends.base, &ends.base_node) {
        (Some(_), Some(_)) => Err(Refusal::Plain("'base-node' and 'base' are mutually exclusive")),
        (None, Some(name)) => {
            let base = find_node(graph, name)?;
            in_chain(graph, top, base, name)
        }
        (Some(file), None) => find_by_file(graph, top, file).ok_or_else(|| Refusal::NoSuchBase(file.clone())),
        (None, None) => {
            let layers = std::iter::successors(graph.unfiltered(top), |layer| graph.backing_layer(*layer));
            let lowest = layers.last().expect("a chain has a last layer");
            let above = graph.downwards(top).find(|node| graph.unfiltered(*node) == Some(lowest));
            Ok(above.unwrap_or(lowest))
        }
    }
}

fn in_chain(graph: &Graph, top: NodeId, node: NodeId, name: &str) -> Result<NodeId, Refusal> {
    match graph.downwards(top).any(|below| below == node) {
        true => Ok(node),
        false => Err(Refusal::Named("'", name.to_owned(), "' is not in this backing file chain")),
    }
}

impl Graph {
    /// Whoever reads the top through the commit's filter reads the base now, and the nodes above it fall out.
    pub fn finish_commit(&mut self, span: &Span, filter: NodeId) {
        let overlays: Vec<NodeId> = self.parents(filter).collect();
        for overlay in overlays {
            if self.node(overlay).backing == Some(filter) {
                self.set_backing(overlay, Some(span.base));
            }
            if self.node(overlay).file == Some(filter) {
                self.node_mut(overlay).file = Some(span.base);
            }
        }
        for user in self.users.iter_mut().filter(|user| user.node == filter) {
            user.node = span.base;
        }
    }
}
