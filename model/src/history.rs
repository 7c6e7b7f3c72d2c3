//! Follows one run by observation; the first observation that nothing explains is the verdict.
//!
//! One state is kept, not a set of states. Where the world may have moved unseen, the state says so itself: three-valued
//! knowledge about a job, several versions of a sector, an edit of the graph that may have happened already. A command
//! takes effect at the moment of its reply, except for the events it causes, which come before: those are explained by the
//! command that is still unanswered. The answers allowed to a command are those of any moment between its sending and its
//! reply, so they are collected whenever the state is about to change.

mod client;
mod copying;
mod crash;
mod edges;
mod edit;
mod ending;
mod goals;
mod guest;
mod jobs;
mod query;
mod start;
mod verb;

use crate::blockdev::ImageFacts;
use crate::chain::{Driver, Graph, ImageId, JobId, NodeId};
use crate::content::{Layer, Moment, SECTOR_BYTES, Views};
use crate::holding::Holding;
use crate::job::Status;
use crate::law::{Broken, LawId, Tally};
use crate::observation::{FaultKind, Format, GuestOp, ImageSetup, Observation};
use crate::opening::Opening;
use crate::plan::Trade;
use crate::record::{Edit, Job};
use crate::reply::Names;
use client::Client;
use guest::{Doubt, Request};

/// A fault that may strike from now on.
#[derive(Clone, Debug)]
struct Fault {
    file: String,
    kind: FaultKind,
    error: String,
}

/// Where a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Running,
    Quitting,
    Crashed,
    Over,
}

/// The reference model, following one run.
#[derive(Clone, Debug)]
pub struct Model {
    images: Vec<ImageFacts>,
    /// By image: a stream has touched what its readers see.
    streamed: Vec<bool>,
    /// By image: a commit, a mirror or a backup has written it.
    touched: Vec<bool>,
    /// By image: the shortest it may still be, in sectors, where a job or a command makes it longer.
    shortest: Vec<Option<u32>>,
    /// Images whose header a command and a job changed, in an order that nobody saw.
    contested: Vec<ImageId>,
    /// Two orders were possible that make different chains, and nothing told which it was: nothing more is judged.
    is_lost: bool,
    /// A read beside a write may show a part of the one and a part of the other, even within a sector.
    tears: bool,
    /// A command of unknown effect has succeeded: this is what is judged from then on.
    holding: Option<Holding>,
    /// Throttle groups.
    groups: Vec<String>,
    graph: Graph,
    views: Views,
    jobs: Vec<Job>,
    /// Jobs of types the model knows nothing of: only their statuses are judged.
    strangers: Vec<(String, Status)>,
    clients: Vec<Client>,
    requests: Vec<Request>,
    faults: Vec<Fault>,
    /// Changes that may have reached another image than the one they were meant for.
    doubts: Vec<Doubt>,
    phase: Phase,
    now: Moment,
    tally: Tally,
}

impl Model {
    /// A run that starts with these images, nothing opened.
    pub fn new(images: &[ImageSetup]) -> Model {
        let facts: Vec<ImageFacts> = images.iter().map(facts).collect();
        let mut views = Views::default();
        for image in images {
            views.add(layer(image));
        }
        let opening = Opening { images: &facts, groups: &[] };
        for (index, image) in images.iter().enumerate() {
            let below = image.backing.as_ref().and_then(|header| opening.find_header(&image.file, header));
            views.link(ImageId(index as u16), below);
        }
        views.compose_all();
        Model {
            streamed: vec![false; facts.len()],
            touched: vec![false; facts.len()],
            shortest: vec![None; facts.len()],
            contested: Vec::new(),
            is_lost: false,
            tears: false,
            holding: None,
            groups: Vec::new(),
            images: facts,
            graph: Graph::default(),
            views,
            jobs: Vec::new(),
            strangers: Vec::new(),
            clients: Vec::new(),
            requests: Vec::new(),
            faults: Vec::new(),
            doubts: Vec::new(),
            phase: Phase::Running,
            now: 0,
            tally: Tally::default(),
        }
    }

    /// Takes the next observation, or says which law it breaks.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        self.now += 1;
        if self.is_lost {
            return Ok(());
        }
        if self.holding.is_some() {
            return self.hold_on(observation);
        }
        match *observation {
            Observation::Unlisted => {
                let mirrors = self.live_jobs().any(|id| self.job(id).plan.trade() == Trade::Mirror);
                self.holding = Some(Holding::new(mirrors));
                Ok(())
            }
            Observation::Sent { client, text } => {
                self.sent(client, text);
                Ok(())
            }
            Observation::Reply { client, text } => self.replied(client, text),
            Observation::Event { text } => self.event(text),
            Observation::GuestAttached { guest, node, writable } => self.attached(guest, node, writable),
            Observation::GuestConnected { guest, export } => self.connected(guest, export),
            Observation::GuestRefused { guest, node, writable } => self.turned_away(guest, node, writable),
            Observation::GuestDetached { guest } => {
                self.detached(guest);
                Ok(())
            }
            Observation::GuestBegan { request, guest, op } => {
                self.began(request, guest, op);
                Ok(())
            }
            Observation::GuestEnded { request, result } => self.ended(request, result),
            Observation::FaultArmed { file, kind, error } => {
                self.remember();
                self.faults.push(Fault { file: file.to_owned(), kind, error: error.to_owned() });
                Ok(())
            }
            Observation::View { node, values } => self.viewed(node, values),
            Observation::Crash { kind } => {
                self.crashed(kind);
                Ok(())
            }
            Observation::Recovered { file, values, chain, check_corruptions } => {
                self.recovered(file, values, chain, check_corruptions)
            }
            Observation::Closed { file, values, chain, check_corruptions, check_leaks } => {
                self.closed(file, values, chain, (check_corruptions, check_leaks))
            }
            Observation::End => self.over(),
        }
    }

    /// The images lie in files of a real host. There the sector that is read while it is written may be neither the old
    /// one nor the new one, but torn between both (POSIX promises nothing of reads beside writes).
    pub fn on_real_files(mut self) -> Model {
        self.tears = true;
        self
    }

    /// Whether not everything was judged: two orders of what happened were possible and nothing told which it was, or a
    /// command of unknown effect succeeded.
    pub fn is_lost(&self) -> bool {
        self.is_lost || self.holding.is_some()
    }

    /// Nobody can tell what the graph is: what guests wrote is held all the same, and no image is corrupt.
    fn hold_on(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        if let Observation::Closed { file, check_corruptions: found, .. }
        | Observation::Recovered { file, check_corruptions: found, .. } = observation
        {
            self.hold(LawId::NoCorruption, *found == 0, |_| {
                format!("{file}: the check found {found} corruptions")
            })?;
        }
        let holding = self.holding.as_mut().expect("asked for only while something is held");
        let before = holding.compared;
        let held = holding.observe(observation);
        if holding.compared > before {
            self.count(LawId::DataHolds);
        }
        held.map_err(|detail| Broken { law: LawId::DataHolds, detail })
    }

    /// How often each law was checked, and which goals were reached.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Every chain, a line each: `base <- mid <- top`.
    pub fn chain_text(&self) -> String {
        self.graph.drawing()
    }

    /// Every living job, a line each.
    pub fn jobs_text(&self) -> String {
        let lines: Vec<String> = self.jobs.iter().filter(|job| job.is_live()).map(Job::line).collect();
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
        let jobs = self.jobs.iter().filter(|job| job.is_live() && !job.waits_for_operator()).map(Job::line);
        let commands = self.clients.iter().filter_map(Client::stuck);
        let requests = self.requests.iter().map(Request::line);
        let lines: Vec<String> = jobs.chain(commands).chain(requests).collect();
        if lines.is_empty() { None } else { Some(lines.join("\n")) }
    }

    fn opening(&self) -> Opening<'_> {
        Opening { images: &self.images, groups: &self.groups }
    }

    /// The layer whose view a node shows; `None` if it shows the raw bytes of a format.
    fn layer_of(&self, graph: &Graph, node: NodeId) -> Option<ImageId> {
        let node = graph.node(graph.unfiltered(node)?);
        let image = node.image?;
        let qcow2 = self.images[usize::from(image.0)].qcow2;
        (qcow2 == (node.driver == Driver::Qcow2)).then_some(image)
    }

    /// Whether an armed fault may have caused an error with this text.
    fn is_fault(&self, error: &str) -> bool {
        self.faults.iter().any(|fault| fault.error == error)
    }

    /// The armed faults, for texts.
    fn faults_text(&self) -> String {
        if self.faults.is_empty() {
            return "no fault is armed".into();
        }
        let line = |fault: &Fault| format!("{:?} of {}: {}", fault.kind, fault.file, fault.error);
        self.faults.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    fn names(&self) -> Names<'_> {
        Names { graph: &self.graph, jobs: &self.jobs }
    }

    fn job(&self, id: JobId) -> &Job {
        &self.jobs[usize::from(id.0)]
    }

    fn job_mut(&mut self, id: JobId) -> &mut Job {
        &mut self.jobs[usize::from(id.0)]
    }

    /// The living job of that name.
    fn find_job(&self, name: &str) -> Option<JobId> {
        let index = self.jobs.iter().rposition(|job| job.is_live() && job.id == name)?;
        Some(JobId(index as u16))
    }

    fn live_jobs(&self) -> impl Iterator<Item = JobId> {
        (0u16..).zip(&self.jobs).filter(|(_, job)| job.is_live()).map(|(index, _)| JobId(index))
    }

    fn count(&mut self, law: LawId) {
        self.tally.count(law);
    }

    /// The verdict, with the chains and jobs below it.
    fn broken(&self, law: LawId, what: impl std::fmt::Display) -> Broken {
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
    fn hold(&mut self, law: LawId, holds: bool, what: impl FnOnce(&Model) -> String) -> Result<(), Broken> {
        self.tally.count(law);
        if holds { Ok(()) } else { Err(self.broken(law, what(self))) }
    }

    /// The graph as it is, and as it is if edits that may have happened have.
    fn graphs(&self) -> Vec<(Graph, Vec<JobId>)> {
        let mut graphs = vec![(self.graph.clone(), Vec::new())];
        for id in self.live_jobs().filter(|id| self.job(*id).edit != Edit::NotYet) {
            let job = self.job(id);
            for index in 0..graphs.len().min(GRAPHS_MAX) {
                let (mut graph, mut edited) = graphs[index].clone();
                if job.edit == Edit::Unsure {
                    self.edit(&mut graph, id);
                    edited.push(id);
                    graphs.push((graph.clone(), edited.clone()));
                }
                // The filter of a job that is over may already be gone, or be held until `null`.
                graph.blockers.retain(|blocker| blocker.node != job.filter);
                graph.bury();
                graphs.push((graph.clone(), edited.clone()));
                if job.status == Status::Concluded && (job.auto_dismiss || job.dismiss_asked) {
                    // It is being forgotten: its nodes may be free a moment before that is told.
                    graph.release(id);
                    graph.bury();
                    graphs.push((graph, edited));
                }
            }
        }
        graphs
    }

    /// The first graph in which `judge` finds an answer becomes the graph.
    fn settle<T>(&mut self, judge: impl Fn(&Model, &Graph) -> Option<T>) -> Option<T> {
        if let Some(found) = judge(self, &self.graph) {
            return Some(found);
        }
        if self.live_jobs().all(|id| self.job(id).edit == Edit::NotYet) {
            return None;
        }
        let graphs = self.graphs();
        let (found, graph, edited) = graphs
            .into_iter()
            .skip(1)
            .find_map(|(g, edited)| judge(self, &g).map(|found| (found, g, edited)))?;
        self.graph = graph;
        for id in edited {
            self.edited(id);
        }
        Some(found)
    }
}

/// More graphs than this are not tried: three jobs that end at once have fewer.
const GRAPHS_MAX: usize = 27;

fn facts(image: &ImageSetup) -> ImageFacts {
    ImageFacts {
        file: image.file.clone(),
        qcow2: image.format == Format::Qcow2,
        headers: vec![image.backing.clone()],
        size_bytes: image.size_bytes,
    }
}

/// Content past this many sectors is not judged: a length alone must not cost memory.
const SECTORS_MAX: u64 = 1 << 18;

fn layer(image: &ImageSetup) -> Layer {
    let sectors = |bytes: u64| (bytes / SECTOR_BYTES).min(SECTORS_MAX) as u32;
    let raw = image.format == Format::Raw;
    Layer::new(sectors(image.size_bytes), sectors(image.cluster_bytes), raw, &image.own)
}
