//! Checked arguments about nodes to what the engine takes: `blockdev-add`, and every inline child.

mod nbd;

use super::options::{Arguments, CHECKED, integer, optional_text, owned_text, text, truth};
use super::refusal::Refusal;
use crate::command::{
    BackingOptions, BlockdevOptions, ChildOptions, DiscardOptions, DriverOptions, FilterOptions, NodeSettings,
};
use crate::filter::blkdebug::{InjectError, SetState};
use crate::graph::options::{DetectZeroes, Plain, strong_names};
use crate::permission::Set;
use serde_json::Value;

/// Members that are nodes of their own.
const CHILDREN: [&str; 4] = ["file", "backing", "image", "data-file"];

/// The arguments of `blockdev-add`.
pub(crate) fn blockdev(arguments: &Arguments) -> Result<BlockdevOptions, Refusal> {
    refuse_contradictions(arguments)?;
    Ok(BlockdevOptions {
        node_name: owned_text(arguments, "node-name"),
        driver: driver(arguments)?,
        read_only: truth(arguments, "read-only"),
        auto_read_only: truth(arguments, "auto-read-only"),
        settings: settings(arguments),
    })
}

fn driver(arguments: &Arguments) -> Result<DriverOptions, Refusal> {
    Ok(match text(arguments, "driver") {
        "file" => DriverOptions::File {
            filename: text(arguments, "filename").to_owned(),
            locks: optional_text(arguments, "locking").map(|word| word != "off"),
        },
        "raw" => DriverOptions::Raw {
            file: child(&arguments["file"])?,
            offset: integer(arguments, "offset").unwrap_or(0),
            size: integer(arguments, "size"),
        },
        "blkdebug" => blkdebug(arguments)?,
        "throttle" => DriverOptions::Filter {
            child: child(&arguments["file"])?,
            filter: FilterOptions::Throttle { group: text(arguments, "throttle-group").to_owned() },
        },
        "compress" => {
            DriverOptions::Filter { child: child(&arguments["file"])?, filter: FilterOptions::Compress }
        }
        "copy-on-read" => DriverOptions::Filter {
            child: child(&arguments["file"])?,
            filter: FilterOptions::CopyOnRead { bottom: owned_text(arguments, "bottom") },
        },
        "null-co" => DriverOptions::NullCo {
            size: integer(arguments, "size"),
            latency: integer(arguments, "latency-ns"),
            read_zeroes: truth(arguments, "read-zeroes").unwrap_or(false),
        },
        "nbd" => nbd::driver(arguments)?,
        "qcow2" => DriverOptions::Qcow2 {
            file: child(&arguments["file"])?,
            backing: backing(arguments.get("backing"))?,
            data_file: arguments.get("data-file").map(child).transpose()?,
            discards: DiscardOptions {
                request: truth(arguments, "pass-discard-request"),
                snapshot: truth(arguments, "pass-discard-snapshot"),
                other: truth(arguments, "pass-discard-other"),
                no_unref: truth(arguments, "discard-no-unref").unwrap_or(false),
            },
        },
        other => panic!("{CHECKED}, but driver is {other}"),
    })
}

pub(super) fn child(value: &Value) -> Result<ChildOptions, Refusal> {
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

fn settings(arguments: &Arguments) -> NodeSettings {
    let cache = arguments.get("cache").and_then(Value::as_object);
    let cached = |name| cache.and_then(|cache| truth(cache, name));
    NodeSettings {
        detect_zeroes: match optional_text(arguments, "detect-zeroes") {
            Some("on") => DetectZeroes::On,
            Some("unmap") => DetectZeroes::Unmap,
            _ => DetectZeroes::Off,
        },
        unmap: optional_text(arguments, "discard").map(|word| word == "unmap"),
        direct: cached("direct"),
        no_flush: cached("no-flush"),
        force_share: truth(arguments, "force-share"),
        given: given(arguments),
    }
}

/// Every option, flat as QEMU keeps them, without children.
fn given(arguments: &Arguments) -> Vec<(Box<str>, Plain)> {
    let strong = strong_names(text(arguments, "driver"));
    let others = arguments.keys().map(String::as_str);
    let others = others.filter(|name| !strong.contains(name) && !CHILDREN.contains(name));
    let mut given = Vec::new();
    for name in strong.iter().copied().chain(others) {
        if let Some(value) = arguments.get(name) {
            flatten(&mut given, name.to_owned(), value);
        }
    }
    given
}

fn flatten(out: &mut Vec<(Box<str>, Plain)>, name: String, value: &Value) {
    match value {
        Value::String(text) => out.push((name.into(), Plain::Text(text.as_str().into()))),
        Value::Bool(truth) => out.push((name.into(), Plain::Bool(*truth))),
        Value::Number(number) => out.push((name.into(), Plain::Int(number.as_i64().expect(CHECKED)))),
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(i, e)| flatten(out, format!("{name}.{i}"), e));
        }
        Value::Object(members) => {
            members.iter().for_each(|(member, e)| flatten(out, format!("{name}.{member}"), e));
        }
        Value::Null => {}
    }
}

fn blkdebug(arguments: &Arguments) -> Result<DriverOptions, Refusal> {
    for name in ["inject-error", "set-state"] {
        if arguments.get(name).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            let text = format!("Block protocol 'blkdebug' doesn't support the option '{name}'");
            return Err(Refusal::generic(text));
        }
    }
    let errors = rules(arguments, "inject-error").map(|rule| InjectError {
        event: text(rule, "event").to_owned(),
        state: integer(rule, "state").unwrap_or(0),
        iotype: owned_text(rule, "iotype"),
        errno: integer(rule, "errno").unwrap_or(5),
        sector: integer(rule, "sector"),
        once: truth(rule, "once").unwrap_or(false),
        immediately: truth(rule, "immediately").unwrap_or(false),
    });
    let changes = rules(arguments, "set-state").map(|rule| SetState {
        event: text(rule, "event").to_owned(),
        state: integer(rule, "state").unwrap_or(0),
        new_state: integer(rule, "new_state").expect(CHECKED),
    });
    let filter = FilterOptions::Blkdebug {
        errors: errors.collect(),
        changes: changes.collect(),
        config: owned_text(arguments, "config"),
        align: integer(arguments, "align"),
        taken: permissions(arguments, "take-child-perms"),
        unshared: permissions(arguments, "unshare-child-perms"),
    };
    Ok(DriverOptions::Filter { child: child(&arguments["image"])?, filter })
}

fn rules<'a>(arguments: &'a Arguments, name: &str) -> impl Iterator<Item = &'a Arguments> {
    let rules = arguments.get(name).and_then(Value::as_array).into_iter().flatten();
    rules.map(|rule| rule.as_object().expect(CHECKED))
}

fn permissions(arguments: &Arguments, name: &str) -> Set {
    let words = arguments.get(name).and_then(Value::as_array).into_iter().flatten();
    words.filter_map(Value::as_str).fold(Set::NONE, |all, word| {
        all.and(match word {
            "consistent-read" => Set::READ,
            "write" => Set::WRITE,
            "write-unchanged" => Set::WRITE_UNCHANGED,
            "resize" => Set::RESIZE,
            other => panic!("{CHECKED}, but a permission is {other}"),
        })
    })
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
    if let Some(manager) = optional_text(arguments, "pr-manager") {
        return Err(Refusal::generic(format!("No persistent reservation manager with id '{manager}'")));
    }
    if says("aio", "native") && !direct {
        return Err(Refusal::generic(
            "aio=native was specified, but it requires cache.direct=on, which was not specified.",
        ));
    }
    Ok(())
}
