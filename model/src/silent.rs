//! Every step that the world may take without anybody seeing it: a closed list.
//!
//! A state may take any of its silent steps before the next observation. It need not: what is not seen yet stays open, so
//! a state stands for itself and for all that its silent steps lead to. [`crate::judge`] takes one only where it matters,
//! that is where its [`Footprint`] meets that of the observation.
//!
//! Sources: QEMU 10.0 carries out a command between reading and answering it, and ends a job in one go (`prepare`, then
//! `commit` or `abort`, then `clean`) before it emits the job's last event; midstream's engine does the same in several
//! parts, with other tasks between them. Both are paths through this list.

use crate::chain::JobId;
use crate::command::{Command, VerbArguments};
use crate::event::{Event, News};
use crate::job::{Status, Verb};
use crate::observation::Observation;
use crate::state::State;
use crate::step::client::{Pending, Progress};

/// A step that nobody sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Silent {
    /// The oldest unanswered command of a client is carried out, and will be answered with success. Once, between its
    /// sending and its reply. (A command that is refused, or only asks, changes nothing: its state keeps every answer it may
    /// have got.)
    CommandTakesEffect(usize),
    /// A job that was created among others in its way looks again, and finds its way free.
    JobFindsItsWayFree(JobId),
    /// A job that ends gives up its filter, and the chain becomes what it was for, or what it was.
    JobEditsGraph(JobId),
    /// The node that a job has written turns read-only again, unless somebody has come to write.
    JobRestoresNode(JobId),
    /// The filter that a job has given up goes, although the job is still there and holds it.
    JobReleasesFilter(JobId),
    /// A job that dismisses itself lets go of all its nodes, before its end is told.
    JobReleasesNodes(JobId),
}

/// What a step looks at or changes. Two steps whose footprints do not meet may be taken in either order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footprint(u8);

impl Footprint {
    /// Nothing at all.
    pub const NOTHING: Footprint = Footprint(0);
    /// Which nodes there are, and who stands on whom.
    const LINKS: Footprint = Footprint(1);
    /// Who holds which nodes.
    const HOLDS: Footprint = Footprint(2);
    /// Who writes, and what is read-only.
    const ACCESS: Footprint = Footprint(4);
    /// What is asked of jobs, and how they stand.
    const JOBS: Footprint = Footprint(8);
    /// All of the graph.
    const GRAPH: Footprint = Footprint(7);
    /// Everything.
    const ALL: Footprint = Footprint(15);
    /// So many kinds of things there are.
    pub const KINDS: usize = 4;

    /// Whether two steps concern each other.
    pub fn meets(self, other: Footprint) -> bool {
        self.0 & other.0 != 0
    }

    /// What either looks at or changes.
    pub fn with(self, other: Footprint) -> Footprint {
        Footprint(self.0 | other.0)
    }

    /// Whether there is nothing that it concerns.
    pub fn is_empty(self) -> bool {
        self == Footprint::NOTHING
    }

    /// What carrying out a command looks at or changes.
    pub fn of_command(command: &Command) -> Footprint {
        match command {
            Command::Verb(VerbArguments { verb: Verb::Finalize | Verb::Dismiss, .. }) | Command::Quit => {
                Footprint::ALL
            }
            Command::Verb(_) | Command::QueryJobs | Command::QueryBlockJobs => Footprint::JOBS,
            Command::Start(_) | Command::Transaction(..) => Footprint::ALL,
            Command::Add(_) | Command::Delete(_) => Footprint::LINKS.with(Footprint::HOLDS),
            Command::Edit(_) | Command::QueryNodes | Command::QueryGraph => Footprint::GRAPH,
            Command::Export(_) | Command::QueryExports | Command::ThrottleGroup(_) => {
                Footprint::LINKS.with(Footprint::ACCESS)
            }
            Command::Capabilities | Command::QuerySchema | Command::Other { .. } => Footprint::NOTHING,
        }
    }

    /// What an observation looks at or changes, where that is not the business of a command or an event.
    pub fn of_observation(observation: &Observation<'_>) -> Footprint {
        match observation {
            Observation::GuestAttached { .. }
            | Observation::GuestConnected { .. }
            | Observation::GuestRefused { .. } => Footprint::LINKS.with(Footprint::ACCESS),
            Observation::GuestDetached { .. } => Footprint::GRAPH,
            Observation::View { .. } => Footprint::LINKS,
            _ => Footprint::NOTHING,
        }
    }
}

impl State {
    /// The silent steps that may come next, each with what it concerns.
    pub(crate) fn silent_steps(&self) -> Vec<(Silent, Footprint)> {
        let commands = (0..self.clients.len()).map(Silent::CommandTakesEffect);
        let jobs = self.live_jobs().flat_map(|id| {
            [
                Silent::JobFindsItsWayFree(id),
                Silent::JobEditsGraph(id),
                Silent::JobRestoresNode(id),
                Silent::JobReleasesFilter(id),
                Silent::JobReleasesNodes(id),
            ]
        });
        let all = commands.chain(jobs).map(|step| (step, self.footprint_of(step)));
        all.filter(|(step, footprint)| !footprint.is_empty() && self.may_take(*step)).collect()
    }

    /// What a silent step looks at or changes.
    pub(crate) fn footprint_of(&self, step: Silent) -> Footprint {
        match step {
            Silent::CommandTakesEffect(client) => self.footprint_of_front(self.clients[client].id),
            Silent::JobFindsItsWayFree(_) => Footprint::ALL,
            Silent::JobEditsGraph(_) => Footprint::LINKS.with(Footprint::HOLDS),
            Silent::JobRestoresNode(_) => Footprint::ACCESS,
            Silent::JobReleasesFilter(_) | Silent::JobReleasesNodes(_) => Footprint::HOLDS,
        }
    }

    /// What an event looks at or changes: the end of a job does what the job has not done yet.
    pub(crate) fn footprint_of_event(&self, event: &Event<'_>) -> Footprint {
        match event.news {
            News::Status(Status::Created) => Footprint::ALL,
            News::Status(Status::Aborting) => Footprint::JOBS.with(Footprint::LINKS),
            News::Status(Status::Null) => Footprint::JOBS.with(Footprint::HOLDS),
            News::Completed(..) | News::Cancelled(_) => {
                let is_over =
                    self.find_job(event.job).is_some_and(|id| self.job(id).edited && self.job(id).restored);
                if is_over { Footprint::JOBS } else { Footprint::ALL }
            }
            News::Status(_) | News::Error(..) | News::Pending(_) | News::Ready(_) => Footprint::JOBS,
        }
    }

    fn may_take(&self, step: Silent) -> bool {
        match step {
            Silent::CommandTakesEffect(client) => self.clients[client].pending.front().is_some_and(|front| {
                let changes = front.command().as_ref().is_ok_and(Command::changes);
                front.progress == Progress::Waiting && changes
            }),
            Silent::JobFindsItsWayFree(id) => {
                self.job(id).status == Status::Created && self.job(id).is_doomed()
            }
            Silent::JobEditsGraph(id) => self.is_ending(id),
            Silent::JobRestoresNode(id) => self.job(id).edited && !self.job(id).restored,
            Silent::JobReleasesFilter(id) => {
                let job = self.job(id);
                job.edited && self.graph.node(job.filter).alive && !self.graph.is_used(job.filter)
            }
            Silent::JobReleasesNodes(id) => {
                let job = self.job(id);
                let is_free = job.auto_dismiss || job.dismiss_asked;
                job.status == Status::Concluded && is_free && !job.released
            }
        }
    }

    /// Every state that a silent step leads to; none if it cannot be taken.
    pub(crate) fn silently(&self, step: Silent) -> Vec<State> {
        if !self.may_take(step) {
            return Vec::new();
        }
        match step {
            Silent::CommandTakesEffect(client) => self.command_takes_effect(client),
            Silent::JobFindsItsWayFree(id) => self.job_finds_its_way_free(id).into_iter().collect(),
            Silent::JobEditsGraph(id) => self.after(|state| state.job_edits_graph(id)),
            Silent::JobRestoresNode(id) => self.after(|state| state.job_restores_node(id)),
            Silent::JobReleasesFilter(id) => self.after(|state| state.job_releases_filter(id)),
            Silent::JobReleasesNodes(id) => self.after(|state| state.job_releases_nodes(id)),
        }
    }

    /// Whether a step is a verb on another job than that of this name: it leaves that one alone, unless they end together.
    pub(crate) fn is_about_another_job(&self, step: Silent, job: &str) -> bool {
        let Silent::CommandTakesEffect(client) = step else { return false };
        let front = self.clients[client].pending.front();
        let Some(Ok(Command::Verb(verb))) = front.map(Pending::command) else { return false };
        verb.job != job && !matches!(verb.verb, Verb::Finalize | Verb::Dismiss) && !self.has_groups()
    }

    fn has_groups(&self) -> bool {
        self.live_jobs().any(|id| self.job(id).group.is_some())
    }

    fn after(&self, change: impl FnOnce(&mut State)) -> Vec<State> {
        let mut state = self.clone();
        change(&mut state);
        vec![state]
    }
}
