//! Watches the engine and walks the model beside it: the only place that knows both.
//!
//! It turns what happens into observations, in the order in which it happens, shows them to the model, and keeps them as
//! the run's history, if anybody wants it. The first broken law stops the world.

pub mod asked;
pub mod beside;
pub mod bitmaps;
pub mod bounded;
mod crashed;
mod leaks;
mod modes;
pub mod pace;
pub mod snapshots;
pub mod space;
pub mod thresholds;
pub mod write;

use crate::oracle::beside::{Beside, Wrong};
use crate::oracle::bounded::{Seen, Speed, answered_late};
use crate::oracle::space::Change;
use crate::oracle::write::Write;
use crate::recovery::Recovered;
use crate::workload::image::{Format, Image, Vouching};
use crate::workload::scenario::Scenario;
use block::error::Refused;
use block::event::{Event, EventSink};
use block::qmp::event_text;
use midstream::choice::Point;
use midstream::content::{SECTOR_BYTES, Tag, tags_text};
use midstream::history::observed::Observed;
use midstream::history::{Asked, Entry, Failure, Found, What};
use midstream::recording::Recording;
use midstream::request::RequestId;
use midstream::verdict::{Detail, Outcome, Verdict};
use midstream::world::fault::Fault;
use midstream::world::host::SimHost;
use midstream::world::struck::{SORTS, Sort};
use model::law::{Kind as LawKind, LAWS, LawId};
use model::{Broken, ImageSetup, Judge};
use seam::{IoResult, Nanos, WallClock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

/// The laws that a check of an image breaks: whoever reports one has the check's findings to report, too.
pub const OF_DAMAGE: [LawId; 2] = [LawId::NoCorruption, LawId::NoLeak];

/// The judge of one world.
pub struct Oracle {
    host: SimHost,
    /// How many sectors a cluster has, by file, of images in which a discarded cluster can be distinguished from one that was never
    /// written.
    cluster_sectors: BTreeMap<String, u64>,
    inner: Mutex<Inner>,
}

struct Inner {
    judge: Judge,
    recording: Recording,
    /// What nodes showed at rest.
    looked: Vec<Look>,
    /// How many requests of guests were timed.
    answers: u64,
    /// How often it was looked at how files are open.
    rests: u64,
    /// Whether a command was refused by the first fault that struck.
    is_command_struck: bool,
    /// What is judged beside the model.
    beside: Beside,
    /// Whether commands change headers and links each by itself, so that the two may rightly differ.
    links_move: bool,
}

/// What a node showed at rest.
struct Look {
    /// The image under it.
    image: usize,
    /// The files it was read through.
    chain: Vec<String>,
    /// What was seen.
    values: Vec<Tag>,
}

impl Inner {
    /// One more thing that happened, and the model sees it.
    fn show(&mut self, step: u64, at: u64, observed: Observed) -> (Observed, Result<(), Broken>) {
        let observed = self.recording.observed(step, at, observed);
        let verdict = observed.show(|seen| self.judge.observe(seen));
        (observed, verdict)
    }
}

impl fmt::Debug for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Oracle({} entries of history)", self.inner().recording.history().entries.len())
    }
}

impl EventSink for Oracle {
    fn emit(&self, event: &Event, at: WallClock) {
        let text = event_text(event, at);
        let now = self.host.core().now;
        let wrong = self.inner().beside.event(&text, now);
        self.observe(Observed::Event { text });
        self.break_law_by(wrong);
    }
}

impl Oracle {
    /// A judge of `scenario`'s world, which it stops by `halt`. It keeps the history if `detail` asks for it.
    pub fn new(scenario: &Scenario, host: SimHost, halt: Arc<AtomicBool>, detail: Detail) -> Self {
        let images: Vec<ImageSetup> = scenario.images.iter().map(|image| setup(image, scenario)).collect();
        let inner = Inner {
            judge: Judge::new(&images),
            recording: Recording::new(images, halt, detail),
            looked: Vec::new(),
            answers: 0,
            rests: 0,
            is_command_struck: false,
            beside: Beside::new(scenario),
            links_move: scenario.spares() > 0,
        };
        let sectors = |image: &Image| match image.format {
            // What a shrink left is among the clusters that a check counts.
            Format::Qcow2 { version: 3.., cluster_bits, .. } if !image.features.leftovers => {
                Some((image.path.clone(), (1 << cluster_bits) / SECTOR_BYTES as u64))
            }
            _ => None,
        };
        let cluster_sectors = scenario.images.iter().filter_map(sectors).collect();
        Oracle { host, cluster_sectors, inner: Mutex::new(inner) }
    }

    /// How many sectors a cluster of an image has, if what is discarded there has to go.
    pub fn cluster_sectors(&self, file: &str) -> Option<u64> {
        self.cluster_sectors.get(file).copied()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One more thing that happened: into the history, and before the model. Gives it back, if anybody listens.
    fn observe(&self, observed: Observed) -> Option<Observed> {
        let mut inner = self.inner();
        if !inner.recording.is_judged() {
            return None;
        }
        let (now, step) = self.moment();
        self.observe_strikes(&mut inner, now, step);
        let (observed, verdict) = inner.show(step, now, observed);
        if let Err(broken) = verdict {
            inner.recording.break_law_by(&observed, broken.law.name(), &broken.detail);
        }
        Some(observed)
    }

    /// One more thing that happened and that no law speaks about.
    fn only_note(&self, what: What) {
        let (now, step) = self.moment();
        self.inner().recording.note(&Entry { step, at: now, what });
    }

    /// Faults that have struck: whatever is under way may fail by them. One that is only armed excuses nothing.
    fn observe_strikes(&self, inner: &mut Inner, now: u64, step: u64) {
        let mut core = self.host.core();
        let strikes = core.disks.faults.take_strikes();
        for strike in strikes {
            for observed in Observed::of_strike(strike, &core.disks.files[strike.file as usize].path) {
                let (_, judged) = inner.show(step, now, observed);
                assert!(judged.is_ok(), "a fault breaks no law by itself");
            }
        }
    }

    fn moment(&self) -> (u64, u64) {
        let core = self.host.core();
        (core.now, core.steps)
    }

    /// A command is about to be handed in.
    pub fn sent(&self, client: u32, text: &str) {
        self.inner().beside.sent(client, text);
        let observed = self.observe(Observed::Sent { client, text: text.to_owned() });
        self.awaits(Point::new("client #", [client, 0, 0]), observed);
    }

    /// Its reply.
    pub fn reply(&self, client: u32, text: String) {
        self.settle(Point::new("client #", [client, 0, 0]));
        let wrong = {
            let (mut inner, core) = (self.inner(), self.host.core());
            inner.is_command_struck |= core.disks.faults.struck() == 1 && text.contains("Could not open '");
            inner.beside.reply(client, &text, &core.disks.files, core.now)
        };
        self.observe(Observed::Reply { client, text });
        self.break_law_by(wrong);
    }

    /// A guest sits at its node now.
    pub fn attached(&self, guest: u32, node: &str, writable: bool) {
        self.observe(Observed::Attached { guest, node: node.to_owned(), writable });
    }

    /// A guest came to an export.
    pub fn connected(&self, guest: u32, export: &str) {
        self.observe(Observed::Connected { guest, export: export.to_owned() });
    }

    /// A guest was not let in.
    pub fn turned_away(&self, guest: u32, node: &str, writable: bool, refused: &Refused) {
        self.observe(Observed::Refused { guest, node: node.to_owned(), writable, why: refused.to_string() });
    }

    /// A guest has left.
    pub fn detached(&self, guest: u32) {
        self.observe(Observed::Detached { guest });
    }

    /// A guest's request is about to be handed in. Its number counts lanes and requests without those that are empty; it is
    /// called by what it writes, or would write.
    pub fn began(&self, request: RequestId, asked: Asked, tag: Tag) {
        let name = midstream::content::request_of(tag);
        let observed =
            self.observe(Observed::Began { request: request.number(), guest: request.guest, name, asked });
        self.awaits(request.point(), observed);
    }

    /// What it changes, if it does: reported before it begins.
    pub fn changes(&self, request: RequestId, change: Change) {
        self.inner().beside.changes(request.number(), change);
    }

    /// Which bytes of which node it changes, if it does: reported before it begins.
    pub fn writes(&self, request: RequestId, write: &Write) {
        self.inner().beside.writes(request.number(), write);
    }

    /// Its guest's node stands on another one now: which of the two it has changed, nobody saw.
    pub fn writes_somewhere(&self, request: RequestId) {
        self.inner().beside.writes_somewhere(request.number());
    }

    /// It has ended. A read that went well brings its tags.
    pub fn ended(&self, request: RequestId, result: IoResult<Option<Vec<Tag>>>) {
        let wrong = self.inner().beside.ended(request.number(), result.is_ok());
        self.break_law_by(wrong);
        self.settle(request.point());
        let result = match result {
            Ok(tags) => Ok(tags.unwrap_or_default()),
            Err(errno) => Err(Failure { errno: errno.0, text: errno.text() }),
        };
        self.observe(Observed::Ended { request: request.number(), result });
    }

    /// From now on this may go wrong.
    pub fn armed(&self, fault: &Fault, scenario: &Scenario) {
        let file = scenario.images[fault.file as usize].path.clone();
        self.only_note(What::Armed(fault.clone(), file));
    }

    /// From now on nothing goes wrong any more.
    pub fn faults_stopped(&self) {
        self.only_note(What::FaultsStopped);
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
        if let Some(Observed::View { values, .. }) =
            self.observe(Observed::View { node: node.to_owned(), values })
        {
            self.inner().looked.push(Look { image, chain, values });
        }
    }

    /// What a file shows to the next process after a clean end: what its node showed at rest.
    pub fn closed(&self, image: usize, recovered: Recovered) {
        let (file, damage) = (recovered.file.clone(), recovered.damage.clone());
        let is_struck = self.host.core().disks.faults.struck() > 0;
        let wrong = self.inner().beside.recovered(image, &recovered);
        let missing = if is_struck { None } else { self.inner().beside.closed(image, &recovered) };
        let leaked = self.leaked(&recovered);
        let found = match recovered.found() {
            Ok(found) => found,
            Err(why) => return drop(self.observe(Observed::Unreadable { file, why })),
        };
        let differs = self.differs(image, &found);
        self.report_damage(Observed::Closed(found), &damage);
        self.break_law_by(wrong);
        self.break_law_by(differs.map(|differs| (LawId::ChainOnDisk, differs)));
        self.break_law_by(missing.or(leaked));
    }

    /// What a file shows; if its check breaks a law, with each finding.
    fn report_damage(&self, seen: Observed, damage: &[String]) {
        if self.observe(seen).is_some() {
            let mut inner = self.inner();
            OF_DAMAGE.iter().for_each(|law| inner.recording.explain(law.name(), damage));
        }
    }

    /// How an image differs from what the node over it showed at rest, if it must show the same by its own header.
    fn differs(&self, image: usize, found: &Found) -> Option<String> {
        let inner = self.inner();
        let look = inner.looked.iter().find(|look| look.image == image)?;
        if inner.links_move && look.chain != found.chain || look.values == found.values {
            return None;
        }
        let (file, expected, read) = (&found.file, tags_text(&look.values), tags_text(&found.values));
        Some(format!("{file} after a clean end: expected {expected}, found {read}"))
    }

    /// How far a job has got on a device of so many bytes, whose guests never rest. What a fault has struck may have to
    /// be copied again for as long as it strikes.
    pub fn job_at(&self, seen: &Seen<'_>, device_bytes: u64) {
        if self.host.core().disks.faults.struck() > 0 {
            return;
        }
        let wrong = self.inner().beside.job_at(seen, device_bytes);
        self.break_law_by(wrong);
    }

    fn break_law_by(&self, wrong: Option<Wrong>) {
        if let Some((law, detail)) = wrong {
            self.break_law(law, detail);
        }
    }

    /// A request of a guest that never rests took so long. A request that came late, or had to be tried again, is the
    /// disks' affair.
    pub fn waited(&self, request: RequestId, waited: Nanos, device_bytes: u64) {
        let late = {
            let core = self.host.core();
            let is_slowed = core.disks.faults.struck() > 0 || core.disks.faults.sorts().of(Sort::Late) > 0;
            let speed = Speed { request_nanos: core.request_nanos, byte_nanos: core.byte_nanos };
            if is_slowed { None } else { answered_late(waited.0, device_bytes, speed) }
        };
        self.inner().answers += 1;
        if let Some(late) = late {
            self.break_law(LawId::RequestBound, format!("{}: {late}", request.point()));
        }
    }

    /// A law that needs no model to be seen broken.
    fn break_law(&self, law: LawId, detail: String) {
        self.inner().recording.break_law(law.name(), detail);
    }

    /// The run is over.
    pub fn over(&self) {
        self.observe(Observed::End);
    }

    /// What was begun waits for its end.
    fn awaits(&self, point: Point, observed: Option<Observed>) {
        if let Some(observed) = observed {
            self.inner().recording.awaits(point, observed);
        }
    }

    fn settle(&self, point: Point) {
        self.inner().recording.settle(point);
    }

    /// Whether what a task has begun is among what has not ended.
    pub fn is_outstanding(&self, task: Point) -> bool {
        self.inner().recording.is_outstanding(task)
    }

    /// What has begun and not ended.
    pub fn outstanding(&self) -> Vec<String> {
        self.inner().recording.outstanding()
    }

    /// The readable history so far.
    pub fn lines(&self) -> Vec<String> {
        self.inner().recording.history().lines()
    }

    /// The judgement so far.
    pub fn verdict(&self) -> Verdict {
        self.inner().recording.verdict()
    }

    /// How many lies there were, for the laws that speak of them.
    fn lies(&self) -> u64 {
        let core = self.host.core();
        let lies = SORTS.into_iter().filter(|(sort, _)| sort.is_lie());
        lies.map(|(sort, _)| core.disks.faults.sorts().of(sort)).sum()
    }

    /// Writes down what was seen, and records nothing any more.
    pub fn report(&self, outcome: &mut Outcome) {
        let mut inner = self.inner();
        inner.recording.report(outcome);
        outcome.is_inconclusive = inner.judge.is_inconclusive();
        outcome.census = inner.judge.census();
        outcome.verbs_sent = inner.judge.verbs_sent();
        outcome.steps_taken = inner.judge.steps_taken();
        let (tally, lies) = (inner.judge.tally(), self.lies());
        let looks = |law| match law {
            LawId::RequestBound => inner.answers,
            LawId::ModesTrue => inner.rests,
            LawId::RotSeen | LawId::RotContained => lies,
            law => inner.beside.looks(law),
        };
        outcome.laws_checked = laws().map(|law| tally.of(law) + looks(law)).collect();
        let core = self.host.core();
        let struck = SORTS.into_iter().map(|(sort, _)| core.disks.faults.sorts().of(sort) > 0);
        outcome.goals_reached = goals().map(|goal| tally.of(goal) > 0).chain(struck).collect();
    }
}

/// Laws that hold always or at the end, in the order of an outcome's counts.
pub fn laws() -> impl Iterator<Item = LawId> {
    LAWS.into_iter().filter(|law| law.kind() != LawKind::Sometimes)
}

/// Goals of the specification: what a campaign must reach, in the order of an outcome's flags. Those of the disks
/// ([`SORTS`]) come behind them.
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
        bitmaps: image.vouching == Vouching::Bitmap,
        subclusters: image.features.extended_l2,
        backing: image.backing.map(|below| scenario.images[below].path.clone()),
        own: own.collect(),
    }
}
