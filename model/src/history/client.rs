//! Commands between their sending and their reply.

use std::collections::VecDeque;

use super::edges::{has_left_behind, with_left_behind};
use super::{Model, Phase};
use crate::blockdev::{deletion, is_about_a_name};
use crate::chain::{Driver, Graph, JobId, NodeId};
use crate::command::Command;
use crate::content::Moment;
use crate::editing::{Editing, Reopen};
use crate::json::Json;
use crate::law::{Broken, LawId};
use crate::permission::{UNCHANGED, WRITE};
use crate::plan::plan;
use crate::record::Known;
use crate::reply::{Answer, Refusal, Reply};
use crate::starting::{Asked, Start};

const DONE: &str = "{\"return\":{}}";

fn done() -> Json<'static> {
    Json::Object(vec![("return".into(), Json::Object(Vec::new()))])
}

/// One connection.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub id: u32,
    negotiated: Known,
    pub pending: VecDeque<Pending>,
}

/// A command without a reply yet.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub command: Result<Command, Refusal>,
    /// The `id` its reply must carry.
    pub echo: Option<String>,
    pub sent: Moment,
    /// Answers that were allowed at some moment since it was sent.
    pub earlier: Vec<Answer>,
    /// Graphs that were real at some moment since: only kept for a query about nodes.
    pub graphs: Vec<crate::chain::Graph>,
    /// An event was explained by it: it must have been accepted, and has taken effect.
    pub taken: bool,
    /// The jobs it created, each with the refusal it must get if that job never ran.
    pub created: Vec<(JobId, Option<Refusal>)>,
    /// Refusals of the same kind that it would get in other graphs that were possible when its job was created.
    pub conflicts: Vec<Refusal>,
}

impl Client {
    /// The command without an answer, for texts.
    pub fn stuck(&self) -> Option<String> {
        let front = self.pending.front()?;
        Some(format!("client {} waits for the reply to {:?}", self.id, front.command))
    }
}

impl Model {
    pub(super) fn sent(&mut self, id: u32, text: &str) {
        let (command, echo) = Command::read(text);
        match &command {
            Ok(Command::Start(start)) => self.may_stay_writable(start),
            Ok(Command::Edit(editing)) => self.image_may_stay_writable(editing),
            _ => {}
        }
        let pending = Pending {
            command,
            echo,
            sent: self.now,
            earlier: Vec::new(),
            graphs: Vec::new(),
            taken: false,
            created: Vec::new(),
            conflicts: Vec::new(),
        };
        let client = match self.clients.iter().position(|client| client.id == id) {
            Some(index) => &mut self.clients[index],
            None => {
                self.clients.push(Client { id, negotiated: Known::Maybe, pending: VecDeque::new() });
                self.clients.last_mut().expect("a client was just pushed")
            }
        };
        client.pending.push_back(pending);
        self.doubt_requests();
    }

    /// A job that is refused late has reopened what it was to write, and a fault may keep that from turning read-only
    /// again.
    fn may_stay_writable(&mut self, start: &Start) {
        if self.faults.is_empty() {
            return;
        }
        let chain: Vec<_> =
            self.graph.find(&start.device).into_iter().flat_map(|top| self.graph.downwards(top)).collect();
        let layers = chain.into_iter().filter(|node| !self.graph.is_filter(*node));
        let written: Vec<_> = match &start.work {
            Asked::Commit(..) => layers.collect(),
            _ => layers.take(1).collect(),
        };
        for node in written {
            let node = self.graph.node_mut(node);
            node.may_have_stayed_writable |= node.read_only;
        }
    }

    /// The same for an image whose header is to be changed.
    fn image_may_stay_writable(&mut self, editing: &Editing) {
        if let Editing::ChangeBackingFile { image, .. } = editing
            && let Some(node) = self.graph.find(image)
            && !self.faults.is_empty()
        {
            let node = self.graph.node_mut(node);
            node.may_have_stayed_writable |= node.read_only;
        }
    }

    /// Collects the answers each waiting command may get now: the state is about to change.
    pub(super) fn remember(&mut self) {
        for index in 0..self.clients.len() {
            let Some(front) = self.clients[index].pending.front() else { continue };
            let is_single = !matches!(front.command, Ok(Command::Transaction(..)));
            if is_single && !front.created.is_empty() || front.taken {
                continue;
            }
            let mut answers = Vec::new();
            self.answers(index, front, &mut answers);
            let graphs = match front.command {
                Ok(Command::QueryNodes | Command::QueryGraph) => {
                    self.graphs().into_iter().map(|(graph, _)| graph).collect()
                }
                _ => Vec::new(),
            };
            let front = self.clients[index].pending.front_mut().expect("it was there a moment ago");
            answers.retain(|answer| !front.earlier.contains(answer));
            front.earlier.append(&mut answers);
            front.graphs.extend(graphs);
        }
    }

    /// The answers a command may get now.
    pub(super) fn answers(&self, client: usize, pending: &Pending, answers: &mut Vec<Answer>) {
        if self.clients[client].negotiated != Known::Yes
            && !matches!(pending.command, Ok(Command::Capabilities))
        {
            answers.push(Answer::Refused(Refusal::NotNegotiated));
        }
        let command = match &pending.command {
            Ok(command) => command,
            Err(refusal) => return answers.push(Answer::Refused(refusal.clone())),
        };
        match command {
            Command::Capabilities => {
                answers.push(Answer::Done);
                answers.push(Answer::Refused(Refusal::AlreadyNegotiated));
            }
            Command::QueryJobs | Command::QueryBlockJobs | Command::QueryNodes | Command::QuerySchema => {
                answers.push(Answer::Told);
            }
            Command::QueryGraph | Command::QueryExports => answers.push(Answer::Told),
            Command::Quit => answers.push(Answer::Done),
            Command::Other { .. } => answers.extend([Answer::Unknown, Answer::AnyError]),
            Command::ThrottleGroup(_) => answers.extend([Answer::Done, Answer::AnyError]),
            Command::Verb(verb) => self.verb_answers(verb, answers),
            Command::Add(_)
            | Command::Delete(_)
            | Command::Start(_)
            | Command::Transaction(..)
            | Command::Edit(_)
            | Command::Export(_) => {
                for (graph, _) in self.graphs() {
                    self.graph_answers(&graph, command, answers);
                }
                if !self.faults.is_empty() {
                    answers.push(Answer::Fault);
                }
            }
        }
    }

    fn graph_answers(&self, graph: &crate::chain::Graph, command: &Command, answers: &mut Vec<Answer>) {
        match command {
            Command::Add(spec) => self.opening().answers(graph, spec, answers),
            Command::Delete(name) => {
                if has_left_behind(graph) {
                    answers.push(deletion(&with_left_behind(graph), name));
                }
                answers.push(deletion(graph, name));
                // Which of two reasons is the younger, a job that ended while another began has left open.
                let reasons = graph.find(name).into_iter().flat_map(|id| {
                    let here = graph.blockers.iter().filter(move |blocker| blocker.node == id);
                    here.map(move |blocker| Answer::Refused(Refusal::Busy(id, blocker.reason)))
                });
                if matches!(answers.last(), Some(Answer::Refused(Refusal::Busy(..)))) {
                    answers.extend(reasons);
                }
            }
            Command::Start(start) => {
                self.start_answers(graph, start, answers);
            }
            Command::Transaction(starts, _) => {
                for start in starts {
                    self.start_answers(graph, start, answers);
                }
                answers.push(Answer::Done);
            }
            Command::Edit(editing) => {
                answers.push(match editing.judge(graph) {
                    Err(refusal) => Answer::Refused(refusal),
                    Ok(_) => Answer::Done,
                });
                self.edit_answers(graph, editing, answers);
            }
            Command::Export(exporting) => {
                answers.push(match exporting.judge(graph) {
                    Err(refusal) => Answer::Refused(refusal),
                    Ok(()) => Answer::Done,
                });
                // Whether a server runs, and what it serves, only its own answers tell.
                answers.push(Answer::ErrorAbout("NBD server"));
                if exporting.is_unsure(graph) {
                    answers.push(Answer::ErrorAbout("read-only"));
                }
            }
            _ => {}
        }
    }

    fn start_answers(&self, graph: &crate::chain::Graph, start: &Start, answers: &mut Vec<Answer>) {
        let in_use = |id: &str| self.find_job(id).is_some();
        // A node over one that injects errors, or over a filter, or over another than its header says, goes by a name in
        // JSON, which no `base` is compared with; in QEMU 10.0 as soon as a query has asked for it.
        if !self.faults.is_empty() {
            answers.push(Answer::ErrorAbout("in the backing chain"));
        }
        if let Asked::Stream(ends) | Asked::Commit(ends, ..) = &start.work
            && let Some(file) = &ends.base
            && graph.alive().any(|(id, _)| graph.is_filter(id) || stands_elsewhere(graph, id))
        {
            answers.push(Answer::Refused(Refusal::NoSuchBase(file.clone())));
        }
        if let Asked::Backup(copy) = &start.work
            && [&start.device, &copy.target].into_iter().any(|name| is_of_unknown_length(graph, name))
        {
            answers.push(Answer::Refused(crate::backup::DIFFERENT_SIZES));
        }
        if let Asked::Backup(copy) = &start.work
            && graph.find(&copy.target).is_some_and(|id| graph.node(id).read_only)
        {
            // A fault may have kept it writable.
            answers.push(Answer::Refused(crate::backup::read_only_target()));
        }
        match plan(graph, start, in_use) {
            Err(refusal) => answers.push(Answer::Refused(refusal)),
            // A job that never runs is created all the same, and its events come first.
            Ok(plan) => {
                if graph.node(plan.under).vague || start.is_vague() {
                    answers.push(Answer::AnyError);
                }
                if has_writer_below(graph) {
                    answers.push(Answer::ErrorAbout("Permission conflict on node"));
                }
                answers.push(Answer::Done);
            }
        }
    }

    /// Beyond what [`Editing::judge`] says: what others' needs forbid.
    fn edit_answers(&self, graph: &crate::chain::Graph, editing: &Editing, answers: &mut Vec<Answer>) {
        match editing {
            Editing::Bitmap { .. } | Editing::ChangeBackingFile { .. } => answers.push(Answer::AnyError),
            Editing::Resize { .. } => {
                answers.push(Answer::ErrorAbout("Permission conflict on node"));
                answers.push(Answer::ErrorAbout("read-only"));
                // An image of the old version has no clusters that read as zeroes over what lies below.
                answers.push(Answer::ErrorAbout("Failed to zero out new clusters"));
            }
            Editing::Reopen(list) => {
                if editing.judge(graph).is_err() {
                    // A link past a commit's filter is frozen, and in conflict with the commit as well.
                    answers.push(Answer::ErrorAbout("Permission conflict on node"));
                }
                if list.iter().any(|options| options.read_only) {
                    // Its bitmaps have to be written first, and there may be no way to do that.
                    answers.push(Answer::ErrorAbout("No write access"));
                }
                for options in list {
                    if let Some(id) = graph.find(&options.name) {
                        answers.extend(reopen_conflicts(graph, id, options));
                    }
                }
            }
            Editing::Snapshot { .. } => {
                // A copy's target is in use, and others write it: which of both is told depends on how far the copy is.
                if editing.judge(graph).is_err() {
                    answers.push(Answer::ErrorAbout("Permission conflict on node"));
                }
            }
            Editing::SnapshotSync { .. } => answers.push(Answer::AnyError),
        }
    }

    pub(super) fn replied(&mut self, id: u32, text: &str) -> Result<(), Broken> {
        // Most replies are this one; it need not be read each time.
        let json = if text == DONE { Some(done()) } else { Json::parse(text) };
        let Some(reply) = json.as_ref().and_then(Reply::read) else {
            return Err(self.broken(LawId::Reply, format!("client {id} got what is no reply: {text}")));
        };
        let Some(client) = self.clients.iter().position(|client| client.id == id) else {
            return Err(
                self.broken(LawId::Reply, format!("client {id} got a reply and asked nothing: {text}"))
            );
        };
        self.remember_others(client);
        let Some(pending) = self.clients[client].pending.pop_front() else {
            return Err(
                self.broken(LawId::Reply, format!("client {id} got a reply and asked nothing: {text}"))
            );
        };
        let echo = json.as_ref().and_then(|json| json.get("id")).map(|id| format!("{id:?}"));
        self.hold(LawId::Reply, echo == pending.echo, |_| {
            format!("client {id} got a reply with id {echo:?}, expected {:?}", pending.echo)
        })?;
        match reply {
            Reply::Return(value) => self.accepted(client, pending, value),
            Reply::Error(class, description) => self.refused(client, pending, class, description),
        }
    }

    /// Other clients' commands see the state from before this reply as well.
    fn remember_others(&mut self, client: usize) {
        let waiting = self.clients.iter().enumerate().any(|(i, c)| i != client && !c.pending.is_empty());
        let changes = self.clients[client].pending.front().is_some_and(|front| {
            matches!(
                front.command,
                Ok(Command::Add(_)
                    | Command::Delete(_)
                    | Command::Verb(_)
                    | Command::Edit(_)
                    | Command::Export(_)
                    | Command::ThrottleGroup(_))
            )
        });
        if waiting && changes {
            self.remember();
        }
    }

    fn refused(&mut self, client: usize, pending: Pending, class: &str, text: &str) -> Result<(), Broken> {
        let mut allowed = Vec::new();
        let pending = self.hand_over(pending);
        if let Ok(Command::Start(start)) = &pending.command {
            self.may_stay_writable(&start.clone());
        }
        match pending.created.iter().find(|(_, late)| late.is_some()).or(pending.created.first()) {
            Some((_, Some(late))) => {
                // Which graph the conflict was met in, if another job was about to change it, nobody saw.
                allowed.push(Answer::Refused(late.clone()));
                allowed.extend(pending.conflicts.iter().cloned().map(Answer::Refused));
            }
            Some((_, None)) if !matches!(pending.command, Ok(Command::Transaction(..))) => {
                allowed.extend(pending.conflicts.iter().cloned().map(Answer::Refused));
            }
            _ if pending.taken => allowed.push(Answer::Done),
            _ => {
                self.answers(client, &pending, &mut allowed);
                allowed.extend_from_slice(&pending.earlier);
            }
        }
        let Some(answer) = allowed.iter().find(|answer| self.is_told(answer, class, text)) else {
            let found = format!("{class}: {text}");
            return Err(self.broken(LawId::Reply, self.unexpected(&pending, &found, &allowed)));
        };
        if let Ok(Command::Edit(editing)) = &pending.command
            && !self.faults.is_empty()
        {
            self.header_change_failed(&editing.clone());
        }
        if let (Answer::Fault, Ok(Command::Edit(editing))) = (answer, &pending.command) {
            self.resize_failed(&editing.clone());
        } else if let Answer::Refused(refusal) = answer {
            let refusal = refusal.clone();
            self.learn_refusal(client, &refusal, text);
            self.count_refusal(&pending, &refusal);
        }
        Ok(())
    }

    fn is_told(&self, answer: &Answer, class: &str, text: &str) -> bool {
        match answer {
            Answer::Done | Answer::Told | Answer::Unknown => false,
            Answer::AnyError => true,
            Answer::ErrorAbout(about) => text.contains(about),
            Answer::Fault => self.faults.iter().any(|fault| text.contains(&fault.error)),
            Answer::Refused(refusal) => refusal.class() == class && refusal.is_told_by(text, self.names()),
        }
    }

    fn learn_refusal(&mut self, client: usize, refusal: &Refusal, text: &str) {
        let goal = match refusal {
            Refusal::NotNegotiated => {
                self.clients[client].negotiated = Known::No;
                return;
            }
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
        if matches!(refusal, Refusal::Busy(_, crate::blocker::Reason::BackingOf(_))) {
            return;
        }
        self.count(goal);
    }

    /// A refusal by a job is a goal of its own for each command.
    fn count_refusal(&mut self, pending: &Pending, refusal: &Refusal) {
        let by_job = matches!(
            refusal,
            Refusal::Busy(_, crate::blocker::Reason::Job(..))
                | Refusal::CannotFreeze(_)
                | Refusal::FrozenLink(..)
        );
        match &pending.command {
            Ok(Command::Start(start)) if by_job || *refusal == Refusal::Plain("Need a root block node") => {
                // What it would have been, had nobody stood in its way.
                let mut idle = self.graph.clone();
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

    /// A refusal that names a busy filter tells its generated name.
    fn learn_name(&mut self, node: crate::chain::NodeId, text: &str) {
        if self.graph.node(node).name.is_none() {
            let name = text.find("#block").and_then(|at| crate::reply::generated_name(&text[at..]));
            self.graph.node_mut(node).name = name.map(str::to_owned);
        }
    }

    pub(super) fn unexpected(&self, pending: &Pending, found: &str, allowed: &[Answer]) -> String {
        let mut expected: Vec<String> = Vec::new();
        for answer in allowed {
            let text = match answer {
                Answer::Done => "success".into(),
                Answer::Told => "an answer".into(),
                Answer::AnyError => "any error".into(),
                Answer::Unknown => "success of unknown effect".into(),
                Answer::ErrorAbout(about) => format!("an error about `{about}`"),
                Answer::Fault => self.faults_text(),
                Answer::Refused(refusal) => format!("{}: {}", refusal.class(), refusal.text(self.names())),
            };
            if !expected.contains(&text) {
                expected.push(text);
            }
        }
        format!("{:?}\nfound    {found}\nexpected {}", pending.command, expected.join("\n      or "))
    }

    fn accepted(&mut self, client: usize, pending: Pending, value: &Json<'_>) -> Result<(), Broken> {
        if !matches!(pending.command, Ok(Command::Capabilities)) {
            self.clients[client].negotiated = Known::Yes;
        }
        let command = match &pending.command {
            Ok(command) => command,
            Err(_) => return Err(self.not_allowed(client, &pending)),
        };
        let query = matches!(
            command,
            Command::QueryJobs
                | Command::QueryBlockJobs
                | Command::QueryNodes
                | Command::QuerySchema
                | Command::QueryGraph
                | Command::QueryExports
                | Command::Other { .. }
        );
        if !query && *value != Json::Object(Vec::new()) {
            return Err(
                self.broken(LawId::Reply, format!("{command:?} returned {value:?} instead of nothing"))
            );
        }
        match command {
            Command::Capabilities => self.clients[client].negotiated = Known::Yes,
            Command::QueryJobs => self.jobs_told(pending.sent, value, false)?,
            Command::QueryBlockJobs => self.jobs_told(pending.sent, value, true)?,
            Command::QueryNodes => self.nodes_told(pending.graphs, value)?,
            Command::QuerySchema => self.schema_told(value)?,
            Command::Quit => self.phase = Phase::Quitting,
            Command::Add(spec) => self.node_added(client, &pending, spec)?,
            Command::Delete(name) => self.node_deleted(client, &pending, name)?,
            Command::QueryGraph => self.graph_told(pending.graphs, value)?,
            Command::QueryExports => self.exports_told(value)?,
            Command::Start(_) => self.start_accepted(client, &pending)?,
            Command::Transaction(starts, _) => self.transaction_accepted(&pending, starts.len())?,
            Command::Edit(editing) => self.edit_accepted(client, &pending, editing)?,
            Command::Export(exporting) => self.export_accepted(client, &pending, exporting)?,
            Command::ThrottleGroup(id) => self.groups.push(id.clone()),
            Command::Verb(verb) => self.verb_accepted(client, &pending, verb)?,
            // Its effect is unknown; what readers see is judged as ever.
            Command::Other { .. } => self.count(LawId::DataHolds),
        }
        Ok(())
    }

    /// A success that no moment since the sending allows.
    pub(super) fn not_allowed(&self, client: usize, pending: &Pending) -> Broken {
        let mut allowed = pending.earlier.clone();
        self.answers(client, pending, &mut allowed);
        let busy = |answer: &Answer| matches!(answer, Answer::Refused(Refusal::Busy(..)));
        let overlap = matches!(pending.command, Ok(Command::Start(_))) && allowed.iter().any(busy);
        let law = if overlap { LawId::OverlapRefused } else { LawId::Reply };
        self.broken(law, self.unexpected(pending, "success", &allowed))
    }
}

/// Whether a layer stands on another file than its header says.
fn stands_elsewhere(graph: &Graph, id: NodeId) -> bool {
    let below = graph.backing_layer(id).and_then(|below| graph.node(below).filename.as_ref());
    graph.node(id).driver == Driver::Qcow2 && graph.node(id).header.as_ref() != below
}

fn is_of_unknown_length(graph: &crate::chain::Graph, name: &str) -> bool {
    graph.find(name).is_some_and(|id| graph.node(id).bytes.is_none())
}

/// The conflicts that other users' needs make of new options.
fn reopen_conflicts(graph: &crate::chain::Graph, id: crate::chain::NodeId, options: &Reopen) -> Vec<Answer> {
    let name = &options.name;
    let mut answers = Vec::new();
    let is_written =
        graph.edges().iter().any(|edge| edge.child == id && edge.needs & (WRITE | UNCHANGED) != 0);
    if options.read_only && is_written {
        let text = ["Read-only block node '", "' cannot support read-write users", ""];
        answers.push(Answer::Refused(Refusal::Paired(text, name.clone(), String::new())));
    }
    if !options.read_only && !graph.may_reopen(id) {
        answers.push(Answer::Refused(Refusal::ReadOnly));
    }
    answers
}

/// Whether a guest may write a node that others stand on: what they need of it is worked out only when they are used.
fn has_writer_below(graph: &crate::chain::Graph) -> bool {
    graph.users.iter().any(|user| user.writable && graph.parents(user.node).next().is_some())
}
