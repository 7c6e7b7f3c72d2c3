//! Guests: where they may be, what they read, what they leave behind.

use crate::chain::{Graph, ImageId, JobId, NodeId, User};
use crate::command::Command;
use crate::content::{Change, GARBAGE, Moment};
use crate::editing::Editing;
use crate::law::{Broken, LawId};
use crate::observation::{FaultKind, GuestOp};
use crate::plan::{Trade, Work};
use crate::state::{Fault, Phase, State};

/// A request without an end yet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Request {
    number: u64,
    guest: u32,
    /// The image whose view it uses; `None` if the model knows nothing of it.
    image: Option<ImageId>,
    kind: Kind,
    sector: u32,
    count: u32,
    began: Moment,
    /// It may fail without a fault: it asks for more than there is, or for what it may not do.
    may_fail: bool,
    /// It asks for more than there is.
    beyond: bool,
    /// Somebody may have put another image where its guest is before it got there.
    doubtful: bool,
    /// That image, if it has a view of its own already.
    other: Option<ImageId>,
    /// What its image stands on was changed meanwhile: it may see what was there before.
    overtaken: bool,
}

/// A change that may have reached another image than the one it was meant for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Doubt {
    request: u64,
    image: ImageId,
    sector: u32,
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Change,
    Flush,
}

impl Request {
    /// The request in a line, for texts.
    pub fn line(&self) -> String {
        let last = u64::from(self.sector) + u64::from(self.count);
        format!("guest {} waits for {:?} of sectors {}..{last}", self.guest, self.kind, self.sector)
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
            let fits = may_write(&self.graph, node);
            self.hold(LawId::WriterRefused, fits, |state| {
                let by = state.graph.new_device(node, true);
                let read_only = state.graph.node(node).read_only;
                format!("guest {guest} may write `{name}`: read-only {read_only}, unshared {by:?}")
            })?;
        }
        self.graph.let_in(User { guest, export: None, behind: None, node, writable });
        Ok(())
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
        self.shortest[usize::from(image.0)].is_some() && self.live_jobs().any(into)
    }

    pub(super) fn detached(&mut self, guest: u32) {
        self.graph.users.retain(|user| user.guest != guest);
        self.graph.bury();
    }

    pub(super) fn began(&mut self, number: u64, guest: u32, op: GuestOp<'_>) {
        let user = self.graph.users.iter().find(|user| user.guest == guest);
        let image = user.and_then(|user| self.layer_of(&self.graph, user.node));
        let sectors = image.map_or(0, |image| self.views.layer(image).sectors());
        let (kind, sector, count) = match op {
            GuestOp::Read { sector, count } => (Kind::Read, sector, count),
            GuestOp::Write { sector, values } => (Kind::Change, sector, values.len() as u64),
            GuestOp::WriteZeroes { sector, count } | GuestOp::Discard { sector, count } => {
                (Kind::Change, sector, count)
            }
            GuestOp::Flush => (Kind::Flush, 0, 0),
        };
        let certain = image.map_or(0, |image| self.shortest_length(image)) as u64;
        let beyond = sector.checked_add(count).is_none_or(|end| end > certain);
        let sector = sector.min(u64::from(sectors)) as u32;
        let count = count.min(u64::from(sectors - sector)) as u32;
        let unwritable = kind == Kind::Change && !user.is_some_and(|user| user.writable);
        let may_fail = beyond || unwritable || image.is_none();
        let has_image = user.is_some_and(|user| self.graph.node(user.node).image.is_some());
        // Who writes the raw bytes of a format may destroy what stands in them.
        self.is_lost |= kind == Kind::Change && !unwritable && image.is_none() && has_image;
        if let (Some(image), Kind::Change) = (image, kind) {
            self.change_begins(image, sector, count, number, op);
        }
        self.requests.push(Request {
            number,
            guest,
            image,
            kind,
            sector,
            count,
            began: self.now,
            may_fail,
            beyond,
            doubtful: false,
            other: None,
            overtaken: false,
        });
        self.doubt_requests();
    }

    /// Requests that are on their way while a node is about to get an overlay, or a mirror's target to take its source's
    /// place, may reach the one image or the other.
    pub(super) fn doubt_requests(&mut self) {
        let moving = self.images_about_to_be_left();
        if moving.is_empty() {
            return;
        }
        for (image, _) in &moving {
            self.backups_of_top_lose_track(*image);
        }
        for index in 0..self.requests.len() {
            let Request { number, image: Some(image), sector, count, doubtful: false, kind, .. } =
                self.requests[index]
            else {
                continue;
            };
            let Some((_, other)) = moving.iter().find(|(from, _)| *from == image) else { continue };
            self.requests[index].doubtful = true;
            self.requests[index].other = *other;
            let end = sector + count;
            self.requests[index].may_fail |=
                other.is_some_and(|other| end as usize > self.shortest_length(other));
            // What a longer image has taken of it, nobody wrote down.
            self.is_lost |= kind == Kind::Change && self.requests[index].beyond;
            if kind == Kind::Change {
                self.views.doubt(number, sector, count);
                self.copies_doubt(image, sector, count);
                self.doubts.push(Doubt { request: number, image, sector, count });
            }
        }
    }

    /// The images whose guests a command or a job may move to another one at any moment, and that one.
    fn images_about_to_be_left(&self) -> Vec<(ImageId, Option<ImageId>)> {
        let mut nodes: Vec<(NodeId, Option<NodeId>)> = Vec::new();
        for pending in self.clients.iter().flat_map(|client| &client.pending) {
            if let Ok(Command::Edit(editing)) = pending.command()
                && let Editing::Snapshot { node, .. } | Editing::SnapshotSync { node, .. } = &**editing
            {
                // An overlay that is new shows what it stands on, unless somebody is writing to it.
                let overlay = match &**editing {
                    Editing::Snapshot { overlay, .. } => self.graph.find(overlay),
                    _ => None,
                };
                nodes.extend(self.graph.find(node).map(|node| (node, overlay)));
            }
        }
        for id in self.ending_jobs() {
            let job = self.job(id);
            let (replaced, target) = match &job.plan.work {
                Work::Mirror(span) => (span.replaces, span.target),
                Work::Commit(span) => (None, span.base),
                _ => continue,
            };
            // Who reads the top of any commit reads its base in the end.
            if job.pivots() || job.plan.trade() == Trade::Commit {
                nodes.push((replaced.unwrap_or(job.plan.under), Some(target)));
            }
        }
        let image = |node| self.layer_of(&self.graph, node);
        nodes.into_iter().filter_map(|(from, to)| Some((image(from)?, to.and_then(image)))).collect()
    }

    /// Changes without an end yet: the image, the first sector, how many.
    pub(super) fn changes_under_way(&self) -> Vec<(ImageId, u32, u32)> {
        let changes = self.requests.iter().filter(|request| request.kind == Kind::Change);
        changes.filter_map(|request| Some((request.image?, request.sector, request.count))).collect()
    }

    /// `to` stands where `from` stood: what was on its way there may have been written here.
    pub(super) fn doubts_reach(&mut self, from: ImageId, to: ImageId) {
        for doubt in std::mem::take(&mut self.doubts) {
            if doubt.image == from {
                self.views.may_be_written(from, to, doubt.sector..doubt.sector + doubt.count, doubt.request);
            } else {
                self.doubts.push(doubt);
            }
        }
    }

    fn change_begins(&mut self, image: ImageId, sector: u32, count: u32, number: u64, op: GuestOp<'_>) {
        let change = match op {
            GuestOp::Write { values, .. } => Change::Values(&values[..count as usize]),
            GuestOp::WriteZeroes { .. } => Change::Zeroes(count),
            _ => Change::Discard(count),
        };
        if self.live_jobs().any(|job| self.job(job).is_at_work()) {
            self.count(LawId::WriteWhileStreaming);
            if self.meets_a_copy(image, sector, count) {
                self.count(LawId::WriteMeetsCopy);
            }
        }
        if !matches!(op, GuestOp::Write { .. }) && self.may_stand_on_nothing(image) {
            self.views.may_give_up(image, sector, count);
        }
        let is_discard = matches!(op, GuestOp::Discard { .. });
        self.copies_see_a_write(image, (sector, count), is_discard, true);
        if self.views.begin(image, sector, &change, number, self.now) {
            self.count(LawId::ConcurrentWrites);
        }
        self.copies_see_a_write(image, (sector, count), is_discard, false);
    }

    /// Whether a layer has nothing below it, or will soon have: zeroes need no cluster there.
    fn may_stand_on_nothing(&self, image: ImageId) -> bool {
        let into = |job| {
            let job = self.job(job);
            let is_stream = job.plan.trade() == Trade::Stream;
            is_stream && self.layer_of(&self.graph, job.plan.under) == Some(image)
        };
        let is_qcow2 = self.images[usize::from(image.0)].qcow2;
        is_qcow2 && (self.views.layer(image).below.is_none() || self.live_jobs().any(into))
    }

    /// Whether a running stream into this image may be copying one of these sectors.
    fn meets_a_copy(&self, image: ImageId, sector: u32, count: u32) -> bool {
        let into = |job| {
            let job = self.job(job);
            let is_stream = job.plan.trade() == Trade::Stream;
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
        let fine = request.may_fail || self.may_fail(request.kind);
        self.hold(LawId::NoFaultNoFailure, result.is_ok() || fine, |_| {
            format!("{:?} of guest {} failed: {}", request.kind, request.guest, result.err().unwrap_or(""))
        })?;
        let Some(image) = request.image else { return Ok(()) };
        match (request.kind, result) {
            (Kind::Read, Ok(_)) if request.overtaken => Ok(()),
            (Kind::Read, Ok(values)) => self.read(&request, image, values),
            (Kind::Read, Err(_)) | (Kind::Flush, Err(_)) => Ok(()),
            (Kind::Change, result) => {
                let failed = result.is_err();
                self.views.end(image, request.sector, request.count, number, failed, self.now);
                Ok(())
            }
            (Kind::Flush, Ok(_)) if request.doubtful => Ok(()),
            (Kind::Flush, Ok(_)) => {
                self.count(LawId::GuestFlushed);
                let reads = self.requests.iter().filter(|request| request.kind == Kind::Read);
                let oldest = reads.map(|request| request.began).min().unwrap_or(Moment::MAX);
                self.views.flushed(image, request.began, oldest);
                Ok(())
            }
        }
    }

    /// Readers of an image see something else from now on; those on their way may have read before.
    pub(super) fn reads_are_overtaken(&mut self, image: ImageId) {
        let seen = self.views.at_or_above(image);
        for request in &mut self.requests {
            request.overtaken |= request.image.is_some_and(|image| seen.contains(&image));
        }
    }

    /// Whether a fault, or the end of everything, may make such a request fail.
    fn may_fail(&self, kind: Kind) -> bool {
        // A write or flush may need any kind of I/O on metadata; a read never needs a flush.
        let excuses = |fault: &Fault| kind != Kind::Read || fault.kind != FaultKind::Flush;
        self.phase == Phase::Quitting || self.faults.iter().any(excuses)
    }

    fn read(&mut self, request: &Request, image: ImageId, values: &[u64]) -> Result<(), Broken> {
        let who = format_args!("guest {}", request.guest);
        if values.len() < request.count as usize {
            let what = format!("{who} asked for {} sectors and got {}", request.count, values.len());
            return Err(self.broken(LawId::GuestReads, what));
        }
        let values = &values[..request.count as usize];
        let (sector, began) = (request.sector, request.began);
        if let Some(other) = request.other {
            let fits = |(at, value): (u32, &u64)| {
                [image, other].iter().any(|image| self.views.may_read(*image, at, *value, began))
            };
            if (sector..).zip(values).all(fits) {
                return Ok(());
            }
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
        let is_right = |sector: u32, value: u64| match value {
            GARBAGE => self.tears && self.views.is_written_since(image, sector, began),
            value => self.views.may_read(image, sector, value, began),
        };
        let wrong = (first..).zip(values).find(|(sector, value)| !is_right(*sector, **value));
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

fn may_write(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let writable = !node.read_only || node.may_have_stayed_writable;
    writable && graph.new_device(id, true).is_empty()
}

/// Values as texts show them: `zeroes`, `w7`, `garbage`.
pub(super) fn shown(values: &[u64]) -> String {
    let word = |value: &u64| match *value {
        0 => "zeroes".to_owned(),
        GARBAGE => "garbage".to_owned(),
        tag => format!("w{tag}"),
    };
    values.iter().map(word).collect::<Vec<_>>().join(" or ")
}
