//! What may be said to commands that change the graph or one of its nodes.

use super::super::types::Type::{
    Alternate as Either, Bool, Enum as OneOf, Int, List, Null, Object as Record, Size, Str,
};
use super::super::types::{Alternate, Enum, Object, object, optional, required};
use super::BLOCKDEV_OPTIONS;

/// `blockdev-reopen`.
pub static REOPEN: Object =
    object("BlockdevReopen", &[required("options", List(&Record(&BLOCKDEV_OPTIONS)))]);

/// `blockdev-snapshot`.
pub static SNAPSHOT: Object = object("BlockdevSnapshot", &[required("node", Str), required("overlay", Str)]);

/// `blockdev-snapshot-sync`.
pub static SNAPSHOT_SYNC: Object = object(
    "BlockdevSnapshotSync",
    &[
        optional("device", Str),
        optional("node-name", Str),
        required("snapshot-file", Str),
        optional("snapshot-node-name", Str),
        optional("format", Str),
        optional("mode", OneOf(&NEW_IMAGE_MODE)),
    ],
);
static NEW_IMAGE_MODE: Enum = Enum { name: "NewImageMode", values: &["existing", "absolute-paths"] };

/// `blockdev-snapshot-internal-sync`.
pub(crate) static INTERNAL_SNAPSHOT: Object =
    object("BlockdevSnapshotInternal", &[required("device", Str), required("name", Str)]);

/// `blockdev-snapshot-delete-internal-sync`.
pub(crate) static DELETE_INTERNAL_SNAPSHOT: Object = object(
    "BlockdevSnapshotDeleteInternal",
    &[required("device", Str), optional("id", Str), optional("name", Str)],
);

/// What is shown of a deleted internal snapshot.
pub(crate) static SNAPSHOT_INFO: Object = object(
    "SnapshotInfo",
    &[
        required("id", Str),
        required("name", Str),
        required("vm-state-size", Int),
        required("date-sec", Int),
        required("date-nsec", Int),
        required("vm-clock-sec", Int),
        required("vm-clock-nsec", Int),
        optional("icount", Int),
    ],
);

/// `x-blockdev-set-iothread`.
pub(crate) static SET_IOTHREAD: Object = object(
    "BlockdevSetIothread",
    &[required("node-name", Str), required("iothread", Either(&STRING_OR_NULL)), optional("force", Bool)],
);
static STRING_OR_NULL: Alternate = Alternate { name: "StrOrNull", cases: &[Str, Null] };

/// `change-backing-file`.
pub(crate) static CHANGE_BACKING_FILE: Object = object(
    "ChangeBackingFile",
    &[required("device", Str), required("image-node-name", Str), required("backing-file", Str)],
);

/// `block-set-write-threshold`.
pub(crate) static WRITE_THRESHOLD: Object =
    object("BlockSetWriteThreshold", &[required("node-name", Str), required("write-threshold", Size)]);

/// `BLOCK_WRITE_THRESHOLD`.
pub(crate) static THRESHOLD_PASSED: Object = object(
    "BlockWriteThreshold",
    &[required("node-name", Str), required("amount-exceeded", Int), required("write-threshold", Int)],
);

/// `x-blockdev-amend`.
pub(crate) static AMEND: Object = object(
    "BlockdevAmend",
    &[
        required("job-id", Str),
        required("node-name", Str),
        required("options", Record(&AMEND_OPTIONS)),
        optional("force", Bool),
    ],
);
static AMEND_OPTIONS: Object = object("BlockdevAmendOptions", &[required("driver", OneOf(&AMENDED))]);
static AMENDED: Enum = Enum { name: "BlockdevAmendDriver", values: &["qcow2"] };

/// `block_resize`.
pub static RESIZE: Object =
    object("BlockResize", &[optional("device", Str), optional("node-name", Str), required("size", Int)]);

/// `block-dirty-bitmap-add`.
pub(crate) static BITMAP_ADD: Object = object(
    "BlockDirtyBitmapAdd",
    &[
        required("node", Str),
        required("name", Str),
        optional("granularity", Size),
        optional("persistent", Bool),
        optional("disabled", Bool),
    ],
);

/// `block-dirty-bitmap-remove`, `-clear`, `-enable`, `-disable`.
pub static BITMAP: Object = object("BlockDirtyBitmap", &[required("node", Str), required("name", Str)]);

/// What `x-debug-block-dirty-bitmap-sha256` answers.
pub(crate) static BITMAP_SUM: Object = object("BlockDirtyBitmapSha256", &[required("sha256", Str)]);

/// `block-dirty-bitmap-merge`.
pub(crate) static BITMAP_MERGE: Object = object(
    "BlockDirtyBitmapMerge",
    &[required("node", Str), required("target", Str), required("bitmaps", List(&Either(&BITMAP_SOURCE)))],
);
pub(in crate::qapi) static BITMAP_SOURCE: Alternate =
    Alternate { name: "BlockDirtyBitmapOrStr", cases: &[Str, Record(&BITMAP)] };

/// `BLOCK_IMAGE_CORRUPTED`.
pub(crate) static IMAGE_CORRUPTED: Object = object(
    "BlockImageCorrupted",
    &[
        required("device", Str),
        optional("node-name", Str),
        required("msg", Str),
        optional("offset", Int),
        optional("size", Int),
        required("fatal", Bool),
    ],
);

/// One entry of a node's `dirty-bitmaps`.
pub(crate) static BITMAP_INFO: Object = object(
    "BlockDirtyInfo",
    &[
        optional("name", Str),
        required("count", Int),
        required("granularity", Int),
        required("recording", Bool),
        required("busy", Bool),
        required("persistent", Bool),
        optional("inconsistent", Bool),
    ],
);

/// One entry of an image's `bitmaps`.
pub(crate) static BITMAP_ON_DISK: Object = object(
    "Qcow2BitmapInfo",
    &[required("name", Str), required("granularity", Int), required("flags", List(&OneOf(&BITMAP_FLAG)))],
);
static BITMAP_FLAG: Enum = Enum { name: "Qcow2BitmapInfoFlags", values: &["in-use", "auto"] };
