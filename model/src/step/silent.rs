//! Every step that the world may take without anybody seeing it: a closed list.
//!
//! A state may take any of its silent steps before the next observation. It need not: what is not seen yet stays open, so
//! a state stands for itself and for all that its silent steps lead to. [`crate::judge`] takes one only where it matters,
//! that is where its [`Footprint`] meets that of the observation.
//!
//! Sources: QEMU 10.0 carries out a command between reading and answering it, and ends a job in one go (`prepare`, then
//! `commit` or `abort`, then `clean`) before it emits the job's last event; midstream's engine does the same in several
//! parts, with other tasks between them. Both are paths through this list.

use crate::command::editing::Editing;
use crate::command::{Command, VerbArguments};
use crate::event::{Event, News};
use crate::graph::JobId;
use crate::job::{Status, Verb};
use crate::law::LawId;
use crate::observation::Observation;
use crate::rule::Rule;
use crate::step::client::Progress;
use crate::step::state::State;
use crate::step::taken::{StepKind, StepTaken};

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
}

impl Silent {
    /// The rule that it is.
    fn rule(self) -> Rule {
        match self {
            Silent::CommandTakesEffect(_) => Rule::CommandTakesEffect,
            Silent::JobFindsItsWayFree(_) => Rule::JobFindsItsWayFree,
            Silent::JobEditsGraph(_) => Rule::JobEditsGraph,
            Silent::JobRestoresNode(_) => Rule::JobRestoresNode,
            Silent::JobReleasesFilter(_) => Rule::JobReleasesFilter,
        }
    }

    /// The goal that a run reaches which cannot be explained without it. Of two that is none: one run in ten thousand
    /// needs them, too few for every short campaign; traces and recordings that do are kept.
    fn goal(self) -> Option<LawId> {
        match self {
            Silent::CommandTakesEffect(_) => Some(LawId::EffectBeforeAnswer),
            Silent::JobEditsGraph(_) => Some(LawId::GraphChangedBeforeEnd),
            Silent::JobRestoresNode(_) => Some(LawId::RestoredBeforeEnd),
            Silent::JobFindsItsWayFree(_) | Silent::JobReleasesFilter(_) => None,
        }
    }
}

/// What a step looks at, and what it changes. Two steps whose footprints do not meet may be taken in either order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Footprint {
    looks_at: u8,
    changes: u8,
}

/// Which nodes there are, and who stands on whom.
const LINKS: u8 = 1;
/// Who holds which nodes.
const HOLDS: u8 = 2;
/// Who writes, and what is read-only.
const ACCESS: u8 = 4;
/// What is asked of jobs, and how they stand.
const JOBS: u8 = 8;
/// Where the requests of guests go, and what they find there.
const REQUESTS: u8 = 16;
/// All of the graph.
const GRAPH: u8 = LINKS | HOLDS | ACCESS;

impl Footprint {
    /// Nothing at all.
    pub const NOTHING: Footprint = Footprint { looks_at: 0, changes: 0 };

    const fn of(looks_at: u8, changes: u8) -> Footprint {
        Footprint { looks_at, changes }
    }

    /// Whether two steps concern each other. Whoever releases nodes does not concern others that do.
    pub fn meets(self, other: Footprint) -> bool {
        let both = self.changes & other.changes & !HOLDS;
        self.looks_at & other.changes | self.changes & other.looks_at | both != 0
    }

    /// What either looks at or changes.
    pub fn with(self, other: Footprint) -> Footprint {
        Footprint::of(self.looks_at | other.looks_at, self.changes | other.changes)
    }

    /// Whether there is nothing that it concerns.
    pub fn is_empty(self) -> bool {
        self == Footprint::NOTHING
    }

    /// What carrying out a command looks at or changes. Of edits only their state can show.
    fn of_command(command: &Command) -> Footprint {
        match command {
            Command::Edit(_) => Footprint::of(GRAPH | REQUESTS, GRAPH | REQUESTS),
            Command::Verb(VerbArguments { verb: Verb::Finalize | Verb::Dismiss, .. }) | Command::Quit => {
                Footprint::of(GRAPH | JOBS, GRAPH | JOBS)
            }
            Command::Verb(_) => Footprint::of(JOBS, JOBS),
            Command::QueryJobs | Command::QueryBlockJobs => Footprint::of(JOBS, 0),
            Command::Start(_) | Command::Transaction(..) => Footprint::of(GRAPH | JOBS, 0),
            Command::Add(_) | Command::Delete(_) => Footprint::of(LINKS | HOLDS, LINKS | HOLDS),
            Command::QueryNodes | Command::QueryGraph => Footprint::of(GRAPH, 0),
            Command::QueryExports => Footprint::of(ACCESS, 0),
            Command::Export(_) | Command::ThrottleGroup(_) => Footprint::of(LINKS | ACCESS, LINKS | ACCESS),
            Command::Capabilities | Command::QuerySchema | Command::Other { .. } => Footprint::NOTHING,
        }
    }

    /// What an observation looks at or changes, where that is not the business of a command or an event.
    pub fn of_observation(observation: &Observation<'_>) -> Footprint {
        match observation {
            Observation::GuestAttached { .. } | Observation::GuestConnected { .. } => {
                Footprint::of(LINKS | ACCESS, LINKS | ACCESS)
            }
            Observation::GuestRefused { .. } => Footprint::of(LINKS | ACCESS, 0),
            Observation::GuestDetached { .. } => Footprint::of(0, GRAPH),
            Observation::View { .. } => Footprint::of(LINKS, 0),
            Observation::GuestEnded { .. } => Footprint::of(REQUESTS, REQUESTS),
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
            ]
        });
        let all = commands.chain(jobs).filter(|step| self.may_take(*step));
        let all = all.map(|step| (step, self.footprint_of(step)));
        all.filter(|(_, footprint)| !footprint.is_empty()).collect()
    }

    /// What a silent step looks at or changes.
    pub(crate) fn footprint_of(&self, step: Silent) -> Footprint {
        match step {
            Silent::CommandTakesEffect(client) => self.footprint_of_front(self.clients[client].id),
            Silent::JobFindsItsWayFree(_) => Footprint::of(GRAPH | JOBS, LINKS | JOBS),
            Silent::JobEditsGraph(id) if self.moves_guests(id) => {
                Footprint::of(LINKS, LINKS | HOLDS | REQUESTS)
            }
            Silent::JobEditsGraph(_) => Footprint::of(LINKS, LINKS | HOLDS),
            Silent::JobRestoresNode(_) => Footprint::of(ACCESS, ACCESS),
            Silent::JobReleasesFilter(_) => Footprint::of(0, HOLDS),
        }
    }

    /// What carrying out a command looks at or changes.
    pub(crate) fn footprint_of_command(&self, command: &Command) -> Footprint {
        match command {
            Command::Edit(editing) if !self.edit_moves_guests(editing) => match **editing {
                Editing::Bitmap { .. } | Editing::Threshold { .. } => Footprint::of(GRAPH, 0),
                Editing::ChangeBackingFile { .. } => Footprint::of(GRAPH, LINKS),
                Editing::Reopen(_) => Footprint::of(GRAPH, ACCESS),
                _ => Footprint::of_command(command),
            },
            _ => Footprint::of_command(command),
        }
    }

    /// What an event looks at or changes: the end of a job does what the job has not done yet.
    pub(crate) fn footprint_of_event(&self, event: &Event<'_>) -> Footprint {
        match event.news {
            News::Status(Status::Created) => Footprint::of(GRAPH | JOBS, GRAPH | JOBS),
            News::Status(Status::Aborting) => Footprint::of(LINKS | JOBS, JOBS),
            News::Status(Status::Null) => Footprint::of(JOBS, HOLDS | JOBS),
            News::Completed(..) | News::Cancelled(_) => {
                let job = self.find_job(event.job).map(|id| self.job(id));
                match job.is_some_and(|job| job.edited && job.restored) {
                    true => Footprint::of(JOBS, JOBS),
                    false => Footprint::of(LINKS | ACCESS | JOBS, GRAPH | JOBS),
                }
            }
            News::Status(_) | News::Error(..) | News::Pending(_) | News::Ready(_) => {
                Footprint::of(JOBS, JOBS)
            }
        }
    }

    /// Whether an event of a job of this name does what the step does, if that is not done yet.
    pub(crate) fn is_done_by_event_of(&self, step: Silent, job: &str) -> bool {
        match step {
            // Requests may have met it before.
            Silent::JobEditsGraph(id) => {
                (self.requests.is_empty() || !self.moves_guests(id)) && self.job(id).id == job
            }
            Silent::JobRestoresNode(id) | Silent::JobReleasesFilter(id) => self.job(id).id == job,
            _ => false,
        }
    }

    fn may_take(&self, step: Silent) -> bool {
        self.allows(step.rule())
            && match step {
                Silent::CommandTakesEffect(client) => {
                    self.clients[client].pending.front().is_some_and(|front| {
                        let changes = front.command().as_ref().is_ok_and(Command::changes);
                        front.progress == Progress::Waiting && changes
                    })
                }
                Silent::JobFindsItsWayFree(id) => {
                    self.job(id).status == Status::Created && self.job(id).is_doomed()
                }
                Silent::JobEditsGraph(id) => self.is_ending(id),
                Silent::JobRestoresNode(id) => self.job(id).edited && !self.job(id).restored,
                Silent::JobReleasesFilter(id) => {
                    let job = self.job(id);
                    job.edited && self.graph.node(job.filter).alive && !self.graph.is_used(job.filter)
                }
            }
    }

    /// Every state that a silent step leads to; none if it cannot be taken.
    pub(crate) fn silently(&self, step: Silent) -> Vec<State> {
        if !self.may_take(step) {
            return Vec::new();
        }
        let mut states = match step {
            Silent::CommandTakesEffect(client) => self.command_takes_effect(client),
            Silent::JobFindsItsWayFree(id) => self.job_finds_its_way_free(id).into_iter().collect(),
            Silent::JobEditsGraph(id) => self.chain_edited_by(id),
            Silent::JobRestoresNode(id) => self.after(|state| state.job_restores_node(id)),
            Silent::JobReleasesFilter(id) => self.after(|state| state.job_releases_filter(id)),
        };
        // It counts once it is certain that the run came this way.
        let taken = self.taken(step);
        for state in &mut states {
            state.marks.steps.add(taken);
            step.goal().into_iter().for_each(|goal| state.count(goal));
        }
        states
    }

    /// What a campaign counts a step as.
    fn taken(&self, step: Silent) -> StepTaken {
        let of_job = |kind, id| StepTaken { kind, job_type: Some(self.job(id).plan.job_type()) };
        match step {
            Silent::CommandTakesEffect(client) => {
                let job_type = self.verb_of(client).and_then(|verb| self.find_job(&verb.job));
                let job_type = job_type.map(|id| self.job(id).plan.job_type());
                StepTaken { kind: StepKind::CommandTakesEffect, job_type }
            }
            Silent::JobFindsItsWayFree(id) => of_job(StepKind::JobFindsItsWayFree, id),
            Silent::JobEditsGraph(id) => of_job(StepKind::JobEditsGraph, id),
            Silent::JobRestoresNode(id) => of_job(StepKind::JobRestoresNode, id),
            Silent::JobReleasesFilter(id) => of_job(StepKind::JobReleasesFilter, id),
        }
    }

    /// The verb that is the oldest unanswered command of a client.
    fn verb_of(&self, client: usize) -> Option<&VerbArguments> {
        match self.clients[client].pending.front()?.command() {
            Ok(Command::Verb(verb)) => Some(verb),
            _ => None,
        }
    }

    /// Whether a step is a verb on another job than that of this name: it leaves that one alone, unless they end together.
    pub(crate) fn is_about_another_job(&self, step: Silent, job: &str) -> bool {
        let Silent::CommandTakesEffect(client) = step else { return false };
        let Some(verb) = self.verb_of(client) else { return false };
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
