//! What may be said to `blockdev-backup`, and to `transaction` and its actions.

use super::super::types::Type::{Bool, Enum as OneOf, Int, List, Object as Record, Str};
use super::super::types::{Enum, Object, Variants, object, optional, required};
use super::edits;
use super::jobs::{MIRROR_SYNC, ON_ERROR};

/// `blockdev-backup`.
pub static BACKUP: Object = object(
    "BlockdevBackup",
    &[
        optional("job-id", Str),
        required("device", Str),
        required("sync", OneOf(&MIRROR_SYNC)),
        optional("speed", Int),
        optional("bitmap", Str),
        optional("bitmap-mode", OneOf(&BITMAP_MODE)),
        optional("compress", Bool),
        optional("on-source-error", OneOf(&ON_ERROR)),
        optional("on-target-error", OneOf(&ON_ERROR)),
        optional("auto-finalize", Bool),
        optional("auto-dismiss", Bool),
        optional("filter-node-name", Str),
        optional("discard-source", Bool),
        optional("x-perf", Record(&PERFORMANCE)).with(&["unstable"]),
        required("target", Str),
    ],
);
static BITMAP_MODE: Enum = Enum { name: "BitmapSyncMode", values: &["on-success", "never", "always"] };
static PERFORMANCE: Object = object(
    "BackupPerf",
    &[
        optional("use-copy-range", Bool),
        optional("max-workers", Int),
        optional("max-chunk", Int),
        optional("min-cluster-size", Int),
    ],
);

/// `transaction`.
pub static TRANSACTION: Object = object(
    "Transaction",
    &[required("actions", List(&Record(&ACTION))), optional("properties", Record(&PROPERTIES))],
);
static PROPERTIES: Object =
    object("TransactionProperties", &[optional("completion-mode", OneOf(&COMPLETION_MODE))]);
static COMPLETION_MODE: Enum = Enum { name: "ActionCompletionMode", values: &["individual", "grouped"] };

/// One action: its type, and the arguments of the command of that name.
static ACTION: Object = Object {
    variants: Some(Variants {
        tag: "type",
        cases: &[
            ("abort", &NOTHING),
            ("block-dirty-bitmap-add", &BITMAP_ADD),
            ("block-dirty-bitmap-remove", &BITMAP),
            ("block-dirty-bitmap-clear", &BITMAP),
            ("block-dirty-bitmap-enable", &BITMAP),
            ("block-dirty-bitmap-disable", &BITMAP),
            ("block-dirty-bitmap-merge", &BITMAP_MERGE),
            ("blockdev-backup", &BACKUP_ACTION),
            ("blockdev-snapshot", &SNAPSHOT),
            ("blockdev-snapshot-internal-sync", &INTERNAL_SNAPSHOT),
            ("blockdev-snapshot-sync", &SNAPSHOT_SYNC),
        ],
    }),
    ..object("TransactionAction", &[required("type", OneOf(&ACTION_KIND))])
};
#[rustfmt::skip]
static ACTION_KIND: Enum = Enum {
    name: "TransactionActionKind",
    values: &[
        "abort", "block-dirty-bitmap-add", "block-dirty-bitmap-remove", "block-dirty-bitmap-clear",
        "block-dirty-bitmap-enable", "block-dirty-bitmap-disable", "block-dirty-bitmap-merge", "blockdev-backup",
        "blockdev-snapshot", "blockdev-snapshot-internal-sync", "blockdev-snapshot-sync",
    ],
};
static EMPTY: Object = object("Abort", &[]);
static NOTHING: Object = object("AbortWrapper", &[required("data", Record(&EMPTY))]);
static BITMAP_ADD: Object =
    object("BlockDirtyBitmapAddWrapper", &[required("data", Record(&edits::BITMAP_ADD))]);
static BITMAP: Object = object("BlockDirtyBitmapWrapper", &[required("data", Record(&edits::BITMAP))]);
static BITMAP_MERGE: Object =
    object("BlockDirtyBitmapMergeWrapper", &[required("data", Record(&edits::BITMAP_MERGE))]);
static BACKUP_ACTION: Object = object("BlockdevBackupWrapper", &[required("data", Record(&BACKUP))]);
static INTERNAL_SNAPSHOT: Object =
    object("BlockdevSnapshotInternalWrapper", &[required("data", Record(&edits::INTERNAL_SNAPSHOT))]);
static SNAPSHOT_SYNC: Object =
    object("BlockdevSnapshotSyncWrapper", &[required("data", Record(&edits::SNAPSHOT_SYNC))]);
static SNAPSHOT: Object = object("BlockdevSnapshotWrapper", &[required("data", Record(&edits::SNAPSHOT))]);
