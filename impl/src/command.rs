//! What an operator asks of the engine, and what the engine tells about itself, as plain data.
//!
//! The QMP layer makes these from text and text from these; jobs and graph know nothing of JSON.

use crate::filter::blkdebug::{InjectError, SetState};
use crate::format::qcow2::Discards;
use crate::graph::mirror_top::CopyMode;
use crate::graph::options::{DetectZeroes, Plain};
use crate::permission::Set;
use std::sync::Arc;

/// `blockdev-add`: one node and, inline, its children.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockdevOptions {
    /// The node's name; required for the outermost node, generated (`#blockNNN`) for inline children without one.
    pub node_name: Option<String>,
    /// What kind of node.
    pub driver: DriverOptions,
    /// `read-only`; inherited by inline children that do not say.
    pub read_only: Option<bool>,
    /// `auto-read-only`: fall back to (and stay at) read-only until a writer comes.
    pub auto_read_only: Option<bool>,
    /// What any node may be told.
    pub settings: NodeSettings,
}

/// The options of any node beside its name and access.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeSettings {
    /// `detect-zeroes`.
    pub detect_zeroes: DetectZeroes,
    /// `discard: unmap`; inherited by the file below a format.
    pub unmap: Option<bool>,
    /// `cache.direct`; inherited.
    pub direct: Option<bool>,
    /// `cache.no-flush`; inherited.
    pub no_flush: Option<bool>,
    /// `force-share`; inherited.
    pub force_share: Option<bool>,
    /// The driver's options without which the node would be another one, as the operator gave them.
    pub strong: Vec<(Box<str>, Plain)>,
}

/// The driver and what it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriverOptions {
    /// A file of the host.
    File {
        /// Its path as the operator gave it.
        filename: String,
        /// `locking`: whether others are kept from it; they are, unless it is said.
        locks: Option<bool>,
    },
    /// Guest bytes as they are.
    Raw {
        /// Where they lie.
        file: ChildOptions,
        /// `offset`: where in the file they begin.
        offset: i64,
        /// `size`: how many there are, if not all.
        size: Option<i64>,
    },
    /// A filter that fails requests on demand.
    Blkdebug {
        /// What it filters.
        image: ChildOptions,
        /// `config`: a file with rules.
        config: Option<String>,
        /// `align`.
        align: Option<i64>,
        /// `inject-error`.
        errors: Vec<InjectError>,
        /// `set-state`.
        changes: Vec<SetState>,
        /// `take-child-perms`.
        taken: Set,
        /// `unshare-child-perms`.
        unshared: Set,
    },
    /// A filter that makes requests wait.
    Throttle {
        /// What it filters.
        file: ChildOptions,
        /// `throttle-group`: whose limits.
        group: String,
    },
    /// A filter that compresses what is written.
    Compress {
        /// What it filters.
        file: ChildOptions,
    },
    /// A filter that copies up what is read.
    CopyOnRead {
        /// What it filters.
        file: ChildOptions,
        /// `bottom`: the last layer whose data is copied.
        bottom: Option<String>,
    },
    /// A disk of nothing.
    NullCo {
        /// `size`.
        size: Option<i64>,
        /// `latency-ns`.
        latency: Option<i64>,
        /// `read-zeroes`.
        read_zeroes: bool,
    },
    /// A qcow2 image.
    Qcow2 {
        /// Where it lies.
        file: ChildOptions,
        /// What lies below it.
        backing: BackingOptions,
        /// Where its guest data lies, if not there; not said: in what the header names, if it does.
        data_file: Option<ChildOptions>,
        /// What happens to space that is not needed any more.
        discards: DiscardOptions,
    },
}

impl DriverOptions {
    /// The driver's name as QMP shows it.
    pub fn name(&self) -> &'static str {
        match self {
            DriverOptions::File { .. } => "file",
            DriverOptions::Raw { .. } => "raw",
            DriverOptions::Blkdebug { .. } => "blkdebug",
            DriverOptions::Throttle { .. } => "throttle",
            DriverOptions::Compress { .. } => "compress",
            DriverOptions::CopyOnRead { .. } => "copy-on-read",
            DriverOptions::NullCo { .. } => "null-co",
            DriverOptions::Qcow2 { .. } => "qcow2",
        }
    }

    /// A qcow2 image of which nothing else is said.
    pub fn qcow2(file: ChildOptions, backing: BackingOptions) -> DriverOptions {
        DriverOptions::Qcow2 { file, backing, data_file: None, discards: DiscardOptions::default() }
    }
}

/// What an operator says of the space in an image that is not needed any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct DiscardOptions {
    /// `pass-discard-request`: a guest's discards reach the file; if nobody says, as the node takes discards.
    pub request: Option<bool>,
    /// `pass-discard-snapshot`: so does what a snapshot had; it does, unless it is said.
    pub snapshot: Option<bool>,
    /// `pass-discard-other`: so does what the image's own tables had.
    pub other: Option<bool>,
    /// `discard-no-unref`: discarded clusters keep their place in the file.
    pub no_unref: bool,
}

impl DiscardOptions {
    /// What that makes of an image on a node that takes discards, or does not.
    pub fn settle(self, unmap: bool) -> Discards {
        Discards {
            request: self.request.unwrap_or(unmap),
            snapshot: self.snapshot.unwrap_or(true),
            other: self.other.unwrap_or(false),
            no_unref: self.no_unref,
        }
    }
}

/// A child: an existing node by name, or one to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChildOptions {
    /// An existing node.
    Reference(String),
    /// A new node, owned by its parent.
    Inline(Box<BlockdevOptions>),
}

impl BlockdevOptions {
    /// A node of which nothing is said but its driver.
    pub fn unnamed(driver: DriverOptions) -> BlockdevOptions {
        let settings = NodeSettings::default();
        BlockdevOptions { node_name: None, driver, read_only: None, auto_read_only: None, settings }
    }
}

impl ChildOptions {
    /// A new node for the file of this name.
    pub fn named_file(filename: String) -> ChildOptions {
        let driver = DriverOptions::File { filename, locks: None };
        ChildOptions::Inline(Box::new(BlockdevOptions::unnamed(driver)))
    }
}

/// The backing child of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackingOptions {
    /// Not said: what the image's header names is opened.
    FromHeader,
    /// `null`: none, whatever the header names.
    None,
    /// Said.
    Child(ChildOptions),
}

/// `block-stream`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamArguments {
    /// `job-id`.
    pub job_id: Option<String>,
    /// `device`: device or node name of the top image, the one that receives the data.
    pub device: String,
    /// `base`, by file name.
    pub base: Option<String>,
    /// `base-node`, by node name.
    pub base_node: Option<String>,
    /// `bottom`: the last node whose data is copied.
    pub bottom: Option<String>,
    /// `backing-file`: the string for top's header.
    pub backing_file: Option<String>,
    /// `backing-mask-protocol`.
    pub backing_mask_protocol: bool,
    /// `speed` in bytes a second; 0 is unlimited.
    pub speed: i64,
    /// `on-error`.
    pub on_error: OnError,
    /// `filter-node-name`.
    pub filter_node_name: Option<String>,
    /// `auto-finalize`, default true; held inverted so that Default is right.
    pub manual_finalize: bool,
    /// `auto-dismiss`, default true; held inverted so that Default is right.
    pub manual_dismiss: bool,
}

/// `block-commit`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitArguments {
    /// `job-id`.
    pub job_id: Option<String>,
    /// `device`: the root of the chain.
    pub device: String,
    /// `base-node`: what is written into.
    pub base_node: Option<String>,
    /// `base`, by file name.
    pub base: Option<String>,
    /// `top-node`: the uppermost layer whose data is copied down; default: the device.
    pub top_node: Option<String>,
    /// `top`, by file name.
    pub top: Option<String>,
    /// `backing-file`: the string for the header of top's overlay.
    pub backing_file: Option<String>,
    /// `backing-mask-protocol`.
    pub backing_mask_protocol: bool,
    /// `speed` in bytes a second; 0 is unlimited.
    pub speed: i64,
    /// `on-error`.
    pub on_error: OnError,
    /// `filter-node-name`.
    pub filter_node_name: Option<String>,
    /// `auto-finalize` is off.
    pub manual_finalize: bool,
    /// `auto-dismiss` is off.
    pub manual_dismiss: bool,
}

/// `blockdev-mirror`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorArguments {
    /// `job-id`.
    pub job_id: Option<String>,
    /// `device`: the node that is copied from, a root.
    pub device: String,
    /// `target`: the node that is copied into.
    pub target: String,
    /// `replaces`: the node that target replaces in the end, if not the device.
    pub replaces: Option<String>,
    /// `sync`.
    pub sync: MirrorSync,
    /// `speed` in bytes a second; 0 is unlimited.
    pub speed: i64,
    /// `granularity` in bytes; 0: as target's clusters.
    pub granularity: u32,
    /// `buf-size` in bytes; 0: QEMU's.
    pub buffer_bytes: i64,
    /// `on-source-error`.
    pub on_source_error: OnError,
    /// `on-target-error`.
    pub on_target_error: OnError,
    /// `filter-node-name`.
    pub filter_node_name: Option<String>,
    /// `copy-mode`.
    pub copy_mode: CopyMode,
    /// `auto-finalize` is off.
    pub manual_finalize: bool,
    /// `auto-dismiss` is off.
    pub manual_dismiss: bool,
}

/// What a mirror copies at the start.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum MirrorSync {
    /// What the topmost layer decides.
    Top,
    /// Everything.
    Full,
    /// Nothing: only what guests write from now on.
    None,
    /// What a bitmap says; refused, as by QEMU 10.0.
    Incremental,
    /// What a bitmap says; refused, as by QEMU 10.0.
    Bitmap,
}

/// `blockdev-backup`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackupArguments {
    /// `job-id`.
    pub job_id: Option<String>,
    /// `device`: the node that is saved.
    pub device: String,
    /// `target`: the node it is saved in.
    pub target: String,
    /// `sync`.
    pub sync: BackupSync,
    /// `speed` in bytes a second; 0 is unlimited.
    pub speed: i64,
    /// `bitmap`.
    pub bitmap: Option<String>,
    /// `bitmap-mode`.
    pub bitmap_mode: Option<BitmapMode>,
    /// `compress`.
    pub compress: bool,
    /// `on-source-error`.
    pub on_source_error: OnError,
    /// `on-target-error`.
    pub on_target_error: OnError,
    /// `filter-node-name`.
    pub filter_node_name: Option<String>,
    /// `discard-source`.
    pub discard_source: bool,
    /// `x-perf.max-workers`. One is at work, whatever it says.
    pub workers_max: i64,
    /// `x-perf.max-chunk`, bytes; 0 for no limit.
    pub chunk_bytes_max: i64,
    /// `x-perf.min-cluster-size`, bytes.
    pub cluster_bytes_min: i64,
    /// `auto-finalize` is off.
    pub manual_finalize: bool,
    /// `auto-dismiss` is off.
    pub manual_dismiss: bool,
}

/// What a backup saves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BackupSync {
    /// What the topmost layer decides.
    Top,
    /// Everything.
    Full,
    /// Only what guests overwrite.
    None,
    /// What a bitmap says, and forgets when the job succeeds.
    Incremental,
    /// What a bitmap says.
    Bitmap,
}

impl BackupSync {
    /// QEMU's word.
    pub fn word(self) -> &'static str {
        match self {
            BackupSync::Top => "top",
            BackupSync::Full => "full",
            BackupSync::None => "none",
            BackupSync::Incremental => "incremental",
            BackupSync::Bitmap => "bitmap",
        }
    }
}

/// When a backup's bitmap forgets what was saved.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BitmapMode {
    /// If the job succeeds.
    OnSuccess,
    /// Never.
    Never,
    /// What was saved, however the job ends.
    Always,
}

/// What a job does about an I/O error.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum OnError {
    /// End the job with the error.
    #[default]
    Report,
    /// Go on, and fail at the end.
    Ignore,
    /// Stop on ENOSPC, report anything else.
    Enospc,
    /// Pause the job; resume tries again.
    Stop,
    /// As `Enospc`.
    Auto,
}

/// Which of the two command families names a job: `block-job-*` or `job-*`. Their refusals differ.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Family {
    /// `block-job-*`.
    BlockJob,
    /// `job-*`.
    Job,
}

/// An operator's request on a job.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Verb {
    /// End without success. `block-job-cancel` is soft unless it says `force`; `job-cancel` always forces.
    Cancel {
        /// Whether a user-paused job may be cancelled too.
        force: bool,
    },
    /// Pause at the next pause point.
    Pause,
    /// Undo a pause.
    Resume,
    /// Change the speed limit, bytes a second.
    SetSpeed(i64),
    /// Let a ready job finish.
    Complete,
    /// Let a pending job take effect.
    Finalize,
    /// Forget a concluded job.
    Dismiss,
    /// Change how a mirror copies while it runs.
    Change(CopyMode),
}

/// One entry of `query-block-jobs`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockJobInfo {
    /// `type`: `stream`.
    pub kind: &'static str,
    /// `device`: the job's id.
    pub device: String,
    /// Expected total, bytes.
    pub len: u64,
    /// Progress so far, bytes.
    pub offset: u64,
    /// Whether it is doing something at this moment.
    pub busy: bool,
    /// Whether somebody asked it to pause.
    pub paused: bool,
    /// Bytes a second, 0 for unlimited.
    pub speed: i64,
    /// `ok`, `failed` or `nospace`.
    pub io_status: &'static str,
    /// Whether it waits to be completed.
    pub ready: bool,
    /// The status word.
    pub status: &'static str,
    /// `auto-finalize`.
    pub auto_finalize: bool,
    /// `auto-dismiss`.
    pub auto_dismiss: bool,
    /// `actively-synced`, of a mirror.
    pub actively_synced: Option<bool>,
    /// Why it failed.
    pub error: Option<String>,
}

/// One entry of `query-named-block-nodes`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeInfo {
    /// `node-name`.
    pub node_name: String,
    /// `drv`.
    pub driver: &'static str,
    /// `ro`.
    pub read_only: bool,
    /// `file`: the node's file name.
    pub file: String,
    /// `backing_file`: file name of the backing node, if any.
    pub backing_file: Option<String>,
    /// `backing_file_depth`: how many layers lie below.
    pub backing_file_depth: u64,
    /// Virtual size in bytes.
    pub virtual_size: u64,
    /// Cluster size in bytes, where the format has one.
    pub cluster_size: Option<u64>,
    /// `dirty-flag`: whether the image was not closed cleanly; nothing where nobody can tell.
    pub is_dirty: Option<bool>,
    /// `actual-size`: the space its files take, in bytes.
    pub actual_size: u64,
    /// `backing-filename` and what belongs to it, as the image itself says.
    pub named_backing: Option<NamedBacking>,
    /// `format-specific`.
    pub specific: Option<SpecificInfo>,
    /// `detect_zeroes`.
    pub detect_zeroes: &'static str,
    /// `cache.direct`.
    pub direct: bool,
    /// `cache.no-flush`.
    pub no_flush: bool,
    /// `write_threshold`.
    pub write_threshold: u64,
    /// `dirty-bitmaps`: newest first.
    pub bitmaps: Vec<BitmapInfo>,
}

/// The backing file that an image names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedBacking {
    /// `backing-filename`.
    pub file: String,
    /// `full-backing-filename`: from where the image lies.
    pub full: Option<String>,
    /// `backing-filename-format`.
    pub format: Option<String>,
}

/// What only one kind of node has to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SpecificInfo {
    /// Nothing more.
    File,
    /// What the image says of itself.
    Qcow2(crate::format::qcow2::Info),
}

/// `block-export-add`, of type `nbd`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExportOptions {
    /// `id`.
    pub id: String,
    /// `node-name`.
    pub node_name: String,
    /// `name`: what clients ask for; the node's name unless said.
    pub name: Option<String>,
    /// `description`, for people.
    pub description: Option<String>,
    /// `writable`.
    pub writable: bool,
    /// `iothread`: an object that must be there.
    pub iothread: Option<String>,
    /// `writethrough`: every write is durable before its reply.
    pub writethrough: bool,
    /// `allocation-depth`: clients may ask for `qemu:allocation-depth`.
    pub allocation_depth: bool,
}

/// One entry of `query-block-exports`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportInfo {
    /// `id`.
    pub id: String,
    /// `node-name`: the node it stands on now.
    pub node_name: String,
    /// `shutting-down`.
    pub shutting_down: bool,
}

/// `x-debug-query-block-graph`: every node, user and job, and who takes what of whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GraphInfo {
    /// What stands in the graph.
    pub vertices: Vec<VertexInfo>,
    /// The uses between them.
    pub edges: Vec<EdgeInfo>,
}

/// One vertex of the graph as it is debugged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VertexInfo {
    /// Its number, in this answer only.
    pub id: u64,
    /// `block-driver`, `block-backend` or `block-job`.
    pub kind: &'static str,
    /// Its name, empty for a guest's or a job's own access.
    pub name: String,
}

/// One use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EdgeInfo {
    /// Who uses.
    pub parent: u64,
    /// What is used.
    pub child: u64,
    /// The child's name at its parent.
    pub name: &'static str,
    /// What is taken.
    pub taken: crate::permission::Set,
    /// What others may do.
    pub shared: crate::permission::Set,
}

/// One entry of a node's `dirty-bitmaps`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BitmapInfo {
    /// `name`.
    pub name: Arc<str>,
    /// `count`: dirty bytes.
    pub dirty_bytes: u64,
    /// `granularity`, bytes.
    pub granularity: u32,
    /// `recording`.
    pub is_recording: bool,
    /// `persistent`.
    pub is_persistent: bool,
    /// `inconsistent`.
    pub is_inconsistent: bool,
}

/// An internal snapshot that was deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeletedSnapshot {
    /// `id`.
    pub id: String,
    /// `name`.
    pub name: String,
    /// `date-sec`.
    pub seconds: u64,
    /// `date-nsec`.
    pub nanoseconds: u64,
}
