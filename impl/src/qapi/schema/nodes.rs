//! What may be said of nodes that are neither files nor images.

use super::super::types::Type::{Alternate as Either, Bool, Enum as OneOf, Int, List, Object as Record, Str};
use super::super::types::{Enum, Member, Object, Variants, object, optional, required};
use super::exports::UNIX_ADDRESS;
use super::{PERMISSION, REFERENCE};
use crate::filter::blkdebug::IO_TYPE_WORDS;
use seam::debug_event;

/// The drivers there are.
pub static DRIVERS: [&str; 9] =
    ["blkdebug", "compress", "copy-on-read", "file", "nbd", "null-co", "qcow2", "raw", "throttle"];

/// `blkdebug`.
pub(crate) static BLKDEBUG_OPTIONS: Object = object(
    "BlockdevOptionsBlkdebug",
    &[
        required("image", Either(&REFERENCE)),
        optional("config", Str),
        optional("align", Int),
        optional("inject-error", List(&Record(&INJECT_ERROR))),
        optional("set-state", List(&Record(&SET_STATE))),
        optional("take-child-perms", List(&OneOf(&PERMISSION))),
        optional("unshare-child-perms", List(&OneOf(&PERMISSION))),
    ],
);
static INJECT_ERROR: Object = object(
    "BlkdebugInjectErrorOptions",
    &[
        required("event", OneOf(&EVENT)),
        optional("state", Int),
        optional("iotype", OneOf(&IO_TYPE)),
        optional("errno", Int),
        optional("sector", Int),
        optional("once", Bool),
        optional("immediately", Bool),
    ],
);
static SET_STATE: Object = object(
    "BlkdebugSetStateOptions",
    &[required("event", OneOf(&EVENT)), optional("state", Int), required("new_state", Int)],
);
static EVENT: Enum = Enum { name: "BlkdebugEvent", values: &debug_event::WORDS };
static IO_TYPE: Enum = Enum { name: "BlkdebugIOType", values: &IO_TYPE_WORDS };

/// `throttle`.
pub(crate) static THROTTLE_OPTIONS: Object = object(
    "BlockdevOptionsThrottle",
    &[required("throttle-group", Str), required("file", Either(&REFERENCE))],
);

/// `compress`, and any other filter that takes nothing but its child.
pub(crate) static COMPRESS_OPTIONS: Object =
    object("BlockdevOptionsGenericFormat", &[required("file", Either(&REFERENCE))]);

/// `copy-on-read`.
pub(crate) static COPY_ON_READ_OPTIONS: Object =
    object("BlockdevOptionsCor", &[required("file", Either(&REFERENCE)), optional("bottom", Str)]);

/// `null-co`.
pub(crate) static NULL_OPTIONS: Object = object(
    "BlockdevOptionsNull",
    &[optional("size", Int), optional("latency-ns", Int), optional("read-zeroes", Bool)],
);

/// `nbd`.
pub(crate) static NBD_OPTIONS: Object = object(
    "BlockdevOptionsNbd",
    &[
        required("server", Record(&SERVER_ADDRESS)),
        optional("export", Str),
        optional("tls-creds", Str),
        optional("tls-hostname", Str),
        Member { features: &["unstable"], ..optional("x-dirty-bitmap", Str) },
        optional("reconnect-delay", Int),
        optional("open-timeout", Int),
    ],
);
static SERVER_ADDRESS: Object = Object {
    variants: Some(Variants { tag: "type", cases: &[("inet", &INET_ADDRESS), ("unix", &UNIX_ADDRESS)] }),
    ..object("SocketAddress", &[required("type", OneOf(&SERVER_ADDRESS_TYPE))])
};
static SERVER_ADDRESS_TYPE: Enum = Enum { name: "SocketAddressType", values: &["inet", "unix"] };
static INET_ADDRESS: Object = object(
    "InetSocketAddress",
    &[required("host", Str), required("port", Str), optional("ipv4", Bool), optional("ipv6", Bool)],
);
