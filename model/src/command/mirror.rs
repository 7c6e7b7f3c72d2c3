//! `blockdev-mirror`: a target becomes what its source is, and may take its place; and the order of its refusals.

use crate::command::commit::must_be_root;
use crate::command::plan::{Plan, Work, admit_filter, admit_job_id};
use crate::command::reply::Refusal;
use crate::command::starting::{CopyArguments, Start, Sync};
use crate::command::stream::{admit, find_device};
use crate::graph::blocker::{Operation, Role};
use crate::graph::{Driver, Graph, NodeId};

/// What a mirror copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The node that is copied.
    pub source: NodeId,
    /// The node that receives the copy.
    pub target: NodeId,
    /// How much was asked for.
    pub asked: Sync,
    /// How much of the source is copied.
    pub sync: Sync,
    /// The node whose place the target takes, if not the source's.
    pub replaces: Option<NodeId>,
    /// A write of a guest ends only when it is on the target as well.
    pub blocks_writes: bool,
}

const GRANULARITY: std::ops::RangeInclusive<i64> = 512..=64 << 20;

/// Judges a `blockdev-mirror` in the state of `graph`.
pub fn plan(
    graph: &Graph,
    start: &Start,
    copy: &CopyArguments,
    job_id_in_use: &dyn Fn(&str) -> bool,
) -> Result<Plan, Refusal> {
    let source = find_device(graph, &start.device)?;
    must_be_root(graph, source)?;
    let target = find_device(graph, &copy.target)?;
    if let Some(size) = copy.granularity.filter(|size| *size != 0) {
        if !GRANULARITY.contains(&size) {
            return Err(Refusal::Plain("Parameter 'granularity' expects a value in range [512B, 64MB]"));
        }
        if size.count_ones() != 1 {
            return Err(Refusal::Plain("Parameter 'granularity' expects a power of 2"));
        }
    }
    admit(graph, Operation::Stream, source)?;
    admit(graph, Operation::Delete, target)?;
    let sync = match graph.backing_layer(source) {
        None if copy.sync == Sync::Top => Sync::Full,
        _ => copy.sync,
    };
    let replaces = find_replaced(graph, source, copy)?;
    if matches!(sync, Sync::Incremental | Sync::Bitmap) {
        return Err(Refusal::Named("Sync mode '", sync.word().to_owned(), "' not supported"));
    }
    if graph.unfiltered(source) == graph.unfiltered(target) {
        return Err(Refusal::Plain("Can't mirror node into itself"));
    }
    admit_filter(graph, start, "")?;
    admit_job_id(&start.job_id, job_id_in_use)?;
    let is_backing = graph.downwards(source).any(|node| node == target);
    let holds =
        vec![(source, Role::Source), (target, Role::Copy), (target, Role::CopyDevice(false, is_backing))];
    Ok(Plan {
        under: source,
        filter: Driver::MirrorTop,
        holds,
        holds_filter: vec![Role::MirrorFilter],
        written: None,
        frozen_to: None,
        work: Work::Mirror(Span {
            source,
            target,
            asked: copy.sync,
            sync,
            replaces,
            blocks_writes: copy.blocks_writes,
        }),
    })
}

/// The node whose place the target shall take: it must show what the source shows.
fn find_replaced(graph: &Graph, source: NodeId, copy: &CopyArguments) -> Result<Option<NodeId>, Refusal> {
    let Some(name) = &copy.replaces else { return Ok(None) };
    let replaced = graph
        .find(name)
        .ok_or_else(|| Refusal::Named("Failed to find node with node-name='", name.clone(), "'"))?;
    admit(graph, Operation::Delete, replaced)?;
    let layer = graph.unfiltered(source);
    if graph.unfiltered(replaced) != layer {
        const TEXT: [&str; 3] = [
            "Cannot replace '",
            "' by a node mirrored from '",
            "', because it cannot be guaranteed that doing so would not lead to an abrupt change of visible data",
        ];
        return Err(Refusal::Paired(TEXT, name.clone(), graph.name(source).to_owned()));
    }
    Ok(Some(replaced))
}
