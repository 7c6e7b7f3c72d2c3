//! `blockdev-backup`: a target becomes what its source was when the job began; and the order of its refusals.
//!
//! A backup holds its filter and its target, not its source: others may work on the source, below the filter.

use crate::command::plan::{Plan, Work, admit_change, admit_filter, admit_job_id};
use crate::command::reply::Refusal;
use crate::command::starting::{CopyArguments, Start, Sync};
use crate::command::stream::{admit, find_device};
use crate::graph::blocker::{Operation, Role};
use crate::graph::{Driver, Graph, Node, NodeId};

/// What a backup copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// The node that is copied.
    pub source: NodeId,
    /// The node that receives the copy.
    pub target: NodeId,
    /// How much of the source is copied.
    pub sync: Sync,
}

/// The refusal where a target is shorter or longer than its source.
pub const DIFFERENT_SIZES: Refusal = Refusal::Plain("Source and target image have different sizes");

/// The refusal where a target is read-only.
pub fn read_only_target() -> Refusal {
    Refusal::Named("Could not create node: ", "Block node is read-only".into(), "")
}

/// Judges a `blockdev-backup` in the state of `graph`. Lengths are compared by who knows them.
pub fn plan(
    graph: &Graph,
    start: &Start,
    copy: &CopyArguments,
    job_id_in_use: &dyn Fn(&str) -> bool,
) -> Result<Plan, Refusal> {
    let source = find_device(graph, &start.device)?;
    let target = find_device(graph, &copy.target)?;
    if matches!(copy.sync, Sync::Incremental | Sync::Bitmap) && copy.bitmap.is_none() {
        let text = ["must provide a valid bitmap name for '", "' sync mode", ""];
        return Err(Refusal::Paired(text, copy.sync.word().to_owned(), String::new()));
    }
    if source == target {
        return Err(Refusal::Plain("Source and target cannot be the same"));
    }
    admit(graph, Operation::BackupSource, source)?;
    admit(graph, Operation::BackupTarget, target)?;
    let lengths = [graph.node(source).bytes, graph.node(target).bytes];
    if let [Some(one), Some(other)] = lengths
        && one != other
    {
        return Err(DIFFERENT_SIZES);
    }
    admit_filter(graph, start, "Could not create node: ")?;
    let name = start.filter_node_name.clone();
    let filter =
        Node { name: name.map(Into::into), target: Some(target), ..Node::new(Driver::CopyBeforeWrite) };
    let mut alone = graph.clone();
    alone.add(filter.clone());
    admit_change(graph, &alone, "Could not create node: ")?;
    if graph.refuses_writers(target) {
        return Err(read_only_target());
    }
    let mut inserted = graph.clone();
    inserted.insert_filter(source, filter);
    admit_change(graph, &inserted, "Could not replace node: ")?;
    admit_job_id(&start.job_id, job_id_in_use)?;
    Ok(Plan {
        under: source,
        filter: Driver::CopyBeforeWrite,
        holds: vec![(target, Role::Copy)],
        holds_filter: vec![Role::Filter],
        written: None,
        frozen_to: None,
        work: Work::Backup(Span { source, target, sync: copy.sync }),
    })
}
