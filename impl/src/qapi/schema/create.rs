//! What may be said to `blockdev-create`.

use super::super::types::Type::{Alternate as Either, Bool, Enum as OneOf, Int, Object as Record, Size, Str};
use super::super::types::{Enum, Object, Variants, object, optional, required};
use super::{COMPRESSION, DRIVER, REFERENCE};

/// `blockdev-create`.
pub(super) static CREATE: Object =
    object("BlockdevCreate", &[required("job-id", Str), required("options", Record(&CREATE_OPTIONS))]);

/// A driver that makes nothing takes nothing.
static CREATE_OPTIONS: Object = Object {
    variants: Some(Variants {
        tag: "driver",
        cases: &[("file", &FILE_CREATE_OPTIONS), ("qcow2", &QCOW2_CREATE_OPTIONS)],
    }),
    ..object("BlockdevCreateOptions", &[required("driver", OneOf(&DRIVER))])
};
static FILE_CREATE_OPTIONS: Object = object(
    "BlockdevCreateOptionsFile",
    &[
        required("filename", Str),
        required("size", Size),
        optional("preallocation", OneOf(&PREALLOCATION)),
        optional("nocow", Bool),
        optional("extent-size-hint", Size),
    ],
);
static PREALLOCATION: Enum = Enum { name: "PreallocMode", values: &["off", "metadata", "falloc", "full"] };

/// Neither encrypted nor preallocated: there is no `encrypt`, and one value of `preallocation`.
static QCOW2_CREATE_OPTIONS: Object = object(
    "BlockdevCreateOptionsQcow2",
    &[
        required("file", Either(&REFERENCE)),
        optional("data-file", Either(&REFERENCE)),
        optional("data-file-raw", Bool),
        optional("extended-l2", Bool),
        required("size", Size),
        optional("version", OneOf(&VERSION)),
        optional("backing-file", Str),
        optional("backing-fmt", OneOf(&DRIVER)),
        optional("cluster-size", Size),
        optional("preallocation", OneOf(&NO_PREALLOCATION)),
        optional("lazy-refcounts", Bool),
        optional("refcount-bits", Int),
        optional("compression-type", OneOf(&COMPRESSION)),
    ],
);
static VERSION: Enum = Enum { name: "BlockdevQcow2Version", values: &["v2", "v3"] };
static NO_PREALLOCATION: Enum = Enum { name: "PreallocModeOfImages", values: &["off"] };
