//! A stream's beginning and success, and the nodes that come and go by command.

use super::client::Pending;
use super::{Model, Phase};
use crate::blockdev::{NodeSpec, deletion};
use crate::chain::{Driver, ImageId, JobId, NodeId};
use crate::command::{Command, StreamArguments};
use crate::job::Status;
use crate::law::{Broken, LawId};
use crate::opening::Opening;
use crate::record::{Edit, Job};
use crate::reply::Answer;
use crate::stream::{Plan, plan};

impl Model {
    /// `created`: the first sign of a `block-stream` that has not been answered yet.
    pub(super) fn created(&mut self, name: &str) -> Result<(), Broken> {
        if let Some(id) = self.find_job(name) {
            let status = self.job(id).status.word();
            return Err(self.broken(LawId::StatusTable, format!("job {name} was created again in {status}")));
        }
        let mut refused = None;
        // Commands take turns: of two that ask for the same, the older one is served first.
        let mut by_age: Vec<usize> = (0..self.clients.len()).collect();
        by_age.sort_by_key(|index| self.clients[*index].pending.front().map(|front| front.sent));
        for index in by_age {
            let Some(front) = self.clients[index].pending.front() else { continue };
            let Ok(Command::Stream(arguments)) = &front.command else { continue };
            if arguments.job_id != name || front.created.is_some() {
                continue;
            }
            let arguments = arguments.clone();
            let late = |graph| plan(graph, &arguments, |id| self.find_job(id).is_some()).ok()?.late;
            let conflicts = self.graphs().iter().filter_map(|(graph, _)| late(graph)).collect();
            self.clients[index].pending[0].conflicts = conflicts;
            match self.settle(|model, graph| plan(graph, &arguments, |id| model.find_job(id).is_some()).ok())
            {
                Some(plan) => return self.start(index, &arguments, plan),
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

    fn start(&mut self, client: usize, arguments: &StreamArguments, plan: Plan) -> Result<(), Broken> {
        let id = JobId(u16::try_from(self.jobs.len()).expect("a run starts fewer than 65,536 jobs"));
        self.count(LawId::OverlapRefused);
        let late = plan.late.clone();
        let read_only_before = self.graph.node(plan.target).read_only;
        let layer = self.layer_of(&self.graph, plan.target);
        let between = self.layers(&plan.between);
        let filter = self.graph.start_stream(&plan, id, arguments.filter_node_name.clone());
        let mut job = Job::new(arguments, plan, filter, self.now);
        job.read_only_before = read_only_before;
        job.len_bytes = layer.map(|image| self.images[usize::from(image.0)].size_bytes);
        self.jobs.push(job);
        let front = self.clients[client].pending.front_mut().expect("the caller looked at it");
        let runs = late.is_none();
        front.created = Some((id, late));
        if runs {
            self.started(id, arguments, layer, &between);
        }
        assert_eq!(self.graph.malformed(), None, "after job {} was created", arguments.job_id);
        Ok(())
    }

    fn started(
        &mut self,
        id: JobId,
        arguments: &StreamArguments,
        layer: Option<ImageId>,
        between: &[ImageId],
    ) {
        let base = [
            (arguments.base.is_some(), LawId::StreamWithBase),
            (arguments.base_node.is_some(), LawId::StreamWithBaseNode),
            (arguments.bottom.is_some(), LawId::StreamWithBottom),
        ];
        let goal =
            base.into_iter().find(|(given, _)| *given).map_or(LawId::StreamWithoutBase, |(_, goal)| goal);
        self.count(goal);
        if self.job(id).read_only_before {
            self.count(LawId::ReadOnlyTarget);
        }
        let Some(target) = layer else { return };
        let length = self.views.layer(target).sectors();
        if between.iter().any(|image| self.views.layer(*image).sectors() < length) {
            self.count(LawId::ShortLayerStreamed);
        }
        if self.shares_a_chain(id) {
            self.count(LawId::TwoStreamsOneChain);
        }
        self.views.stream_starts(target, between);
        for image in self.views.at_or_above(target) {
            self.streamed[usize::from(image.0)] = true;
        }
    }

    /// A `block-stream` that was taken for the creator of a job is refused: then another unanswered one with the same
    /// job id created it.
    pub(super) fn hand_over(&mut self, mut pending: Pending) -> Pending {
        let (Some((id, None)), Ok(Command::Stream(refused))) = (&pending.created, &pending.command) else {
            return pending;
        };
        let (id, name) = (*id, refused.job_id.clone());
        let other = self.clients.iter().position(|client| {
            client.pending.front().is_some_and(|front| {
                let same = matches!(&front.command, Ok(Command::Stream(other)) if other.job_id == name);
                same && front.created.is_none()
            })
        });
        let Some(other) = other else { return pending };
        let front = self.clients[other].pending.front_mut().expect("it was there a moment ago");
        front.created = Some((id, None));
        let Ok(Command::Stream(arguments)) = &front.command else { return pending };
        let arguments = arguments.clone();
        pending.created = None;
        self.replace_plan(id, &arguments);
        pending
    }

    /// A `block-stream` returned, and the job it must have created was taken for that of another one.
    fn take_over(&mut self, pending: &Pending) -> bool {
        let Ok(Command::Stream(arguments)) = &pending.command else { return false };
        for index in 0..self.clients.len() {
            let Some(front) = self.clients[index].pending.front_mut() else { continue };
            let same =
                matches!(&front.command, Ok(Command::Stream(other)) if other.job_id == arguments.job_id);
            if let (true, Some((id, None))) = (same, &front.created) {
                let id = *id;
                front.created = None;
                self.replace_plan(id, arguments);
                return true;
            }
        }
        false
    }

    /// The job does what `arguments` say, and has done so from its start.
    fn replace_plan(&mut self, id: JobId, arguments: &StreamArguments) {
        let old = self.job(id).clone();
        if old.edit != Edit::NotYet {
            // It is ending already: which of two like-named streams it was can no longer be seen.
            return;
        }
        self.graph.abandon_stream(&old.plan, old.filter, old.read_only_before);
        self.graph.release(id);
        self.graph.bury();
        let Ok(plan) =
            plan(&self.graph, arguments, |other| other != old.id && self.find_job(other).is_some())
        else {
            return;
        };
        let read_only_before = self.graph.node(plan.target).read_only;
        let layer = self.layer_of(&self.graph, plan.target);
        let between = self.layers(&plan.between);
        let filter = self.graph.start_stream(&plan, id, arguments.filter_node_name.clone());
        let mut job = Job::new(arguments, plan, filter, self.now);
        job.read_only_before = read_only_before;
        job.len_bytes = layer.map(|image| self.images[usize::from(image.0)].size_bytes);
        job.status = old.status;
        job.statuses = old.statuses;
        job.offset = old.offset;
        *self.job_mut(id) = job;
        self.started(id, arguments, layer, &between);
    }

    fn shares_a_chain(&self, id: JobId) -> bool {
        let chain = |id: JobId| self.graph.downwards(self.job(id).filter).collect::<Vec<_>>();
        let target = self.job(id).plan.target;
        let others = self.live_jobs().filter(|other| *other != id && self.job(*other).is_at_work());
        others
            .into_iter()
            .any(|other| chain(other).contains(&target) || chain(id).contains(&self.job(other).plan.target))
    }

    fn layers(&self, nodes: &[NodeId]) -> Vec<ImageId> {
        let layers = nodes.iter().filter(|node| !self.graph.is_filter(**node));
        layers.filter_map(|node| self.layer_of(&self.graph, *node)).collect()
    }

    /// Whether a job may go from `created` to `null`: only if its command must be refused late.
    pub(super) fn may_fail_at_start(&self, id: JobId) -> bool {
        let mut fronts = self.clients.iter().filter_map(|client| client.pending.front());
        let late = fronts.any(|front| matches!(&front.created, Some((job, Some(_))) if *job == id));
        late || self.phase == Phase::Quitting
    }

    /// `block-stream` returned: its job must have shown itself, and run.
    pub(super) fn stream_accepted(&mut self, client: usize, pending: &Pending) -> Result<(), Broken> {
        match &pending.created {
            Some((id, None)) if self.job(*id).status != Status::Created => Ok(()),
            Some((_, Some(late))) => {
                let what = self.unexpected(pending, "success", &[Answer::Refused(late.clone())]);
                Err(self.broken(LawId::Reply, what))
            }
            Some((id, None)) => {
                let what = format!("block-stream returned before job {} ran", self.job(*id).id);
                Err(self.broken(LawId::EventOrder, what))
            }
            None if self.take_over(pending) => Ok(()),
            None => {
                let mut answers = pending.earlier.clone();
                self.answers(client, pending, &mut answers);
                if answers.contains(&Answer::Done) {
                    let what = "block-stream returned before its job's `created`";
                    return Err(self.broken(LawId::EventOrder, what));
                }
                Err(self.not_allowed(client, pending))
            }
        }
    }

    /// The stream has completed: its target decides what it copied, and reads from the base.
    pub(super) fn stream_succeeded(&mut self, id: JobId) {
        self.job_mut(id).ended = true;
        let plan = self.job(id).plan.clone();
        let intermediate = self.graph.parents(plan.target).next().is_some();
        self.count(match (plan.no_op, intermediate) {
            (true, _) => LawId::NoOpStream,
            (false, true) => LawId::StreamIntermediateCompletes,
            (false, false) => LawId::StreamActiveCompletes,
        });
        let Some(target) = self.layer_of(&self.graph, plan.target) else { return };
        let below = self.graph.backing_layer(plan.target);
        let below = below.and_then(|base| self.layer_of(&self.graph, base));
        let between = self.layers(&plan.between);
        self.views.stream_ends(target, &between, below);
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
        let opened = Opening { images: &self.images }.open(&mut self.graph, spec, None);
        opened.ok().or_else(|| {
            self.graph.truncate(before);
            let (id, graph) = self.settle(|model, graph| {
                let mut after = graph.clone();
                let id = Opening { images: &model.images }.open(&mut after, spec, None).ok()?;
                Some((id, after))
            })?;
            self.graph = graph;
            Some(id)
        })
    }

    /// A node just opened shows its image over the layers it was opened with.
    fn compose(&mut self, top: NodeId) {
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
