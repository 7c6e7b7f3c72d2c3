//! What may be said about exports, their server, and objects.

use super::super::types::Type::{Alternate as Either, Bool, Enum as OneOf, Int, List, Object as Record, Str};
use super::super::types::{Enum, Member, Object, Variants, object, optional, required};
use super::edits::BITMAP_SOURCE;

/// `nbd-server-start`.
pub(crate) static SERVER_OPTIONS: Object = object(
    "NbdServerOptionsLegacy",
    &[
        optional("handshake-max-seconds", Int),
        optional("max-connections", Int),
        required("addr", Record(&ADDRESS_WRAPPED)),
    ],
);
static ADDRESS_WRAPPED: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("unix", &UNIX_ADDRESS_WRAPPED)] }),
    ..object("SocketAddressLegacy", &[required("type", OneOf(&ADDRESS_TYPE))])
};
static UNIX_ADDRESS_WRAPPED: Object =
    object("UnixSocketAddressWrapper", &[required("data", Record(&UNIX_ADDRESS))]);
static ADDRESS_TYPE: Enum = Enum { name: "SocketAddressType", values: &["unix"] };
pub(super) static UNIX_ADDRESS: Object = object("UnixSocketAddress", &[required("path", Str)]);

/// `--nbd-server`: the same, with the address's own members beside its type.
pub static SERVER_OPTIONS_FLAT: Object = object(
    "NbdServerOptions",
    &[
        optional("handshake-max-seconds", Int),
        optional("max-connections", Int),
        required("addr", Record(&ADDRESS)),
    ],
);
static ADDRESS: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("unix", &UNIX_ADDRESS)] }),
    ..object("SocketAddress", &[required("type", OneOf(&ADDRESS_TYPE))])
};

/// `block-export-add`. Requests run on all threads whatever is said of one, and no node is ever inactive.
pub static EXPORT_OPTIONS: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("nbd", &NBD_EXPORT_OPTIONS)] }),
    ..object(
        "BlockExportOptions",
        &[
            required("type", OneOf(&EXPORT_TYPE)),
            required("id", Str),
            optional("fixed-iothread", Bool),
            optional("iothread", Str),
            required("node-name", Str),
            optional("writable", Bool),
            optional("writethrough", Bool),
            optional("allow-inactive", Bool),
        ],
    )
};
static EXPORT_TYPE: Enum = Enum { name: "BlockExportType", values: &["nbd"] };
static NBD_EXPORT_OPTIONS: Object = object(
    "BlockExportOptionsNbd",
    &[
        optional("name", Str),
        optional("description", Str),
        optional("bitmaps", List(&Either(&BITMAP_SOURCE))),
        optional("allocation-depth", Bool),
    ],
);

/// `block-export-del`.
pub(crate) static EXPORT_DEL: Object =
    object("BlockExportDel", &[required("id", Str), optional("mode", OneOf(&REMOVE_MODE))]);
static REMOVE_MODE: Enum = Enum { name: "BlockExportRemoveMode", values: &["safe", "hard"] };

/// `nbd-server-add`.
pub(crate) static SERVER_ADD: Object = object(
    "NbdServerAddOptions",
    &[
        optional("name", Str),
        optional("description", Str),
        required("device", Str),
        optional("writable", Bool),
        optional("bitmap", Str),
    ],
);

/// `nbd-server-remove`.
pub(crate) static SERVER_REMOVE: Object =
    object("NbdServerRemove", &[required("name", Str), optional("mode", OneOf(&REMOVE_MODE))]);

/// One entry of `query-block-exports`.
pub(crate) static EXPORT_INFO: Object = object(
    "BlockExportInfo",
    &[
        required("id", Str),
        required("type", OneOf(&EXPORT_TYPE)),
        required("node-name", Str),
        required("shutting-down", Bool),
    ],
);

/// `BLOCK_EXPORT_DELETED`.
pub(crate) static EXPORT_DELETED: Object = object("BlockExportDeleted", &[required("id", Str)]);

/// `object-add`.
pub static OBJECT_OPTIONS: Object = Object {
    variants: Some(Variants {
        tag: "qom-type",
        cases: &[("iothread", &IOTHREAD), ("throttle-group", &THROTTLE_GROUP)],
    }),
    ..object("ObjectOptions", &[required("qom-type", OneOf(&OBJECT_TYPE)), required("id", Str)])
};
static OBJECT_TYPE: Enum = Enum { name: "ObjectType", values: &["iothread", "throttle-group"] };
static IOTHREAD: Object = object(
    "IothreadProperties",
    &[
        optional("aio-max-batch", Int),
        optional("thread-pool-min", Int),
        optional("thread-pool-max", Int),
        optional("poll-max-ns", Int),
        optional("poll-grow", Int),
        optional("poll-shrink", Int),
    ],
);
static THROTTLE_GROUP: Object = object("ThrottleGroupProperties", THROTTLE_GROUP_MEMBERS);
static THROTTLE_LIMITS: Object = object("ThrottleLimits", THROTTLE_LIMIT_MEMBERS);
const THROTTLE_GROUP_MEMBERS: &[Member] = &[
    optional("limits", Record(&THROTTLE_LIMITS)),
    optional("x-iops-total", Int),
    optional("x-iops-total-max", Int),
    optional("x-iops-total-max-length", Int),
    optional("x-iops-read", Int),
    optional("x-iops-read-max", Int),
    optional("x-iops-read-max-length", Int),
    optional("x-iops-write", Int),
    optional("x-iops-write-max", Int),
    optional("x-iops-write-max-length", Int),
    optional("x-bps-total", Int),
    optional("x-bps-total-max", Int),
    optional("x-bps-total-max-length", Int),
    optional("x-bps-read", Int),
    optional("x-bps-read-max", Int),
    optional("x-bps-read-max-length", Int),
    optional("x-bps-write", Int),
    optional("x-bps-write-max", Int),
    optional("x-bps-write-max-length", Int),
    optional("x-iops-size", Int),
];
const THROTTLE_LIMIT_MEMBERS: &[Member] = &[
    optional("iops-total", Int),
    optional("iops-total-max", Int),
    optional("iops-total-max-length", Int),
    optional("iops-read", Int),
    optional("iops-read-max", Int),
    optional("iops-read-max-length", Int),
    optional("iops-write", Int),
    optional("iops-write-max", Int),
    optional("iops-write-max-length", Int),
    optional("bps-total", Int),
    optional("bps-total-max", Int),
    optional("bps-total-max-length", Int),
    optional("bps-read", Int),
    optional("bps-read-max", Int),
    optional("bps-read-max-length", Int),
    optional("bps-write", Int),
    optional("bps-write-max", Int),
    optional("bps-write-max-length", Int),
    optional("iops-size", Int),
];

/// `x-query-memory`: what images may make the daemon hold, and what they do, in bytes.
pub(crate) static MEMORY_INFO: Object = object(
    "MemoryInfo",
    &[required("limit", Int), required("held", Int), required("peak", Int), optional("refused", Str)],
);
