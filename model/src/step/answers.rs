//! What a command may be answered, were it carried out in this state.

use super::edges::{has_left_behind, with_left_behind};
use crate::command::Command;
use crate::command::blockdev::deletion;
use crate::command::editing::{Editing, Reopen};
use crate::command::exporting::Exporting;
use crate::command::plan::plan;
use crate::command::reply::{ANYTHING, Answer, Refusal};
use crate::command::starting::{Asked, Start};
use crate::content::Moment;
use crate::graph::{Driver, Graph, JobId, NodeId};
use crate::rule::Rule;
use crate::step::client::SUCCESS;
use crate::step::state::{EVER, State};

/// What is reported where the needs of two users meet.
const CONFLICT: Answer = Answer::ErrorAbout("Permission conflict on node");

impl State {
    /// The answers the oldest command of a client may get if it takes effect now.
    pub(super) fn answers(&self, client: usize) -> Vec<Answer> {
        let mut answers = Vec::new();
        let command = self.clients[client].pending[0].command();
        if !self.clients[client].negotiated && !matches!(command, Ok(Command::Capabilities)) {
            answers.push(Answer::Refused(Refusal::NotNegotiated));
            answers.extend(command.as_ref().err().cloned().map(Answer::Refused));
            return answers;
        }
        match command {
            Err(refusal) => answers.push(Answer::Refused(refusal.clone())),
            Ok(command) => self.answers_to(client, command, &mut answers),
        }
        answers
    }

    fn answers_to(&self, client: usize, command: &Command, answers: &mut Vec<Answer>) {
        match command {
            Command::Capabilities => answers.push(match self.clients[client].negotiated {
                false => Answer::Done,
                true => Answer::Refused(Refusal::AlreadyNegotiated),
            }),
            Command::QueryNodes => {
                answers.push(Answer::Report);
                if self.is_struck_since(EVER) && self.images.iter().any(|image| image.bitmaps) {
                    let error = Answer::ErrorAbout("Failed to read bitmap directory");
                    self.perhaps(Rule::QueryMeetsFault, error, answers);
                }
            }
            Command::QueryJobs | Command::QueryBlockJobs | Command::QuerySchema => {
                answers.push(Answer::Report)
            }
            Command::QueryGraph | Command::QueryExports => answers.push(Answer::Report),
            Command::Quit => answers.push(Answer::Done),
            Command::Other { .. } => {
                answers.push(Answer::Unknown);
                self.perhaps(Rule::UnknownRefused, Answer::AnyError, answers);
            }
            Command::ThrottleGroup(_) => {
                answers.push(Answer::Done);
                self.perhaps(Rule::ThrottleGroupRefused, Answer::AnyError, answers);
            }
            Command::Verb(verb) => self.verb_answers(verb, answers),
            Command::Add(_)
            | Command::Delete(_)
            | Command::Start(_)
            | Command::Transaction(..)
            | Command::Edit(_)
            | Command::Export(_) => {
                self.graph_answers(&self.graph, command, answers);
                if self.is_struck_since(self.clients[client].pending[0].sent) {
                    self.perhaps(Rule::CommandMeetsFault, Answer::Fault, answers);
                    // What a format met when it became read-only, QEMU does not say.
                    if matches!(command, Command::Edit(editing) if matches!(**editing, Editing::Reopen(_))) {
                        let error = Answer::ErrorAbout("failed while preparing to reopen image");
                        self.perhaps(Rule::CommandMeetsFault, error, answers);
                    }
                }
                // In which threads nodes are, and who lets them go elsewhere, the model does not follow.
                if self.is_threaded || command.is_threaded() {
                    self.perhaps(Rule::ThreadRefused, Answer::ErrorAbout("iothread"), answers);
                }
                answers.extend(self.answers_of_quirks());
            }
        }
    }

    fn graph_answers(&self, graph: &Graph, command: &Command, answers: &mut Vec<Answer>) {
        match command {
            Command::Add(spec) => self.opening().answers(graph, spec, answers),
            Command::Delete(name) => {
                if has_left_behind(graph) {
                    answers.push(deletion(&with_left_behind(graph), name));
                }
                answers.push(deletion(graph, name));
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
                // Whether a server runs, and what it serves, only its own answers show.
                self.perhaps(Rule::ServerRefuses, Answer::ErrorAbout("NBD server"), answers);
                // A job that makes its base longer keeps others out, if an earlier one has not done so before it failed.
                if let Exporting::Add { node, .. } = &**exporting
                    && is_of_unknown_length(graph, node)
                    && self.writers_of(graph, node).next().is_some()
                {
                    self.perhaps(Rule::UnknownLengthNeeds, CONFLICT, answers);
                }
                if matches!(**exporting, Exporting::Add { has_bitmaps: true, .. }) {
                    self.perhaps(Rule::BitmapRefused, Answer::AnyError, answers);
                }
                // A job that has made it writable may end while the export comes up.
                let becomes_read_only = matches!(&**exporting, Exporting::Add { node, writable: true, .. }
                    if self.writers_of(graph, node).any(|id| self.job(id).read_only_before));
                if becomes_read_only || exporting.may_be_read_only(graph) {
                    self.perhaps(Rule::ExportStillReadOnly, Answer::ErrorAbout("read-only"), answers);
                }
            }
            _ => {}
        }
    }

    /// The jobs that write a node of this name.
    fn writers_of(&self, graph: &Graph, name: &str) -> impl Iterator<Item = JobId> {
        let node = graph.find(name);
        self.live_jobs().filter(move |id| node.is_some() && self.job(*id).plan.written == node)
    }

    /// A command, what it was answered, and the answers that it may get.
    pub(super) fn unexpected(&self, client: usize, found: &str, allowed: &[Answer]) -> String {
        let front = &self.clients[client].pending[0];
        let is_error = found != SUCCESS;
        let matters = |answer: &&Answer| self.matters(answer, is_error, front.sent);
        let mut worth_listing: Vec<&Answer> = allowed.iter().filter(matters).collect();
        if worth_listing.is_empty() {
            worth_listing = allowed.iter().collect();
        }
        let mut expected: Vec<String> = Vec::new();
        for answer in worth_listing {
            let text = self.answer_text(answer, front.sent);
            if !expected.contains(&text) {
                expected.push(text);
            }
        }
        format!("{}\nfound    {found}\nexpected {}", *front.asked.text, expected.join("\n      or "))
    }

    /// Whether an answer is worth listing beside the one that was found. What excuses an error matters only where there was
    /// one, and a fault only once it has struck.
    fn matters(&self, answer: &Answer, is_error: bool, sent: Moment) -> bool {
        match answer {
            Answer::AnyError | Answer::ErrorAbout(_) => is_error,
            Answer::Fault => is_error && self.is_struck_since(sent),
            Answer::Done | Answer::Report | Answer::Unknown | Answer::Refused(_) => true,
        }
    }

    fn answer_text(&self, answer: &Answer, sent: Moment) -> String {
        match answer {
            Answer::Done => SUCCESS.into(),
            Answer::Report => "an answer".into(),
            Answer::AnyError => "any error".into(),
            Answer::Unknown => "success of unknown effect".into(),
            Answer::ErrorAbout(about) => format!("an error about `{about}`"),
            Answer::Fault => format!("the error of a fault: {}", self.faults_text(sent)),
            Answer::Refused(refusal) => {
                let text = refusal.text(self.names()).replace(ANYTHING, "...");
                format!("{}: {text}", refusal.class())
            }
        }
    }

    /// An answer that a rule allows.
    pub(super) fn perhaps(&self, rule: Rule, answer: Answer, answers: &mut Vec<Answer>) {
        if self.allows(rule) {
            answers.push(answer);
        }
    }

    fn start_answers(&self, graph: &Graph, start: &Start, answers: &mut Vec<Answer>) {
        let in_use = |id: &str| self.find_job(id).is_some();
        if has_left_behind(graph)
            && let Err(refusal) = plan(&with_left_behind(graph), start, in_use)
        {
            answers.push(Answer::Refused(refusal));
        }
        // A node over one that injects errors, or over a filter, or over another than its header says, goes by a name in
        // JSON, which no `base` is compared with; in QEMU 10.0 as soon as a query has asked for it.
        if self.is_struck_since(EVER) {
            let error = Answer::ErrorAbout("in the backing chain");
            self.perhaps(Rule::ChainOfFaultyNodes, error, answers);
        }
        if let Asked::Stream(ends) | Asked::Commit(ends, ..) = &start.work
            && let Some(file) = &ends.base
            && graph.alive().any(|(id, _)| graph.is_filter(id) || stands_elsewhere(graph, id))
        {
            let refused = Answer::Refused(Refusal::NoSuchBase(file.clone()));
            self.perhaps(Rule::BaseByAnotherName, refused, answers);
        }
        if let Asked::Backup(copy) = &start.work
            && [&start.device, &copy.target].into_iter().any(|name| is_of_unknown_length(graph, name))
        {
            let refused = Answer::Refused(crate::command::backup::DIFFERENT_SIZES);
            self.perhaps(Rule::BackupOfUnknownLength, refused, answers);
        }
        if let Asked::Backup(copy) = &start.work
            && graph.find(&copy.target).is_some_and(|id| graph.node(id).read_only)
        {
            // A fault may have kept it writable.
            let refused = Answer::Refused(crate::command::backup::read_only_target());
            self.perhaps(Rule::BackupTargetReadOnly, refused, answers);
        }
        if let Asked::Backup(copy) = &start.work
            && copy.bitmap.is_some()
        {
            // It may not be there, or not be known, or somebody else may hold it.
            self.perhaps(Rule::BitmapRefused, Answer::ErrorAbout("Bitmap '"), answers);
        }
        match plan(graph, start, in_use) {
            Err(refusal) => {
                let is_frozen = matches!(refusal, Refusal::CannotFreeze(_));
                answers.push(Answer::Refused(refusal));
                if is_frozen && let Err(other) = plan(&self.with_kept_writable(graph), start, in_use) {
                    answers.push(Answer::Refused(other));
                }
            }
            // A job that never runs is created all the same, and its events come first.
            Ok(plan) => {
                if graph.node(plan.under).unmodelled || start.is_unmodelled() {
                    self.perhaps(Rule::UnmodelledStart, Answer::AnyError, answers);
                }
                answers.push(Answer::Done);
            }
        }
    }

    /// Beyond what [`Editing::judge`] says: what others' needs forbid.
    fn edit_answers(&self, graph: &Graph, editing: &Editing, answers: &mut Vec<Answer>) {
        match editing {
            Editing::Threshold { .. } => {}
            Editing::Bitmap { .. } => self.perhaps(Rule::BitmapRefused, Answer::AnyError, answers),
            Editing::ChangeBackingFile { .. } => {
                self.perhaps(Rule::HeaderChangeRefused, Answer::AnyError, answers);
            }
            Editing::Resize { .. } => {
                self.perhaps(Rule::ResizeConflict, CONFLICT, answers);
                self.perhaps(Rule::ResizeReadOnly, Answer::ErrorAbout("read-only"), answers);
                // An image of the old version has no clusters that read as zeroes over what lies below.
                let error = Answer::ErrorAbout("Failed to zero out new clusters");
                self.perhaps(Rule::ResizeZeroes, error, answers);
                // Nor may its length change beside internal snapshots, of which the model knows nothing.
                let error = Answer::ErrorAbout("a v2 image which has snapshots");
                self.perhaps(Rule::ResizeZeroes, error, answers);
            }
            Editing::Reopen(list) => {
                if editing.judge(graph).is_err() {
                    // A link past a commit's named filter: where somebody reads through it, QEMU reports the conflict with
                    // the commit. Where nobody does, it dies.
                    self.perhaps(Rule::ReopenFrozen, CONFLICT, answers);
                }
                if list.iter().any(|options| options.read_only) {
                    // Its bitmaps have to be written first, and there may be no way to do that.
                    self.perhaps(Rule::ReopenBitmaps, Answer::ErrorAbout("No write access"), answers);
                }
                for options in list {
                    if let Some(id) = graph.find(&options.name)
                        && self.allows(Rule::ReopenConflict)
                    {
                        answers.extend(reopen_conflicts(graph, id, options));
                    }
                }
            }
            Editing::Snapshot { node, overlay } => {
                // Read-only for those who write to the node, unless a fault has kept it from that.
                let overlay = graph.find(overlay).map(|id| graph.node(id));
                let may_be = overlay.is_some_and(|node| node.read_only && node.may_have_stayed_writable);
                if may_be && graph.find(node).is_some_and(|node| graph.has_writer(node)) {
                    answers.push(Answer::Refused(Refusal::ReadOnly));
                }
            }
            Editing::SnapshotSync { .. } => {
                self.perhaps(Rule::SnapshotSyncRefused, Answer::AnyError, answers);
            }
        }
    }
}

/// Whether a layer stands on another file than its header says.
fn stands_elsewhere(graph: &Graph, id: NodeId) -> bool {
    let below = graph.backing_layer(id).and_then(|below| graph.node(below).filename.as_ref());
    graph.node(id).driver == Driver::Qcow2 && graph.node(id).header.as_ref() != below
}

fn is_of_unknown_length(graph: &Graph, name: &str) -> bool {
    graph.find(name).is_some_and(|id| graph.node(id).bytes.is_none())
}

/// The conflicts that other users' needs make of new options.
fn reopen_conflicts(graph: &Graph, id: NodeId, options: &Reopen) -> Vec<Answer> {
    let name = &options.name;
    let mut answers = Vec::new();
    if options.read_only && graph.has_writer(id) {
        let text = ["Read-only block node '", "' cannot support read-write users", ""];
        answers.push(Answer::Refused(Refusal::Paired(text, name.clone(), String::new())));
    }
    // A file that came with its node has its mode; where that is left out, the file keeps the one it has.
    let node = graph.node(id);
    let keeps_mode = |file: NodeId| !options.is_mode_given && !graph.node(file).by_monitor;
    let stays_closed = node.read_only && node.file.is_some_and(keeps_mode);
    if !options.read_only && (!graph.may_reopen(id) || stays_closed) {
        answers.push(Answer::Refused(Refusal::ReadOnly));
    }
    // Whoever uses the file of an image lets nobody change its length.
    let is_used = |file: &NodeId| graph.users.iter().any(|user| user.node == *file);
    let below = |file: &NodeId| graph.node(*file).file;
    if !options.read_only && std::iter::successors(node.file, below).any(|file| is_used(&file)) {
        answers.push(CONFLICT);
    }
    answers
}
