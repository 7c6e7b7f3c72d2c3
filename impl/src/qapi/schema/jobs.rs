//! Jobs: what starts one, what is asked of one, what is shown of one, and their events.

use super::super::types::Type::{Bool, Enum as OneOf, Int, Size, Str};
use super::super::types::{Enum, Object, Variants, object, optional, required};

pub(in crate::qapi) static STREAM: Object = object(
    "BlockStream",
    &[
        optional("job-id", Str),
        required("device", Str),
        optional("base", Str),
        optional("base-node", Str),
        optional("backing-file", Str),
        optional("backing-mask-protocol", Bool),
        optional("bottom", Str),
        optional("speed", Int),
        optional("on-error", OneOf(&ON_ERROR)),
        optional("filter-node-name", Str),
        optional("auto-finalize", Bool),
        optional("auto-dismiss", Bool),
    ],
);
pub(in crate::qapi) static COMMIT: Object = object(
    "BlockCommit",
    &[
        optional("job-id", Str),
        required("device", Str),
        optional("base-node", Str),
        optional("base", Str).with(&["deprecated"]),
        optional("top-node", Str),
        optional("top", Str).with(&["deprecated"]),
        optional("backing-file", Str),
        optional("backing-mask-protocol", Bool),
        optional("speed", Int),
        optional("on-error", OneOf(&ON_ERROR)),
        optional("filter-node-name", Str),
        optional("auto-finalize", Bool),
        optional("auto-dismiss", Bool),
    ],
);
pub(in crate::qapi) static MIRROR: Object = object(
    "BlockdevMirror",
    &[
        optional("job-id", Str),
        required("device", Str),
        required("target", Str),
        optional("replaces", Str),
        required("sync", OneOf(&MIRROR_SYNC)),
        optional("speed", Int),
        optional("granularity", Size),
        optional("buf-size", Int),
        optional("on-source-error", OneOf(&ON_ERROR)),
        optional("on-target-error", OneOf(&ON_ERROR)),
        optional("filter-node-name", Str),
        optional("copy-mode", OneOf(&COPY_MODE)),
        optional("auto-finalize", Bool),
        optional("auto-dismiss", Bool),
    ],
);
pub(in crate::qapi) static MIRROR_SYNC: Enum =
    Enum { name: "MirrorSyncMode", values: &["top", "full", "none", "incremental", "bitmap"] };
pub(in crate::qapi) static ON_ERROR: Enum =
    Enum { name: "BlockdevOnError", values: &["report", "ignore", "enospc", "stop", "auto"] };
pub(in crate::qapi) static DEVICE: Object = object("Device", &[required("device", Str)]);
pub(in crate::qapi) static DEVICE_AND_FORCE: Object =
    object("DeviceAndForce", &[required("device", Str), optional("force", Bool)]);
pub(in crate::qapi) static DEVICE_AND_SPEED: Object =
    object("DeviceAndSpeed", &[required("device", Str), required("speed", Int)]);
pub(in crate::qapi) static ID: Object = object("Id", &[required("id", Str)]);
pub(in crate::qapi) static JOB_CHANGE: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("mirror", &JOB_CHANGE_MIRROR)] }),
    ..object("JobChangeOptions", &[required("id", Str), required("type", OneOf(&JOB_TYPE))])
};
pub(in crate::qapi) static JOB_CHANGE_MIRROR: Object =
    object("BlockJobChangeOptionsMirror", &[required("copy-mode", OneOf(&COPY_MODE))]);
pub(in crate::qapi) static COPY_MODE: Enum =
    Enum { name: "MirrorCopyMode", values: &["background", "write-blocking"] };
#[rustfmt::skip]
pub(in crate::qapi) static JOB_TYPE: Enum = Enum {
    name: "JobType",
    values: &[
        "commit", "stream", "mirror", "backup", "create", "amend",
        "snapshot-load", "snapshot-save", "snapshot-delete",
    ],
};
#[rustfmt::skip]
pub(in crate::qapi) static JOB_STATUS: Enum = Enum {
    name: "JobStatus",
    values: &[
        "undefined", "created", "running", "paused", "ready", "standby",
        "waiting", "pending", "aborting", "concluded", "null",
    ],
};
pub(in crate::qapi) static IO_STATUS: Enum =
    Enum { name: "BlockDeviceIoStatus", values: &["ok", "failed", "nospace"] };
pub(in crate::qapi) static JOB_INFO: Object = object(
    "JobInfo",
    &[
        required("id", Str),
        required("type", OneOf(&JOB_TYPE)),
        required("status", OneOf(&JOB_STATUS)),
        required("current-progress", Int),
        required("total-progress", Int),
        optional("error", Str),
    ],
);
pub(in crate::qapi) static BLOCK_JOB_INFO: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("mirror", &BLOCK_JOB_INFO_MIRROR)] }),
    ..object(
        "BlockJobInfo",
        &[
            required("type", OneOf(&JOB_TYPE)),
            required("device", Str),
            required("len", Int),
            required("offset", Int),
            required("busy", Bool),
            required("paused", Bool),
            required("speed", Int),
            required("io-status", OneOf(&IO_STATUS)),
            required("ready", Bool),
            required("status", OneOf(&JOB_STATUS)),
            required("auto-finalize", Bool),
            required("auto-dismiss", Bool),
            optional("error", Str),
        ],
    )
};
pub(in crate::qapi) static BLOCK_JOB_INFO_MIRROR: Object =
    object("BlockJobInfoMirror", &[required("actively-synced", Bool)]);

pub(in crate::qapi) static JOB_STATUS_CHANGE: Object =
    object("JobStatusChange", &[required("id", Str), required("status", OneOf(&JOB_STATUS))]);
pub(in crate::qapi) static JOB_COMPLETED: Object = object(
    "JobCompleted",
    &[
        required("type", OneOf(&JOB_TYPE)),
        required("device", Str),
        required("len", Int),
        required("offset", Int),
        required("speed", Int),
        optional("error", Str),
    ],
);
pub(in crate::qapi) static JOB_FACTS: Object = object(
    "JobFacts",
    &[
        required("type", OneOf(&JOB_TYPE)),
        required("device", Str),
        required("len", Int),
        required("offset", Int),
        required("speed", Int),
    ],
);
pub(in crate::qapi) static JOB_PENDING: Object =
    object("JobPending", &[required("type", OneOf(&JOB_TYPE)), required("id", Str)]);
pub(in crate::qapi) static JOB_ERROR: Object = object(
    "JobError",
    &[
        required("device", Str),
        required("operation", OneOf(&IO_OPERATION)),
        required("action", OneOf(&ERROR_ACTION)),
    ],
);
pub(in crate::qapi) static IO_OPERATION: Enum = Enum { name: "IoOperationType", values: &["read", "write"] };
pub(in crate::qapi) static ERROR_ACTION: Enum =
    Enum { name: "BlockErrorAction", values: &["ignore", "report", "stop"] };
