//! Checked arguments to what the engine takes. Nothing here can be ill-typed: `check` has seen it.

use super::dispatch::Refusal;
use crate::command::{
    BackingOptions, BlockdevOptions, ChildOptions, CommitArguments, CopyMode, DriverOptions, MirrorArguments,
    MirrorSync, OnError, StreamArguments,
};
use serde_json::{Map, Value};

/// Arguments by name.
pub type Arguments = Map<String, Value>;

const CHECKED: &str = "arguments were checked against the table";

/// A text that is there.
pub fn text<'a>(arguments: &'a Arguments, name: &str) -> &'a str {
    optional_text(arguments, name).expect(CHECKED)
}

fn optional_text<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a str> {
    arguments.get(name).map(|value| value.as_str().expect(CHECKED))
}

/// A text, if it is there.
pub fn owned_text(arguments: &Arguments, name: &str) -> Option<String> {
    optional_text(arguments, name).map(str::to_owned)
}

/// A truth, if it is there.
pub fn truth(arguments: &Arguments, name: &str) -> Option<bool> {
    arguments.get(name).map(|value| value.as_bool().expect(CHECKED))
}

/// An integer, if it is there.
pub fn integer(arguments: &Arguments, name: &str) -> Option<i64> {
    arguments.get(name).map(|value| value.as_i64().expect(CHECKED))
}

/// The arguments of `block-stream`.
pub fn stream(arguments: &Arguments) -> StreamArguments {
    StreamArguments {
        job_id: owned_text(arguments, "job-id"),
        device: text(arguments, "device").to_owned(),
        base: owned_text(arguments, "base"),
        base_node: owned_text(arguments, "base-node"),
        bottom: owned_text(arguments, "bottom"),
        backing_file: owned_text(arguments, "backing-file"),
        backing_mask_protocol: truth(arguments, "backing-mask-protocol").unwrap_or(false),
        speed: integer(arguments, "speed").unwrap_or(0),
        on_error: on_error(optional_text(arguments, "on-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
        manual_finalize: !truth(arguments, "auto-finalize").unwrap_or(true),
        manual_dismiss: !truth(arguments, "auto-dismiss").unwrap_or(true),
    }
}

/// The arguments of `block-commit`.
pub fn commit(arguments: &Arguments) -> CommitArguments {
    CommitArguments {
        job_id: owned_text(arguments, "job-id"),
        device: text(arguments, "device").to_owned(),
        base_node: owned_text(arguments, "base-node"),
        base: owned_text(arguments, "base"),
        top_node: owned_text(arguments, "top-node"),
        top: owned_text(arguments, "top"),
        backing_file: owned_text(arguments, "backing-file"),
        backing_mask_protocol: truth(arguments, "backing-mask-protocol").unwrap_or(false),
        speed: integer(arguments, "speed").unwrap_or(0),
        on_error: on_error(optional_text(arguments, "on-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
        manual_finalize: !truth(arguments, "auto-finalize").unwrap_or(true),
        manual_dismiss: !truth(arguments, "auto-dismiss").unwrap_or(true),
    }
}

/// The arguments of `blockdev-mirror`.
pub fn mirror(arguments: &Arguments) -> Result<MirrorArguments, Refusal> {
    let granularity = u32::try_from(integer(arguments, "granularity").unwrap_or(0))
        .map_err(|_| Refusal::generic("Parameter 'granularity' expects uint32_t"))?;
    Ok(MirrorArguments {
        job_id: owned_text(arguments, "job-id"),
        device: text(arguments, "device").to_owned(),
        target: text(arguments, "target").to_owned(),
        replaces: owned_text(arguments, "replaces"),
        sync: mirror_sync(text(arguments, "sync")),
        speed: integer(arguments, "speed").unwrap_or(0),
        granularity,
        buffer_bytes: integer(arguments, "buf-size").unwrap_or(0),
        on_source_error: on_error(optional_text(arguments, "on-source-error")),
        on_target_error: on_error(optional_text(arguments, "on-target-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
        copy_mode: copy_mode(arguments),
        manual_finalize: !truth(arguments, "auto-finalize").unwrap_or(true),
        manual_dismiss: !truth(arguments, "auto-dismiss").unwrap_or(true),
    })
}

fn mirror_sync(word: &str) -> MirrorSync {
    match word {
        "top" => MirrorSync::Top,
        "full" => MirrorSync::Full,
        "none" => MirrorSync::None,
        "incremental" => MirrorSync::Incremental,
        "bitmap" => MirrorSync::Bitmap,
        other => panic!("{CHECKED}, but sync is {other}"),
    }
}

/// `copy-mode`.
pub fn copy_mode(arguments: &Arguments) -> CopyMode {
    match optional_text(arguments, "copy-mode") {
        Some("write-blocking") => CopyMode::WriteBlocking,
        _ => CopyMode::Background,
    }
}

fn on_error(word: Option<&str>) -> OnError {
    match word {
        None | Some("report") => OnError::Report,
        Some("ignore") => OnError::Ignore,
        Some("enospc") => OnError::Enospc,
        Some("stop") => OnError::Stop,
        Some("auto") => OnError::Auto,
        Some(other) => panic!("{CHECKED}, but on-error is {other}"),
    }
}

/// The arguments of `blockdev-add`.
pub fn blockdev(arguments: &Arguments) -> Result<BlockdevOptions, Refusal> {
    refuse_contradictions(arguments)?;
    Ok(BlockdevOptions {
        node_name: owned_text(arguments, "node-name"),
        driver: driver(arguments)?,
        read_only: truth(arguments, "read-only"),
        auto_read_only: truth(arguments, "auto-read-only"),
    })
}

fn driver(arguments: &Arguments) -> Result<DriverOptions, Refusal> {
    Ok(match text(arguments, "driver") {
        "file" => DriverOptions::File { filename: text(arguments, "filename").to_owned() },
        "raw" => DriverOptions::Raw { file: child(&arguments["file"])? },
        "qcow2" => DriverOptions::Qcow2 {
            file: child(&arguments["file"])?,
            backing: backing(arguments.get("backing"))?,
            data_file: arguments.get("data-file").map(child).transpose()?,
        },
        other => panic!("{CHECKED}, but driver is {other}"),
    })
}

fn child(value: &Value) -> Result<ChildOptions, Refusal> {
    match value {
        Value::String(name) => Ok(ChildOptions::Reference(name.clone())),
        Value::Object(options) => Ok(ChildOptions::Inline(Box::new(blockdev(options)?))),
        other => panic!("{CHECKED}, but a child is {other}"),
    }
}

fn backing(value: Option<&Value>) -> Result<BackingOptions, Refusal> {
    match value {
        None => Ok(BackingOptions::FromHeader),
        Some(Value::Null) => Ok(BackingOptions::None),
        // An old way to say `null`.
        Some(Value::String(name)) if name.is_empty() => Ok(BackingOptions::None),
        Some(value) => child(value).map(BackingOptions::Child),
    }
}

/// Options that are fine each for itself and make no sense together.
fn refuse_contradictions(arguments: &Arguments) -> Result<(), Refusal> {
    let says = |name, word| optional_text(arguments, name) == Some(word);
    let truth = |arguments: &Arguments, name| truth(arguments, name).unwrap_or(false);
    if truth(arguments, "force-share") && !truth(arguments, "read-only") {
        return Err(Refusal::generic("force-share=on can only be used with read-only images"));
    }
    if says("detect-zeroes", "unmap") && !says("discard", "unmap") {
        return Err(Refusal::generic(
            "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
        ));
    }
    let direct = arguments.get("cache").and_then(Value::as_object).is_some_and(|c| truth(c, "direct"));
    if says("aio", "native") && !direct {
        return Err(Refusal::generic(
            "aio=native was specified, but it requires cache.direct=on, which was not specified.",
        ));
    }
    Ok(())
}
