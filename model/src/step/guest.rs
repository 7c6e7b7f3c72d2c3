//! Guests: where they may be, what they read, what they leave behind.

use crate::command::plan::{JobType, Work, conflict_text};
use crate::content::{ANYTHING, Change, GARBAGE, Moment, Through, Views, word};
use crate::graph::{Graph, ImageId, JobId, NodeId, User};
use crate::inconclusive::Inconclusive;
use crate::law::{Broken, LawId};
use crate::observation::{FaultKind, GuestOp};
use crate::rule::Rule;
use crate::shared::Shared;
use crate::step::copying::Changed;
use crate::step::state::{Fault, Phase, State};

/// Where one edit meets more changes than this, there are more ways than are followed: the run is inconclusive.
pub(super) const LATE_MAX: usize = 5;

/// A request without an end yet.
///
/// It enters when it begins: it resolves its guest's image, and a change is there for readers from then on. Whatever moves
/// its guest or changes what its image stands on waits until nobody is inside; so a request has left by then, or enters only
/// afterwards, see [`State::edited_beside_requests`].
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Request {
    pub(super) number: u64,
    pub(super) guest: u32,
    pub(super) op: Op,
    /// Whether it is durable when it ends well.
    pub(super) fua: bool,
    /// Where it enters; `None` if the model knows nothing of it.
    pub(super) image: Option<ImageId>,
    /// The sectors of it that are in the image.
    pub(super) sector: u32,
    pub(super) count: u32,
    pub(super) began: Moment,
    /// It may fail without a fault: it asks for more than there is, or for what it may not do.
    pub(super) may_fail: bool,
    /// Where else it may lie wholly, if it is a read: what its guest saw before that was changed.
    pub(super) before: Vec<Sight>,
}

/// What a read may have found at one moment: the values of each of its sectors.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Sight {
    pub(super) sector: u32,
    pub(super) values: Vec<Vec<u64>>,
}

impl Sight {
    fn shows(&self, sector: u32, value: u64) -> bool {
        let values = sector.checked_sub(self.sector).and_then(|index| self.values.get(index as usize));
        values.map_or(value == 0, |values| values.contains(&value) || values.contains(&ANYTHING))
    }
}

/// What a request does, from which sector on, and to how many.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Op {
    Read(u64, u64),
    Write(u64, Shared<Vec<u64>>),
    WriteZeroes(u64, u64),
    Discard(u64, u64),
    Flush,
}

impl Op {
    fn of(op: GuestOp<'_>) -> Op {
        match op {
            GuestOp::Read { sector, count } => Op::Read(sector, count),
            GuestOp::Write { sector, values, .. } => Op::Write(sector, values.to_vec().into()),
            GuestOp::WriteZeroes { sector, count } => Op::WriteZeroes(sector, count),
            GuestOp::Discard { sector, count } => Op::Discard(sector, count),
            GuestOp::Flush => Op::Flush,
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Op::Read(..) => Kind::Read,
            Op::Write(..) | Op::WriteZeroes(..) | Op::Discard(..) => Kind::Change,
            Op::Flush => Kind::Flush,
        }
    }

    /// The word for it.
    fn word(&self) -> &'static str {
        match self {
            Op::Read(..) => "read",
            Op::Write(..) => "write",
            Op::WriteZeroes(..) => "write of zeroes",
            Op::Discard(..) => "discard",
            Op::Flush => "flush",
        }
    }

    pub(super) fn range(&self) -> (u64, u64) {
        match self {
            Op::Write(sector, values) => (*sector, values.len() as u64),
            Op::Read(sector, count) | Op::WriteZeroes(sector, count) | Op::Discard(sector, count) => {
                (*sector, *count)
            }
            Op::Flush => (0, 0),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Read,
    Change,
    Flush,
}

impl Request {
    /// Where it entered, and in how many other places it may lie.
    pub fn place(&self) -> (Option<ImageId>, usize) {
        (self.image, self.before.len())
    }

    /// The request in a line, for texts.
    pub fn line(&self) -> String {
        let last = u64::from(self.sector) + u64::from(self.count);
        format!("guest {} waits for a {} of sectors {}..{last}", self.guest, self.op.word(), self.sector)
    }
}

impl State {
    pub(super) fn attached(&mut self, guest: u32, name: &str, writable: bool) -> Result<(), Broken> {
        let Some(node) = self.graph.find(name) else {
            return Err(
                self.broken(LawId::DroppedGone, format!("guest {guest} is on `{name}`, which is gone"))
            );
        };
        if writable {
            let fits = may_write(&self.graph, node, self.allows(Rule::GuestOnKeptWritable));
            self.hold(LawId::WriterRefused, fits, |state| {
                format!("guest {guest} may write `{name}`, {}", state.why_not_to_write(node))
            })?;
        }
        self.graph.let_in(User { guest, export: None, behind: None, node, writable });
        Ok(())
    }

    /// Why nobody may write a node.
    fn why_not_to_write(&self, node: NodeId) -> String {
        let job = |id: JobId| Some((self.job(id).plan.kind(), self.job(id).id.as_str()));
        let conflicts = self.graph.new_device(node, true);
        let texts = conflicts.iter().map(|conflict| conflict_text(&self.graph, conflict, job));
        let read_only = self.graph.node(node).read_only.then(|| "which is read-only".to_owned());
        read_only.into_iter().chain(texts).collect::<Vec<_>>().join("; ")
    }

    /// A guest was turned away: there must be a state of things, of those that are possible, in which it had to be.
    pub(super) fn turned_away(&mut self, guest: u32, name: &str, writable: bool) -> Result<(), Broken> {
        let welcome = self.may_attach(name, writable) && !self.may_grow(name);
        self.hold(LawId::ReaderAdmitted, !welcome, |_| {
            format!(
                "guest {guest} was turned away from `{name}`, where nothing forbids it (writing: {writable})"
            )
        })
    }

    /// Whether a commit may be making a node longer, of which nobody knows how long it was.
    fn may_grow(&self, name: &str) -> bool {
        let Some(image) = self.graph.find(name).and_then(|node| self.layer_of(&self.graph, node)) else {
            return false;
        };
        let into = |id: JobId| match &self.job(id).plan.work {
            Work::Commit(span) => self.layer_of(&self.graph, span.base) == Some(image),
            _ => false,
        };
        let is_growing = self.shortest[usize::from(image.0)].is_some() && self.live_jobs().any(into);
        is_growing && self.allows(Rule::TurnedAwayFromGrowing)
    }

    pub(super) fn detached(&mut self, guest: u32) {
        self.graph.users.retain(|user| user.guest != guest);
        self.graph.collect();
    }

    pub(super) fn began(&mut self, number: u64, guest: u32, op: GuestOp<'_>) {
        let request = Request {
            number,
            guest,
            op: Op::of(op),
            fua: matches!(op, GuestOp::Write { fua: true, .. }),
            image: None,
            sector: 0,
            count: 0,
            began: self.now,
            may_fail: false,
            before: Vec::new(),
        };
        self.requests.push(request);
        self.enters(self.requests.len() - 1);
    }

    /// The image that a guest sees.
    pub(super) fn image_of_guest(&self, guest: u32) -> Option<ImageId> {
        let user = self.graph.users.iter().find(|user| user.guest == guest)?;
        self.layer_of(&self.graph, user.node)
    }

    /// A request finds the image of its guest, and does there what it is for.
    pub(super) fn enters(&mut self, index: usize) {
        let Request { number, guest, .. } = self.requests[index];
        let op = self.requests[index].op.clone();
        let user = self.graph.users.iter().find(|user| user.guest == guest);
        let image = user.and_then(|user| self.layer_of(&self.graph, user.node));
        let sectors = image.map_or(0, |image| self.views.layer(image).sectors());
        let certain = image.map_or(0, |image| self.shortest_length(image)) as u64;
        let (sector, count) = op.range();
        let is_beyond = sector.checked_add(count).is_none_or(|end| end > certain);
        let sector = sector.min(u64::from(sectors)) as u32;
        let count = count.min(u64::from(sectors - sector)) as u32;
        let is_change = op.kind() == Kind::Change;
        let is_unwritable = is_change && !user.is_some_and(|user| user.writable);
        let has_image = user.is_some_and(|user| self.graph.node(user.node).image.is_some());
        let request = &mut self.requests[index];
        (request.image, request.sector, request.count) = (image, sector, count);
        request.may_fail |= is_beyond || is_unwritable || image.is_none();
        let node = user.map(|user| user.node);
        // Who writes the raw bytes of a format may destroy what stands in them.
        if is_change && !is_unwritable && image.is_none() && has_image {
            self.lose(Inconclusive::WrittenRaw);
        }
        // Who may not write changes nothing, and no copy sees it.
        if let (Some(image), true) = (image, is_change && !is_unwritable) {
            let node = node.expect("an image is found by its node");
            let is_discard = matches!(op, Op::Discard(..));
            self.change_begins(Changed { node, image, sectors: (sector, count), is_discard }, number, &op);
        }
        if let (Some(node), true) = (node, is_change) {
            self.mirror_may_be_bypassed(node, (sector, count));
        }
    }

    /// Changes without an end yet: the image, the first sector, how many.
    pub(super) fn changes_under_way(&self) -> Vec<(ImageId, u32, u32)> {
        let changes = self.requests.iter().filter(|request| request.op.kind() == Kind::Change);
        changes.filter_map(|request| Some((request.image?, request.sector, request.count))).collect()
    }

    fn change_begins(&mut self, changed: Changed, number: u64, op: &Op) {
        let Changed { image, sectors: (sector, count), .. } = changed;
        let change = match op {
            Op::Write(_, values) => Change::Values(&values[..count as usize]),
            Op::WriteZeroes(..) => Change::Zeroes(count),
            Op::Discard(..) if !self.allows(Rule::DiscardKeeps) => Change::Zeroes(count),
            _ => Change::Discard(count),
        };
        if self.live_jobs().any(|job| self.job(job).is_at_work()) {
            self.count(LawId::WriteWhileStreaming);
            if self.meets_a_copy(image, sector, count) {
                self.count(LawId::WriteMeetsCopy);
            }
        }
        self.zeroes_may_need_no_cluster(image, (sector, count), op);
        self.change_may_corrupt(image, (sector, count), !matches!(op, Op::Write(..)));
        let beside = self.views.beside(image, sector, count);
        self.memory_is_written(image, &beside);
        if matches!(op, Op::Write(..)) {
            self.write_may_zero(image, (sector, count));
        }
        self.copies_see_a_write(changed, true);
        if self.views.begin(image, sector, &change, number, self.now) {
            self.count(LawId::ConcurrentWrites);
        }
        self.copies_see_a_write(changed, false);
    }

    /// Where nothing is below, zeroes are a cluster given up as well.
    pub(super) fn zeroes_may_need_no_cluster(
        &mut self,
        image: ImageId,
        (sector, count): (u32, u32),
        op: &Op,
    ) {
        let is_zero = matches!(op, Op::WriteZeroes(..) | Op::Discard(..)) && self.allows(Rule::WrittenZeroes);
        if is_zero && self.may_stand_on_nothing(image) {
            self.views.may_give_up(image, sector, count);
        }
    }

    /// Whether a layer has nothing below it, or will soon have.
    fn may_stand_on_nothing(&self, image: ImageId) -> bool {
        let into = |job| {
            let job = self.job(job);
            let is_stream = job.plan.job_type() == JobType::Stream;
            is_stream && self.layer_of(&self.graph, job.plan.under) == Some(image)
        };
        let is_qcow2 = self.images[usize::from(image.0)].qcow2;
        is_qcow2 && (self.views.layer(image).below.is_none() || self.live_jobs().any(into))
    }

    /// Whether a running stream into this image may be copying one of these sectors.
    fn meets_a_copy(&self, image: ImageId, sector: u32, count: u32) -> bool {
        let into = |job| {
            let job = self.job(job);
            let is_stream = job.plan.job_type() == JobType::Stream;
            is_stream && job.is_at_work() && self.layer_of(&self.graph, job.plan.under) == Some(image)
        };
        let layer = self.views.layer(image);
        self.live_jobs().any(into)
            && (sector..sector + count).any(|at| layer.decides(at) == crate::content::Decides::Maybe)
    }

    pub(super) fn ended(&mut self, number: u64, result: Result<&[u64], &str>) -> Result<(), Broken> {
        let Some(index) = self.requests.iter().position(|request| request.number == number) else {
            return Err(self.broken(LawId::RequestsEnd, format!("request {number} ended and never began")));
        };
        let request = self.requests.swap_remove(index);
        let kind = request.op.kind();
        let is_unwritable = request.image.is_some_and(|image| self.is_unwritable(image));
        let fine = request.may_fail || self.may_fail(kind, request.began) || is_unwritable;
        self.hold(LawId::NoFaultNoFailure, result.is_ok() || fine, |_| {
            let (what, guest) = (request.op.word(), request.guest);
            format!("a {what} of guest {guest} failed: {}", result.err().unwrap_or(""))
        })?;
        let Some(image) = request.image else { return Ok(()) };
        match (kind, result) {
            (Kind::Read, Ok(values)) => self.read(&request, image, values),
            (Kind::Read, Err(_)) | (Kind::Flush, Err(_)) => Ok(()),
            (Kind::Change, result) => {
                let failed = result.is_err() && self.allows(Rule::FailedWrite);
                self.bitmaps_record(&request, result.is_ok());
                self.views.end(image, request.sector, request.count, number, failed, self.now);
                if request.fua && result.is_ok() {
                    let (began, ended, oldest_read) = (request.began, self.now, self.oldest_read());
                    let through = Through { began, ended, oldest_read };
                    self.views.written_through(image, (request.sector, request.count), through);
                }
                self.change_ended(image, request.op);
                Ok(())
            }
            (Kind::Flush, Ok(_)) => {
                self.count(LawId::GuestFlushed);
                let oldest_read = self.oldest_read();
                self.views.flushed(image, request.began, oldest_read);
                self.header_is_flushed(image);
                Ok(())
            }
        }
    }

    /// Whether a fault, or the end of everything, may make such a request fail.
    fn may_fail(&self, kind: Kind, began: Moment) -> bool {
        // A write or flush may need any kind of I/O on metadata; a read needs a flush only where it copies what it reads.
        let copies = self.jobs.iter().any(|job| job.plan.job_type() == JobType::Stream);
        let excuses = |fault: &Fault| kind != Kind::Read || copies || fault.kind != FaultKind::Flush;
        let meets_fault = self.faults_since(began).any(excuses) && self.allows(Rule::RequestMeetsFault);
        self.phase == Phase::Quitting || meets_fault
    }

    fn read(&mut self, request: &Request, image: ImageId, values: &[u64]) -> Result<(), Broken> {
        let who = format_args!("guest {}", request.guest);
        if values.len() < request.count as usize {
            let what = format!("{who} asked for {} sectors and got {}", request.count, values.len());
            return Err(self.broken(LawId::GuestReads, what));
        }
        let values = &values[..request.count as usize];
        let (sector, began) = (request.sector, request.began);
        // A read lies wholly at one moment, before an edit that it met or after it.
        let fits = |sight: &Sight| (sector..).zip(values).all(|(at, value)| sight.shows(at, *value));
        if request.before.iter().any(fits) {
            return Ok(());
        }
        self.judge(image, sector, values, began, &who)
    }

    /// The whole content of a node.
    pub(super) fn viewed(&mut self, name: &str, values: &[u64]) -> Result<(), Broken> {
        let Some(node) = self.graph.find(name) else {
            return Err(self.broken(LawId::DroppedGone, format!("`{name}` was read and is gone")));
        };
        let Some(image) = self.layer_of(&self.graph, node) else { return Ok(()) };
        let sectors = self.views.layer(image).sectors() as usize;
        if values.len() < self.shortest_length(image) {
            let what = format!("`{name}` has {sectors} sectors and showed {}", values.len());
            return Err(self.broken(LawId::GuestReads, what));
        }
        self.judge(
            image,
            0,
            &values[..sectors.min(values.len())],
            self.now,
            &format_args!("a reader of `{name}`"),
        )
    }

    /// Whether a read that began then may find this value.
    fn may_show(&self, views: &Views, image: ImageId, sector: u32, value: u64, began: Moment) -> bool {
        let is_right = match value {
            GARBAGE => {
                self.tears && self.allows(Rule::TornRead) && views.is_written_since(image, sector, began)
            }
            value => views.may_read(image, sector, value, began),
        };
        is_right || self.is_marred(views, image, sector, began)
    }

    fn judge(
        &mut self,
        image: ImageId,
        first: u32,
        values: &[u64],
        began: Moment,
        who: &dyn std::fmt::Display,
    ) -> Result<(), Broken> {
        self.count(LawId::GuestReads);
        let streamed = self.streamed[usize::from(image.0)];
        if streamed {
            self.count(LawId::StreamUnseen);
        }
        if self.touched[usize::from(image.0)] {
            self.count(LawId::CopyTrue);
        }
        let is_right = |(at, value): &(u32, &u64)| self.may_show(&self.views, image, *at, **value, began);
        let wrong = (first..).zip(values).find(|read| !is_right(read));
        let Some((sector, value)) = wrong else { return Ok(()) };
        let law = match (streamed, self.touched[usize::from(image.0)]) {
            (true, _) => LawId::StreamUnseen,
            (false, true) => LawId::CopyTrue,
            (false, false) => LawId::GuestReads,
        };
        let file = &self.images[usize::from(image.0)].file;
        let expected = shown(&self.views.readable(image, sector, began));
        let what = format!("sector {sector} of {file}: {who} expected {expected}, read {}", shown(&[*value]));
        Err(self.broken(law, what))
    }
}

fn may_write(graph: &Graph, id: NodeId, is_kept: bool) -> bool {
    let node = graph.node(id);
    let writable = !node.read_only || node.may_have_stayed_writable && is_kept;
    writable && graph.new_device(id, true).is_empty()
}

/// Values as texts show them: `zeroes`, `w7`, `garbage`.
pub(super) fn shown(values: &[u64]) -> String {
    values.iter().map(|value| word(*value)).collect::<Vec<_>>().join(" or ")
}
