//! `block-stream`: which node receives, which are copied, and the fixed order in which it is refused.
//!
//! The order of the checks is the order of this file: exclusive members, lookups, blockers on every node from the
//! target down to the base, the backing file, a link that cannot be frozen, read-only, the filter's name, and the job's
//! id. What comes to light after that is the business of [`crate::command::plan`].

use crate::command::opening::resolve;
use crate::command::plan::{Plan, Work, admit_change, admit_filter, admit_job_id};
use crate::command::reply::Refusal;
use crate::command::starting::{Ends, Start};
use crate::graph::blocker::{Operation, Role};
use crate::graph::{Driver, Graph, Node, NodeId};

/// What a stream moves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The node that receives the data.
    pub target: NodeId,
    /// The last node whose data is copied; its link to the base is not the job's.
    pub bottom: NodeId,
    /// The node directly above the base: `bottom`, or the lowest filter between them.
    pub above_base: NodeId,
    /// Every node strictly between target and base, filters included.
    pub between: Vec<NodeId>,
    /// Nothing lies between target and base, so nothing is copied.
    pub no_op: bool,
    /// The string to be written into the target's header, if the operator gave one.
    pub backing_file: Option<String>,
}

/// Judges a `block-stream` in the state of `graph`.
pub fn plan(
    graph: &Graph,
    start: &Start,
    ends: &Ends,
    job_id_in_use: &dyn Fn(&str) -> bool,
) -> Result<Plan, Refusal> {
    exclusive(ends)?;
    let target = find_device(graph, &start.device)?;
    let base = find_base(graph, ends, &start.device, target)?;
    let bottom = find_bottom(graph, ends, &start.device, target)?;
    let end = match bottom {
        Some(bottom) => graph.below(bottom),
        None => base,
    };
    admit_range(graph, Operation::Stream, target, end)?;
    if ends.backing_file.is_some() && base.is_none() {
        return Err(Refusal::BackingFileWithoutBase);
    }
    let (bottom, above_base) = match bottom {
        Some(bottom) => (bottom, bottom),
        None => find_overlay(graph, target, base).ok_or_else(|| not_in_chain(graph, target, base))?,
    };
    // Only to reopen a target are the filters above its base looked at.
    let frozen_to = if graph.node(target).read_only { above_base } else { bottom };
    if let Some(filter) = graph.unfreezable(target, frozen_to) {
        return Err(Refusal::CannotFreeze(filter));
    }
    if !graph.may_reopen(target) {
        return Err(Refusal::ReadOnly);
    }
    admit_writable(graph, target)?;
    admit_filter(graph, start, "Could not create node: ")?;
    if graph.unwritable_below(target) {
        return Err(Refusal::Named("Could not create node: ", "Block node is read-only".into(), ""));
    }
    admit_job_id(&start.job_id, job_id_in_use)?;
    let end = graph.below(above_base);
    let between: Vec<NodeId> =
        graph.downwards(target).skip(1).take_while(|node| Some(*node) != end).collect();
    let no_op = graph.unfiltered(target) == Some(bottom);
    let mut holds = vec![(target, Role::Target)];
    holds.extend(between.iter().map(|node| (*node, Role::Intermediate)));
    let backing_file = ends.backing_file.clone();
    Ok(Plan {
        under: target,
        filter: Driver::CopyOnRead,
        holds,
        holds_filter: vec![Role::Filter, Role::StreamDevice],
        written: Some(target),
        frozen_to: Some(bottom),
        work: Work::Stream(Span { target, bottom, above_base, between, no_op, backing_file }),
    })
}

/// Refuses to make a node writable whose file somebody uses who does not let it grow.
pub fn admit_writable(graph: &Graph, target: NodeId) -> Result<(), Refusal> {
    let files = std::iter::successors(graph.node(target).file, |node| graph.node(*node).file);
    let is_used = |file: NodeId| graph.users.iter().any(|user| user.node == file);
    if !graph.node(target).read_only || !files.into_iter().any(is_used) {
        return Ok(());
    }
    let mut after = graph.clone();
    after.node_mut(target).read_only = false;
    admit_change(graph, &after, "")
}

/// Refuses an operation if any node from `top` down to `end`, which is left out, is busy.
pub fn admit_range(
    graph: &Graph,
    operation: Operation,
    top: NodeId,
    end: Option<NodeId>,
) -> Result<(), Refusal> {
    for node in graph.downwards(top).take_while(|node| Some(*node) != end) {
        admit(graph, operation, node)?;
    }
    Ok(())
}

/// Refuses an operation on a busy node.
pub fn admit(graph: &Graph, operation: Operation, node: NodeId) -> Result<(), Refusal> {
    graph.blocked(operation, node).map_or(Ok(()), |reason| Err(Refusal::Busy(node, reason)))
}

fn exclusive(ends: &Ends) -> Result<(), Refusal> {
    let (base, base_node, bottom) = (ends.base.is_some(), ends.base_node.is_some(), ends.bottom.is_some());
    let given = [
        ("base", "base-node", base && base_node),
        ("base", "bottom", base && bottom),
        ("bottom", "base-node", bottom && base_node),
    ];
    match given.into_iter().find(|(_, _, both)| *both) {
        Some((one, two, _)) => Err(Refusal::Both(one, two)),
        None => Ok(()),
    }
}

/// A node named by an argument that takes device names as well.
pub fn find_device(graph: &Graph, name: &str) -> Result<NodeId, Refusal> {
    graph.find(name).ok_or_else(|| Refusal::NoSuchNode(name.to_owned(), name.to_owned()))
}

/// A node named by an argument that takes no device names.
pub fn find_node(graph: &Graph, name: &str) -> Result<NodeId, Refusal> {
    graph.find(name).ok_or_else(|| Refusal::NoSuchNode(String::new(), name.to_owned()))
}

fn find_base(graph: &Graph, ends: &Ends, device: &str, target: NodeId) -> Result<Option<NodeId>, Refusal> {
    if let Some(file) = &ends.base {
        let found = find_by_file(graph, target, file);
        return found.map(Some).ok_or_else(|| Refusal::NoSuchBase(file.clone()));
    }
    let Some(name) = &ends.base_node else { return Ok(None) };
    let base = find_node(graph, name)?;
    if !graph.downwards(target).skip(1).any(|node| node == base) {
        return Err(Refusal::NotBacking(name.clone(), device.to_owned()));
    }
    Ok(Some(base))
}

/// A backing file as an overlay's header would name it: relative names count from the overlay's folder. Where the
/// header names something else than what was opened, only the exact name of the opened file will do.
pub fn find_by_file(graph: &Graph, target: NodeId, file: &str) -> Option<NodeId> {
    let mut overlay = graph.unfiltered(target)?;
    while let Some(below) = graph.backing_layer(overlay) {
        let (Node { header, filename: from, .. }, opened) =
            (graph.node(overlay), &graph.node(below).filename);
        let matches = match header {
            Some(header) if Some(header) == opened.as_ref() => {
                same_path(&resolve(from.as_deref(), file), &resolve(from.as_deref(), header))
            }
            _ => opened.as_deref() == Some(file),
        };
        if matches {
            return Some(below);
        }
        overlay = below;
    }
    None
}

fn find_bottom(graph: &Graph, ends: &Ends, device: &str, target: NodeId) -> Result<Option<NodeId>, Refusal> {
    let Some(name) = &ends.bottom else { return Ok(None) };
    let bottom = find_node(graph, name)?;
    if graph.is_filter(bottom) {
        return Err(Refusal::BottomIsFilter(name.clone()));
    }
    if !graph.downwards(target).any(|node| node == bottom) {
        return Err(Refusal::BottomElsewhere(name.clone(), device.to_owned()));
    }
    Ok(Some(bottom))
}

/// The lowest layer above the base, and the node directly above it, which may be a filter.
pub fn find_overlay(graph: &Graph, target: NodeId, base: Option<NodeId>) -> Option<(NodeId, NodeId)> {
    let base_layer = base.and_then(|base| graph.unfiltered(base));
    let layers = std::iter::successors(graph.unfiltered(target), |layer| graph.backing_layer(*layer));
    let overlay = layers.into_iter().find(|layer| graph.backing_layer(*layer) == base_layer)?;
    let above = graph.downwards(overlay).find(|node| graph.below(*node) == base)?;
    Some((overlay, above))
}

fn not_in_chain(graph: &Graph, target: NodeId, base: Option<NodeId>) -> Refusal {
    let base = base.map_or("", |base| graph.name(base));
    Refusal::NotInChain(base.to_owned(), graph.name(target).to_owned())
}

impl Graph {
    /// What the target of a stream will read from.
    pub fn stream_base(&self, span: &Span) -> Option<NodeId> {
        self.below(span.above_base)
    }

    /// The target now reads whatever the bottom reads, and the nodes between fall out.
    pub fn finish_stream(&mut self, span: &Span) {
        let layer = self.unfiltered(span.target).expect("a job's target never loses its child");
        if self.node(layer).backing.is_some() {
            let base = self.stream_base(span);
            self.set_backing(layer, base);
        }
    }
}

/// Whether two file names are one, once `.` and `..` and doubled slashes are gone. A relative name is never an absolute one.
pub fn same_path(one: &str, two: &str) -> bool {
    one == two
        || !(is_plain(one) && is_plain(two))
            && one.starts_with('/') == two.starts_with('/')
            && normal(one) == normal(two)
}

/// Whether nothing of a name goes when it is written as shortly as it can be: two such names are one if they are equal.
fn is_plain(name: &str) -> bool {
    name.strip_prefix('/').unwrap_or(name).split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn normal(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts
}
