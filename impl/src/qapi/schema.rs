//! The one table of what may be said: every command with its arguments and answer, and every event.
//!
//! Arguments are checked against it and `query-qmp-schema` is written from it, so a client that finds an argument
//! here may use it: `base-node` of `block-stream` means that any node may be streamed into. What the engine does
//! not do is not in the table.

mod create;
pub mod edits;
pub mod exports;
mod jobs;
mod language;
pub mod nodes;
mod stats;
pub mod transaction;

use super::types::Type::{Alternate as Either, Bool, Enum as OneOf, Int, List, Null, Object as Record, Str};
use super::types::*;
use crate::command::Family;

/// The command of this name.
pub fn command(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|c| c.name == name)
}

const NOTHING: Type = Record(&EMPTY);

const fn entry(name: &'static str, action: Action, arguments: &'static Object, returns: Type) -> Command {
    Command { name, action, arguments, returns, features: &[] }
}

const fn job(name: &'static str, family: Family, verb: JobVerb, arguments: &'static Object) -> Command {
    entry(name, Action::Job(family, verb), arguments, NOTHING)
}

use Family::{BlockJob, Job};
use JobVerb::{Cancel, Change, Complete, Dismiss, Finalize, Pause, Resume, SetSpeed};

/// Every command, the ones that run most often first.
pub static COMMANDS: &[Command] = &[
    entry("block-stream", Action::BlockStream, &jobs::STREAM, NOTHING),
    entry("block-commit", Action::BlockCommit, &jobs::COMMIT, NOTHING),
    entry("blockdev-backup", Action::BlockdevBackup, &transaction::BACKUP, NOTHING),
    entry("transaction", Action::Transaction, &transaction::TRANSACTION, NOTHING),
    entry("blockdev-mirror", Action::BlockdevMirror, &jobs::MIRROR, NOTHING),
    entry("query-block-jobs", Action::QueryBlockJobs, &EMPTY, List(&Record(&jobs::BLOCK_JOB_INFO))),
    entry("query-jobs", Action::QueryJobs, &EMPTY, List(&Record(&jobs::JOB_INFO))),
    entry("query-named-block-nodes", Action::QueryNamedBlockNodes, &FLAT, List(&Record(&NODE_INFO))),
    entry(
        "x-debug-block-dirty-bitmap-sha256",
        Action::Edit(Edit::BitmapSum),
        &edits::BITMAP,
        Record(&edits::BITMAP_SUM),
    ),
    entry("x-debug-query-block-graph", Action::QueryBlockGraph, &EMPTY, Record(&GRAPH)),
    entry("blockdev-add", Action::BlockdevAdd, &BLOCKDEV_OPTIONS, NOTHING),
    entry("blockdev-create", Action::BlockdevCreate, &create::CREATE, NOTHING),
    entry("blockdev-del", Action::BlockdevDel, &NODE_NAME, NOTHING),
    job("block-job-set-speed", BlockJob, SetSpeed, &jobs::DEVICE_AND_SPEED),
    job("block-job-cancel", BlockJob, Cancel, &jobs::DEVICE_AND_FORCE),
    job("block-job-pause", BlockJob, Pause, &jobs::DEVICE),
    job("block-job-resume", BlockJob, Resume, &jobs::DEVICE),
    job("block-job-complete", BlockJob, Complete, &jobs::DEVICE),
    job("block-job-finalize", BlockJob, Finalize, &jobs::ID),
    job("block-job-dismiss", BlockJob, Dismiss, &jobs::ID),
    job("block-job-change", BlockJob, Change, &jobs::JOB_CHANGE),
    job("job-pause", Job, Pause, &jobs::ID),
    job("job-resume", Job, Resume, &jobs::ID),
    job("job-cancel", Job, Cancel, &jobs::ID),
    job("job-complete", Job, Complete, &jobs::ID),
    job("job-finalize", Job, Finalize, &jobs::ID),
    job("job-dismiss", Job, Dismiss, &jobs::ID),
    entry("block-export-add", Action::BlockExportAdd, &exports::EXPORT_OPTIONS, NOTHING),
    entry("block-export-del", Action::BlockExportDel, &exports::EXPORT_DEL, NOTHING),
    entry("nbd-server-start", Action::NbdServerStart, &exports::SERVER_OPTIONS, NOTHING),
    entry("nbd-server-stop", Action::NbdServerStop, &EMPTY, NOTHING),
    entry("nbd-server-add", Action::NbdServerAdd, &exports::SERVER_ADD, NOTHING).with(&["deprecated"]),
    entry("nbd-server-remove", Action::NbdServerRemove, &exports::SERVER_REMOVE, NOTHING)
        .with(&["deprecated"]),
    entry("query-block-exports", Action::QueryBlockExports, &EMPTY, List(&Record(&exports::EXPORT_INFO))),
    entry("object-add", Action::ObjectAdd, &exports::OBJECT_OPTIONS, NOTHING),
    entry("object-del", Action::ObjectDel, &jobs::ID, NOTHING),
    entry("blockdev-reopen", Action::Edit(Edit::Reopen), &edits::REOPEN, NOTHING),
    entry("blockdev-snapshot", Action::Edit(Edit::Snapshot), &edits::SNAPSHOT, NOTHING)
        .with(&["allow-write-only-overlay"]),
    entry("blockdev-snapshot-sync", Action::Edit(Edit::SnapshotSync), &edits::SNAPSHOT_SYNC, NOTHING),
    entry(
        "blockdev-snapshot-internal-sync",
        Action::Edit(Edit::InternalSnapshot),
        &edits::INTERNAL_SNAPSHOT,
        NOTHING,
    ),
    entry(
        "blockdev-snapshot-delete-internal-sync",
        Action::Edit(Edit::DeleteInternalSnapshot),
        &edits::DELETE_INTERNAL_SNAPSHOT,
        Record(&edits::SNAPSHOT_INFO),
    ),
    entry("x-blockdev-set-iothread", Action::Edit(Edit::SetIothread), &edits::SET_IOTHREAD, NOTHING),
    entry("change-backing-file", Action::Edit(Edit::ChangeBackingFile), &edits::CHANGE_BACKING_FILE, NOTHING),
    entry("block_resize", Action::Edit(Edit::Resize), &edits::RESIZE, NOTHING),
    entry("block-dirty-bitmap-add", Action::Edit(Edit::BitmapAdd), &edits::BITMAP_ADD, NOTHING),
    entry("block-dirty-bitmap-remove", Action::Edit(Edit::BitmapRemove), &edits::BITMAP, NOTHING),
    entry("block-dirty-bitmap-clear", Action::Edit(Edit::BitmapClear), &edits::BITMAP, NOTHING),
    entry("block-dirty-bitmap-enable", Action::Edit(Edit::BitmapEnable), &edits::BITMAP, NOTHING),
    entry("block-dirty-bitmap-disable", Action::Edit(Edit::BitmapDisable), &edits::BITMAP, NOTHING),
    entry("block-dirty-bitmap-merge", Action::Edit(Edit::BitmapMerge), &edits::BITMAP_MERGE, NOTHING),
    entry("block-set-write-threshold", Action::SetWriteThreshold, &edits::WRITE_THRESHOLD, NOTHING),
    entry("x-blockdev-amend", Action::BlockdevAmend, &edits::AMEND, NOTHING).with(&["unstable"]),
    entry("query-block", Action::QueryBlock, &EMPTY, List(&Record(&BLOCK_INFO))),
    entry("query-blockstats", Action::QueryBlockstats, &stats::QUERY, List(&Record(&stats::BLOCK_STATS))),
    entry("query-version", Action::QueryVersion, &EMPTY, Record(&language::VERSION_INFO)),
    entry("x-query-memory", Action::QueryMemory, &EMPTY, Record(&exports::MEMORY_INFO)).with(&["unstable"]),
    entry("query-commands", Action::QueryCommands, &EMPTY, List(&Record(&language::COMMAND_INFO))),
    entry("query-qmp-schema", Action::QueryQmpSchema, &EMPTY, List(&Record(&language::SCHEMA_INFO))),
    entry("qmp_capabilities", Action::QmpCapabilities, &CAPABILITIES, NOTHING),
    entry("quit", Action::Quit, &EMPTY, NOTHING),
];

/// Every event.
pub static EVENTS: &[EventType] = &[
    EventType { name: "JOB_STATUS_CHANGE", data: &jobs::JOB_STATUS_CHANGE },
    EventType { name: "BLOCK_JOB_COMPLETED", data: &jobs::JOB_COMPLETED },
    EventType { name: "BLOCK_JOB_CANCELLED", data: &jobs::JOB_FACTS },
    EventType { name: "BLOCK_JOB_READY", data: &jobs::JOB_FACTS },
    EventType { name: "BLOCK_JOB_PENDING", data: &jobs::JOB_PENDING },
    EventType { name: "BLOCK_JOB_ERROR", data: &jobs::JOB_ERROR },
    EventType { name: "BLOCK_WRITE_THRESHOLD", data: &edits::THRESHOLD_PASSED },
    EventType { name: "BLOCK_IMAGE_CORRUPTED", data: &edits::IMAGE_CORRUPTED },
    EventType { name: "BLOCK_EXPORT_DELETED", data: &exports::EXPORT_DELETED },
];

static EMPTY: Object = object("Empty", &[]);
static CAPABILITIES: Object = object("Capabilities", &[optional("enable", List(&OneOf(&CAPABILITY)))]);
static CAPABILITY: Enum = Enum { name: "QMPCapability", values: &["oob"] };

/// What `blockdev-add` takes, and every inline child.
pub static BLOCKDEV_OPTIONS: Object = Object {
    name: "BlockdevOptions",
    members: &[
        required("driver", OneOf(&DRIVER)),
        optional("node-name", Str),
        optional("discard", OneOf(&DISCARD)),
        optional("cache", Record(&CACHE)),
        optional("active", Bool),
        optional("read-only", Bool),
        optional("auto-read-only", Bool),
        optional("force-share", Bool),
        optional("detect-zeroes", OneOf(&DETECT_ZEROES)),
    ],
    variants: Some(Variants {
        tag: "driver",
        cases: &[
            ("file", &FILE_OPTIONS),
            ("qcow2", &QCOW2_OPTIONS),
            ("raw", &RAW_OPTIONS),
            ("blkdebug", &nodes::BLKDEBUG_OPTIONS),
            ("throttle", &nodes::THROTTLE_OPTIONS),
            ("compress", &nodes::COMPRESS_OPTIONS),
            ("copy-on-read", &nodes::COPY_ON_READ_OPTIONS),
            ("null-co", &nodes::NULL_OPTIONS),
            ("nbd", &nodes::NBD_OPTIONS),
        ],
    }),
    features: &[],
};
pub(super) static DRIVER: Enum = Enum { name: "BlockdevDriver", values: &nodes::DRIVERS };
static DISCARD: Enum = Enum { name: "BlockdevDiscardOptions", values: &["ignore", "unmap"] };
static DETECT_ZEROES: Enum = Enum { name: "BlockdevDetectZeroesOptions", values: &["off", "on", "unmap"] };
static CACHE: Object =
    object("BlockdevCacheOptions", &[optional("direct", Bool), optional("no-flush", Bool)]);

/// The options below tune how the host does I/O; none changes what a reader sees or what is durable.
static FILE_OPTIONS: Object = Object {
    features: &["dynamic-auto-read-only"],
    ..object(
        "BlockdevOptionsFile",
        &[
            required("filename", Str),
            optional("pr-manager", Str),
            optional("locking", OneOf(&LOCKING)),
            optional("aio", OneOf(&AIO)),
            optional("aio-max-batch", Int),
            optional("drop-cache", Bool),
            optional("x-check-cache-dropped", Bool),
        ],
    )
};
static LOCKING: Enum = Enum { name: "OnOffAuto", values: &["auto", "on", "off"] };
static AIO: Enum = Enum { name: "BlockdevAioOptions", values: &["threads", "native", "io_uring"] };
static RAW_OPTIONS: Object = object(
    "BlockdevOptionsRaw",
    &[required("file", Either(&REFERENCE)), optional("offset", Int), optional("size", Int)],
);
static QCOW2_OPTIONS: Object = object(
    "BlockdevOptionsQcow2",
    &[
        required("file", Either(&REFERENCE)),
        optional("backing", Either(&REFERENCE_OR_NULL)),
        optional("data-file", Either(&REFERENCE)),
        optional("lazy-refcounts", Bool),
        optional("pass-discard-request", Bool),
        optional("pass-discard-snapshot", Bool),
        optional("pass-discard-other", Bool),
        optional("discard-no-unref", Bool),
        optional("overlap-check", Either(&OVERLAP_CHECKS)),
        optional("cache-size", Int),
        optional("l2-cache-size", Int),
        optional("l2-cache-entry-size", Int),
        optional("refcount-cache-size", Int),
        optional("cache-clean-interval", Int),
    ],
);
pub(super) static REFERENCE: Alternate =
    Alternate { name: "BlockdevRef", cases: &[Record(&BLOCKDEV_OPTIONS), Str] };
static REFERENCE_OR_NULL: Alternate =
    Alternate { name: "BlockdevRefOrNull", cases: &[Record(&BLOCKDEV_OPTIONS), Str, Null] };
static OVERLAP_CHECKS: Alternate =
    Alternate { name: "Qcow2OverlapChecks", cases: &[Record(&OVERLAP_FLAGS), OneOf(&OVERLAP_MODE)] };
static OVERLAP_MODE: Enum =
    Enum { name: "Qcow2OverlapCheckMode", values: &["none", "constant", "cached", "all"] };
static OVERLAP_FLAGS: Object = object(
    "Qcow2OverlapCheckFlags",
    &[
        optional("template", OneOf(&OVERLAP_MODE)),
        optional("main-header", Bool),
        optional("active-l1", Bool),
        optional("active-l2", Bool),
        optional("refcount-table", Bool),
        optional("refcount-block", Bool),
        optional("snapshot-table", Bool),
        optional("inactive-l1", Bool),
        optional("inactive-l2", Bool),
        optional("bitmap-directory", Bool),
    ],
);
static NODE_NAME: Object = object("NodeName", &[required("node-name", Str)]);
static GRAPH: Object = object(
    "XDbgBlockGraph",
    &[required("nodes", List(&Record(&GRAPH_NODE))), required("edges", List(&Record(&GRAPH_EDGE)))],
);
static GRAPH_NODE: Object = object(
    "XDbgBlockGraphNode",
    &[required("id", Int), required("type", OneOf(&GRAPH_NODE_TYPE)), required("name", Str)],
);
static GRAPH_NODE_TYPE: Enum =
    Enum { name: "XDbgBlockGraphNodeType", values: &["block-backend", "block-job", "block-driver"] };
static GRAPH_EDGE: Object = object(
    "XDbgBlockGraphEdge",
    &[
        required("parent", Int),
        required("child", Int),
        required("name", Str),
        required("perm", List(&OneOf(&PERMISSION))),
        required("shared-perm", List(&OneOf(&PERMISSION))),
    ],
);
pub(super) static PERMISSION: Enum =
    Enum { name: "BlockPermission", values: &["consistent-read", "write", "write-unchanged", "resize"] };
static FLAT: Object = object("Flat", &[optional("flat", Bool)]);
static NODE_INFO: Object = object(
    "BlockDeviceInfo",
    &[
        required("file", Str),
        optional("node-name", Str),
        required("ro", Bool),
        required("drv", Str),
        optional("backing_file", Str),
        required("backing_file_depth", Int),
        required("active", Bool),
        required("encrypted", Bool),
        required("detect_zeroes", OneOf(&DETECT_ZEROES)),
        required("bps", Int),
        required("bps_rd", Int),
        required("bps_wr", Int),
        required("iops", Int),
        required("iops_rd", Int),
        required("iops_wr", Int),
        required("image", Record(&IMAGE_INFO)),
        required("cache", Record(&CACHE_INFO)),
        required("write_threshold", Int),
        optional("dirty-bitmaps", List(&Record(&edits::BITMAP_INFO))),
    ],
);
static BLOCK_INFO: Object = object(
    "BlockInfo",
    &[
        required("device", Str),
        optional("qdev", Str),
        required("type", Str),
        required("removable", Bool),
        required("locked", Bool),
        optional("inserted", Record(&NODE_INFO)),
        optional("tray_open", Bool),
        optional("io-status", OneOf(&jobs::IO_STATUS)),
    ],
);
static CACHE_INFO: Object = object(
    "BlockdevCacheInfo",
    &[required("writeback", Bool), required("direct", Bool), required("no-flush", Bool)],
);
static IMAGE_INFO: Object = object(
    "ImageInfo",
    &[
        required("filename", Str),
        required("format", Str),
        optional("dirty-flag", Bool),
        required("virtual-size", Int),
        optional("cluster-size", Int),
        optional("actual-size", Int),
        optional("backing-filename", Str),
        optional("full-backing-filename", Str),
        optional("backing-filename-format", Str),
        optional("snapshots", List(&Record(&edits::SNAPSHOT_INFO))),
        optional("backing-image", Record(&IMAGE_INFO)),
        optional("format-specific", Record(&SPECIFIC)),
    ],
);
static SPECIFIC: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("qcow2", &SPECIFIC_QCOW2), ("file", &SPECIFIC_FILE)] }),
    ..object("ImageInfoSpecific", &[required("type", OneOf(&SPECIFIC_KIND))])
};
static SPECIFIC_KIND: Enum = Enum { name: "ImageInfoSpecificKind", values: &["qcow2", "file"] };
static SPECIFIC_FILE: Object =
    object("ImageInfoSpecificFileWrapper", &[required("data", Record(&SPECIFIC_FILE_DATA))]);
static SPECIFIC_FILE_DATA: Object = object("ImageInfoSpecificFile", &[optional("extent-size-hint", Int)]);
static SPECIFIC_QCOW2: Object =
    object("ImageInfoSpecificQCow2Wrapper", &[required("data", Record(&SPECIFIC_QCOW2_DATA))]);
static SPECIFIC_QCOW2_DATA: Object = object(
    "ImageInfoSpecificQCow2",
    &[
        required("compat", Str),
        optional("data-file", Str),
        optional("data-file-raw", Bool),
        optional("extended-l2", Bool),
        optional("lazy-refcounts", Bool),
        optional("corrupt", Bool),
        required("refcount-bits", Int),
        optional("bitmaps", List(&Record(&edits::BITMAP_ON_DISK))),
        required("compression-type", OneOf(&COMPRESSION)),
    ],
);
pub(super) static COMPRESSION: Enum = Enum { name: "Qcow2CompressionType", values: &["zlib", "zstd"] };
