//! Watches a block layer at work: turns what happens into observations, shows them to a specification - the data-only one, or
//! that of QEMU's language - and keeps them as the run's history, if anybody wants it. The first broken law stops the world.

pub(crate) mod commanded;
mod fork;
pub(crate) mod length;
mod level;
mod resize;

use crate::choice::Point;
use crate::content::Tag;
use crate::history::observed::Observed;
use crate::history::{Asked, Entry, Failure, Found, What};
use crate::recording::Recording;
use crate::request::{Operation, RequestId};
use crate::verdict::{Detail, Outcome, Verdict};
use crate::world::crash::Ending;
use crate::world::host::SimHost;
use crate::world::notes::Shared;
use level::Level;
use model::{CrashKind, ImageSetup, LawId};
use resize::Look;
use seam::IoResult;
use seam::footprint::Access;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};

pub(crate) use resize::Resized;

/// The law of a layer whose checker finds damage, or leaks after a clean end.
pub(crate) const SOUND: &str = "images are sound after a crash and after a clean end";
/// The law of a layer that cannot read what it wrote when nothing is wrong with the disk.
pub(crate) const OPENS: &str = "whatever a crash leaves can be opened and read";

/// The judge of one run.
pub(crate) struct Witness {
    host: SimHost,
    inner: Mutex<Inner>,
}

struct Inner {
    judge: Level,
    recording: Recording,
    resized: Resized,
    /// How often a checker looked at an image.
    images_checked: u64,
    images_opened: u64,
    /// A number for what the judge knows, until it learns more.
    fingerprint: Option<u64>,
    /// The request that the crash waits for, and the step at which it began.
    awaited: Option<(RequestId, Option<u64>)>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness")
    }
}

impl Witness {
    /// Of a run of guests alone, judged by its data.
    pub(crate) fn of_guests(
        images: Vec<ImageSetup>,
        resized: Resized,
        host: SimHost,
        halt: Arc<AtomicBool>,
        detail: Detail,
    ) -> Witness {
        let judge = Level::data(&resized.devices(&images));
        Witness::new(judge, resized, host, Recording::new(images, halt, detail))
    }

    /// Of a run with clients, judged in QEMU's language.
    pub(crate) fn of_clients(
        images: Vec<ImageSetup>,
        host: SimHost,
        halt: Arc<AtomicBool>,
        detail: Detail,
    ) -> Witness {
        let judge = Level::qemu(&images);
        Witness::new(judge, Resized::default(), host, Recording::new(images, halt, detail))
    }

    fn new(judge: Level, resized: Resized, host: SimHost, recording: Recording) -> Witness {
        let inner = Inner {
            judge,
            recording,
            resized,
            images_checked: 0,
            images_opened: 0,
            fingerprint: None,
            awaited: None,
        };
        Witness { host, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// One more thing that happened, before the specification. Gives it back, if it still matters.
    fn observe(&self, observed: Observed) -> Option<Observed> {
        // Which request ended before which began is all that is known of their order: two beginnings, or two ends, may
        // have come the other way round.
        Shared::Judge.touch(match observed {
            Observed::Began { .. } => Access::Add,
            Observed::Ended { .. } => Access::Read,
            _ => Access::Write,
        });
        let (step, at) = self.moment();
        let mut inner = self.inner();
        if !inner.recording.is_judged() {
            return None;
        }
        inner.fingerprint = None;
        if !inner.judge.is_of_data() {
            self.show_strikes(&mut inner, step, at);
        }
        let observed = inner.recording.observed(step, at, observed);
        let filled = inner.resized.filled(&observed);
        if let Err(broken) = filled.as_ref().unwrap_or(&observed).show(|seen| inner.judge.observe(seen)) {
            inner.recording.break_law_by(&observed, broken.law, &broken.detail);
        }
        Some(observed)
    }

    /// One more thing that happened and that no law speaks about.
    pub(crate) fn note(&self, what: What) {
        let (step, at) = self.moment();
        self.inner().recording.note(&Entry { step, at, what });
    }

    fn moment(&self) -> (u64, u64) {
        let core = self.host.core();
        (core.steps, core.now)
    }

    /// A law that needs no specification to be seen broken.
    pub(crate) fn break_law(&self, law: &str, detail: String) {
        self.inner().recording.break_law(law, detail);
    }

    pub(crate) fn attached(&self, guest: u32, image: &str, writable: bool) {
        self.observe(Observed::Attached { guest, node: image.to_owned(), writable });
        self.attach_to_length(guest, image, writable);
    }

    /// From now on it is noted when this request begins.
    pub(crate) fn await_request(&self, request: RequestId) {
        self.inner().awaited = Some((request, None));
    }

    /// The step at which that request began, if it has.
    pub(crate) fn awaited_began_at(&self) -> Option<u64> {
        self.inner().awaited?.1
    }

    fn begins(&self, request: RequestId) {
        let step = self.host.core().steps;
        if let Some((awaited, began)) = &mut self.inner().awaited
            && *awaited == request
        {
            *began = Some(step);
        }
    }

    pub(crate) fn began(&self, request: RequestId, asked: Asked) {
        self.begins(request);
        if asked.operation == Operation::Flush {
            self.flush_length(request);
        }
        let (number, guest) = (request.number(), request.guest);
        let seen = self.observe(Observed::Began { request: number, guest, name: Some(request), asked });
        if let Some(begun) = seen {
            self.inner().recording.awaits(request.point(), begun);
        }
    }

    pub(crate) fn ended(&self, request: RequestId, result: IoResult<Vec<Tag>>) {
        self.inner().recording.settle(request.point());
        self.flushed_length(request, result.is_ok());
        let result = result.map_err(|errno| Failure { errno: errno.0, text: errno.text() });
        self.observe(Observed::Ended { request: request.number(), result });
    }

    /// A request begins of which the specification is shown nothing.
    pub(crate) fn began_other(&self, request: RequestId, what: String) {
        self.begins(request);
        self.note(What::Note(format!("{:<9} {what}", request.to_string())));
        self.inner().recording.awaits_other(request.point(), what);
    }

    /// It has ended.
    pub(crate) fn ended_other(&self, request: RequestId, result: IoResult<()>) {
        self.inner().recording.settle(request.point());
        let how = result.map_or_else(|errno| format!("fails: {errno}"), |()| "is done".to_owned());
        self.note(What::Note(format!("{:<9} {how}", request.to_string())));
    }

    /// The whole of an image, read at rest through the device that guests used.
    pub(crate) fn viewed(&self, image: &str, values: IoResult<Vec<Tag>>) {
        if let Ok(values) = &values {
            self.length_found(image, values.len() as u64, Look::AtRest);
        }
        match values {
            Ok(values) => drop(self.observe(Observed::View { node: image.to_owned(), values })),
            Err(errno) => {
                self.break_law(OPENS, format!("{image} cannot be read although the disk is well: {errno}"));
            }
        }
    }

    /// The world has ended without warning.
    pub(crate) fn crashed(&self, ending: Ending) {
        let kind = match ending {
            Ending::Kill => CrashKind::Kill,
            Ending::PowerCut => CrashKind::PowerCut,
        };
        self.observe(Observed::Crash { kind });
        self.inner().recording.forget_all();
    }

    /// What an image shows when it is reopened, after a crash or a clean end.
    pub(crate) fn found(&self, image: &str, values: IoResult<Vec<Tag>>, is_clean: bool) {
        self.inner().images_opened += 1;
        let values = match values {
            Ok(values) => values,
            Err(errno) => {
                return self.break_law(OPENS, format!("{image} cannot be opened and read: {errno}"));
            }
        };
        let look = if is_clean { Look::AfterCleanEnd } else { Look::AfterCrash };
        self.length_found(image, values.len() as u64, look);
        let file = image.to_owned();
        let found =
            Found { chain: vec![file.clone()], file, values, corruptions: 0, leaks: 0, damage: Vec::new() };
        self.observe(if is_clean { Observed::Closed(found) } else { Observed::Recovered(found) });
    }

    /// What the layer's checker says of an image.
    pub(crate) fn checked(&self, image: &str, checked: IoResult<Option<crate::Checked>>, is_clean: bool) {
        match checked {
            Ok(None) => {}
            Ok(Some(found)) => {
                self.inner().images_checked += 1;
                if found.corruptions > 0 || is_clean && found.leaks > 0 {
                    let (corruptions, leaks) = (found.corruptions, found.leaks);
                    self.break_law(SOUND, format!("{image} has {corruptions} corruptions and {leaks} leaks"));
                }
            }
            Err(errno) => self.break_law(SOUND, format!("{image} cannot be checked: {errno}")),
        }
    }

    pub(crate) fn over(&self) {
        self.observe(Observed::End);
    }

    /// Whether what a task has begun is among them.
    pub(crate) fn is_outstanding(&self, task: Point) -> bool {
        self.inner().recording.is_outstanding(task)
    }

    /// Requests that have begun and not ended.
    pub(crate) fn outstanding(&self) -> Vec<String> {
        self.inner().recording.outstanding()
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.inner().recording.verdict()
    }

    /// Writes down what was seen, and sees nothing any more.
    pub(crate) fn report(&self, outcome: &mut Outcome) {
        let mut inner = self.inner();
        inner.recording.report(outcome);
        inner.judge.report(outcome);
        if inner.judge.is_of_data() {
            outcome.laws_checked.extend([inner.images_checked, inner.images_opened]);
        }
    }
}

/// The laws that a run of guests alone is judged by, in the order of an outcome's counts.
pub(crate) fn laws_of_guests() -> impl Iterator<Item = &'static str> {
    level::data_laws().chain([SOUND, OPENS])
}

/// The laws that a run with clients is judged by, in the order of an outcome's counts.
pub(crate) fn laws_of_clients() -> impl Iterator<Item = &'static str> {
    level::qemu_laws().map(LawId::name)
}
