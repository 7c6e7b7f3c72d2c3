//! Checked arguments about exports, their server and objects, to what the engine takes.

use super::edits::bitmap_name;
use crate::command::ExportOptions;
use crate::engine::export::server::ServerOptions;
use crate::graph::bitmap::held::ExportedBitmap;
use crate::object::{ObjectKind, ObjectOptions};
use crate::qapi::options::{self, Arguments};
use crate::qapi::refusal::Refusal;
use crate::throttle::{LIMIT_NAMES, Limits};
use serde_json::Value;

/// QEMU's, when the operator does not say.
const CONNECTIONS_MAX: u32 = 100;
const HANDSHAKE_SECONDS_MAX: u32 = 10;

/// The arguments of `nbd-server-start`.
pub fn server(arguments: &Arguments) -> Result<ServerOptions, Refusal> {
    server_at(arguments, &["addr", "data"])
}

/// The same as `--nbd-server` has them.
pub fn server_flat(arguments: &Arguments) -> Result<ServerOptions, Refusal> {
    server_at(arguments, &["addr"])
}

fn server_at(arguments: &Arguments, address: &[&str]) -> Result<ServerOptions, Refusal> {
    let mut inner = arguments;
    for name in address {
        inner = inner[*name].as_object().expect("arguments were checked against the table");
    }
    Ok(ServerOptions {
        path: options::text(inner, "path").to_owned(),
        max_connections: unsigned(arguments, "max-connections", CONNECTIONS_MAX)?,
        handshake_max_seconds: unsigned(arguments, "handshake-max-seconds", HANDSHAKE_SECONDS_MAX)?,
    })
}

fn unsigned(arguments: &Arguments, name: &str, otherwise: u32) -> Result<u32, Refusal> {
    let given = options::integer(arguments, name).map_or(Ok(otherwise), u32::try_from);
    given.map_err(|_| Refusal::generic(format!("Parameter '{name}' expects uint32_t")))
}

/// The arguments of `block-export-add`.
pub fn export(arguments: &Arguments) -> ExportOptions {
    let truth = |name| options::truth(arguments, name).unwrap_or(false);
    ExportOptions {
        id: options::text(arguments, "id").to_owned(),
        node_name: options::text(arguments, "node-name").to_owned(),
        name: options::owned_text(arguments, "name"),
        description: options::owned_text(arguments, "description"),
        writable: truth("writable"),
        iothread: options::owned_text(arguments, "iothread"),
        writethrough: truth("writethrough"),
        allocation_depth: truth("allocation-depth"),
        bitmaps: bitmaps(arguments),
    }
}

/// The arguments of `nbd-server-add`: an export whose id is its name.
pub(super) fn served(arguments: &Arguments) -> ExportOptions {
    let device = options::text(arguments, "device");
    let name = options::optional_text(arguments, "name").unwrap_or(device);
    let bitmap = options::owned_text(arguments, "bitmap");
    ExportOptions {
        id: name.to_owned(),
        node_name: device.to_owned(),
        name: Some(name.to_owned()),
        description: options::owned_text(arguments, "description"),
        writable: options::truth(arguments, "writable").unwrap_or(false),
        bitmaps: bitmap.into_iter().map(ExportedBitmap::Nearest).collect(),
        ..ExportOptions::default()
    }
}

fn bitmaps(arguments: &Arguments) -> Vec<ExportedBitmap> {
    let one = |value: &Value| match value {
        Value::Object(named) => ExportedBitmap::Of(bitmap_name(named)),
        name => ExportedBitmap::Nearest(name.as_str().expect("a name or an object").to_owned()),
    };
    arguments.get("bitmaps").and_then(Value::as_array).into_iter().flatten().map(one).collect()
}

/// The arguments of `object-add`.
pub fn object(arguments: &Arguments) -> Result<ObjectOptions, Refusal> {
    let kind = match options::text(arguments, "qom-type") {
        "throttle-group" => ObjectKind::ThrottleGroup(limits(arguments)),
        "iothread" => {
            admit_iothread(arguments)?;
            ObjectKind::IoThread
        }
        other => panic!("arguments were checked against the table, but qom-type is {other}"),
    };
    Ok(ObjectOptions { id: options::text(arguments, "id").to_owned(), kind })
}

/// How a thread waits and how many help it are the host's business here; what makes no sense is refused all the same.
fn admit_iothread(arguments: &Arguments) -> Result<(), Refusal> {
    const POOL_DEFAULT: (i64, i64) = (0, 64);
    for name in
        ["poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch", "thread-pool-min", "thread-pool-max"]
    {
        if options::integer(arguments, name).is_some_and(|value| value < 0) {
            return Err(Refusal::generic(format!("{name} value must be in range [0, {}]", i64::MAX)));
        }
    }
    let min = options::integer(arguments, "thread-pool-min").unwrap_or(POOL_DEFAULT.0);
    let max = options::integer(arguments, "thread-pool-max").unwrap_or(POOL_DEFAULT.1);
    match (1..=i64::from(i32::MAX)).contains(&max) && min <= max {
        true => Ok(()),
        false => Err(Refusal::generic("bad thread-pool-min/thread-pool-max values")),
    }
}

/// `limits` as one object; each may also be given alone, with `x-` before its name.
fn limits(arguments: &Arguments) -> Limits {
    let together = arguments.get("limits").and_then(|limits| limits.as_object());
    let find = |name: &str| {
        let alone = options::integer(arguments, &format!("x-{name}"));
        together.and_then(|limits| options::integer(limits, name)).or(alone)
    };
    Limits::new(LIMIT_NAMES.map(find))
}
