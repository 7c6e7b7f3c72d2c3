//! A job's beginning and success, and the nodes that come and go by command.

use super::client::Pending;
use super::edges::{has_left_behind, with_left_behind};
use super::{Model, Phase};
use crate::blockdev::{NodeSpec, deletion};
use crate::chain::{Driver, Graph, ImageId, JobId, NodeId};
use crate::command::Command;
use crate::content::SECTOR_BYTES;
use crate::job::Status;
use crate::law::{Broken, LawId};
use crate::plan::{Plan, Trade, Work, late_refusals, plan};
use crate::record::{Edit, Job};
use crate::reply::{Answer, Refusal};
use crate::starting::{Asked, Start, Sync};

impl Model {
    /// `created`: the first sign of a command that has not been answered yet.
    pub(super) fn created(&mut self, name: &str) -> Result<(), Broken> {
        if let Some(id) = self.find_job(name) {
            let status = self.job(id).status.word();
            return Err(self.broken(LawId::StatusTable, format!("job {name} was created again in {status}")));
        }
        if self.is_foreign(name) {
            self.strangers.push((name.to_owned(), Status::Created));
            return Ok(());
        }
        let mut refused = None;
        // Commands take turns: of two that ask for the same, the older one is served first.
        let mut by_age: Vec<usize> = (0..self.clients.len()).collect();
        by_age.sort_by_key(|index| self.clients[*index].pending.front().map(|front| front.sent));
        for index in by_age {
            let Some(front) = self.clients[index].pending.front() else { continue };
            let Some((start, group)) = next_start(front, name) else { continue };
            let start = start.clone();
            let group = group.then(|| front.created.first().map(|(id, _)| id.0));
            let job = self.next_job();
            let late = |graph: &Graph| {
                let plan = plan(graph, &start, |id| self.find_job(id).is_some()).ok()?;
                Some(late_refusals(graph, &start, &plan, job))
            };
            let mut conflicts: Vec<Refusal> =
                self.graphs().iter().filter_map(|(graph, _)| late(graph)).flatten().collect();
            if has_left_behind(&self.graph) {
                conflicts.extend(late(&with_left_behind(&self.graph)).into_iter().flatten());
            }
            conflicts.extend(self.refusals_by_chance(&start));
            self.clients[index].pending[0].conflicts = conflicts;
            match self.settle(|model, graph| plan(graph, &start, |id| model.find_job(id).is_some()).ok()) {
                Some(plan) => {
                    self.start(index, &start, plan);
                    if let Some(first) = group {
                        self.job_mut(job).group = Some(first.unwrap_or(job.0));
                    }
                    return Ok(());
                }
                None => refused = Some(index),
            }
        }
        match refused {
            Some(index) => {
                let front = self.clients[index].pending[0].clone();
                Err(self.not_allowed(index, &front))
            }
            None => {
                Err(self.broken(LawId::EventOrder, format!("job {name} was created and nobody asked for it")))
            }
        }
    }

    /// Whether a command beyond the model waits for its reply and would start a job of that name.
    fn is_foreign(&self, name: &str) -> bool {
        let asks = |front: &Pending| matches!(&front.command, Ok(Command::Other { job: Some(job), .. }) if job == name);
        self.clients.iter().filter_map(|client| client.pending.front()).any(asks)
    }

    /// A guest has left: a job that was created while the guest stood in its way may have found the way free.
    pub(super) fn conflicts_may_be_over(&mut self) {
        for client in 0..self.clients.len() {
            let Some(front) = self.clients[client].pending.front_mut() else { continue };
            let Some((id, Some(late @ Refusal::Conflict(_)))) = front.created.first().cloned() else {
                continue;
            };
            let Ok(Command::Start(start)) = &front.command else { continue };
            let start = start.clone();
            if self.job(id).status != Status::Created {
                continue;
            }
            let front = self.clients[client].pending.front_mut().expect("it was there a moment ago");
            front.created = vec![(id, None)];
            front.conflicts.push(late);
            self.started(id, &start);
        }
    }

    /// What a start may be refused for because of what the model cannot know.
    fn refusals_by_chance(&self, start: &Start) -> Vec<Refusal> {
        let Ok(plan) = plan(&self.graph, start, |id| self.find_job(id).is_some()) else { return Vec::new() };
        let mut refusals = Vec::new();
        if let Work::Mirror(span) = &plan.work {
            let target = self.graph.node(span.target);
            if target.read_only && target.may_have_stayed_writable {
                refusals.push(Refusal::ReadOnly);
            }
        }
        if let Work::Commit(span) = &plan.work
            && [span.base, span.top].into_iter().any(|node| self.graph.node(node).bytes.is_none())
        {
            // Whether it is as short as it was before somebody made it longer and failed.
            let mut short = self.graph.clone();
            short.node_mut(span.base).bytes = Some(0);
            short.node_mut(span.top).bytes = Some(SECTOR_BYTES);
            if let Ok(plan) = crate::plan::plan(&short, start, |_| false) {
                refusals.extend(late_refusals(&short, start, &plan, self.next_job()));
            }
        }
        refusals
    }

    fn next_job(&self) -> JobId {
        JobId(u16::try_from(self.jobs.len()).expect("a run starts fewer than 65,536 jobs"))
    }

    fn start(&mut self, client: usize, start: &Start, plan: Plan) {
        let id = self.next_job();
        self.count(LawId::OverlapRefused);
        let late = late_refusals(&self.graph, start, &plan, id).into_iter().next();
        self.meet_others(&plan);
        self.enter(id, start, plan);
        let front = self.clients[client].pending.front_mut().expect("the caller looked at it");
        let runs = late.is_none();
        front.created.push((id, late));
        if runs {
            self.started(id, start);
        }
        assert_eq!(self.graph.malformed(), None, "after job {} was created", start.job_id);
    }

    /// Puts a job into the graph and the records.
    fn enter(&mut self, id: JobId, start: &Start, plan: Plan) {
        let read_only_before = plan.written.is_some_and(|written| self.graph.node(written).read_only);
        let len_bytes = self.length_of_work(&plan);
        let cannot_fit = self.is_too_long_for_its_target(&plan);
        let may_not_grow = self.grows_over_a_longer_layer(&plan);
        let filter = self.graph.start(&plan, id, start.filter_node_name.clone());
        let mut job = Job::new(start, plan, filter, self.now);
        job.read_only_before = read_only_before;
        job.len_bytes = len_bytes;
        job.cannot_fit = cannot_fit;
        job.may_not_grow = may_not_grow;
        match self.jobs.get_mut(usize::from(id.0)) {
            Some(slot) => *slot = job,
            None => self.jobs.push(job),
        }
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
        if self.job(id).plan.trade() == Trade::Stream && self.shares_a_chain(id) {
            self.count(LawId::TwoStreamsOneChain);
        }
    }

    /// A command is refused whose job was taken for its own: then another unanswered one with the same job id
    /// created it.
    pub(super) fn hand_over(&mut self, mut pending: Pending) -> Pending {
        let (Some((id, None)), Ok(Command::Start(refused))) = (pending.created.first(), &pending.command)
        else {
            return pending;
        };
        let (id, name) = (*id, refused.job_id.clone());
        if !self.job(id).is_live() && !pending.conflicts.is_empty() {
            // It came and went, as a job does whose command meets a conflict.
            return pending;
        }
        let other = self.clients.iter().position(|client| {
            client.pending.front().is_some_and(|front| {
                let same = matches!(&front.command, Ok(Command::Start(other)) if other.job_id == name);
                same && front.created.is_empty()
            })
        });
        let Some(other) = other else { return pending };
        let front = self.clients[other].pending.front_mut().expect("it was there a moment ago");
        front.created = vec![(id, None)];
        let Ok(Command::Start(start)) = &front.command else { return pending };
        let start = start.clone();
        pending.created.clear();
        self.replace_plan(id, &start);
        pending
    }

    /// A command returned, and the job it must have created was taken for that of another one.
    fn take_over(&mut self, pending: &Pending) -> bool {
        let Ok(Command::Start(start)) = &pending.command else { return false };
        for index in 0..self.clients.len() {
            let Some(front) = self.clients[index].pending.front_mut() else { continue };
            let same = matches!(&front.command, Ok(Command::Start(other)) if other.job_id == start.job_id);
            if let (true, Some((id, None))) = (same, front.created.first()) {
                let id = *id;
                front.created.clear();
                self.replace_plan(id, start);
                return true;
            }
        }
        false
    }

    /// The job does what `start` says, and has done so from its start.
    fn replace_plan(&mut self, id: JobId, start: &Start) {
        let old = self.job(id).clone();
        if old.edit != Edit::NotYet {
            // It is ending already: which of two like-named jobs it was can no longer be seen.
            return;
        }
        self.graph.abandon(&old.plan, id, old.filter, old.read_only_before);
        self.graph.release(id);
        self.graph.bury();
        let Ok(plan) = plan(&self.graph, start, |other| other != old.id && self.find_job(other).is_some())
        else {
            return;
        };
        self.enter(id, start, plan);
        let job = self.job_mut(id);
        job.status = old.status;
        job.statuses = old.statuses;
        job.offset = old.offset;
        self.started(id, start);
    }

    fn shares_a_chain(&self, id: JobId) -> bool {
        let chain = |id: JobId| self.graph.downwards(self.job(id).filter).collect::<Vec<_>>();
        let under = self.job(id).plan.under;
        let others = self.live_jobs().filter(|other| {
            let job = self.job(*other);
            *other != id && job.is_at_work() && job.plan.trade() == Trade::Stream
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
        let mut fronts = self.clients.iter().filter_map(|client| client.pending.front());
        let is_late = |front: &Pending| {
            let perhaps = !front.conflicts.is_empty();
            front.created.iter().any(|(job, late)| *job == id && (late.is_some() || perhaps))
        };
        let late = fronts.any(is_late);
        late || self.phase == Phase::Quitting
    }

    /// A command that starts a job returned: its job must have shown itself, and run.
    pub(super) fn start_accepted(&mut self, client: usize, pending: &Pending) -> Result<(), Broken> {
        match pending.created.first() {
            Some((id, None)) if self.job(*id).status != Status::Created => {
                self.accepted_beside_others(*id);
                Ok(())
            }
            Some((_, Some(late))) => {
                let what = self.unexpected(pending, "success", &[Answer::Refused(late.clone())]);
                Err(self.broken(LawId::Reply, what))
            }
            Some((id, None)) => {
                let what = format!("the command returned before job {} ran", self.job(*id).id);
                Err(self.broken(LawId::EventOrder, what))
            }
            None if self.take_over(pending) => Ok(()),
            None => {
                let mut answers = pending.earlier.clone();
                self.answers(client, pending, &mut answers);
                if answers.contains(&Answer::Done) {
                    let what = "the command returned before its job's `created`";
                    return Err(self.broken(LawId::EventOrder, what));
                }
                Err(self.not_allowed(client, pending))
            }
        }
    }

    /// A transaction returned: all its jobs run.
    pub(super) fn transaction_accepted(&mut self, pending: &Pending, jobs: usize) -> Result<(), Broken> {
        let idle = pending.created.iter().find(|(id, _)| self.job(*id).status == Status::Created);
        let idle = idle.map(|(id, _)| self.job(*id).id.clone());
        self.hold(LawId::EventOrder, pending.created.len() == jobs && idle.is_none(), |_| {
            format!("a transaction of {jobs} returned with {} jobs, idle {idle:?}", pending.created.len())
        })
    }

    pub(super) fn node_added(
        &mut self,
        client: usize,
        pending: &Pending,
        spec: &NodeSpec,
    ) -> Result<(), Broken> {
        let Some(id) = self.open(spec) else { return Err(self.not_allowed(client, pending)) };
        self.compose(id);
        assert_eq!(self.graph.malformed(), None, "after a node was added");
        Ok(())
    }

    fn open(&mut self, spec: &NodeSpec) -> Option<NodeId> {
        spec.name.as_ref()?;
        let before = self.graph.count();
        let mut graph = std::mem::take(&mut self.graph);
        let opened = self.opening().open(&mut graph, spec, None);
        self.graph = graph;
        opened.ok().or_else(|| {
            self.graph.truncate(before);
            let (id, graph) = self.settle(|model, graph| {
                let mut after = graph.clone();
                let id = model.opening().open(&mut after, spec, None).ok()?;
                Some((id, after))
            })?;
            self.graph = graph;
            Some(id)
        })
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

    pub(super) fn node_deleted(
        &mut self,
        client: usize,
        pending: &Pending,
        name: &str,
    ) -> Result<(), Broken> {
        let found = self.settle(|_, graph| match deletion(graph, name) {
            Answer::Done => graph.find(name),
            _ => None,
        });
        let Some(id) = found else { return Err(self.not_allowed(client, pending)) };
        self.graph.node_mut(id).by_monitor = false;
        self.graph.bury();
        self.count(LawId::DroppedGone);
        if self.live_jobs().next().is_some() {
            self.count(LawId::NodeDeleted);
        }
        Ok(())
    }
}

/// The next job of that name which a waiting command would create, and whether it belongs to a group.
fn next_start<'a>(front: &'a Pending, name: &str) -> Option<(&'a Start, bool)> {
    match &front.command {
        Ok(Command::Start(start)) if front.created.is_empty() => Some((&**start, false)),
        Ok(Command::Transaction(starts, grouped)) => {
            starts.get(front.created.len()).map(|start| (start, *grouped))
        }
        _ => None,
    }
    .filter(|(start, _)| start.job_id == name)
}
