//! Checked arguments to what the engine takes. Nothing here can be ill-typed: `check` has seen it.

use super::refusal::Refusal;
use crate::command::{CommitArguments, JobOptions, MirrorArguments, MirrorSync, OnError, StreamArguments};
use crate::graph::mirror_top::CopyMode;
use serde_json::{Map, Value};

/// Arguments by name.
pub type Arguments = Map<String, Value>;

pub(super) const CHECKED: &str = "arguments were checked against the table";

/// A text that is there.
pub fn text<'a>(arguments: &'a Arguments, name: &str) -> &'a str {
    optional_text(arguments, name).expect(CHECKED)
}

/// A text, if it is there.
pub(crate) fn optional_text<'a>(arguments: &'a Arguments, name: &str) -> Option<&'a str> {
    arguments.get(name).map(|value| value.as_str().expect(CHECKED))
}

/// A text, if it is there.
pub(crate) fn owned_text(arguments: &Arguments, name: &str) -> Option<String> {
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

/// A size, if it is there. What uses the sign's bit is negative here, as QEMU takes it too.
pub(crate) fn size(arguments: &Arguments, name: &str) -> Option<i64> {
    let value = arguments.get(name)?;
    Some(value.as_i64().unwrap_or_else(|| value.as_u64().expect(CHECKED) as i64))
}

/// What every command that starts a job says of it.
pub fn job(arguments: &Arguments) -> JobOptions {
    JobOptions {
        id: owned_text(arguments, "job-id"),
        speed: integer(arguments, "speed").unwrap_or(0),
        manual_finalize: !truth(arguments, "auto-finalize").unwrap_or(true),
        manual_dismiss: !truth(arguments, "auto-dismiss").unwrap_or(true),
    }
}

/// The arguments of `block-stream`.
pub fn stream(arguments: &Arguments) -> StreamArguments {
    StreamArguments {
        job: job(arguments),
        device: text(arguments, "device").to_owned(),
        base: owned_text(arguments, "base"),
        base_node: owned_text(arguments, "base-node"),
        bottom: owned_text(arguments, "bottom"),
        backing_file: owned_text(arguments, "backing-file"),
        backing_mask_protocol: truth(arguments, "backing-mask-protocol").unwrap_or(false),
        on_error: on_error(optional_text(arguments, "on-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
    }
}

/// The arguments of `block-commit`.
pub fn commit(arguments: &Arguments) -> CommitArguments {
    CommitArguments {
        job: job(arguments),
        device: text(arguments, "device").to_owned(),
        base_node: owned_text(arguments, "base-node"),
        base: owned_text(arguments, "base"),
        top_node: owned_text(arguments, "top-node"),
        top: owned_text(arguments, "top"),
        backing_file: owned_text(arguments, "backing-file"),
        backing_mask_protocol: truth(arguments, "backing-mask-protocol").unwrap_or(false),
        on_error: on_error(optional_text(arguments, "on-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
    }
}

/// The arguments of `blockdev-mirror`.
pub fn mirror(arguments: &Arguments) -> Result<MirrorArguments, Refusal> {
    let granularity = u32::try_from(size(arguments, "granularity").unwrap_or(0))
        .map_err(|_| Refusal::generic("Parameter 'granularity' expects uint32_t"))?;
    Ok(MirrorArguments {
        job: job(arguments),
        device: text(arguments, "device").to_owned(),
        target: text(arguments, "target").to_owned(),
        replaces: owned_text(arguments, "replaces"),
        sync: mirror_sync(text(arguments, "sync")),
        granularity,
        buffer_bytes: integer(arguments, "buf-size").unwrap_or(0),
        on_source_error: on_error(optional_text(arguments, "on-source-error")),
        on_target_error: on_error(optional_text(arguments, "on-target-error")),
        filter_node_name: owned_text(arguments, "filter-node-name"),
        copy_mode: copy_mode(arguments),
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

/// What a job does about an error, by the word for it.
pub fn on_error(word: Option<&str>) -> OnError {
    match word {
        None | Some("report") => OnError::Report,
        Some("ignore") => OnError::Ignore,
        Some("enospc") => OnError::Enospc,
        Some("stop") => OnError::Stop,
        Some("auto") => OnError::Auto,
        Some(other) => panic!("{CHECKED}, but on-error is {other}"),
    }
}
