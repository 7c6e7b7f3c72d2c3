//! A job's beginning and success, and the nodes that come and go by command.

use super::client::{Pending, Progress};
use super::edges::{has_left_behind, with_left_behind};
use crate::command::Command;
use crate::command::blockdev::{NodeSpec, deletion};
use crate::command::plan::{JobType, Plan, Work, late_refusals, plan};
use crate::command::record::Job;
use crate::command::reply::{Answer, Refusal};
use crate::command::starting::{Asked, Start, Sync};
use crate::content::{Moment, SECTOR_BYTES};
use crate::graph::{Driver, Graph, ImageId, JobId, NodeId};
use crate::job::Status;
use crate::law::{Broken, LawId};
use crate::rule::Rule;
use crate::shared::Shared;
use crate::step::state::{Phase, State};

/// One way in which a job may have been created.
struct Creation {
    /// Whose command it was.
    client: usize,
    start: Start,
    plan: Plan,
    /// The transaction that it ends with.
    group: Option<u16>,
    /// What its command must be refused with: any of these.
    late: Vec<Refusal>,
}

impl State {
    /// `created`: the first sign of a command that has not been answered yet. Where several commands may have created it,
    /// or it may be doomed or not, each is a state of its own.
    pub(super) fn created(&mut self, name: &str, more: &mut Vec<State>) -> Result<(), Broken> {
        if let Some(id) = self.find_job(name) {
            let status = self.job(id).status.word();
            return Err(self.broken(LawId::StatusTable, format!("job {name} was created again in {status}")));
        }
        if self.is_foreign(name) {
            self.unmodelled.push((name.to_owned(), Status::Created));
            return Ok(());
        }
        let asked = |index: &usize| {
            let front = self.clients[*index].pending.front();
            front.is_some_and(|front| next_start(front, name).is_some())
        };
        let mut askers: Vec<usize> = (0..self.clients.len()).filter(asked).collect();
        askers.truncate(if self.allows(Rule::EitherAskerCreates) { askers.len() } else { 1 });
        let Some(last) = askers.last() else {
            let what = format!("job {name} was created and nobody asked for it");
            return Err(self.broken(LawId::EventOrder, what));
        };
        let ways: Vec<Creation> = askers.iter().flat_map(|client| self.created_for(*client, name)).collect();
        let mut ways = ways.into_iter();
        let Some(first) = ways.next() else {
            let front = &self.clients[*last].pending[0];
            let start = next_start(front, name).map(|(start, _)| start.clone());
            if start.is_some_and(|start| self.mirrors_into_own_chain(&start)) {
                return Ok(());
            }
            return Err(self.not_allowed(*last));
        };
        for way in ways {
            let mut other = self.clone();
            other.create(way);
            more.push(other);
        }
        self.create(first);
        Ok(())
    }

    /// The ways in which a client's command may have created a job of that name.
    fn created_for(&self, client: usize, name: &str) -> Vec<Creation> {
        let front = &self.clients[client].pending[0];
        let Some((start, is_grouped)) = next_start(front, name) else { return Vec::new() };
        let is_taken = |id: &str| self.find_job(id).is_some();
        let planned = plan(&self.graph, start, is_taken).or_else(|refusal| match refusal {
            Refusal::CannotFreeze(_) => plan(&self.with_kept_writable(&self.graph), start, is_taken),
            other => Err(other),
        });
        let Ok(plan) = planned else { return Vec::new() };
        let id = self.next_job();
        let first = front.created.first().map_or(id, |first| *first);
        let late = late_refusals(&self.graph, start, &plan, id);
        let mut by_chance = self.refusals_by_chance(start, &plan);
        if has_left_behind(&self.graph) {
            by_chance.extend(late_refusals(&with_left_behind(&self.graph), start, &plan, id));
        }
        let group = is_grouped.then_some(first.0);
        let with = |late| Creation { client, start: start.clone(), plan: plan.clone(), group, late };
        match (late.is_empty(), by_chance.is_empty()) {
            (true, true) => vec![with(late)],
            (true, false) => vec![with(late), with(by_chance)],
            (false, _) => vec![with([late, by_chance].concat())],
        }
    }

    /// The graph in which every node is writable that a fault may have kept so.
    pub(super) fn with_kept_writable(&self, graph: &Graph) -> Graph {
        let mut graph = graph.clone();
        let kept: Vec<NodeId> =
            graph.alive().filter(|(_, node)| node.may_have_stayed_writable).map(|(id, _)| id).collect();
        for node in kept.into_iter().filter(|_| self.allows(Rule::KeptWritable)) {
            graph.node_mut(node).read_only = false;
        }
        graph
    }

    /// Whether a command beyond the model waits for its reply and would start a job of that name.
    fn is_foreign(&self, name: &str) -> bool {
        let asks = |front: &Pending| matches!(front.command(), Ok(Command::Other { job: Some(job), .. }) if job == name);
        self.fronts().any(asks)
    }

    /// A job that was created while others stood in its way finds it free.
    pub(crate) fn job_finds_its_way_free(&self, id: JobId) -> Option<State> {
        let job = self.job(id);
        let of = |front: &&Pending| front.created.contains(&id);
        let front = self.fronts().find(of)?;
        let Ok(Command::Start(start)) = front.command() else { return None };
        let mut before = self.graph.clone();
        before.abandon(&job.plan, id, job.filter);
        before.release(id);
        before.collect();
        if let Some(written) = job.plan.written {
            before.node_mut(written).read_only = job.read_only_before;
        }
        if !late_refusals(&before, start, &job.plan, id).is_empty() {
            return None;
        }
        let mut state = self.clone();
        state.job_mut(id).late.clear();
        state.started(id, start);
        Some(state)
    }

    /// What a start may be refused for because of what the model cannot know.
    fn refusals_by_chance(&self, start: &Start, plan: &Plan) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.left_read_only() && plan.written.is_some() {
            refusals.push(Refusal::ReadOnly);
        }
        if let Work::Mirror(span) = &plan.work {
            let target = self.graph.node(span.target);
            let is_possibly_writable = target.read_only && target.may_have_stayed_writable;
            if is_possibly_writable && self.allows(Rule::MirrorTargetReadOnly) {
                refusals.push(Refusal::ReadOnly);
            }
        }
        if let Work::Commit(span) = &plan.work
            && self.allows(Rule::CommitOfUnknownLength)
            && [span.base, span.top].into_iter().any(|node| self.graph.node(node).bytes.is_none())
        {
            // Whether it is as short as it was before somebody made it longer and failed.
            let mut short = self.graph.clone();
            short.node_mut(span.base).bytes = Some(0);
            short.node_mut(span.top).bytes = Some(SECTOR_BYTES);
            if let Ok(plan) = crate::command::plan::plan(&short, start, |_| false) {
                refusals.extend(late_refusals(&short, start, &plan, self.next_job()));
            }
        }
        refusals
    }

    fn next_job(&self) -> JobId {
        JobId(u16::try_from(self.jobs.len()).expect("a run starts fewer than 65,536 jobs"))
    }

    fn create(&mut self, creation: Creation) {
        let Creation { client, start, plan, group, late } = creation;
        let id = self.next_job();
        self.count(LawId::OverlapRefused);
        self.meet_others(&plan);
        self.enter(id, &start, plan, self.clients[client].pending[0].sent);
        self.clients[client].pending[0].created.push(id);
        if late.is_empty() {
            self.started(id, &start);
        }
        let job = self.job_mut(id);
        (job.late, job.group) = (late, group);
        assert_eq!(self.graph.malformed(), None, "after job {} was created", start.job_id);
    }

    /// Puts a job into the graph and the records.
    fn enter(&mut self, id: JobId, start: &Start, plan: Plan, since: Moment) {
        let read_only_before = plan.written.is_some_and(|written| self.graph.node(written).read_only);
        let len_bytes = self.length_of_work(&plan);
        let cannot_fit = self.is_too_long_for_its_target(&plan);
        let may_not_grow = self.grows_over_a_longer_layer(&plan);
        self.copy_may_corrupt(&plan);
        let filter = self.graph.start(&plan, id, start.filter_node_name.clone());
        let mut job = Job::new(start, since, plan, filter);
        job.read_only_before = read_only_before;
        job.len_bytes = len_bytes;
        job.cannot_fit = cannot_fit;
        job.may_not_grow = may_not_grow;
        self.jobs.push(Shared::from(job));
    }

    /// How much a job says it has to do, where that does not depend on what it finds.
    fn length_of_work(&self, plan: &Plan) -> Option<u64> {
        let of = match &plan.work {
            Work::Stream(span) => span.target,
            Work::Commit(span) if !span.is_active => span.top,
            Work::Backup(span) if span.sync == Sync::Full => span.source,
            _ => return None,
        };
        let bytes = self.graph.node(of).bytes?;
        self.layer_of(&self.graph, of).map(|_| bytes)
    }

    fn is_too_long_for_its_target(&self, plan: &Plan) -> bool {
        let Work::Mirror(span) = &plan.work else { return false };
        let bytes = |node: NodeId| self.graph.node(node).bytes;
        bytes(span.source) != bytes(span.target)
    }

    /// Whether a base is made longer, and what lies below it would show: it needs clusters that read as zeroes.
    fn grows_over_a_longer_layer(&self, plan: &Plan) -> bool {
        let Work::Commit(span) = &plan.work else { return false };
        let Some(base) = self.graph.unfiltered(span.base) else { return false };
        let bytes = |node: NodeId| self.graph.node(node).bytes.unwrap_or(u64::MAX);
        let is_longer = |node: NodeId| self.graph.node(base).bytes.is_none_or(|base| base < bytes(node));
        let below = self.graph.backing_layer(base);
        self.graph.node(base).driver == Driver::Qcow2 && is_longer(span.top) && below.is_some_and(is_longer)
    }

    fn started(&mut self, id: JobId, start: &Start) {
        if let Asked::Stream(ends) = &start.work {
            let base = [
                (ends.base.is_some(), LawId::StreamWithBase),
                (ends.base_node.is_some(), LawId::StreamWithBaseNode),
                (ends.bottom.is_some(), LawId::StreamWithBottom),
            ];
            let goal = base.into_iter().find(|(given, _)| *given);
            self.count(goal.map_or(LawId::StreamWithoutBase, |(_, goal)| goal));
        }
        if self.job(id).read_only_before {
            self.count(LawId::ReadOnlyTarget);
        }
        self.copy_starts(id);
        self.bitmap_is_held(id);
        if self.job(id).plan.job_type() == JobType::Stream && self.shares_a_chain(id) {
            self.count(LawId::TwoStreamsOneChain);
        }
    }

    fn shares_a_chain(&self, id: JobId) -> bool {
        let chain = |id: JobId| self.graph.downwards(self.job(id).filter).collect::<Vec<_>>();
        let under = self.job(id).plan.under;
        let others = self.live_jobs().filter(|other| {
            let job = self.job(*other);
            *other != id && job.is_at_work() && job.plan.job_type() == JobType::Stream
        });
        others
            .into_iter()
            .any(|other| chain(other).contains(&under) || chain(id).contains(&self.job(other).plan.under))
    }

    pub(super) fn layers(&self, nodes: &[NodeId]) -> Vec<ImageId> {
        let layers = nodes.iter().filter(|node| !self.graph.is_filter(**node));
        layers.filter_map(|node| self.layer_of(&self.graph, *node)).collect()
    }

    /// Whether a job may go from `created` to `null`: only if its command must be refused late.
    pub(super) fn may_fail_at_start(&self, id: JobId) -> bool {
        // What it is to write may not be opened for writing.
        let is_struck = self.is_struck_since(self.job(id).since);
        self.job(id).is_doomed() || self.phase == Phase::Quitting || is_struck || self.left_read_only()
    }

    /// A command that starts a job returned: its job must have shown itself, and run.
    pub(super) fn start_accepted(&mut self, client: usize) -> Result<(), Broken> {
        let Some(&id) = self.clients[client].pending[0].created.first() else {
            if self.answers(client).contains(&Answer::Done) {
                let what = "the command returned before its job's `created`";
                return Err(self.broken(LawId::EventOrder, what));
            }
            return Err(self.not_allowed(client));
        };
        let job = self.job(id);
        if job.is_doomed() {
            return Err(self.not_allowed(client));
        }
        if job.status == Status::Created {
            let what = format!("the command returned before job {} ran", job.id);
            return Err(self.broken(LawId::EventOrder, what));
        }
        self.accepted_beside_others(id);
        Ok(())
    }

    /// A job that must be refused does not run.
    pub(super) fn may_run(&self, id: JobId) -> Result<(), Broken> {
        let asks = |front: &Pending| front.created.contains(&id);
        let asker = self.clients.iter().position(|client| client.pending.front().is_some_and(asks));
        match asker {
            Some(client) if self.job(id).is_doomed() => Err(self.not_allowed(client)),
            _ => Ok(()),
        }
    }

    /// A transaction returned: all its jobs run.
    pub(super) fn transaction_accepted(&mut self, client: usize, jobs: usize) -> Result<(), Broken> {
        let created = &self.clients[client].pending[0].created;
        let idle = created.iter().find(|id| self.job(**id).status == Status::Created);
        let (count, idle) = (created.len(), idle.map(|id| self.job(*id).id.clone()));
        self.hold(LawId::EventOrder, count == jobs && idle.is_none(), |_| {
            let idle = idle.map(|job| format!(", of which {job} does not run")).unwrap_or_default();
            format!("a transaction of {jobs} jobs returned with {count}{idle}")
        })
    }

    /// `blockdev-add`; false if it must be refused.
    pub(super) fn add_node(&mut self, spec: &NodeSpec) -> bool {
        if spec.name.is_none() {
            return false;
        }
        let mut graph = self.graph.clone();
        let Ok(id) = self.opening().open(&mut graph, spec, None) else { return false };
        self.graph = graph;
        self.compose(id);
        assert_eq!(self.graph.malformed(), None, "after a node was added");
        true
    }

    /// A node just opened shows its image over the layers it was opened with.
    pub(super) fn compose(&mut self, top: NodeId) {
        let mut chain: Vec<NodeId> =
            std::iter::successors(self.graph.unfiltered(top), |node| self.graph.backing_layer(*node))
                .collect();
        chain.reverse();
        for node in chain {
            if self.graph.node(node).driver != Driver::Qcow2 {
                continue;
            }
            let Some(image) = self.layer_of(&self.graph, node) else { continue };
            let below = self.graph.backing_layer(node).and_then(|below| self.layer_of(&self.graph, below));
            self.views.compose(image, below);
        }
    }

    /// `blockdev-del`; false if it must be refused.
    pub(super) fn delete_node(&mut self, name: &str) -> bool {
        let Some(id) = self.graph.find(name).filter(|_| deletion(&self.graph, name) == Answer::Done) else {
            return false;
        };
        self.graph.node_mut(id).by_monitor = false;
        self.graph.collect();
        self.count(LawId::DroppedGone);
        if self.live_jobs().next().is_some() {
            self.count(LawId::NodeDeleted);
        }
        true
    }
}

/// The next job of that name which a waiting command would create, and whether it belongs to a group.
fn next_start<'a>(front: &'a Pending, name: &str) -> Option<(&'a Start, bool)> {
    if front.progress != Progress::Waiting {
        return None;
    }
    match front.command() {
        Ok(Command::Start(start)) if front.created.is_empty() => Some((&**start, false)),
        Ok(Command::Transaction(starts, grouped)) => {
            starts.get(front.created.len()).map(|start| (start, *grouped))
        }
        _ => None,
    }
    .filter(|(start, _)| start.job_id == name)
}
