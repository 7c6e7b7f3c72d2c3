//! Commands between their sending and their reply.

use std::collections::VecDeque;

use crate::command::Command;
use crate::command::blockdev::is_about_a_name;
use crate::command::editing::Editing;
use crate::command::plan::plan;
use crate::command::record::Job;
use crate::command::reply::{Answer, Refusal, Reply};
use crate::command::starting::{Asked as Work, Start};
use crate::content::Moment;
use crate::graph::{Graph, JobId, NodeId};
use crate::job::Status;
use crate::json::Json;
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::shared::Shared;
use crate::step::silent::Footprint;
use crate::step::state::{Phase, State};

/// The reply that says no more than that it is done.
pub(crate) const DONE: &str = "{\"return\":{}}";

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
pub(crate) struct Answers(Vec<Candidate>);

/// An answer that changes nothing.
#[derive(Clone, PartialEq, Debug)]
enum Candidate {
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
    fn command_may_fail(&mut self, command: &Result<Command, Refusal>, sent: Moment) {
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

    fn note_answers_of(&mut self, client: usize) {
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
    fn carry_out(&mut self, client: usize, more: &mut Vec<State>) -> bool {
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

    /// A reply: the command has taken effect by now, and this must be its answer.
    pub(super) fn replied(
        &mut self,
        id: u32,
        reply: &Reply<'_>,
        echo: Option<&str>,
        more: &mut Vec<State>,
    ) -> Result<(), Broken> {
        let client = self.index_of(id);
        let Some(front) = self.clients.get(client).and_then(|client| client.pending.front()) else {
            return Err(
                self.broken(LawId::Reply, format!("client {id} got a reply and asked nothing: {reply}"))
            );
        };
        let expected = front.asked.echo.clone();
        self.hold(LawId::Reply, echo == expected.as_deref(), |_| {
            let word = |id: Option<&str>| id.map_or("none", |id| id).to_owned();
            format!("client {id} got a reply with id {}, expected {}", word(echo), word(expected.as_deref()))
        })?;
        let verdict = match reply {
            Reply::Return(value) => self.accepted(client, value, more),
            Reply::Error(class, description) => self.refused(client, (class, description), more),
        };
        for state in more.iter_mut().chain([self]) {
            state.forget_changes();
            state.watch_changes();
        }
        verdict
    }

    /// The answers a command may still get: if it has taken effect, only the one that it got then.
    fn answers_left(&self, client: usize) -> Vec<Answer> {
        let front = &self.clients[client].pending[0];
        if front.progress == Progress::Done {
            return vec![Answer::Done];
        }
        let late = front.created.iter().map(|id| &self.job(*id).late).find(|late| !late.is_empty());
        // A job that vanished may have been refused late: what it is to write did not open for writing.
        let is_gone = |id: &JobId| self.job(*id).status == Status::Null;
        let is_struck = self.is_struck_since(front.sent) && front.created.iter().any(is_gone);
        let fault = is_struck.then_some(Answer::Fault);
        match late {
            Some(late) => late.iter().cloned().map(Answer::Refused).chain(fault).collect(),
            None if front.starts_a_job_that_is_there() => [Answer::Done].into_iter().chain(fault).collect(),
            None => {
                let refused = |candidate: &Candidate| match candidate {
                    Candidate::Refused(answer) => Some(answer.clone()),
                    _ => None,
                };
                let mut answers = self.answers(client);
                answers.extend(front.answers.0.iter().filter_map(refused));
                answers
            }
        }
    }

    fn refused(
        &mut self,
        client: usize,
        (class, text): (&str, &str),
        more: &mut Vec<State>,
    ) -> Result<(), Broken> {
        let Pending { asked, sent, .. } = &self.clients[client].pending[0];
        let (command, sent) = (asked.command.clone(), *sent);
        if let Ok(Command::Start(_)) = &*command {
            self.command_may_fail(&command, sent);
        }
        let allowed = self.answers_left(client);
        let mut fitting: Vec<&Answer> =
            allowed.iter().filter(|answer| self.is_worded_so(answer, class, text, sent)).collect();
        // Where it may name one node or another, each is a state of its own. Else the likeliest refusal will do.
        fitting.dedup_by_key(|answer| self.named_by(answer));
        let Some((first, others)) = fitting.split_first() else {
            let found = format!("{class}: {text}");
            return Err(self.broken(LawId::Reply, self.unexpected(client, &found, &allowed)));
        };
        let is_other =
            |answer: &&&Answer| self.allows(Rule::RefusalNamesEither) && self.named_by(answer).is_some();
        for answer in others.iter().filter(is_other) {
            let mut state = self.clone();
            state.was_refused(client, &command, answer, text);
            more.push(state);
        }
        self.was_refused(client, &command, first, text);
        Ok(())
    }

    /// The node whose generated name a refusal shows.
    fn named_by(&self, answer: &Answer) -> Option<NodeId> {
        match answer {
            Answer::Refused(Refusal::Busy(node, _)) if self.graph.node(*node).name.is_none() => Some(*node),
            _ => None,
        }
    }

    fn was_refused(
        &mut self,
        client: usize,
        command: &Result<Command, Refusal>,
        answer: &Answer,
        text: &str,
    ) {
        let front = self.clients[client].pending.pop_front().expect("the caller looked at it");
        self.refused_command_leaves(command);
        if let Ok(Command::Edit(editing)) = command
            && self.is_struck_since(front.sent)
            && self.allows(Rule::HeaderChangeFails)
        {
            self.header_change_failed(editing);
        }
        if let (Answer::Fault, Ok(Command::Edit(editing))) = (answer, command) {
            if self.allows(Rule::ResizeFails) {
                self.resize_failed(editing);
            }
        } else if let Answer::Refused(refusal) = answer {
            self.learn_refusal(refusal, text);
            self.count_refusal(command, refusal);
        }
    }

    fn is_worded_so(&self, answer: &Answer, class: &str, text: &str, sent: Moment) -> bool {
        match answer {
            Answer::Done | Answer::Report | Answer::Unknown => false,
            Answer::AnyError => true,
            Answer::ErrorAbout(about) => text.contains(about),
            Answer::Fault => self.faults_since(sent).any(|fault| text.contains(&fault.error)),
            Answer::Refused(refusal) => refusal.class() == class && refusal.is_worded_as(text, self.names()),
        }
    }

    fn learn_refusal(&mut self, refusal: &Refusal, text: &str) {
        let goal = match refusal {
            Refusal::Busy(node, _) => {
                self.learn_name(*node, text);
                LawId::OverlapSeenRefused
            }
            Refusal::WrongStatus(..) | Refusal::AlreadyPaused | Refusal::NotPaused => LawId::VerbRefused,
            Refusal::CurrentlyPaused(_) | Refusal::NothingToChange => LawId::VerbRefused,
            refusal if is_about_a_name(refusal) => LawId::NameRefused,
            Refusal::NotJson | Refusal::NotAnObject | Refusal::Missing(_) | Refusal::Unexpected(_) => {
                LawId::InputRefused
            }
            Refusal::BadType(..) | Refusal::BadWord(..) | Refusal::UnknownCommand(_) => LawId::InputRefused,
            _ => return,
        };
        if matches!(refusal, Refusal::Busy(_, crate::graph::blocker::Reason::BackingOf(_))) {
            return;
        }
        self.count(goal);
    }

    /// A refusal by a job is a goal of its own for each command.
    fn count_refusal(&mut self, command: &Result<Command, Refusal>, refusal: &Refusal) {
        let by_job = matches!(
            refusal,
            Refusal::Busy(_, crate::graph::blocker::Reason::Job(..))
                | Refusal::CannotFreeze(_)
                | Refusal::FrozenLink(..)
        );
        match command {
            Ok(Command::Start(start)) if by_job || *refusal == Refusal::Plain("Need a root block node") => {
                // What it would have been, had nobody stood in its way.
                let mut idle = Graph::clone(&self.graph);
                for id in self.live_jobs() {
                    idle.drop_filter(self.job(id).filter);
                }
                idle.blockers.clear();
                idle.frozen.clear();
                if let Ok(plan) = plan(&idle, start, |_| false) {
                    self.tried_beside_others(&plan);
                }
            }
            Ok(Command::Edit(editing)) if by_job => self.count(match **editing {
                Editing::Reopen(_) => LawId::ReopenRefused,
                Editing::Snapshot { .. } | Editing::SnapshotSync { .. } => LawId::SnapshotRefused,
                Editing::Resize { .. } => LawId::ResizeRefused,
                _ => return,
            }),
            _ => {}
        }
    }

    /// A refusal that names a busy filter shows its generated name.
    fn learn_name(&mut self, node: crate::graph::NodeId, text: &str) {
        if self.graph.node(node).name.is_none() {
            let name = text.find("#block").and_then(|at| crate::command::reply::generated_name(&text[at..]));
            self.graph.node_mut(node).name = name.map(Into::into);
        }
    }

    fn accepted(&mut self, client: usize, value: &Json<'_>, more: &mut Vec<State>) -> Result<(), Broken> {
        let front = &self.clients[client].pending[0];
        let (command, text) = (front.asked.command.clone(), front.asked.text.clone());
        let Ok(command) = &*command else { return Err(self.not_allowed(client)) };
        let reports = command.asks() || matches!(command, Command::QuerySchema | Command::Other { .. });
        if !reports && *value != Json::Object(Vec::new()) {
            return Err(self.broken(LawId::Reply, format!("{} returned {value} instead of nothing", *text)));
        }
        match command {
            Command::Start(_) => self.start_accepted(client)?,
            Command::Transaction(starts, _) => self.transaction_accepted(client, starts.len())?,
            _ => {
                if front.progress == Progress::Waiting && !self.carry_out(client, more) {
                    return Err(self.not_allowed(client));
                }
            }
        }
        more.retain_mut(|state| state.answered(client, command, value).is_ok());
        self.answered(client, command, value)
    }

    /// The command is over, and what it reported is so, or was so at a moment since it was sent.
    fn answered(&mut self, client: usize, command: &Command, value: &Json<'_>) -> Result<(), Broken> {
        if matches!(command, Command::QuerySchema) {
            self.check_schema(value)?;
        }
        if command.asks() {
            self.note_answers_of(client);
        }
        let front = self.clients[client].pending.pop_front().expect("the caller looked at it");
        let mut verdict = (0, Ok(()));
        // What it was last is the likeliest.
        for answer in front.answers.0.iter().rev() {
            let before = self.marks.0.len();
            let was_so = match (answer, command) {
                (Candidate::Refused(_), _) => continue,
                (Candidate::Jobs(jobs), Command::QueryJobs) => self.check_jobs(jobs, value, false),
                (Candidate::Jobs(jobs), _) => self.check_jobs(jobs, value, true),
                (Candidate::Graph(graph), Command::QueryNodes) => self.check_nodes(graph, value),
                (Candidate::Graph(graph), Command::QueryGraph) => self.check_graph(graph, value),
                (Candidate::Graph(graph), _) => self.check_exports(graph, value),
            };
            // The moment that explains most of it says what is wrong.
            let explained = self.marks.0.len() - before;
            match was_so {
                Ok(()) => return Ok(()),
                Err(broken) if explained > verdict.0 => verdict = (explained, Err(broken)),
                Err(_) => {}
            }
        }
        verdict.1
    }

    /// A success that nothing allows.
    pub(super) fn not_allowed(&self, client: usize) -> Broken {
        let allowed = self.answers_left(client);
        let busy = |answer: &Answer| matches!(answer, Answer::Refused(Refusal::Busy(..)));
        let is_start = matches!(self.clients[client].pending[0].command(), Ok(Command::Start(_)));
        let law = if is_start && allowed.iter().any(busy) { LawId::OverlapRefused } else { LawId::Reply };
        self.broken(law, self.unexpected(client, SUCCESS, &allowed))
    }
}
