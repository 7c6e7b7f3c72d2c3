//! Commands between their sending and their reply.

use crate::command::Command;
use crate::command::editing::Editing;
use crate::command::record::Job;
use crate::command::reply::{Answer, Refusal};
use crate::command::starting::{Asked as Work, Start};
use crate::content::Moment;
use crate::graph::{Graph, JobId};
use crate::json::Json;
use crate::law::LawId;
use crate::rule::Rule;
use crate::shared::Shared;
use crate::step::silent::Footprint;
use crate::step::state::{Phase, State};
use std::collections::VecDeque;

/// The reply that says no more than that it is done, as it is written.
pub(crate) const DONE: [&str; 2] = [r#"{"return": {}}"#, r#"{"return":{}}"#];

/// What is found or expected where a command is done, as texts say it.
pub(super) const SUCCESS: &str = "success";

/// The same, read.
pub(crate) fn done() -> Json<'static> {
    Json::Object(vec![("return".into(), Json::Object(Vec::new()))])
}

/// One connection.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Client {
    pub id: u32,
    pub negotiated: bool,
    pub pending: VecDeque<Pending>,
}

/// A command as it was sent.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Asked {
    pub command: Shared<Result<Command, Refusal>>,
    /// Its text, for texts.
    pub text: Shared<String>,
    /// The `id` its reply must carry.
    pub echo: Option<String>,
}

/// A command without a reply yet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Pending {
    pub asked: Asked,
    /// When it was sent.
    pub sent: Moment,
    /// How far it has come.
    pub progress: Progress,
    /// The jobs it created.
    pub created: Vec<JobId>,
    /// What it may have been answered already, if it was answered without changing anything.
    pub answers: Answers,
}

/// How far a command has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// It has changed nothing.
    Waiting,
    /// It was carried out, and will be answered with success.
    Done,
}

/// What a command may have been answered at one moment or another since it was sent. Two states that differ in nothing else
/// are one: what they allow is added up.
#[derive(Clone, Default, Debug)]
pub(crate) struct Answers(pub(super) Vec<Candidate>);

/// An answer that changes nothing.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Candidate {
    /// Refused with this.
    Refused(Answer),
    /// The graph, which was this.
    Graph(Shared<Graph>),
    /// The jobs, which were these.
    Jobs(Vec<Shared<Job>>),
}

impl PartialEq for Answers {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Answers {
    fn note(&mut self, candidate: Candidate) {
        if !self.0.contains(&candidate) {
            self.0.push(candidate);
        }
    }

    fn covers(&self, other: &Answers) -> bool {
        other.0.iter().all(|candidate| self.0.contains(candidate))
    }
}

impl Pending {
    pub fn command(&self) -> &Result<Command, Refusal> {
        &self.asked.command
    }

    /// Whether the job it starts exists: what becomes of the command, the job's life shows.
    pub fn starts_a_job_that_is_there(&self) -> bool {
        matches!(self.command(), Ok(Command::Start(_))) && !self.created.is_empty()
    }
}

impl Client {
    /// The command without an answer, for texts.
    pub fn stuck(&self) -> Option<String> {
        let front = self.pending.front()?;
        Some(format!("client {} waits for the reply to {}", self.id, *front.asked.text))
    }
}

impl State {
    /// The place of a client; the number of clients, if it has sent nothing yet.
    pub(crate) fn index_of(&self, id: u32) -> usize {
        self.clients.iter().position(|client| client.id == id).unwrap_or(self.clients.len())
    }

    /// What the oldest unanswered command of a client looks at or changes.
    pub(crate) fn footprint_of_front(&self, id: u32) -> Footprint {
        let front = self.clients.get(self.index_of(id)).and_then(|client| client.pending.front());
        let command = front.and_then(|front| front.command().as_ref().ok());
        command.map_or(Footprint::NOTHING, |command| self.footprint_of_command(command))
    }

    /// The commands that may be carried out now: the oldest unanswered one of each client.
    pub(super) fn fronts(&self) -> impl Iterator<Item = &Pending> {
        self.clients.iter().filter_map(|client| client.pending.front())
    }

    pub(super) fn sent(&mut self, id: u32, asked: &Asked, more: &mut Vec<State>) {
        self.command_may_fail(&asked.command, self.now);
        self.bitmaps_may_be_undone(&asked.command);
        let pending = Pending {
            asked: asked.clone(),
            sent: self.now,
            progress: Progress::Waiting,
            created: Vec::new(),
            answers: Answers::default(),
        };
        let index = self.index_of(id);
        let is_new = index == self.clients.len();
        if is_new {
            self.clients.push(Client { id, negotiated: true, pending: VecDeque::new() }.into());
        }
        self.clients[index].pending.push_back(pending);
        self.watch_changes();
        let is_unwatched = is_new && self.allows(Rule::NegotiatedUnwatched);
        if is_unwatched && matches!(&*asked.command, Ok(Command::Capabilities)) {
            // Whether it has negotiated before anybody watched, its first reply shows.
            let mut other = self.clone();
            other.clients[index].negotiated = false;
            more.push(other);
        }
    }

    /// A fault may strike the commands that are under way.
    pub(super) fn commands_may_fail(&mut self) {
        let fronts: Vec<_> = self.fronts().map(|front| (front.asked.command.clone(), front.sent)).collect();
        for (command, sent) in fronts {
            self.command_may_fail(&command, sent);
        }
    }

    /// A fault may have struck a command that was sent then: whatever it had reopened may have stayed writable.
    pub(super) fn command_may_fail(&mut self, command: &Result<Command, Refusal>, sent: Moment) {
        if !self.is_struck_since(sent) {
            return;
        }
        match command {
            Ok(Command::Start(start)) => self.may_stay_writable(start),
            Ok(Command::Edit(editing)) => self.image_may_stay_writable(editing),
            _ => {}
        }
    }

    /// A job that is refused late has reopened what it was to write, and a fault may keep that from turning read-only
    /// again.
    fn may_stay_writable(&mut self, start: &Start) {
        let chain: Vec<_> =
            self.graph.find(&start.device).into_iter().flat_map(|top| self.graph.downwards(top)).collect();
        let layers = chain.into_iter().filter(|node| !self.graph.is_filter(*node));
        let written: Vec<_> = match &start.work {
            Work::Commit(..) => layers.collect(),
            _ => layers.take(1).collect(),
        };
        for node in written {
            let node = self.graph.node_mut(node);
            node.may_have_stayed_writable |= node.read_only;
        }
    }

    /// The same for an image whose header is to be changed, and for one that a snapshot lets nobody write any more.
    fn image_may_stay_writable(&mut self, editing: &Editing) {
        if let Editing::ChangeBackingFile { image: node, .. }
        | Editing::Snapshot { node, .. }
        | Editing::SnapshotSync { node, .. } = editing
            && let Some(node) = self.graph.find(node)
        {
            let node = self.graph.node_mut(node);
            node.may_have_stayed_writable |= node.read_only;
        }
    }

    /// A command is carried out, in each way in which it may be.
    pub(crate) fn command_takes_effect(&self, client: usize) -> Vec<State> {
        let mut states = Vec::new();
        let mut done = self.clone();
        if done.carry_out(client, &mut states) {
            states.push(done);
        }
        states
    }

    /// Notes what the commands that are looked at by now may be answered if that changes nothing; all but that of one
    /// client, if one is given.
    pub(crate) fn note_answers(&mut self, footprint: Footprint, but: Option<u32>) {
        if !self.allows(Rule::EarlierAnswer) {
            return;
        }
        for client in 0..self.clients.len() {
            let Some(front) = self.clients[client].pending.front() else { continue };
            if Some(self.clients[client].id) == but {
                continue;
            }
            let Ok(command) = front.command() else { continue };
            let is_open = front.progress == Progress::Waiting && !front.starts_a_job_that_is_there();
            if is_open && self.footprint_of_command(command).meets(footprint) {
                self.note_answers_of(client);
            }
        }
    }

    pub(super) fn note_answers_of(&mut self, client: usize) {
        let candidates: Vec<Candidate> = match self.clients[client].pending[0].command() {
            Ok(Command::QueryJobs | Command::QueryBlockJobs) => vec![Candidate::Jobs(self.jobs.clone())],
            Ok(Command::QueryNodes | Command::QueryGraph | Command::QueryExports) => {
                vec![Candidate::Graph(self.graph.clone())]
            }
            _ => {
                let answers = self.answers(client).into_iter();
                answers.filter(|answer| !answer.is_success()).map(Candidate::Refused).collect()
            }
        };
        let is_new = |candidate: &Candidate| !self.clients[client].pending[0].answers.0.contains(candidate);
        let candidates: Vec<Candidate> = candidates.into_iter().filter(is_new).collect();
        if !candidates.is_empty() {
            let answers = &mut self.clients[client].pending[0].answers;
            candidates.into_iter().for_each(|candidate| answers.note(candidate));
        }
    }

    /// Whether it is the same as another state, and allows all that the other one does.
    pub(crate) fn covers(&self, other: &State) -> bool {
        let mut pairs = self.clients.iter().zip(&other.clients).filter(|(own, theirs)| !own.is(theirs));
        self == other
            && pairs.all(|(own, theirs)| match (own.pending.front(), theirs.pending.front()) {
                (Some(own), Some(theirs)) => own.answers.covers(&theirs.answers),
                _ => true,
            })
    }

    /// Allows as well what the same state allows that was come to in another way.
    pub(crate) fn take_answers(&mut self, other: &State) {
        for (own, theirs) in self.clients.iter_mut().zip(&other.clients) {
            if own.is(theirs) {
                continue;
            }
            if let (Some(own), Some(theirs)) = (own.pending.front_mut(), theirs.pending.front()) {
                theirs.answers.0.iter().for_each(|candidate| own.answers.note(candidate.clone()));
            }
        }
    }

    /// A command does what it is for; false if it must be refused. What it does to jobs that it starts, their events show.
    pub(super) fn carry_out(&mut self, client: usize, more: &mut Vec<State>) -> bool {
        let Pending { asked, sent, .. } = &self.clients[client].pending[0];
        let (asked, sent) = (asked.clone(), *sent);
        let is_ready =
            self.clients[client].negotiated || matches!(&*asked.command, Ok(Command::Capabilities));
        let (Ok(command), true) = (&*asked.command, is_ready) else { return false };
        let mut others = Vec::new();
        let is_done = match command {
            Command::Capabilities => !std::mem::replace(&mut self.clients[client].negotiated, true),
            Command::Quit => {
                self.phase = Phase::Quitting;
                true
            }
            Command::Add(spec) => self.add_node(spec),
            Command::Delete(name) => self.delete_node(name),
            Command::Edit(editing) => self.edit(editing, sent, &mut others),
            Command::Export(exporting) => self.export(exporting),
            Command::Verb(verb) => self.verb_takes_effect(verb, &mut others),
            Command::ThrottleGroup(id) => {
                self.groups.push(id.clone());
                true
            }
            // Its effect is unknown; what readers see is judged as ever.
            Command::Other { .. } => {
                self.count(LawId::DataHolds);
                self.allows(Rule::UnknownAccepted)
            }
            Command::QueryJobs | Command::QueryBlockJobs | Command::QueryNodes => true,
            Command::QueryGraph | Command::QueryExports | Command::QuerySchema => true,
            Command::Start(_) | Command::Transaction(..) => false,
        };
        if is_done {
            for state in others.iter_mut().chain([&mut *self]) {
                state.clients[client].pending[0].progress = Progress::Done;
            }
            more.append(&mut others);
        }
        is_done
    }

    /// A command edits the graph or an image; false if it must be refused.
    fn edit(&mut self, editing: &Editing, sent: Moment, others: &mut Vec<State>) -> bool {
        // Requests change nothing that it hangs on.
        let Ok(edit) = editing.judge(&self.graph) else { return self.reopens_past_a_commit(editing) };
        if self.requests.is_empty() {
            self.edit_by_command(editing, edit, sent);
            return true;
        }
        let edited = |state: &mut State| {
            state.edit_by_command(editing, edit.clone(), sent);
            true
        };
        let mut ways = self.edited_beside_requests(None, &edited).into_iter();
        *self = ways.next().expect("an edit that was accepted can be made");
        others.extend(ways);
        true
    }
}
