//! What images hold once nobody has them open: a check, the chain by the headers, the map, the content.
//!
//! The form is that of the real image tools' answers, as the results keep them.

use super::layers::{Files, Layer, NotOpened, Seen, open};
use super::memory::{Memory, at_once};
use crate::conform::case::Image;
use crate::conform::hash::hash;
use block::format::qcow2::{CheckReport, check};
use block::format::{Below, RunKind};
use seam::IoResult;
use serde_json::{Map, Value, json};

/// A disk larger than this is not read.
const CONTENT_BYTES_MAX: u64 = 64 << 20;
/// More extents than this are not listed one by one.
const EXTENTS_LISTED: usize = 200;

/// Looks at one image.
pub fn look(image: &Image, path: &str, files: &Files) -> Value {
    if !files.contains_key(path) {
        return json!({"missing": true});
    }
    let mut shown = Map::new();
    let opened = open(files, path, &image.format);
    let refused = opened.as_ref().err().map(|not| refusal(path, not));
    if image.format == "qcow2" {
        let report = at_once(check(&*Memory::new(files[path].clone())));
        let (code, report) = match (&refused, report) {
            (Some(why), _) => (1, Err(why.clone())),
            (None, Ok(report)) => (check_code(&report), Ok(check_text(&report))),
            (None, Err(error)) => (1, Err(error.to_string())),
        };
        shown.insert("check_rc".to_owned(), json!(code));
        put(&mut shown, "check", "check_err", report);
    }
    let chain = match &opened {
        Ok(layers) => Ok(chain(layers)),
        Err(not) => {
            Err(format!("qemu-img: {}", could_not_open(&not.path, &could_not_open(&not.path, &not.why))))
        }
    };
    put(&mut shown, "chain", "info_err", chain);
    let on_layers = |ask: &dyn Fn(&[Layer]) -> IoResult<Value>| match (&opened, &refused) {
        (Ok(layers), _) => ask(layers).map_err(|errno| format!("qemu-img: {errno}")),
        (Err(_), why) => Err(why.clone().unwrap_or_default()),
    };
    put(&mut shown, "map", "map_err", on_layers(&map));
    if image.size <= CONTENT_BYTES_MAX {
        put(&mut shown, "content", "convert_err", on_layers(&content));
    }
    Value::Object(shown)
}

fn put(shown: &mut Map<String, Value>, name: &str, error_name: &str, what: Result<Value, String>) {
    match what {
        Ok(value) => shown.insert(name.to_owned(), value),
        Err(error) => shown.insert(error_name.to_owned(), json!(error)),
    };
}

fn could_not_open(path: &str, why: &str) -> String {
    format!("Could not open '{path}': {why}")
}

/// Why the whole chain cannot be opened: each overlay says so of the layer below it.
fn refusal(path: &str, not: &NotOpened) -> String {
    let mut text = could_not_open(&not.path, &not.why);
    for _ in 0..not.depth {
        text = could_not_open(path, &format!("Could not open backing file: {text}"));
    }
    format!("qemu-img: {text}")
}

fn check_code(report: &CheckReport) -> i32 {
    match (report.corruptions, report.leaks) {
        (0, 0) => 0,
        (0, _) => 3,
        _ => 2,
    }
}

fn check_text(report: &CheckReport) -> Value {
    let mut shown = json!({"check-errors": 0});
    let numbers = [
        ("corruptions", report.corruptions),
        ("leaks", report.leaks),
        ("allocated-clusters", report.allocated_clusters),
        ("total-clusters", report.total_clusters),
        ("image-end-offset", report.image_end_bytes),
    ];
    for (name, number) in numbers.into_iter().filter(|(_, number)| *number > 0) {
        shown[name] = json!(number);
    }
    shown
}

fn chain(layers: &[Layer]) -> Value {
    let layer = |layer: &Layer| {
        let mut shown =
            json!({"filename": layer.path, "format": layer.format, "virtual-size": layer.len_bytes()});
        if let Some(bytes) = layer.cluster_bytes() {
            shown["cluster-size"] = json!(bytes);
        }
        if let Some(backing) = layer.backing() {
            shown["backing-filename"] = json!(backing.file);
            if let Some(format) = backing.format {
                shown["backing-filename-format"] = json!(format);
            }
        }
        shown
    };
    layers.iter().map(layer).collect()
}

/// An extent of the map.
struct Extent {
    start: u64,
    len: u64,
    /// Depth and flags.
    what: String,
}

fn map(layers: &[Layer]) -> IoResult<Value> {
    let size = layers.first().map_or(0, Layer::len_bytes);
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < size {
        let (len, what) = status(layers, at, size - at)?;
        assert!(len > 0, "an empty answer about {at} of {size}");
        match extents.last_mut() {
            Some(last) if last.what == what => last.len += len,
            _ => extents.push(Extent { start: at, len, what }),
        }
        at += len;
    }
    if size == 0 {
        return Ok(json!(["0+0 d0 ---"]));
    }
    let line = |extent: &Extent| format!("{}+{} {}", extent.start, extent.len, extent.what);
    let lines: Vec<String> = extents.iter().map(line).collect();
    if lines.len() <= EXTENTS_LISTED {
        return Ok(json!(lines));
    }
    Ok(json!({"entries": lines.len(), "sha256": hash(lines.join("\n").as_bytes(), 16)}))
}

/// The first layer from the top that decides what is at `offset`, or knows that it is zero.
fn status(layers: &[Layer], offset: u64, len: u64) -> IoResult<(u64, String)> {
    let mut len = len;
    for (depth, layer) in layers.iter().enumerate() {
        let there = layer.len_bytes().saturating_sub(offset);
        let (run, kind) = layer.status(offset, len.min(there))?;
        len = len.min(run);
        let below = layers.get(depth + 1).map(Layer::len_bytes);
        match kind {
            RunKind::Data => return Ok((len, format!("d{depth} D-P"))),
            RunKind::Zero => return Ok((len, format!("d{depth} -ZP"))),
            // Nothing lies below, or the layer below has ended: nobody has it allocated, and it is zero.
            RunKind::Unallocated => match below {
                Some(below) if offset < below => len = len.min(below - offset),
                _ => return Ok((len, format!("d{depth} -Z-"))),
            },
        }
    }
    unreachable!("the lowest layer decides")
}

fn content(layers: &[Layer]) -> IoResult<Value> {
    let mut bytes = vec![0; layers.first().map_or(0, Layer::len_bytes) as usize];
    at_once(Seen(layers).read(0, &mut bytes))?;
    Ok(json!({"size": bytes.len(), "sha256": hash(&bytes, 24)}))
}
