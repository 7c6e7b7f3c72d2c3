//! Watches the engine and walks the model beside it: the only place that knows both.
//!
//! It turns what happens into observations, in the order in which it happens, feeds them to the model, and keeps the
//! history: its fingerprint always, its readable lines when asked. The first broken law stops the world.

use crate::choice::Point;
use crate::crash::Ending;
use crate::fault::{Fault, Kind};
use crate::host::SimHost;
use crate::recovery::Recovered;
use crate::verdict::{Outcome, Verdict};
use crate::workload::guest::{Operation, tag_in_sector};
use crate::workload::image::{Format, Image, Tag};
use crate::workload::scenario::Scenario;
use block::error::Refused;
use block::event::{Event, EventSink};
use block::host::{IoResult, WallClock};
use block::qmp::event_text;
use model::law::{Kind as LawKind, LAWS, LawId};
use model::{Broken, CrashKind, FaultKind, GuestOp, ImageSetup, Model, Observation};
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
    outstanding: Vec<(Point, Waiting)>,
    /// What nodes showed at rest.
    looked: Vec<Look>,
    /// Whether commands change headers and links each by itself, so that the two may rightly differ.
    links_move: bool,
}

/// What a node showed at rest.
struct Look {
    /// The image under it.
    image: usize,
    /// The files it was read through.
    chain: Vec<String>,
    values: Vec<Tag>,
}

/// What somebody waits for the end of.
enum Waiting {
    Command(String),
    Request(Operation, u64, u64),
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
        let setups: Vec<ImageSetup> = scenario.images.iter().map(|image| setup(image, scenario)).collect();
        let inner = Inner {
            model: Model::new(&setups),
            history,
            broken: None,
            deaf: false,
            outstanding: Vec::new(),
            looked: Vec::new(),
            links_move: scenario.spares() > 0,
        };
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
        self.tell_strikes(&mut inner.model);
        inner.history.note(now, step, numbers, text, line);
        if let Err(broken) = inner.model.observe(observation) {
            inner.broken = Some(broken);
            self.halt.store(true, Ordering::Relaxed);
        }
    }

    fn tell_values<L: Display>(
        &self,
        kind: u64,
        values: &[Tag],
        text: &str,
        line: impl FnOnce() -> L,
        observation: &Observation<'_>,
    ) {
        let mut numbers = Vec::with_capacity(values.len() + 1);
        numbers.push(kind);
        numbers.extend_from_slice(values);
        self.tell(&numbers, text, line, observation);
    }

    /// One more thing that happened and that no law speaks about.
    fn only_note<L: Display>(&self, numbers: &[u64], text: &str, line: impl FnOnce() -> L) {
        let mut inner = self.inner();
        let (now, step) = self.moment();
        if !inner.deaf {
            inner.history.note(now, step, numbers, text, line);
        }
    }

    /// Faults that have struck: whatever is seen from now on may come of them. One that is only armed excuses nothing.
    fn tell_strikes(&self, model: &mut Model) {
        let mut core = self.host.core();
        let strikes = core.disks.faults.take_strikes();
        for (file, kind, errno) in strikes {
            let kind = match kind {
                Kind::Read => FaultKind::Read,
                Kind::Write => FaultKind::Write,
                Kind::Flush => FaultKind::Flush,
                Kind::Open => FaultKind::Any,
            };
            let (file, error) = (core.disks.files[file as usize].path.as_str(), errno.text());
            let told = model.observe(&Observation::FaultArmed { file, kind, error: &error });
            assert!(told.is_ok(), "a fault breaks no law by itself");
        }
    }

    fn moment(&self) -> (u64, u64) {
        let core = self.host.core();
        (core.now, core.steps)
    }

    /// A command is about to be handed in.
    pub fn sent(&self, client: u32, text: &str) {
        let point = Point::new("client #", [client, 0, 0]);
        self.inner().outstanding.push((point, Waiting::Command(text.to_owned())));
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
        let observation = Observation::GuestRefused { guest, node, writable };
        self.tell(&[5, guest.into(), writable.into()], &text, line, &observation);
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
        self.inner().outstanding.push((name, Waiting::Request(operation, sector, sectors)));
        let written = if operation == Operation::Write { sectors } else { 0 };
        let values: Vec<Tag> = (sector..sector + written).map(|sector| tag_in_sector(tag, sector)).collect();
        let op = match operation {
            Operation::Read => GuestOp::Read { sector, count: sectors },
            Operation::Write => GuestOp::Write { sector, values: &values },
            Operation::WriteZeroes => GuestOp::WriteZeroes { sector, count: sectors },
            Operation::Discard => GuestOp::Discard { sector, count: sectors },
            Operation::Flush => GuestOp::Flush,
        };
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
        let error = result.as_ref().map_err(|errno| errno.text());
        let told = match &error {
            Ok(tags) => Ok(tags.as_deref().unwrap_or_default()),
            Err(text) => Err(text.as_str()),
        };
        let observation = Observation::GuestEnded { request: request.number(), result: told };
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
        self.only_note(&numbers, file, line);
    }

    /// From now on nothing goes wrong any more.
    pub fn faults_stopped(&self) {
        self.only_note(&[10], "", || "fault     no more");
    }

    /// A node's whole content, at rest; `image` is what lies under it.
    pub fn viewed(&self, node: &str, image: usize, chain: Vec<String>, values: IoResult<Vec<Tag>>) {
        let values = match values {
            Ok(values) => values,
            Err(errno) => {
                let found = format!("{node} cannot be read at rest: {errno}");
                return self.break_law(LawId::NoFaultNoFailure, found);
            }
        };
        let line = || format!("look      {node}: {}", tags_text(&values));
        let observation = Observation::View { node, values: &values };
        self.tell_values(11, &values, node, line, &observation);
        self.inner().looked.push(Look { image, chain, values });
    }

    /// The world has ended without warning.
    pub fn crashed(&self, ending: Ending) {
        let kind = match ending {
            Ending::Kill => CrashKind::Kill,
            Ending::PowerCut => CrashKind::PowerCut,
        };
        self.tell(&[12, ending as u64], "", || format!("crash     {ending:?}"), &Observation::Crash { kind });
        self.inner().outstanding.clear();
    }

    /// What a file shows to the next process after a crash.
    pub fn recovered(&self, recovered: &Recovered) {
        let values = match &recovered.values {
            Ok(values) => values,
            Err(why) => return self.break_law(LawId::ChainOnDisk, why.clone()),
        };
        let chain: Vec<&str> = recovered.chain.iter().map(String::as_str).collect();
        let observation = Observation::Recovered {
            file: &recovered.file,
            values,
            chain: &chain,
            check_corruptions: recovered.corruptions,
        };
        let line = || format!("afresh    {}: {}", chain.join(" -> "), tags_text(values));
        self.tell_values(14, values, &recovered.file, line, &observation);
    }

    /// What a file shows to the next process after a clean end: what its node showed at rest.
    pub fn closed(&self, image: usize, recovered: &Recovered) {
        let values = match &recovered.values {
            Ok(values) => values,
            Err(why) => return self.break_law(LawId::ChainOnDisk, why.clone()),
        };
        let chain: Vec<&str> = recovered.chain.iter().map(String::as_str).collect();
        let observation = Observation::Closed {
            file: &recovered.file,
            values,
            chain: &chain,
            check_corruptions: recovered.corruptions,
            check_leaks: recovered.leaks,
        };
        let line = || format!("afresh    {}: {}", chain.join(" -> "), tags_text(values));
        self.tell_values(16, values, &recovered.file, line, &observation);
        let Some(seen) = self.seen(image, &recovered.chain) else {
            return;
        };
        if *values != seen {
            let found = format!(
                "{} after a clean end: expected {}, found {}",
                recovered.file,
                tags_text(&seen),
                tags_text(values)
            );
            self.break_law(LawId::ChainOnDisk, found);
        }
    }

    /// What the node over an image showed at rest, if the image must show the same by its own header.
    fn seen(&self, image: usize, chain: &[String]) -> Option<Vec<Tag>> {
        let inner = self.inner();
        let look = inner.looked.iter().find(|look| look.image == image)?;
        (!inner.links_move || look.chain == chain).then(|| look.values.clone())
    }

    /// A job copied its device again and again, because its guests write faster than it copies.
    pub fn outrun(&self, job: &str, copied: u64) {
        self.break_law(LawId::JobsEnd, format!("job {job} copied {copied} bytes and is not in step"));
    }

    /// A law that needs no model to be seen broken.
    fn break_law(&self, law: LawId, detail: String) {
        let mut inner = self.inner();
        if !inner.deaf && inner.broken.is_none() {
            inner.broken = Some(Broken { law, detail });
            self.halt.store(true, Ordering::Relaxed);
        }
    }

    /// The run is over.
    pub fn over(&self) {
        self.tell(&[15], "", || "end", &Observation::End);
    }

    fn settle(&self, point: Point) {
        self.inner().outstanding.retain(|(waiting, _)| *waiting != point);
    }

    /// What has begun and not ended.
    pub fn outstanding(&self) -> Vec<String> {
        let waits = |(who, what): &(Point, Waiting)| match what {
            Waiting::Command(text) => format!("{who} waits for the reply to {}", brief(text)),
            Waiting::Request(operation, sector, sectors) => {
                format!("{who} waits for {operation:?} of {sectors} at {sector}")
            }
        };
        self.inner().outstanding.iter().map(waits).collect()
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
        outcome.is_lost = inner.model.is_lost();
        let tally = inner.model.tally();
        outcome.laws_checked = laws().map(|law| tally.of(law)).collect();
        outcome.goals_reached = goals().map(|goal| tally.of(goal) > 0).collect();
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
pub(crate) fn brief(text: &str) -> String {
    let text = text.trim().trim_start_matches(r#"{"execute":""#).trim_end_matches('}');
    text.replace(r#"","arguments":{"#, " ").replace('"', "")
}

/// An event without its timestamp, which says less than the step.
pub(crate) fn without_time(text: &str) -> String {
    let Ok(serde_json::Value::Object(mut event)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    event.remove("timestamp");
    let name = event.remove("event").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let data = event.remove("data").map(|data| data.to_string()).unwrap_or_default();
    format!("{name} {}", data.replace('"', ""))
}

/// Tags by runs: where they were written and how many sectors.
pub(crate) fn tags_text(tags: &[Tag]) -> String {
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

/// Laws that hold always or at the end, in the order of an outcome's counts.
pub fn laws() -> impl Iterator<Item = LawId> {
    LAWS.into_iter().filter(|law| law.kind() != LawKind::Sometimes)
}

/// Goals: what a campaign must reach, in the order of an outcome's flags.
pub fn goals() -> impl Iterator<Item = LawId> {
    LAWS.into_iter().filter(|law| law.kind() == LawKind::Sometimes)
}

/// An image as the model wants to know it.
pub(crate) fn setup(image: &Image, scenario: &Scenario) -> ImageSetup {
    let own = image.values().into_iter().enumerate().filter_map(|(at, value)| Some((at as u64, value?)));
    ImageSetup {
        file: image.path.clone(),
        format: if image.format == Format::Raw { model::Format::Raw } else { model::Format::Qcow2 },
        size_bytes: image.size_bytes,
        cluster_bytes: image.format.cluster_bytes(),
        backing: image.backing.map(|below| scenario.images[below].path.clone()),
        own: own.collect(),
    }
}
