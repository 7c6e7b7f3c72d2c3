//! The language about itself.

use super::super::types::Type::{Any, Bool, Enum as OneOf, Int, List, Object as Record, Str};
use super::super::types::{Enum, Object, Variants, object, optional, required};

pub(in crate::qapi) static VERSION_INFO: Object =
    object("VersionInfo", &[required("qemu", Record(&VERSION_TRIPLE)), required("package", Str)]);
pub(in crate::qapi) static VERSION_TRIPLE: Object =
    object("VersionTriple", &[required("major", Int), required("minor", Int), required("micro", Int)]);
pub(in crate::qapi) static COMMAND_INFO: Object = object("CommandInfo", &[required("name", Str)]);
pub(in crate::qapi) static SCHEMA_INFO: Object = Object {
    variants: Some(Variants {
        tag: "meta-type",
        cases: &[
            ("builtin", &SCHEMA_BUILTIN),
            ("enum", &SCHEMA_ENUM),
            ("array", &SCHEMA_ARRAY),
            ("object", &SCHEMA_OBJECT),
            ("alternate", &SCHEMA_ALTERNATE),
            ("command", &SCHEMA_COMMAND),
            ("event", &SCHEMA_EVENT),
        ],
    }),
    ..object(
        "SchemaInfo",
        &[required("name", Str), required("meta-type", OneOf(&META_TYPE)), optional("features", List(&Str))],
    )
};
#[rustfmt::skip]
pub(in crate::qapi) static META_TYPE: Enum = Enum {
    name: "SchemaMetaType",
    values: &["builtin", "enum", "array", "object", "alternate", "command", "event"],
};
#[rustfmt::skip]
pub(in crate::qapi) static JSON_TYPE: Enum = Enum {
    name: "JSONType",
    values: &["string", "number", "int", "boolean", "null", "object", "array", "value"],
};
pub(in crate::qapi) static SCHEMA_BUILTIN: Object =
    object("SchemaInfoBuiltin", &[required("json-type", OneOf(&JSON_TYPE))]);
pub(in crate::qapi) static SCHEMA_ENUM: Object = object(
    "SchemaInfoEnum",
    &[required("members", List(&Record(&SCHEMA_ENUM_MEMBER))), required("values", List(&Str))],
);
pub(in crate::qapi) static SCHEMA_ENUM_MEMBER: Object =
    object("SchemaInfoEnumMember", &[required("name", Str), optional("features", List(&Str))]);
pub(in crate::qapi) static SCHEMA_ARRAY: Object = object("SchemaInfoArray", &[required("element-type", Str)]);
pub(in crate::qapi) static SCHEMA_OBJECT: Object = object(
    "SchemaInfoObject",
    &[
        required("members", List(&Record(&SCHEMA_OBJECT_MEMBER))),
        optional("tag", Str),
        optional("variants", List(&Record(&SCHEMA_VARIANT))),
    ],
);
pub(in crate::qapi) static SCHEMA_OBJECT_MEMBER: Object = object(
    "SchemaInfoObjectMember",
    &[
        required("name", Str),
        required("type", Str),
        optional("default", Any),
        optional("features", List(&Str)),
    ],
);
pub(in crate::qapi) static SCHEMA_VARIANT: Object =
    object("SchemaInfoObjectVariant", &[required("case", Str), required("type", Str)]);
pub(in crate::qapi) static SCHEMA_ALTERNATE: Object =
    object("SchemaInfoAlternate", &[required("members", List(&Record(&SCHEMA_ALTERNATE_MEMBER)))]);
pub(in crate::qapi) static SCHEMA_ALTERNATE_MEMBER: Object =
    object("SchemaInfoAlternateMember", &[required("type", Str)]);
pub(in crate::qapi) static SCHEMA_COMMAND: Object = object(
    "SchemaInfoCommand",
    &[required("arg-type", Str), required("ret-type", Str), optional("allow-oob", Bool)],
);
pub(in crate::qapi) static SCHEMA_EVENT: Object = object("SchemaInfoEvent", &[required("arg-type", Str)]);
