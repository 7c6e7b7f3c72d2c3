//! `block-stream`: which node receives, which are copied, and the fixed order in which it is refused.
//!
//! The order of the checks is the order of this file: exclusive members, lookups, blockers on every node from the
//! target down to the base, the backing file, read-only, the filter's name, the job's id, the speed, and last what
//! other users of the nodes do not share. Two checks of QEMU cannot fail here, because streams are the only jobs:
//! a frozen link lies between nodes that are busy already.

use crate::blocker::{Operation, Role};
use crate::chain::{Driver, Graph, JobId, Node, NodeId};
use crate::command::StreamArguments;
use crate::opening::resolve;
use crate::reply::{NameRefusal, Refusal};

/// What an accepted stream will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
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
    /// Refused all the same, but only after the job was created: it goes to `null` at once.
    pub late: Option<Refusal>,
}

/// Longest node name, in bytes.
const NODE_NAME_MAX: usize = 31;

/// Judges a `block-stream` in the state of `graph`.
pub fn plan(
    graph: &Graph,
    arguments: &StreamArguments,
    job_id_in_use: impl Fn(&str) -> bool,
) -> Result<Plan, Refusal> {
    exclusive(arguments)?;
    let target = find_device(graph, &arguments.device)?;
    let base = find_base(graph, arguments, target)?;
    let bottom = find_bottom(graph, arguments, target)?;
    let end = match bottom {
        Some(bottom) => graph.below(bottom),
        None => base,
    };
    for node in graph.downwards(target).take_while(|node| Some(*node) != end) {
        if let Some(reason) = graph.blocked(Operation::Stream, node) {
            return Err(Refusal::Busy(node, reason));
        }
    }
    if arguments.backing_file.is_some() && base.is_none() {
        return Err(Refusal::BackingFileWithoutBase);
    }
    let (bottom, above_base) = match bottom {
        Some(bottom) => (bottom, bottom),
        None => find_overlay(graph, target, base).ok_or_else(|| not_in_chain(graph, target, base))?,
    };
    if graph.node(target).read_only && !may_write(graph, target) {
        return Err(Refusal::ReadOnly);
    }
    if let Some(name) = &arguments.filter_node_name {
        admit_name(graph, name, "Could not create node: ")?;
    }
    if !is_well_formed(&arguments.job_id) {
        return Err(Refusal::BadJobId(arguments.job_id.clone()));
    }
    if job_id_in_use(&arguments.job_id) {
        return Err(Refusal::JobIdInUse(arguments.job_id.clone()));
    }
    let end = graph.below(above_base);
    let between = graph.downwards(target).skip(1).take_while(|node| Some(*node) != end).collect();
    let no_op = graph.unfiltered(target) == Some(bottom);
    let mut plan = Plan { target, bottom, above_base, between, no_op, late: None };
    plan.late = late_refusal(graph, arguments, &plan);
    Ok(plan)
}

fn exclusive(arguments: &StreamArguments) -> Result<(), Refusal> {
    let given = [
        ("base", "base-node", arguments.base.is_some() && arguments.base_node.is_some()),
        ("base", "bottom", arguments.base.is_some() && arguments.bottom.is_some()),
        ("bottom", "base-node", arguments.bottom.is_some() && arguments.base_node.is_some()),
    ];
    match given.into_iter().find(|(_, _, both)| *both) {
        Some((one, two, _)) => Err(Refusal::Both(one, two)),
        None => Ok(()),
    }
}

fn find_device(graph: &Graph, name: &str) -> Result<NodeId, Refusal> {
    graph.find(name).ok_or_else(|| Refusal::NoSuchNode(name.to_owned(), name.to_owned()))
}

/// A node named by an argument that takes no device names.
fn find_node(graph: &Graph, name: &str) -> Result<NodeId, Refusal> {
    graph.find(name).ok_or_else(|| Refusal::NoSuchNode(String::new(), name.to_owned()))
}

fn find_base(graph: &Graph, arguments: &StreamArguments, target: NodeId) -> Result<Option<NodeId>, Refusal> {
    if let Some(file) = &arguments.base {
        let found = find_by_file(graph, target, file);
        return found.map(Some).ok_or_else(|| Refusal::NoSuchBase(file.clone()));
    }
    let Some(name) = &arguments.base_node else { return Ok(None) };
    let base = find_node(graph, name)?;
    if !graph.downwards(target).skip(1).any(|node| node == base) {
        return Err(Refusal::NotBacking(name.clone(), arguments.device.clone()));
    }
    Ok(Some(base))
}

/// A backing file as an overlay's header would name it: relative names count from the overlay's folder. Where the
/// header names something else than what was opened, only the exact name of the opened file will do.
fn find_by_file(graph: &Graph, target: NodeId, file: &str) -> Option<NodeId> {
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

fn find_bottom(
    graph: &Graph,
    arguments: &StreamArguments,
    target: NodeId,
) -> Result<Option<NodeId>, Refusal> {
    let Some(name) = &arguments.bottom else { return Ok(None) };
    let bottom = find_node(graph, name)?;
    if graph.is_filter(bottom) {
        return Err(Refusal::BottomIsFilter(name.clone()));
    }
    if !graph.downwards(target).any(|node| node == bottom) {
        return Err(Refusal::BottomElsewhere(name.clone(), arguments.device.clone()));
    }
    Ok(Some(bottom))
}

/// The lowest layer above the base, and the node directly above it, which may be a filter.
fn find_overlay(graph: &Graph, target: NodeId, base: Option<NodeId>) -> Option<(NodeId, NodeId)> {
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

/// Whether a read-only node can be reopened for writing: nothing below was opened read-only for good.
fn may_write(graph: &Graph, target: NodeId) -> bool {
    let files = std::iter::successors(graph.node(target).file, |node| graph.node(*node).file);
    files.into_iter().all(|node| !graph.node(node).read_only_for_good)
}

/// Refuses a node name that is taken or not well formed.
pub fn admit_name(graph: &Graph, name: &str, prefix: &'static str) -> Result<(), Refusal> {
    let why = if !is_well_formed(name) {
        NameRefusal::Invalid(name.to_owned())
    } else if graph.find(name).is_some() {
        NameRefusal::Duplicate(name.to_owned())
    } else if name.len() > NODE_NAME_MAX {
        NameRefusal::TooLong
    } else {
        return Ok(());
    };
    Err(Refusal::Name(why, prefix))
}

/// The rule for job ids and node names: a letter, then letters, digits and `-._`.
pub fn is_well_formed(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// What comes to light only once the job exists: its speed, and what others do with its nodes.
fn late_refusal(graph: &Graph, arguments: &StreamArguments, plan: &Plan) -> Option<Refusal> {
    if arguments.speed < 0 {
        return Some(Refusal::NegativeSpeed);
    }
    write_conflict(graph, arguments, plan).or_else(|| resize_conflict(graph, arguments, plan.target))
}

/// The job lets nobody write between target and base, and so nobody may write below either.
fn write_conflict(graph: &Graph, arguments: &StreamArguments, plan: &Plan) -> Option<Refusal> {
    let first = *plan.between.first()?;
    let writer = graph.writers_below(first).next()?;
    let mut after = graph.clone();
    let job = JobId(u16::MAX);
    after.hold(job, first, Role::Intermediate);
    let by = after.unshared_write(writer)?;
    Some(Refusal::WriteConflict(writer, by, arguments.job_id.clone()))
}

/// A writable format node resizes its protocol node, which the job does not share.
fn resize_conflict(graph: &Graph, arguments: &StreamArguments, target: NodeId) -> Option<Refusal> {
    let holds = |parent: &NodeId| {
        let node = graph.node(*parent);
        node.file == Some(target) && node.driver == Driver::Qcow2 && !node.read_only
    };
    let format = graph.parents(target).find(holds)?;
    Some(Refusal::ResizeConflict(format, arguments.filter_node_name.clone()))
}

impl Graph {
    /// Accepts a stream: puts its filter above the target and takes the nodes it needs.
    pub fn start_stream(&mut self, plan: &Plan, job: JobId, filter_name: Option<String>) -> NodeId {
        let filter = self.insert_filter(plan.target, filter_name);
        self.node_mut(filter).read_only = false;
        self.node_mut(plan.target).read_only = false;
        self.hold(job, filter, Role::Filter);
        self.hold(job, plan.target, Role::Target);
        for node in &plan.between {
            assert!(self.held_by_job(*node).is_none(), "two jobs hold node {}", self.name(*node));
            self.hold(job, *node, Role::Intermediate);
        }
        filter
    }

    /// Ends a stream that failed or was cancelled: the filter goes, everything else stays.
    pub fn abandon_stream(&mut self, plan: &Plan, filter: NodeId, read_only: bool) {
        self.drop_filter(filter);
        self.restore(plan.target, read_only);
    }

    /// A target that was read-only is so again, unless somebody has come to write.
    fn restore(&mut self, target: NodeId, read_only: bool) {
        let has_writer = self.users.iter().any(|user| user.writable && user.node == target);
        self.node_mut(target).read_only = read_only && !has_writer;
        if read_only && self.node(target).driver == Driver::File {
            // QEMU 10.0 then takes the mode for the operator's own wish and may refuse to reopen what stands above.
            let parents: Vec<NodeId> = self.parents(target).collect();
            for parent in parents {
                self.node_mut(parent).vague = true;
            }
        }
    }

    /// Ends a stream that succeeded: the target now reads whatever the bottom reads, and the nodes between fall out.
    pub fn finish_stream(&mut self, plan: &Plan, filter: NodeId, read_only: bool) {
        self.drop_filter(filter);
        self.restore(plan.target, read_only);
        let layer = self.unfiltered(plan.target).expect("a job's target never loses its child");
        if self.node(layer).backing.is_some() {
            let base = self.below(plan.above_base);
            self.set_backing(layer, base);
        }
    }
}

/// Whether two file names are one, once `.` and `..` and doubled slashes are gone. A relative name is never an absolute one.
pub fn same_path(one: &str, two: &str) -> bool {
    one == two || (one.starts_with('/') == two.starts_with('/') && normal(one) == normal(two))
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
