//! What an accepted job will do to the graph, as data: what it stands on, what it holds, what it writes; and the edits
//! when it starts and when it ends.

use crate::command::reply::{NameRefusal, Refusal};
use crate::command::starting::{Asked, Start, Sync};
use crate::command::{backup, commit, mirror, stream};
use crate::graph::blocker::Role;
use crate::graph::permission::{Conflict, Party, words};
use crate::graph::{Driver, Graph, JobId, Node, NodeId};
use crate::job::Kind;

/// What an accepted job will do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The node its filter is put above.
    pub under: NodeId,
    /// The driver of its filter.
    pub filter: Driver,
    /// The nodes it holds besides its filter, and as what.
    pub holds: Vec<(NodeId, Role)>,
    /// The roles in which it holds its filter.
    pub holds_filter: Vec<Role>,
    /// The node that is made writable for it.
    pub written: Option<NodeId>,
    /// The lowest node that links it relies on lead to.
    pub frozen_to: Option<NodeId>,
    /// What it moves.
    pub work: Work,
}

/// What a job moves from where to where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Work {
    /// Data of the nodes between moves up into the target.
    Stream(stream::Span),
    /// Data of the nodes above the base moves down into it.
    Commit(commit::Span),
    /// A target becomes what a source is.
    Mirror(mirror::Span),
    /// A target becomes what a source was.
    Backup(backup::Span),
}

/// The kinds of work that meet each other in one chain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum JobType {
    /// `block-stream`
    Stream,
    /// `block-commit` of nodes that nobody writes.
    Commit,
    /// `block-commit` of the active layer.
    ActiveCommit,
    /// `blockdev-mirror`
    Mirror,
    /// `blockdev-backup`
    Backup,
}

impl JobType {
    /// The words in texts.
    pub fn words(self) -> &'static str {
        match self {
            JobType::Stream => "stream",
            JobType::Commit => "commit",
            JobType::ActiveCommit => "active commit",
            JobType::Mirror => "mirror",
            JobType::Backup => "backup",
        }
    }
}

/// Every job type.
pub const JOB_TYPES: [JobType; 5] =
    [JobType::Stream, JobType::Commit, JobType::ActiveCommit, JobType::Mirror, JobType::Backup];

impl Plan {
    /// Which type of job it is.
    pub fn job_type(&self) -> JobType {
        match &self.work {
            Work::Stream(_) => JobType::Stream,
            Work::Commit(span) if span.is_active => JobType::ActiveCommit,
            Work::Commit(_) => JobType::Commit,
            Work::Mirror(_) => JobType::Mirror,
            Work::Backup(_) => JobType::Backup,
        }
    }

    /// Its type, as events name it.
    pub fn kind(&self) -> Kind {
        match &self.work {
            Work::Stream(_) => Kind::Stream,
            Work::Commit(_) => Kind::Commit,
            Work::Mirror(_) => Kind::Mirror,
            Work::Backup(_) => Kind::Backup,
        }
    }

    /// Whether it becomes `ready`, and then waits for an operator.
    pub fn becomes_ready(&self) -> bool {
        matches!(self.job_type(), JobType::ActiveCommit | JobType::Mirror)
    }

    /// Whether its blockers fall when it gives up its filter, not when it is dismissed.
    pub fn releases_early(&self) -> bool {
        !matches!(self.job_type(), JobType::Stream | JobType::Commit)
    }

    /// A backup of nothing runs until it is cancelled.
    pub fn never_ends(&self) -> bool {
        matches!(&self.work, Work::Backup(span) if span.sync == Sync::Nothing)
    }
}

impl JobType {
    /// As texts name it.
    pub fn word(self) -> &'static str {
        match self {
            JobType::Stream => "stream",
            JobType::Commit => "commit",
            JobType::ActiveCommit => "active commit",
            JobType::Mirror => "mirror",
            JobType::Backup => "backup",
        }
    }
}

/// Judges a command that starts a job, in the state of `graph`, up to the moment its job is created.
pub fn plan(graph: &Graph, start: &Start, job_id_in_use: impl Fn(&str) -> bool) -> Result<Plan, Refusal> {
    let in_use: &dyn Fn(&str) -> bool = &job_id_in_use;
    match &start.work {
        Asked::Stream(ends) => stream::plan(graph, start, ends, in_use),
        Asked::Commit(ends, top, top_node) => commit::plan(graph, start, (ends, top, top_node), in_use),
        Asked::Mirror(copy) => mirror::plan(graph, start, copy, in_use),
        Asked::Backup(copy) => backup::plan(graph, start, copy, in_use),
    }
}

/// What comes to light only once the job exists: its speed, its filter's name, and what others do with its nodes.
pub fn late_refusals(graph: &Graph, start: &Start, plan: &Plan, job: JobId) -> Vec<Refusal> {
    if start.speed < 0 {
        return vec![Refusal::NegativeSpeed];
    }
    if plan.job_type() == JobType::Commit {
        if let Some(written) = plan.written.filter(|base| !graph.may_reopen(*base)) {
            let _ = written;
            return vec![Refusal::ReadOnly];
        }
        if let Some(name) = &start.filter_node_name
            && let Err(refusal) = admit_name(graph, name, "")
        {
            return vec![refusal];
        }
    }
    if !graph.may_conflict(plan) {
        return Vec::new();
    }
    let read_only = match &plan.work {
        Work::Mirror(span) if graph.refuses_writers(span.target) => vec![Refusal::ReadOnly],
        _ => Vec::new(),
    };
    let mut after = graph.clone();
    after.start(plan, job, start.filter_node_name.clone());
    let fresh = after.conflicts_beyond(graph);
    let me = (start.kind(), start.job_id.as_str());
    let texts: Vec<String> = fresh
        .iter()
        .flat_map(|conflict| conflict_texts(&after, conflict, |id| (id == job).then_some(me)))
        .collect();
    let lies_deeper = |conflict: &Conflict| match &plan.work {
        Work::Mirror(span) => {
            conflict.needs.child != span.target && graph.reached(span.target).contains(&conflict.needs.child)
        }
        _ => false,
    };
    // A node is looked at before those that it stands on, but the source's come before the target.
    let mut refusals = if fresh.iter().all(lies_deeper) { read_only } else { Vec::new() };
    refusals.extend((!texts.is_empty()).then_some(Refusal::Conflict(texts)));
    refusals
}

/// The texts a permission conflict may have: whether a job must make its base longer, the model does not know of every
/// base.
fn conflict_texts<'a>(
    graph: &Graph,
    conflict: &Conflict,
    jobs: impl Fn(JobId) -> Option<(Kind, &'a str)>,
) -> Vec<String> {
    let text = conflict_text(graph, conflict, jobs);
    let is_open = graph.alive().any(|(_, node)| node.bytes.is_none() && !node.driver.is_filter());
    let longer = text.replacen("permissions 'write' are", "permissions 'write, resize' are", 1);
    if !is_open || longer == text {
        return vec![text];
    }
    // Then a guest that relies on the length may be met first.
    let node = conflict.needs.child;
    let guest = graph.users.iter().find(|user| user.node == node).and_then(|_| {
        let (head, _) = longer.split_once(" and unshared by ")?;
        let head = head.replacen("'write, resize'", "'resize'", 1);
        let name = graph.name(node);
        Some(format!("{head} and unshared by an unnamed block device (uses node '{name}' as 'root' child)."))
    });
    [text, longer].into_iter().chain(guest).collect()
}

/// The text of a permission conflict. `jobs` knows the type and the id of jobs; others are left open.
pub fn conflict_text<'a>(
    graph: &Graph,
    conflict: &Conflict,
    jobs: impl Fn(JobId) -> Option<(Kind, &'a str)>,
) -> String {
    let node = graph.name(conflict.needs.child);
    let party = |edge: &crate::graph::permission::Edge| {
        let who = match edge.parent {
            Party::Node(parent) => format!("node '{}'", graph.name(parent)),
            Party::Job(job) => match jobs(job) {
                Some((kind, id)) => format!("{} job '{id}'", kind.word()),
                None => crate::command::reply::ANYTHING.to_owned(),
            },
            Party::Device => "an unnamed block device".to_owned(),
        };
        format!("{who} (uses node '{node}' as '{}' child)", edge.name)
    };
    format!(
        "Permission conflict on node '{node}': permissions '{}' are both required by {} and unshared by {}.",
        words(conflict.permissions()),
        party(&conflict.needs),
        party(&conflict.keeps),
    )
}

/// Refuses a change of the graph that brings users of a node together who cannot live together.
pub fn admit_change(before: &Graph, after: &Graph, prefix: &str) -> Result<(), Refusal> {
    let fresh = after.conflicts_beyond(before);
    let texts: Vec<String> = fresh
        .into_iter()
        .flat_map(|conflict| conflict_texts(after, &conflict, |_| None))
        .map(|text| format!("{prefix}{text}"))
        .collect();
    if texts.is_empty() { Ok(()) } else { Err(Refusal::Conflict(texts)) }
}

/// Longest node name, in bytes.
const NODE_NAME_MAX: usize = 31;

/// Refuses a node name that is taken or not well formed.
pub fn admit_name(graph: &Graph, name: &str, prefix: &'static str) -> Result<(), Refusal> {
    let why = if !is_well_formed(name) {
        NameRefusal::Invalid(name.to_owned())
    } else if graph.find(name).is_some() {
        NameRefusal::Duplicate(name.to_owned())
    } else if name.len() > NODE_NAME_MAX {
        NameRefusal::TooLong
    } else {
        return Ok(());
    };
    Err(Refusal::Name(why, prefix))
}

/// Refuses a filter's name, if one was given.
pub fn admit_filter(graph: &Graph, start: &Start, prefix: &'static str) -> Result<(), Refusal> {
    start.filter_node_name.as_ref().map_or(Ok(()), |name| admit_name(graph, name, prefix))
}

/// Refuses a job id that is not well formed, or taken.
pub fn admit_job_id(id: &str, in_use: &dyn Fn(&str) -> bool) -> Result<(), Refusal> {
    if !is_well_formed(id) {
        return Err(Refusal::BadJobId(id.to_owned()));
    }
    if in_use(id) {
        return Err(Refusal::JobIdInUse(id.to_owned()));
    }
    Ok(())
}

/// The rule for job ids and node names: a letter, then letters, digits and `-._`.
pub fn is_well_formed(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl Graph {
    /// Whether a read-only node can be reopened for writing: nothing below was opened read-only for good.
    pub fn may_reopen(&self, node: NodeId) -> bool {
        let node = self.node(node);
        !node.read_only || {
            let files = std::iter::successors(node.file, |node| self.node(*node).file);
            files.into_iter().all(|node| !self.node(node).read_only_for_good)
        }
    }

    /// Whether a filter stands on a read-only layer, which is not reopened with it.
    pub fn unwritable_below(&self, node: NodeId) -> bool {
        let layer = self.unfiltered(node).filter(|_| self.is_filter(node));
        layer.is_some_and(|layer| {
            let layer = self.node(layer);
            layer.read_only && !layer.auto_read_only && !layer.may_have_stayed_writable
        })
    }

    /// A quick look whether a job could meet another user's needs at all.
    fn may_conflict(&self, plan: &Plan) -> bool {
        let is_protocol = |id: NodeId| self.node(id).driver == Driver::File;
        let writers = self.users.iter().any(|user| user.writable);
        let exclusive = plan.job_type() != JobType::Stream;
        writers || exclusive || is_protocol(plan.under) || self.frozen_by_others()
    }

    fn frozen_by_others(&self) -> bool {
        self.blockers.iter().any(|b| matches!(b.reason, crate::graph::blocker::Reason::Job(..)))
    }

    /// Accepts a job: puts its filter into the chain and takes the nodes it needs.
    pub fn start(&mut self, plan: &Plan, job: JobId, filter_name: Option<String>) -> NodeId {
        let target = match &plan.work {
            Work::Backup(span) => Some(span.target),
            _ => None,
        };
        let filter = Node { name: filter_name.map(Into::into), target, ..Node::new(plan.filter) };
        let filter = self.insert_filter(plan.under, filter);
        if let Some(written) = plan.written {
            self.node_mut(written).read_only = false;
        }
        self.node_mut(filter).read_only = self.node(plan.under).read_only;
        for role in &plan.holds_filter {
            self.hold(job, filter, *role);
        }
        for (node, role) in &plan.holds {
            self.hold(job, *node, *role);
        }
        if let Some(bottom) = plan.frozen_to {
            self.freeze(job, filter, bottom);
        }
        if let Work::Backup(backup::Span { source, bitmap: Some(bitmap), .. }) = &plan.work {
            self.held_bitmaps.push((job, *source, bitmap.name.clone()));
        }
        filter
    }

    /// The filter goes; everything else stays.
    pub fn abandon(&mut self, plan: &Plan, job: JobId, filter: NodeId) {
        self.unfreeze(job);
        self.held_bitmaps.retain(|(holder, ..)| *holder != job);
        self.release_devices(job);
        self.drop_filter(filter);
        self.node_mut(filter).target = None;
        if plan.releases_early() {
            self.release(job);
        }
    }

    /// A job has succeeded: its filter goes, and the chain becomes what it was for. `pivots` says whether a mirror's
    /// target takes the place of its source.
    pub fn finish(&mut self, plan: &Plan, job: JobId, filter: NodeId, pivots: bool) {
        match &plan.work {
            Work::Stream(span) => {
                self.abandon(plan, job, filter);
                self.finish_stream(span);
            }
            Work::Commit(span) if !span.is_active => {
                self.finish_commit(span, filter);
                self.abandon(plan, job, filter);
            }
            Work::Commit(span) if pivots => self.pivot(plan, (job, filter), plan.under, span.base),
            Work::Mirror(span) if pivots => {
                self.pivot(plan, (job, filter), span.replaces.unwrap_or(plan.under), span.target);
            }
            _ => self.abandon(plan, job, filter),
        }
    }

    /// Everything that stood on `replaced` stands on `target` now.
    fn pivot(&mut self, plan: &Plan, (job, filter): (JobId, NodeId), replaced: NodeId, target: NodeId) {
        let was_read_only = self.node(plan.under).read_only;
        self.abandon(plan, job, filter);
        self.replace_outside(replaced, target);
        self.node_mut(target).read_only = was_read_only;
    }

    /// Moves all that stands on `from` to `to`, except what `to` itself stands on.
    fn replace_outside(&mut self, from: NodeId, to: NodeId) {
        let own = self.reached(to);
        let parents: Vec<NodeId> = self.parents(from).filter(|parent| !own.contains(parent)).collect();
        for parent in parents {
            if self.node(parent).file == Some(from) {
                self.node_mut(parent).file = Some(to);
            }
            if self.node(parent).backing == Some(from) {
                self.set_backing(parent, Some(to));
            }
        }
        for user in self.users.iter_mut().filter(|user| user.node == from) {
            user.node = to;
        }
    }

    /// A node that was read-only is so again, unless somebody has come to write.
    pub fn restore(&mut self, node: NodeId, read_only: bool) {
        self.node_mut(node).read_only = read_only && !self.has_writer(node);
        if read_only && self.node(node).driver == Driver::File {
            // QEMU 10.0 then takes the mode for the operator's own wish and may refuse to reopen what stands above.
            let parents: Vec<NodeId> = self.parents(node).collect();
            for parent in parents {
                self.node_mut(parent).unmodelled = true;
            }
        }
    }
}
