//! What `blockdev-backup` checks before it starts, in QEMU 10.0's order, and what the job holds.

use crate::command::{BackupArguments, BackupSync, BitmapMode, OnError};
use crate::core::Tuning;
use crate::dirty::DirtyMap;
use crate::error::Refused;
use crate::error::backup::BackupRefused;
use crate::graph::bitmap::BitmapName;
use crate::graph::blocker::Op;
use crate::graph::copy_before_write::CopyBeforeWrite;
use crate::graph::length::known_len;
use crate::graph::{Graph, JobChild, JobRole, UserKind};
use crate::id::{JobSerial, NodeId};
use crate::permission::Set;
use std::sync::Arc;

/// A chunk that an operator wants is never larger; QEMU ends itself over some that are.
const CHUNK_BYTES_MAX: u64 = 1 << 31;

/// A backup that may be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What is saved.
    pub source: NodeId,
    /// Where to.
    pub target: NodeId,
    /// What of it.
    pub sync: BackupSync,
    /// The bitmap of source that says what to save, or is to know what was saved.
    pub bitmap: Option<Synced>,
    /// What the filter and the job share.
    pub state: Arc<CopyBeforeWrite>,
    /// The size of source.
    pub len_bytes: u64,
    /// How much there is to save at the start, in whole chunks.
    pub unsaved_bytes: u64,
    /// How much is copied at a time, bytes.
    pub piece_bytes: u64,
    /// The filter's name, if the operator gave one.
    pub filter_name: Option<String>,
    /// What the job does about errors of source.
    pub on_source_error: OnError,
    /// What the job does about errors of target.
    pub on_target_error: OnError,
}

/// A bitmap that a backup holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Synced {
    /// Its node and name.
    pub name: BitmapName,
    /// When it forgets what was saved.
    pub mode: BitmapMode,
}

/// Finds out what `arguments` mean, or says what is wrong with them.
pub(crate) fn admit(graph: &Graph, tuning: &Tuning, arguments: &BackupArguments) -> Result<Plan, Refused> {
    let source = graph.lookup(&arguments.device)?;
    let target = graph.lookup(&arguments.target)?;
    let bitmap = admit_bitmap(graph, arguments)?;
    if source == target {
        return Err(Refused::Backup(BackupRefused::IntoItself));
    }
    if arguments.compress && graph.node(graph.unfiltered(target)).qcow2().is_none() {
        return Err(Refused::Backup(BackupRefused::CannotCompress));
    }
    graph.admit_op(Op::BackupSource, source)?;
    graph.admit_op(Op::BackupTarget, target)?;
    if !(1..=i64::from(i32::MAX)).contains(&arguments.workers_max) {
        return Err(Refused::Backup(BackupRefused::Workers));
    }
    let piece_limit =
        u64::try_from(arguments.chunk_bytes_max).map_err(|_| Refused::Backup(BackupRefused::Chunk))?;
    if let Some(bitmap) = bitmap.as_ref().filter(|bitmap| bitmap.mode != BitmapMode::Never) {
        graph.admit_change(&bitmap.name)?;
    }
    let len = known_len(graph, source)?;
    if known_len(graph, target)? != len {
        return Err(Refused::Backup(BackupRefused::DifferentSizes));
    }
    let chunk = chunk_bytes(graph, tuning, target, arguments)?;
    let mut unsaved = DirtyMap::new(len, chunk, &graph.budget)?;
    match bitmap.as_ref().filter(|_| wants_bitmap(arguments.sync)) {
        None => unsaved.mark(0, len),
        Some(bitmap) => {
            let dirty = graph.find_bitmap(&bitmap.name)?.dirty_ranges();
            dirty
                .into_iter()
                .filter(|(start, _)| *start < len)
                .for_each(|(start, end)| unsaved.mark(start, end));
        }
    }
    let unsaved_bytes = unsaved.bytes();
    let most = tuning.backup_piece_bytes;
    let top_only = arguments.sync == BackupSync::Top;
    let state = CopyBeforeWrite::new(unsaved, top_only, arguments.compress, arguments.discard_source);
    let plan = Plan {
        source,
        target,
        sync: arguments.sync,
        bitmap,
        state: Arc::new(state),
        len_bytes: len,
        unsaved_bytes,
        piece_bytes: if piece_limit == 0 { most } else { piece_limit.min(most) },
        filter_name: arguments.filter_node_name.clone(),
        on_source_error: arguments.on_source_error,
        on_target_error: arguments.on_target_error,
    };
    // A filter that cannot stand there is refused before the rest is looked at.
    plan.put_filter(&mut Graph::clone(graph))?;
    if piece_limit != 0 && piece_limit < chunk {
        return Err(Refused::Backup(BackupRefused::ChunkBelowCluster { chunk: piece_limit, cluster: chunk }));
    }
    Ok(plan)
}

/// Whether a bitmap says what is saved.
fn wants_bitmap(sync: BackupSync) -> bool {
    matches!(sync, BackupSync::Incremental | BackupSync::Bitmap)
}

fn admit_bitmap(graph: &Graph, arguments: &BackupArguments) -> Result<Option<Synced>, Refused> {
    let sync = arguments.sync;
    if wants_bitmap(sync) && arguments.bitmap.is_none() {
        return Err(Refused::Backup(BackupRefused::BitmapMissing(sync.word())));
    }
    let mut mode = arguments.bitmap_mode;
    if sync == BackupSync::Incremental {
        if mode.is_some_and(|mode| mode != BitmapMode::OnSuccess) {
            return Err(Refused::Backup(BackupRefused::IncrementalMode));
        }
        mode = Some(BitmapMode::OnSuccess);
    }
    let Some(name) = &arguments.bitmap else {
        return match mode {
            Some(_) => Err(Refused::Backup(BackupRefused::BitmapModeAlone)),
            None => Ok(None),
        };
    };
    let wanted = BitmapName { node: arguments.device.clone(), name: name.clone() };
    let unknown = |_| Refused::Backup(BackupRefused::NoSuchBitmap(name.clone()));
    let bitmap = graph.find_bitmap(&wanted).map_err(unknown)?;
    let mode = mode.ok_or(Refused::Backup(BackupRefused::BitmapModeMissing))?;
    bitmap.admit_use()?;
    if sync == BackupSync::None {
        return Err(Refused::Backup(BackupRefused::BitmapOfNothing));
    }
    if mode == BitmapMode::Never && !wants_bitmap(sync) {
        return Err(Refused::Backup(BackupRefused::BitmapUnused(sync.word())));
    }
    Ok(Some(Synced { name: wanted, mode }))
}

/// The size of a chunk: what is saved shall not make target read parts of a cluster from below.
fn chunk_bytes(
    graph: &Graph,
    tuning: &Tuning,
    target: NodeId,
    arguments: &BackupArguments,
) -> Result<u64, Refused> {
    let wanted = arguments.cluster_bytes_min as u64;
    let limit = if arguments.cluster_bytes_min < 0 { i64::MAX as u64 } else { CHUNK_BYTES_MAX };
    if wanted > limit {
        return Err(Refused::Backup(BackupRefused::ClusterTooLarge(wanted, limit)));
    }
    if wanted != 0 && !wanted.is_power_of_two() {
        return Err(Refused::Backup(BackupRefused::ClusterNoPowerOfTwo));
    }
    let cluster = graph.node(graph.unfiltered(target)).cluster_bytes().unwrap_or(0);
    Ok(cluster.max(tuning.backup_chunk_bytes_min).max(wanted))
}

impl Plan {
    /// Puts the filter above source. Answers it.
    pub(crate) fn put_filter(&self, graph: &mut Graph) -> Result<NodeId, Refused> {
        let name = self.filter_name.as_deref();
        graph.put_copy_before_write(self.source, self.target, name, self.state.clone())
    }

    /// Puts the filter in and makes the job hold it and target. Answers the filter.
    pub(crate) fn attach(
        &self,
        graph: &mut Graph,
        serial: JobSerial,
        id: &Arc<str>,
    ) -> Result<NodeId, Refused> {
        if let Some(bitmap) = &self.bitmap {
            graph.hold_bitmap_for_backup(&bitmap.name)?;
        }
        let filter = self.put_filter(graph)?;
        let child = |role| UserKind::Job(JobChild { serial, id: id.clone(), kind: "backup", role });
        graph.add_user(filter, child(JobRole::Main), Set::NONE, Set::ALL);
        // Now that somebody uses the filter, it asks for what it needs of its source.
        graph.admit_permissions()?;
        graph.add_user(self.target, child(JobRole::Target), Set::NONE, Set::ALL);
        Ok(filter)
    }
}
