//! One way in which a run may have come about so far: the graph, what readers see, the jobs, the commands and requests
//! under way.
//!
//! A state is certain about control: a command has taken effect or it has not, a job has changed the graph or it has not.
//! Where both are possible, there are two states, and [`crate::judge`] keeps them both. Only data is set-valued inside a
//! state: a sector has several versions where writes meet or a crash may undo one. Observable steps are in
//! [`crate::step`], silent ones in [`crate::step::silent`].

use crate::command::blockdev::ImageFacts;
use crate::command::opening::Opening;
use crate::command::record::Job;
use crate::command::reply::Names;
use crate::content::{Layer, Moment, SECTOR_BYTES, Views};
use crate::graph::{Driver, Graph, ImageId, JobId, NodeId};
use crate::inconclusive::Inconclusive;
use crate::job::Status;
use crate::law::{Broken, LawId};
use crate::observation::{CrashKind, FaultKind, Format, ImageSetup};
use crate::quirk::{Quirk, Quirks};
use crate::release::Release;
use crate::rule::{Rule, Without};
use crate::shared::Shared;
use crate::step::bitmaps::Bitmaps;
use crate::step::client::Client;
use crate::step::guest::{Kind, Request};
use crate::step::late::Lately;
use crate::step::marred::Marred;
use crate::step::taken::StepsTaken;
use std::fmt;

/// A fault: its error may show in whatever was under way when it struck.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub file: String,
    pub kind: FaultKind,
    pub error: String,
    /// When it struck last; [`EVER`], if it may strike at any moment.
    pub last: Moment,
}

/// After every moment.
pub(crate) const EVER: Moment = Moment::MAX;

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Running,
    Quitting,
    Crashed(CrashKind),
    Over,
}

/// One way in which a run may have come about. What differs most often comes first: states are compared in this order.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct State {
    pub now: Moment,
    pub phase: Phase,
    pub jobs: Vec<Shared<Job>>,
    pub clients: Vec<Shared<Client>>,
    /// Jobs of types the model knows nothing of: only their statuses are judged.
    pub unmodelled: Vec<(String, Status)>,
    pub requests: Vec<Request>,
    pub lately: Lately,
    pub graph: Shared<Graph>,
    pub views: Shared<Views>,
    pub images: Shared<Vec<ImageFacts>>,
    /// By image: a stream has touched what its readers see.
    pub streamed: Shared<Vec<bool>>,
    /// By image: a commit, a mirror or a backup has written it.
    pub touched: Shared<Vec<bool>>,
    /// What is dirty for certain.
    pub bitmaps: Shared<Bitmaps>,
    /// By image: the shortest it may still be, in sectors, where a job or a command makes it longer.
    pub shortest: Shared<Vec<Option<u32>>>,
    /// Images whose header a command and a job changed, in an order that nobody saw.
    pub either_headers: Vec<ImageId>,
    /// Whether an export has taken nodes to an iothread.
    pub is_threaded: bool,
    /// Throttle groups.
    pub groups: Shared<Vec<String>>,
    pub faults: Shared<Vec<Fault>>,
    /// A read beside a write may show a part of the one and a part of the other, even within a sector.
    pub tears: bool,
    /// Why it cannot be followed any more: then nothing is judged.
    pub inconclusive: Option<Inconclusive>,
    /// Rules that it goes without.
    pub without: Without,
    /// The release of QEMU whose language is spoken.
    pub release: Release,
    /// Quirks that it has.
    pub quirks: Quirks,
    /// What quirks have left, beside data.
    pub marred: Shared<Marred>,
    pub marks: Marks,
}

/// Laws that were checked, goals that were reached and silent steps that were taken on the way to a state, and not counted
/// yet: they are, once it is certain that the run came this way. Two states that differ in nothing else are the same.
#[derive(Clone, Default)]
pub(crate) struct Marks {
    pub laws: Vec<LawId>,
    pub steps: StepsTaken,
}

/// States that are compared by what they write (`Judge::write_states`) are not different for the steps that led to them.
impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Marks").field(&self.laws).finish()
    }
}

impl PartialEq for Marks {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl State {
    /// A run that starts with these images, nothing opened.
    pub fn new(images: &[ImageSetup]) -> State {
        let facts: Vec<ImageFacts> = images.iter().map(facts).collect();
        let mut views = Views::default();
        for image in images {
            views.add(layer(image));
        }
        let opening = Opening { images: &facts, groups: &[] };
        for (index, image) in images.iter().enumerate() {
            let below = image.backing.as_ref().and_then(|header| opening.find_header(&image.file, header));
            views.link_by_header(ImageId(index as u16), below);
        }
        views.compose_all();
        State {
            streamed: vec![false; facts.len()].into(),
            bitmaps: Shared::default(),
            touched: vec![false; facts.len()].into(),
            shortest: vec![None; facts.len()].into(),
            either_headers: Vec::new(),
            inconclusive: None,
            tears: false,
            without: Without::default(),
            release: Release::V10_0_2,
            quirks: Quirks::default(),
            marred: Shared::default(),
            is_threaded: false,
            groups: Shared::default(),
            images: facts.into(),
            graph: Shared::default(),
            views: views.into(),
            jobs: Vec::new(),
            unmodelled: Vec::new(),
            clients: Vec::new(),
            requests: Vec::new(),
            lately: Lately::default(),
            faults: Shared::default(),
            phase: Phase::Running,
            now: 0,
            marks: Marks::default(),
        }
    }

    /// Every chain, a line each: `base <- mid <- top`.
    pub fn chain_text(&self) -> String {
        self.graph.drawing()
    }

    /// Every living job, a line each.
    pub fn jobs_text(&self) -> String {
        let lines: Vec<String> = self.jobs.iter().filter(|job| job.is_live()).map(|job| job.line()).collect();
        lines.join("\n")
    }

    /// The named nodes that hold content a guest could use.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.graph
            .alive()
            .filter(|(id, _)| self.layer_of(&self.graph, *id).is_some())
            .filter_map(|(_, node)| node.name.as_deref())
    }

    /// Whether a guest may be put on a node now.
    pub fn may_attach(&self, node: &str, writable: bool) -> bool {
        self.graph.find(node).is_some_and(|id| {
            let read_only = self.graph.node(id).read_only;
            (!writable || !read_only) && self.graph.new_device(id, writable).is_empty()
        })
    }

    /// How long a node is, in sectors.
    pub fn sectors(&self, node: &str) -> Option<u32> {
        let id = self.graph.find(node)?;
        Some(self.views.layer(self.layer_of(&self.graph, id)?).sectors())
    }

    /// The values a reader of a node's sector may get now.
    pub fn readable(&self, node: &str, sector: u32) -> Vec<u64> {
        let image = self.graph.find(node).and_then(|id| self.layer_of(&self.graph, id));
        image.map_or_else(Vec::new, |image| self.views.readable(image, sector, self.now))
    }

    /// The values a sector of an image file may have for the next who opens it.
    pub fn survivors(&self, file: &str, sector: u32) -> Vec<u64> {
        self.opening().find(file).map_or_else(Vec::new, |image| self.views.survivors(image, sector))
    }

    /// How long an image is to the next who opens it, in sectors.
    pub fn image_sectors(&self, file: &str) -> Option<u32> {
        Some(self.views.layer(self.opening().find(file)?).sectors())
    }

    /// What somebody who waits waits for: the jobs that have not ended, the commands and requests without an end.
    pub fn stuck(&self) -> Option<String> {
        let jobs =
            self.jobs.iter().filter(|job| job.is_live() && !job.waits_for_operator()).map(|job| job.line());
        let commands = self.clients.iter().filter_map(|client| client.stuck());
        let requests = self.requests.iter().map(Request::line);
        let lines: Vec<String> = jobs.chain(commands).chain(requests).collect();
        if lines.is_empty() { None } else { Some(lines.join("\n")) }
    }

    pub fn opening(&self) -> Opening<'_> {
        Opening { images: &self.images, groups: &self.groups }
    }

    /// The layer whose view a node shows; `None` if it shows the raw bytes of a format.
    pub fn layer_of(&self, graph: &Graph, node: NodeId) -> Option<ImageId> {
        let node = graph.node(graph.unfiltered(node)?);
        let image = node.image?;
        let qcow2 = self.images[usize::from(image.0)].qcow2;
        (qcow2 == (node.driver == Driver::Qcow2)).then_some(image)
    }

    /// A fault strikes now, or from now on whenever it likes.
    pub fn struck(&mut self, file: &str, kind: FaultKind, error: &str, last: Moment) {
        let is_same = |fault: &&mut Fault| fault.file == file && fault.kind == kind && fault.error == error;
        match self.faults.iter_mut().find(is_same) {
            Some(fault) => fault.last = fault.last.max(last),
            None => self.faults.push(Fault { file: file.to_owned(), kind, error: error.to_owned(), last }),
        }
    }

    /// The faults that may have struck what has been under way since then.
    pub fn faults_since(&self, moment: Moment) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |fault| fault.last >= moment)
    }

    /// When the oldest read without an end began.
    pub fn oldest_read(&self) -> Moment {
        let reads = self.requests.iter().filter(|request| request.op.kind() == Kind::Read);
        reads.map(|request| request.began).min().unwrap_or(Moment::MAX)
    }

    /// Whether a fault may have struck what has been under way since then.
    pub fn is_struck_since(&self, moment: Moment) -> bool {
        self.faults_since(moment).next().is_some()
    }

    /// Whether a fault may have caused an error with this text in what has been under way since then.
    pub fn is_fault(&self, error: &str, since: Moment) -> bool {
        self.faults_since(since).any(|fault| fault.error == error)
    }

    /// The faults that may have struck what has been under way since then, for texts.
    pub fn faults_text(&self, since: Moment) -> String {
        if !self.is_struck_since(since) {
            return "no fault has struck".into();
        }
        let line = |fault: &Fault| {
            let Fault { file, kind, error, last } = fault;
            let ago =
                if *last == EVER { String::new() } else { format!(", {} observations ago", self.now - last) };
            format!("{} of {file} met {error}{ago}", kind.words())
        };
        self.faults_since(since).map(line).collect::<Vec<_>>().join("; ")
    }

    pub fn names(&self) -> Names<'_> {
        Names { graph: &self.graph, jobs: &self.jobs }
    }

    pub fn job(&self, id: JobId) -> &Job {
        &self.jobs[usize::from(id.0)]
    }

    pub fn job_mut(&mut self, id: JobId) -> &mut Job {
        &mut self.jobs[usize::from(id.0)]
    }

    /// The living job of that name.
    pub fn find_job(&self, name: &str) -> Option<JobId> {
        let index = self.jobs.iter().rposition(|job| job.is_live() && job.id == name)?;
        Some(JobId(index as u16))
    }

    pub fn live_jobs(&self) -> impl Iterator<Item = JobId> {
        (0u16..).zip(&self.jobs).filter(|(_, job)| job.is_live()).map(|(index, _)| JobId(index))
    }

    /// Why it cannot be followed any more.
    pub fn inconclusive(&self) -> Option<Inconclusive> {
        self.inconclusive.or(self.views.stands_on_itself.then_some(Inconclusive::StandsOnItself))
    }

    /// From now on it cannot be followed.
    pub fn lose(&mut self, why: Inconclusive) {
        self.inconclusive.get_or_insert(why);
    }

    /// Whether a permissive rule holds.
    #[inline]
    pub fn allows(&self, rule: Rule) -> bool {
        !self.without.has(rule)
    }

    /// Whether the daemon may be wrong in this way.
    #[inline]
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.has(quirk)
    }

    /// One more check of a law, or one more arrival at a goal.
    pub fn count(&mut self, law: LawId) {
        self.marks.laws.push(law);
    }

    /// The verdict, with the chains and jobs below it.
    pub fn broken(&self, law: LawId, what: impl fmt::Display) -> Broken {
        let mut detail = what.to_string();
        for part in [self.chain_text(), self.jobs_text()] {
            if !part.is_empty() {
                detail.push('\n');
                detail.push_str(&part);
            }
        }
        Broken { law, detail }
    }

    /// Counts a check, and breaks the law if what it asks for does not hold.
    pub fn hold(
        &mut self,
        law: LawId,
        holds: bool,
        what: impl FnOnce(&State) -> String,
    ) -> Result<(), Broken> {
        self.count(law);
        if holds { Ok(()) } else { Err(self.broken(law, what(self))) }
    }
}

fn facts(image: &ImageSetup) -> ImageFacts {
    ImageFacts {
        file: image.file.clone(),
        qcow2: image.format == Format::Qcow2,
        headers: vec![image.backing.clone()],
        size_bytes: image.size_bytes,
        bitmaps: image.bitmaps,
        subclusters: image.subclusters,
    }
}

/// Content past this many sectors is not judged: a length alone must not cost memory.
pub(crate) const SECTORS_MAX: u64 = 1 << 18;

fn layer(image: &ImageSetup) -> Layer {
    let sectors = |bytes: u64| (bytes / SECTOR_BYTES).min(SECTORS_MAX) as u32;
    let raw = image.format == Format::Raw;
    Layer::new(sectors(image.size_bytes), sectors(image.cluster_bytes), raw, &image.own)
}
