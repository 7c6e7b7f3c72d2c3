//! JSON text out: values, replies, refusals, events and the greeting, spaced and escaped as QEMU does it.

use seam::escape::push_string;

use super::dispatch::REPLY_BYTES_MAX;
use crate::event::{Event, JobFacts};
use seam::WallClock;
use serde_json::{Number, Value};
use std::fmt::{Display, Write as _};

/// Writes an object, member by member.
#[derive(Debug)]
pub(super) struct ObjectText<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> ObjectText<'a> {
    /// Opens an object at the end of `out`.
    pub(super) fn open(out: &'a mut String) -> Self {
        out.push('{');
        ObjectText { out, first: true }
    }

    /// Goes on inside an object that is open already, and has no member yet; whoever opened it closes it.
    pub(super) fn within(out: &'a mut String) -> Self {
        ObjectText { out, first: true }
    }

    /// Writes a member's name, one of ours: nothing in it is to be escaped. Its value is to be appended to what this
    /// returns.
    pub(super) fn member(&mut self, name: &'static str) -> &mut String {
        self.out.push_str(if std::mem::take(&mut self.first) { "\"" } else { ", \"" });
        self.out.push_str(name);
        self.out.push_str("\": ");
        self.out
    }

    /// The same with any name.
    fn foreign_member(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.first) {
            self.out.push_str(", ");
        }
        push_string(self.out, name);
        self.out.push_str(": ");
        self.out
    }

    /// A member that is a text.
    pub(super) fn text(&mut self, name: &'static str, value: &str) -> &mut Self {
        push_string(self.member(name), value);
        self
    }

    /// A member that is a text, if there is one.
    pub(super) fn optional_text(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(name, value);
        }
        self
    }

    /// A member whose text needs no quotes: a number or a truth.
    pub(super) fn plain(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        write!(self.member(name), "{value}").expect("a String takes everything");
        self
    }

    /// Closes the object.
    pub(super) fn close(self) {
        self.out.push('}');
    }
}

/// Writes a list, each element by `write`.
pub(super) fn push_list<T>(
    out: &mut String,
    elements: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (i, element) in elements.into_iter().enumerate() {
        // Nobody gets a reply of that length; what it would be is not found out.
        if out.len() > REPLY_BYTES_MAX {
            break;
        }
        if i > 0 {
            out.push_str(", ");
        }
        write(out, element);
    }
    out.push(']');
}

/// Writes any value.
pub(super) fn push_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Value::Number(number) => push_number(out, number),
        Value::String(text) => push_string(out, text),
        Value::Array(elements) => push_list(out, elements, push_value),
        Value::Object(members) => {
            let mut object = ObjectText::open(out);
            for (name, value) in members {
                push_value(object.foreign_member(name), value);
            }
            object.close();
        }
    }
}

fn push_number(out: &mut String, number: &Number) {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(double) => out.push_str(&general(double)),
        None => write!(out, "{number}").expect("a String takes everything"),
    }
}

/// A double with 17 significant digits, as C's `%.17g` prints it: enough to read the same double back.
fn general(double: f64) -> String {
    const DIGITS: i32 = 17;
    let scientific = format!("{:.*e}", DIGITS as usize - 1, double);
    let (mantissa, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..DIGITS).contains(&exponent) {
        let fixed = format!("{:.*}", (DIGITS - 1 - exponent) as usize, double);
        return without_trailing_zeroes(&fixed).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_trailing_zeroes(mantissa), exponent.abs())
}

fn without_trailing_zeroes(decimal: &str) -> &str {
    match decimal.contains('.') {
        true => decimal.trim_end_matches('0').trim_end_matches('.'),
        false => decimal,
    }
}

/// A reply: `returns` is the text of the answer.
pub(super) fn reply_text(returns: &str, id: Option<&Value>) -> String {
    let mut out = String::with_capacity(returns.len() + 32);
    out.push_str("{\"return\": ");
    out.push_str(returns);
    if let Some(id) = id {
        out.push_str(", \"id\": ");
        push_value(&mut out, id);
    }
    out.push('}');
    out
}

/// A refusal.
pub(super) fn error_text(class: &str, description: &str, id: Option<&Value>) -> String {
    let mut out = String::with_capacity(description.len() + 64);
    let mut object = ObjectText::open(&mut out);
    if let Some(id) = id {
        push_value(object.member("id"), id);
    }
    let mut error = ObjectText::open(object.member("error"));
    error.text("class", class).text("desc", description);
    error.close();
    object.close();
    out
}

/// The first line a client gets. Out-of-band execution is not among our capabilities.
pub(super) fn greeting_text() -> String {
    format!("{{\"QMP\": {{\"version\": {}, \"capabilities\": []}}}}", version_text())
}

/// The version of the language, and who speaks it.
pub(super) fn version_text() -> String {
    let package = concat!("midstream ", env!("CARGO_PKG_VERSION"));
    format!("{{\"qemu\": {{\"micro\": 2, \"minor\": 0, \"major\": 10}}, \"package\": \"{package}\"}}")
}

/// An event.
pub fn event_text(event: &Event, at: WallClock) -> String {
    let mut out = String::with_capacity(192);
    let mut object = ObjectText::open(&mut out);
    let mut time = ObjectText::open(object.member("timestamp"));
    time.plain("seconds", at.seconds).plain("microseconds", at.microseconds);
    time.close();
    object.text("event", event_name(event));
    push_event_data(object.member("data"), event);
    object.close();
    out
}

fn event_name(event: &Event) -> &'static str {
    match event {
        Event::JobStatusChange { .. } => "JOB_STATUS_CHANGE",
        Event::BlockJobCompleted { .. } => "BLOCK_JOB_COMPLETED",
        Event::BlockJobCancelled { .. } => "BLOCK_JOB_CANCELLED",
        Event::BlockJobReady { .. } => "BLOCK_JOB_READY",
        Event::BlockJobPending { .. } => "BLOCK_JOB_PENDING",
        Event::BlockJobError { .. } => "BLOCK_JOB_ERROR",
        Event::BlockWriteThreshold { .. } => "BLOCK_WRITE_THRESHOLD",
        Event::BlockImageCorrupted { .. } => "BLOCK_IMAGE_CORRUPTED",
        Event::BlockExportDeleted { .. } => "BLOCK_EXPORT_DELETED",
    }
}

fn push_event_data(out: &mut String, event: &Event) {
    let mut data = ObjectText::open(out);
    match event {
        Event::JobStatusChange { id, status } => {
            data.text("status", status).text("id", id);
        }
        Event::BlockJobCompleted { job, error } => {
            push_facts(&mut data, job);
            data.optional_text("error", error.as_deref());
        }
        Event::BlockJobCancelled { job } | Event::BlockJobReady { job } => push_facts(&mut data, job),
        Event::BlockJobPending { kind, id } => {
            data.text("type", kind).text("id", id);
        }
        Event::BlockJobError { device, operation, action } => {
            data.text("device", device).text("operation", operation).text("action", action);
        }
        Event::BlockWriteThreshold { node_name, exceeded, threshold } => {
            data.plain("amount-exceeded", exceeded).text("node-name", node_name);
            data.plain("write-threshold", threshold);
        }
        Event::BlockImageCorrupted { node_name, text, range, is_fatal } => {
            data.text("device", "").text("msg", text);
            if let Some((offset, _)) = range {
                data.plain("offset", offset);
            }
            data.text("node-name", node_name).plain("fatal", is_fatal);
            if let Some((_, size)) = range {
                data.plain("size", size);
            }
        }
        Event::BlockExportDeleted { id } => {
            data.text("id", id);
        }
    }
    data.close();
}

fn push_facts(data: &mut ObjectText<'_>, job: &JobFacts) {
    data.text("device", &job.device).plain("len", job.len).plain("offset", job.offset);
    data.plain("speed", job.speed).text("type", job.kind);
}
