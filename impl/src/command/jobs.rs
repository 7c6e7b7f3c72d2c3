//! What starts a job, what is asked of one, and what is shown of it.

use crate::graph::mirror_top::CopyMode;

/// What the operator says of any job.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobOptions {
    /// `job-id`.
    pub id: Option<String>,
    /// `speed` in bytes a second; 0 is unlimited.
    pub speed: i64,
    /// `auto-finalize`, default true; held inverted so that Default is right.
    pub manual_finalize: bool,
    /// `auto-dismiss`, default true; held inverted so that Default is right.
    pub manual_dismiss: bool,
}

/// `block-stream`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StreamArguments {
    /// What the operator says of the job itself.
    pub job: JobOptions,
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
    /// `on-error`.
    pub on_error: OnError,
    /// `filter-node-name`.
    pub filter_node_name: Option<String>,
}

/// `block-commit`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CommitArguments {
    /// What the operator says of the job itself.
    pub job: JobOptions,
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
    /// `on-error`.
    pub on_error: OnError,
    /// `filter-node-name`.
    pub filter_node_name: Option<String>,
}

/// `blockdev-mirror`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorArguments {
    /// What the operator says of the job itself.
    pub job: JobOptions,
    /// `device`: the node that is copied from, a root.
    pub device: String,
    /// `target`: the node that is copied into.
    pub target: String,
    /// `replaces`: the node that target replaces in the end, if not the device.
    pub replaces: Option<String>,
    /// `sync`.
    pub sync: MirrorSync,
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
    /// What the operator says of the job itself.
    pub job: JobOptions,
    /// `device`: the node that is saved.
    pub device: String,
    /// `target`: the node it is saved in.
    pub target: String,
    /// `sync`.
    pub sync: BackupSync,
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
    /// Commits a pending job.
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
