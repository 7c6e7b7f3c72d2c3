//! What `blockdev-mirror` checks before it starts, in QEMU 10.0's order, and how a mirror and an active commit stand in
//! the graph.
//!
//! ```text
//! before  base <- source                    target
//! after   base <- source <- mirror_top      target
//! end     base <- source                    target (where source's users are now)
//! ```

use crate::command::{MirrorArguments, MirrorSync, OnError};
use crate::core::Tuning;
use crate::dirty::DirtyMap;
use crate::error::Refused;
use crate::graph::blocker::Op;
use crate::graph::length::known_len;
use crate::graph::mirror_top::CopyMode;
use crate::graph::mirror_top::{MirrorParts, MirrorTop};
use crate::graph::node::Filter;
use crate::graph::{Graph, JobChild, JobRole, UserKind};
use crate::id::{JobSerial, NodeId};
use crate::permission::Set;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// QEMU's bounds of `granularity`, bytes.
const GRANULARITY_BYTES: RangeInclusive<u32> = 512..=64 << 20;

/// Chunks as QEMU chooses them, bytes: as target's clusters, within these bounds.
const CHUNK_BYTES_MIN: u64 = 4096;
const CHUNK_BYTES_MAX: u64 = 65536;

/// What one mirror is to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The node that is copied from: a root.
    pub source: NodeId,
    /// The node that is copied into.
    pub target: NodeId,
    /// What there is to copy at the start.
    pub scope: Scope,
    /// An active commit.
    pub is_commit: bool,
    /// A node to be replaced other than the source.
    pub replaces: Option<String>,
    /// The name of the filter.
    pub filter_name: Option<String>,
    /// How it copies what guests write.
    pub copy_mode: CopyMode,
    /// The size of a chunk, if the operator said one.
    pub granularity: Option<u32>,
    /// `buf-size`, 0 for QEMU's.
    pub buffer_bytes: i64,
    /// What it does when source cannot be read.
    pub on_source_error: OnError,
    /// What it does when target cannot be written.
    pub on_target_error: OnError,
}

/// What there is to copy at the start.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// Everything that source reads.
    Everything,
    /// What the layers from source down to and including this one decide.
    DownTo(NodeId),
    /// Only what guests write from now on.
    Nothing,
}

/// Finds out what `arguments` mean, or says what is wrong with them.
pub(crate) fn admit(graph: &Graph, arguments: &MirrorArguments) -> Result<Plan, Refused> {
    let source = graph.lookup(&arguments.device)?;
    if !graph.is_root(source) {
        return Err(Refused::NeedRootNode);
    }
    let target = graph.lookup(&arguments.target)?;
    admit_granularity(arguments.granularity)?;
    graph.admit_op(Op::MirrorSource, source)?;
    graph.admit_op(Op::MirrorTarget, target)?;
    let replaces = replaced(graph, source, arguments)?;
    let scope = match arguments.sync {
        MirrorSync::Top if graph.layer_below(source).is_some() => Scope::DownTo(graph.unfiltered(source)),
        MirrorSync::Top | MirrorSync::Full => Scope::Everything,
        MirrorSync::None => Scope::Nothing,
        MirrorSync::Incremental => return Err(Refused::SyncModeNotSupported("incremental")),
        MirrorSync::Bitmap => return Err(Refused::SyncModeNotSupported("bitmap")),
    };
    Ok(Plan {
        source,
        target,
        scope,
        is_commit: false,
        replaces,
        filter_name: arguments.filter_node_name.clone(),
        copy_mode: arguments.copy_mode,
        granularity: Some(arguments.granularity).filter(|bytes| *bytes != 0),
        buffer_bytes: arguments.buffer_bytes,
        on_source_error: arguments.on_source_error,
        on_target_error: arguments.on_target_error,
    })
}

fn admit_granularity(bytes: u32) -> Result<(), Refused> {
    let unfit = |expected| Err(Refused::UnfitValue { name: "granularity", expected });
    match bytes {
        0 => Ok(()),
        _ if !GRANULARITY_BYTES.contains(&bytes) => unfit("a value in range [512B, 64MB]"),
        _ if !bytes.is_power_of_two() => unfit("a power of 2"),
        _ => Ok(()),
    }
}

/// The node that the result will replace, if it is not the source itself.
fn replaced(graph: &Graph, source: NodeId, arguments: &MirrorArguments) -> Result<Option<String>, Refused> {
    let is_visible = |id: &NodeId| !graph.place(*id).implicit;
    let visible = graph.chain(source).find(is_visible).expect("a filter stands on a node");
    let name = match &arguments.replaces {
        Some(name) => name.as_str(),
        None if visible != source => graph.name(visible),
        None => return Ok(None),
    };
    let node = graph.find(name).ok_or_else(|| Refused::NodeNotFound(name.to_owned()))?;
    graph.admit_op(Op::Replace, node)?;
    if !can_replace(graph, source, node) {
        let source_node = graph.name(source).to_owned();
        return Err(Refused::CannotReplace { replaced: name.to_owned(), source_node });
    }
    if known_len(graph, source)? != known_len(graph, node)? {
        return Err(Refused::ReplacementOfOtherSize);
    }
    Ok(Some(name.to_owned()))
}

/// Whether readers of `node` see what readers of `source` see: there are only filters between them.
pub(crate) fn can_replace(graph: &Graph, source: NodeId, node: NodeId) -> bool {
    let layer = graph.unfiltered(source);
    graph.chain(source).take_while(|id| graph.is_filter(*id)).chain([layer]).any(|id| id == node)
}

impl Plan {
    /// The last checks before a job is made: those that no `created` comes before.
    pub(crate) fn admit(&self, graph: &Graph) -> Result<(), Refused> {
        if self.buffer_bytes < 0 {
            return Err(Refused::InvalidParameter("buf-size"));
        }
        if graph.unfiltered(self.source) == graph.unfiltered(self.target) {
            return Err(Refused::MirrorIntoItself);
        }
        if let Some(name) = &self.filter_name {
            graph.admit_name(name)?;
        }
        Ok(())
    }

    /// How much is copied before the next sleep, bytes.
    pub(crate) fn buffer_bytes(&self, tuning: &Tuning) -> u64 {
        let given = u64::try_from(self.buffer_bytes).ok().filter(|bytes| *bytes != 0);
        given.unwrap_or(tuning.mirror_piece_bytes)
    }

    /// The state that the filter and the job share.
    pub(crate) fn mirror_top(&self, graph: &Graph) -> Result<MirrorTop, Refused> {
        let len = known_len(graph, self.source)?;
        let layer = graph.place(graph.unfiltered(self.target));
        let cluster = layer.node.cluster_bytes();
        let usual = cluster.map_or(CHUNK_BYTES_MAX, |bytes| bytes.clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX));
        let chunk = self.granularity.map_or(usual, u64::from);
        // What is not copied may be read from below target one day, so a cluster is copied whole or not at all.
        let whole_chunks = self.scope != Scope::Everything && !self.is_commit && layer.backing.is_none();
        let chunk = if whole_chunks { chunk.max(cluster.unwrap_or(chunk)) } else { chunk };
        Ok(MirrorTop::new(MirrorParts {
            source: self.source,
            target: self.target,
            is_commit: self.is_commit,
            whole_chunks,
            replaces: self.replaces.clone(),
            copy_mode: self.copy_mode,
            dirty: DirtyMap::new(len, chunk, &graph.budget)?,
        }))
    }

    /// Puts the filter above source. Answers it.
    pub(crate) fn put_filter(&self, graph: &mut Graph, top: Arc<MirrorTop>) -> Result<NodeId, Refused> {
        let mut place = graph.new_filter(self.source, self.filter_name.as_deref(), Filter::MirrorTop(top));
        let filter = place.node.id;
        place.backing = Some(self.source);
        place.implicit = self.filter_name.is_none();
        graph.move_parents(self.source, filter, filter);
        graph.insert(filter, place);
        graph.admit_permissions()?;
        Ok(filter)
    }

    /// Puts the filter in and makes the job hold its nodes. Answers the filter.
    pub(crate) fn attach(
        &self,
        graph: &mut Graph,
        serial: JobSerial,
        id: &Arc<str>,
        top: Arc<MirrorTop>,
    ) -> Result<NodeId, Refused> {
        let kind = self.kind();
        let child = |role| UserKind::Job(JobChild { serial, id: id.clone(), kind, role });
        let no_resize = Set::ALL.without(Set::RESIZE);
        let filter = self.put_filter(graph, top)?;
        graph.add_user(filter, child(JobRole::Main), Set::READ, no_resize);
        graph.admit_permissions()?;
        let (taken, shared) = self.target_permissions(graph)?;
        graph.add_user(self.target, child(JobRole::Root), taken, shared);
        graph.admit_permissions_and_writers(&|_| false)?;
        graph.add_user(self.source, child(JobRole::Source), Set::NONE, no_resize);
        graph.admit_permissions()?;
        graph.add_user(self.target, child(JobRole::Target), Set::NONE, Set::ALL);
        if self.is_commit {
            self.hold_intermediates(graph, &child)?;
            graph.admit_freeze(filter, self.target)?;
            graph.set_frozen(filter, self.target, Some(serial));
        }
        Ok(filter)
    }

    /// The job's type.
    pub(crate) fn kind(&self) -> &'static str {
        if self.is_commit { "commit" } else { "mirror" }
    }

    /// While a mirror runs, its target holds nothing consistent; the base of a commit always does.
    fn target_permissions(&self, graph: &Graph) -> Result<(Set, Set), Refused> {
        let quiet = Set::WRITE_UNCHANGED;
        if !self.is_commit && !graph.is_below(self.target, self.source) {
            return Ok((Set::WRITE, quiet));
        }
        let source_len = known_len(graph, self.source)?;
        let grows = known_len(graph, self.target)? < source_len;
        let taken = if grows { Set::WRITE.and(Set::RESIZE) } else { Set::WRITE };
        Ok((taken, quiet.and(Set::READ).and(Set::WRITE)))
    }

    /// The nodes between source and the base of a commit will go; only filters right on base still read something
    /// consistent.
    fn hold_intermediates(
        &self,
        graph: &mut Graph,
        child: &impl Fn(JobRole) -> UserKind,
    ) -> Result<(), Refused> {
        let between = graph.chain(self.source).skip(1).take_while(|id| *id != self.target);
        let between: Vec<NodeId> = between.collect();
        let base_layer = graph.unfiltered(self.target);
        for node in between {
            let mut shared = Set::WRITE.and(Set::WRITE_UNCHANGED);
            if graph.unfiltered(node) == base_layer {
                shared = shared.and(Set::READ);
            }
            graph.add_user(node, child(JobRole::Intermediate), Set::NONE, shared);
            graph.admit_permissions()?;
        }
        Ok(())
    }
}

/// Takes the filter out: its users use source again. The job holds nothing any more.
pub(crate) fn detach(graph: &mut Graph, top: &MirrorTop, serial: JobSerial, filter: NodeId) {
    if top.is_commit {
        graph.set_frozen(filter, top.target, None);
    }
    graph.move_parents(filter, top.source, filter);
    graph.remove_job_users(serial, None);
}
