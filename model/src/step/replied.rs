//! Replies: each must be an answer that its command could get, and what it says is learnt.
//!
//! Which answers a command could get while it waited stands with the command (`client`).

use crate::command::Command;
use crate::command::blockdev::is_about_a_name;
use crate::command::editing::Editing;
use crate::command::plan::plan;
use crate::command::reply::{Answer, Refusal, Reply};
use crate::content::Moment;
use crate::graph::{Graph, JobId, NodeId};
use crate::job::Status;
use crate::json::Json;
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::step::client::{Candidate, Pending, Progress, SUCCESS};
use crate::step::state::State;

impl State {
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
            Answer::Refused(refusal) => {
                refusal.class() == class && refusal.is_worded_as(text, self.names(), self.release)
            }
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
        if let Command::Edit(editing) = command {
            self.bitmap_is_followed(editing);
        }
        let mut verdict = (0, Ok(()));
        // What it was last is the likeliest.
        for answer in front.answers.0.iter().rev() {
            let before = self.marks.laws.len();
            let was_so = match (answer, command) {
                (Candidate::Refused(_), _) => continue,
                (Candidate::Jobs(jobs), Command::QueryJobs) => self.check_jobs(jobs, value, false),
                (Candidate::Jobs(jobs), _) => self.check_jobs(jobs, value, true),
                (Candidate::Graph(graph), Command::QueryNodes) => self.check_nodes(graph, value, &front),
                (Candidate::Graph(graph), Command::QueryGraph) => self.check_graph(graph, value),
                (Candidate::Graph(graph), _) => self.check_exports(graph, value),
            };
            // The moment that explains most of it says what is wrong.
            let explained = self.marks.laws.len() - before;
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
