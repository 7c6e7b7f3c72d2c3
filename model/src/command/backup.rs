//! `blockdev-backup`: a target becomes what its source was when the job began; and the order of its refusals.
//!
//! A backup holds its filter and its target, not its source: others may work on the source, below the filter.

use crate::command::plan::{Plan, Work, admit_change, admit_filter, admit_job_id};
use crate::command::reply::Refusal;
use crate::command::starting::{BitmapMode, CopyArguments, Start, Sync};
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
    /// The bitmap of the source that it holds.
    pub bitmap: Option<Synced>,
}

/// A bitmap that a backup holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// Its name.
    pub name: String,
    /// When it forgets what was copied.
    pub mode: BitmapMode,
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
    let bitmap = admit_bitmap(graph, source, copy)?;
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
        work: Work::Backup(Span { source, target, sync: copy.sync, bitmap }),
    })
}

/// Judges what is said of a bitmap. Whether there is one of that name, and what its image allows, the model does not know.
fn admit_bitmap(graph: &Graph, source: NodeId, copy: &CopyArguments) -> Result<Option<Synced>, Refusal> {
    let by_bitmap = copy.sync.is_by_bitmap();
    if by_bitmap && copy.bitmap.is_none() {
        let text = ["must provide a valid bitmap name for '", "' sync mode", ""];
        return Err(Refusal::Paired(text, copy.sync.word().to_owned(), String::new()));
    }
    let mut mode = copy.bitmap_mode;
    if copy.sync == Sync::Incremental {
        if mode.is_some_and(|mode| mode != BitmapMode::OnSuccess) {
            return Err(Refusal::Plain(
                "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'",
            ));
        }
        mode = Some(BitmapMode::OnSuccess);
    }
    let Some(name) = &copy.bitmap else {
        let alone = Refusal::Plain("Cannot specify bitmap sync mode without a bitmap");
        return if mode.is_some() { Err(alone) } else { Ok(None) };
    };
    let Some(mode) = mode else {
        return Err(Refusal::Plain("Bitmap sync mode must be given when providing a bitmap"));
    };
    if graph.held_bitmaps.iter().any(|(_, node, held)| *node == source && held == name) {
        let busy = "' is currently in use by another operation and cannot be used";
        return Err(Refusal::Named("Bitmap '", name.clone(), busy));
    }
    if copy.sync == Sync::Nothing {
        return Err(Refusal::Plain("sync mode 'none' does not produce meaningful bitmap outputs"));
    }
    if mode == BitmapMode::Never && !by_bitmap {
        let text =
            ["Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '", "'", ""];
        return Err(Refusal::Paired(text, copy.sync.word().to_owned(), String::new()));
    }
    Ok(Some(Synced { name: name.clone(), mode }))
}
