//! Watches the engine and walks the model beside it: the only place that knows both.
//!
//! It turns what happens into observations, in the order in which it happens, feeds them to the model, and keeps the
//! history: its fingerprint always, its readable lines when asked. The first broken law stops the world.

use crate::choice::Point;
use crate::crash::Ending;
use crate::fault::Fault;
use crate::host::SimHost;
use crate::recovery::Recovered;
use crate::verdict::{Outcome, Verdict};
use crate::workload::guest::Operation;
use crate::workload::image::Tag;
use crate::workload::scenario::Scenario;
use block::error::Refused;
use block::event::{Event, EventSink};
use block::host::{IoResult, WallClock};
use block::qmp::event_text;
use model::{Broken, Model, Observation};
use std::fmt::{self, Display, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

/// The judge of one world.
pub struct Oracle {
    host: SimHost,
    /// Stops the scheduler.
    halt: Arc<AtomicBool>,
    inner: Mutex<Inner>,
}

struct Inner {
    model: Model,
    history: History,
    broken: Option<Broken>,
    /// The world has ended; what the engine's parts say while they are taken down counts for nothing.
    deaf: bool,
    /// Commands without a reply and requests without an end, for whoever asks why nothing moves.
    outstanding: Vec<(Point, String)>,
}

/// Everything that happened, in order.
struct History {
    /// In a compact form: what two runs of the same choices must agree on.
    bytes: Vec<u8>,
    lines: Option<Vec<String>>,
}

impl History {
    /// One more thing: what kind, which numbers, which text. `line` says it to a reader.
    fn note<L: Display>(
        &mut self,
        now: u64,
        step: u64,
        numbers: &[u64],
        text: &str,
        line: impl FnOnce() -> L,
    ) {
        self.bytes.extend_from_slice(&now.to_le_bytes());
        for number in numbers {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0xff);
        if let Some(lines) = &mut self.lines {
            lines.push(format!("step {step:<5} {}", line()));
        }
    }
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oracle({} bytes of history)", self.inner().history.bytes.len())
    }
}

impl EventSink for Oracle {
    fn emit(&self, event: &Event, at: WallClock) {
        let text = event_text(event, at);
        self.tell(
            &[1],
            &text,
            || format!("event     {}", without_time(&text)),
            &Observation::Event { text: &text },
        );
    }
}

impl Oracle {
    /// A judge of `scenario`'s world, which it stops by `halt`.
    pub fn new(scenario: &Scenario, host: SimHost, halt: Arc<AtomicBool>, readable: bool) -> Self {
        let history = History { bytes: Vec::with_capacity(8192), lines: readable.then(Vec::new) };
        let model = model_of(scenario);
        let inner = Inner { model, history, broken: None, deaf: false, outstanding: Vec::new() };
        Oracle { host, halt, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One more thing that happened: into the history, and before the model.
    fn tell<L: Display>(
        &self,
        numbers: &[u64],
        text: &str,
        line: impl FnOnce() -> L,
        observation: &Observation<'_>,
    ) {
        let mut inner = self.inner();
        if inner.deaf || inner.broken.is_some() {
            return;
        }
        let (now, step) = self.moment();
        inner.history.note(now, step, numbers, text, line);
        if let Err(broken) = inner.model.observe(observation) {
            inner.broken = Some(broken);
            self.halt.store(true, Ordering::Relaxed);
        }
    }

    /// One more thing that happened and that no law speaks about.
    fn only_note<L: Display>(&self, numbers: &[u64], text: &str, line: impl FnOnce() -> L) {
        let mut inner = self.inner();
        let (now, step) = self.moment();
        if !inner.deaf {
            inner.history.note(now, step, numbers, text, line);
        }
    }

    fn moment(&self) -> (u64, u64) {
        let core = self.host.core();
        (core.now, core.steps)
    }

    /// A command is about to be handed in.
    pub fn sent(&self, client: u32, text: &str) {
        let point = Point::new("client #", [client, 0, 0]);
        self.inner().outstanding.push((point, text.to_owned()));
        let line = || format!("client {client:<2} -> {}", brief(text));
        self.tell(&[2, client.into()], text, line, &Observation::Sent { client, text });
    }

    /// Its reply.
    pub fn reply(&self, client: u32, text: &str) {
        self.settle(Point::new("client #", [client, 0, 0]));
        let line = || format!("client {client:<2} <- {}", text.trim_end());
        self.tell(&[3, client.into()], text, line, &Observation::Reply { client, text });
    }

    /// A guest sits at its node now.
    pub fn attached(&self, guest: u32, node: &str, writable: bool) {
        let line =
            || format!("guest {guest:<3} attaches to {node}{}", if writable { ", to write" } else { "" });
        let observation = Observation::GuestAttached { guest, node, writable };
        self.tell(&[4, guest.into(), writable.into()], node, line, &observation);
    }

    /// A guest was not let in.
    pub fn turned_away(&self, guest: u32, node: &str, writable: bool, refused: &Refused) {
        let text = refused.to_string();
        let line = || format!("guest {guest:<3} is turned away from {node}: {text}");
        self.only_note(&[5, guest.into(), writable.into()], &text, line);
    }

    /// A guest has left.
    pub fn detached(&self, guest: u32) {
        let line = || format!("guest {guest:<3} leaves");
        self.tell(&[6, guest.into()], "", line, &Observation::GuestDetached { guest });
    }

    /// A guest's request is about to be handed in.
    pub fn began(&self, request: RequestId, operation: Operation, sector: u64, sectors: u64, tag: Tag) {
        let name = request.point();
        let line = || format!("{name} {operation:?} of {sectors} at {sector}");
        self.inner().outstanding.push((name, line()));
        let op = op_of(operation, sector, sectors, tag);
        let observation = Observation::GuestBegan { request: request.number(), guest: request.guest, op };
        self.tell(&[7, request.number(), operation as u64, sector, sectors], "", line, &observation);
    }

    /// It has ended. A read that went well brings its tags.
    pub fn ended(&self, request: RequestId, result: IoResult<Option<Vec<Tag>>>) {
        let name = request.point();
        self.settle(name);
        let code = result.as_ref().map_or_else(|errno| errno.0 as u64, |_| 0);
        let mut numbers = vec![8, request.number(), code];
        if let Ok(Some(tags)) = &result {
            numbers.extend_from_slice(tags);
        }
        let line = || match &result {
            Ok(Some(tags)) => format!("{name} reads {}", tags_text(tags)),
            Ok(None) => format!("{name} is done"),
            Err(errno) => format!("{name} fails: {errno}"),
        };
        let observation = Observation::GuestEnded { request: request.number(), result: result_of(&result) };
        self.tell(&numbers, "", line, &observation);
    }

    /// From now on this may go wrong.
    pub fn armed(&self, fault: &Fault, scenario: &Scenario) {
        let file = &scenario.images[fault.file as usize].path;
        let line = || {
            format!(
                "fault     {:?} of {file} {:?}: {} after {}",
                fault.kind, fault.often, fault.errno, fault.after
            )
        };
        let numbers = [9, fault.file.into(), fault.kind as u64, fault.errno.0 as u64, fault.after.into()];
        self.tell(&numbers, file, line, &Observation::FaultArmed { file });
    }

    /// From now on nothing goes wrong any more.
    pub fn faults_stopped(&self) {
        self.only_note(&[10], "", || "fault     no more");
    }

    /// A node's whole content, at rest.
    pub fn viewed(&self, node: &str, values: IoResult<Vec<Tag>>) {
        let mut numbers = vec![11];
        match &values {
            Ok(values) => numbers.extend_from_slice(values),
            Err(errno) => numbers.push(errno.0 as u64),
        }
        let line = || match &values {
            Ok(values) => format!("look      {node}: {}", tags_text(values)),
            Err(errno) => format!("look      {node} cannot be read: {errno}"),
        };
        let observation = Observation::View { node, values: values.as_deref().map_err(|errno| errno.0) };
        self.tell(&numbers, node, line, &observation);
    }

    /// The world has ended without warning.
    pub fn crashed(&self, ending: Ending) {
        self.tell(
            &[12, ending as u64],
            "",
            || format!("crash     {ending:?}"),
            &Observation::Crash { kind: ending_of(ending) },
        );
        self.inner().outstanding.clear();
    }

    /// The engine has closed everything.
    pub fn quit(&self) {
        self.tell(&[13], "", || "quit", &Observation::Quit);
    }

    /// What a file shows to the next process.
    pub fn recovered(&self, recovered: &Recovered) {
        let mut numbers = vec![14, recovered.corruptions];
        let text = match &recovered.values {
            Ok(values) => {
                numbers.extend_from_slice(values);
                String::new()
            }
            Err(why) => why.clone(),
        };
        let line = || {
            let content = recovered.values.as_ref().map_or_else(String::clone, |values| tags_text(values));
            format!("afresh    {}: {content}", recovered.chain.join(" -> "))
        };
        let observation = Observation::Recovered {
            file: &recovered.file,
            values: recovered.values.as_deref().map_err(String::as_str),
            chain: &recovered.chain,
            check_corruptions: recovered.corruptions,
        };
        self.tell(&numbers, &text, line, &observation);
    }

    /// Everything is over.
    pub fn ended_well(&self) {
        self.tell(&[15], "", || "end", &Observation::End);
        self.inner().deaf = true;
    }

    fn settle(&self, point: Point) {
        self.inner().outstanding.retain(|(waiting, _)| *waiting != point);
    }

    /// What has begun and not ended.
    pub fn outstanding(&self) -> Vec<String> {
        self.inner().outstanding.iter().map(|(point, what)| format!("{point} waits for {what}")).collect()
    }

    /// The readable history so far.
    pub fn lines(&self) -> Vec<String> {
        self.inner().history.lines.clone().unwrap_or_default()
    }

    /// The judgement so far.
    pub fn verdict(&self) -> Verdict {
        match &self.inner().broken {
            None => Verdict::Passed,
            Some(broken) => {
                Verdict::Broken { law: broken.law.name().to_owned(), detail: broken.detail.clone() }
            }
        }
    }

    /// Writes down what was seen, and hears nothing any more.
    pub fn report(&self, outcome: &mut Outcome) {
        let mut inner = self.inner();
        inner.deaf = true;
        outcome.history_hash = xxh3_64(&inner.history.bytes);
        outcome.history = inner.history.lines.take().unwrap_or_default();
        let counts = inner.model.tally().counts();
        outcome.laws_checked = counts.to_vec();
        outcome.goals_reached = counts.iter().map(|count| *count > 0).collect();
    }
}

/// A guest's request, by where it stands in the script.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct RequestId {
    /// Who.
    pub guest: u32,
    /// In which lane.
    pub lane: u32,
    /// Which slot of it.
    pub slot: u32,
}

impl RequestId {
    fn point(self) -> Point {
        Point::new("guest # lane # request #", [self.guest, self.lane, self.slot])
    }

    fn number(self) -> u64 {
        u64::from(self.guest) << 16 | u64::from(self.lane) << 8 | u64::from(self.slot) | 1 << 24
    }
}

/// A command as a reader wants it: its name and its arguments.
fn brief(text: &str) -> String {
    let text = text.trim().trim_start_matches(r#"{"execute":""#).trim_end_matches('}');
    text.replace(r#"","arguments":{"#, " ").replace('"', "")
}

/// An event without its timestamp, which says less than the step.
fn without_time(text: &str) -> String {
    let Ok(serde_json::Value::Object(mut event)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    event.remove("timestamp");
    let name = event.remove("event").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let data = event.remove("data").map(|data| data.to_string()).unwrap_or_default();
    format!("{name} {}", data.replace('"', ""))
}

/// Tags by runs: where they were written and how many sectors.
fn tags_text(tags: &[Tag]) -> String {
    let mut text = String::new();
    for run in tags.chunk_by(|a, b| tag_name(*a) == tag_name(*b)) {
        let separator = if text.is_empty() { "" } else { " " };
        write!(text, "{separator}{}", tag_name(run[0])).expect("a string takes all");
        if run.len() > 1 {
            write!(text, "x{}", run.len()).expect("a string takes all");
        }
    }
    text
}

/// `0` zeroes, `n2` initial content of layer 2, `g1.0.3` guest 1, lane 0, request 3, `?` anything else.
fn tag_name(tag: Tag) -> String {
    match (tag, tag >> 63) {
        (0, _) => "0".to_owned(),
        (Tag::MAX, _) => "?".to_owned(),
        (_, 1) => format!("g{}.{}.{}", tag >> 48 & 0x7fff, tag >> 40 & 0xff, tag >> 32 & 0xff),
        _ => format!("n{}", (tag >> 32) - 1),
    }
}
fn model_of(_: &Scenario) -> Model {
    Model
}
fn op_of(_: Operation, _: u64, _: u64, _: Tag) -> model::Op {
    model::Op::X
}
fn ending_of(_: Ending) -> model::Kind {
    model::Kind::K
}
fn result_of(r: &IoResult<Option<Vec<Tag>>>) -> Result<Option<&[u64]>, i32> {
    match r {
        Ok(v) => Ok(v.as_deref()),
        Err(e) => Err(e.0),
    }
}
