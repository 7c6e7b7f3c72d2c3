//! How a job ends: what headers name then, what becomes of the chain, and what is read-only again.

use crate::command::plan::{JobType, Work};
use crate::command::record::Header;
use crate::graph::{ImageId, JobId, Node, NodeId, User};
use crate::job::Status;
use crate::law::LawId;
use crate::observation::CrashKind;
use crate::quirk::Quirk;
use crate::rule::Rule;
use crate::step::state::{Phase, State};

impl State {
    /// Whether a job may change the chain at any moment: it has succeeded or failed, and nothing keeps it.
    pub(crate) fn is_ending(&self, id: JobId) -> bool {
        let job = self.job(id);
        !job.edited
            && match job.status {
                Status::Pending => self.may_finalize(id),
                Status::Aborting => true,
                _ => false,
            }
    }

    /// The jobs that may change the chain at any moment.
    pub(super) fn ending_jobs(&self) -> impl Iterator<Item = JobId> {
        self.live_jobs().filter(|id| self.is_ending(*id))
    }

    /// Whether a job may have changed the chain when everything stopped: one in pending may have been finalizing itself on
    /// behalf of a command that was not answered; one whose last output was not received may have got there as well.
    pub(super) fn may_have_ended(&self, id: JobId) -> bool {
        let job = self.job(id);
        let by_crash = match self.phase {
            Phase::Crashed(kind) => match job.status {
                Status::Pending => self.allows(Rule::CrashInPending),
                Status::Running | Status::Ready | Status::Waiting => {
                    kind == CrashKind::KillUnheard && self.allows(Rule::LastOutputLost)
                }
                _ => false,
            },
            _ => false,
        };
        job.edited || self.is_ending(id) || by_crash
    }

    /// The job rewrites headers now, if it does; the graph follows at any moment.
    pub(super) fn finalizing(&mut self, id: JobId) {
        if !self.allows(Rule::HeaderOldOrNew) {
            return;
        }
        for (image, header) in self.next_headers(id) {
            let headers = &mut self.images[usize::from(image.0)].headers;
            if !headers.contains(&header) {
                // The current one stays last: it is what a node opened now would read.
                headers.insert(0, header);
            }
        }
    }

    /// What headers name once the job has succeeded.
    pub(super) fn next_headers(&self, id: JobId) -> Vec<(ImageId, Option<String>)> {
        let given = self.job(id).backing_file().cloned();
        match &self.job(id).plan.work {
            Work::Stream(span) => {
                let Some(layer) = self.graph.unfiltered(span.target) else { return Vec::new() };
                if self.graph.node(layer).backing.is_none() {
                    return Vec::new();
                }
                let base = self.graph.stream_base(span).and_then(|base| self.graph.unfiltered(base));
                let header = base.and_then(|base| self.graph.node(base).filename.clone());
                let given = given.filter(|_| base.is_some());
                let header = given.or(header.map(|file| file.to_string())).filter(|file| !file.is_empty());
                self.layer_of(&self.graph, layer).map(|image| (image, header)).into_iter().collect()
            }
            Work::Commit(span) if !span.is_active => {
                let base = self.graph.unfiltered(span.base);
                let header = base.and_then(|base| self.graph.node(base).filename.clone());
                let header = given.or(header.map(|file| file.to_string())).filter(|file| !file.is_empty());
                let filter = self.job(id).filter;
                let overlays = self.graph.alive().filter(|(id, node)| {
                    let mut below = node.backing.into_iter().flat_map(|below| self.graph.downwards(below));
                    let reads = below.by_ref().take_while(|node| self.graph.is_filter(*node));
                    reads.into_iter().any(|node| node == filter) && !self.graph.is_filter(*id)
                });
                overlays
                    .filter_map(|(id, _)| Some((self.layer_of(&self.graph, id)?, header.clone())))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a commit is sure to rewrite the header of `image`: QEMU 10.0 forgets overlays that read the top through
    /// somebody else's filter.
    fn rewrites(&self, id: JobId, image: ImageId) -> bool {
        let is_commit = matches!(self.job(id).plan.work, Work::Commit(_));
        if !is_commit || !self.allows(Rule::CommitForgetsOverlay) {
            return true;
        }
        let filter = Some(self.job(id).filter);
        let mut layers = self.graph.alive().filter(|(id, _)| self.layer_of(&self.graph, *id) == Some(image));
        layers.all(|(_, node)| node.backing.is_none() || node.backing == filter)
    }

    /// The job gives up its filter: if it has succeeded, its chain, its headers and its copy are what they were to be.
    fn job_edits_graph(&mut self, id: JobId) {
        let headers = self.next_headers(id);
        let header = |(image, names)| Header { image, names, is_certain: self.rewrites(id, image) };
        let headers: Vec<Header> = headers.into_iter().map(header).collect();
        let job = self.job(id);
        let (plan, filter, has_succeeded, pivots) =
            (job.plan.clone(), job.filter, job.status == Status::Pending, job.pivots());
        let below_filter = self.graph.node(filter).file;
        self.stream_closes_window(id);
        self.bitmap_is_released(id, has_succeeded);
        if has_succeeded {
            self.finalizing(id);
            self.graph.finish(&plan, id, filter, pivots);
        } else if self.is_half(id) {
            self.graph.finish(&plan, id, filter, pivots);
        } else {
            self.graph.abandon(&plan, id, filter);
            if plan.job_type() == JobType::Commit {
                // A commit that fails releases its nodes at once, one that succeeds when it is forgotten.
                self.graph.release(id);
            }
        }
        if self.leaves_writable(id) {
            self.graph.node_mut(filter).file = below_filter;
        }
        let job = self.job_mut(id);
        job.edited = true;
        job.headers = headers;
        // Most jobs wrote what anybody may write.
        let writes = plan.written.filter(|_| job.read_only_before || has_succeeded && plan.becomes_ready());
        self.job_mut(id).restored = !writes
            .is_some_and(|written| self.job(id).read_only_before || self.graph.node(written).read_only);
        if has_succeeded {
            self.copy_succeeded(id);
        } else if let (true, Work::Stream(span)) = (self.is_half(id), &plan.work) {
            self.stream_succeeded(span);
        }
        assert_eq!(self.graph.malformed(), None, "after job {} ended", self.job(id).id);
    }

    /// The ways in which a job may have changed the chain.
    pub(crate) fn chain_edited_by(&self, id: JobId) -> Vec<State> {
        // What a mirror has copied before it failed, its target may or may not show anyway.
        let mirrored = self.mirrored_by(id).filter(|_| self.moves_guests(id));
        self.edited_beside_requests(mirrored, &|state| {
            state.job_edits_graph(id);
            true
        })
    }

    /// What the job wrote is read-only again if it was so, unless somebody writes or a fault kept it from it.
    pub(crate) fn job_restores_node(&mut self, id: JobId) {
        let job = self.job(id);
        // A mirror that succeeds leaves its target as it is, whether or not that took its source's place.
        let stays = job.status == Status::Pending && job.plan.becomes_ready();
        let (written, was_read_only) = (job.plan.written, job.read_only_before);
        self.job_mut(id).restored = true;
        let Some(node) = written else { return };
        if was_read_only && self.leaves_writable(id) {
            self.stays_unwritable(node);
            return;
        }
        if was_read_only && !stays && self.graph.has_writer(node) {
            self.stays_unwritable(node);
        }
        if stays {
            let is_read_only = self.graph.node(node).read_only && !self.graph.has_writer(node);
            self.graph.node_mut(node).read_only = is_read_only;
        } else {
            self.graph.restore(node, was_read_only);
        }
        let is_struck = self.is_struck_since(self.job(id).since);
        let node = self.graph.node_mut(node);
        // A job that found it writable, as an earlier one had left it, leaves it so.
        node.may_have_stayed_writable = node.read_only && (is_struck || node.may_have_stayed_writable);
    }

    /// [`Quirk::StreamLeavesWritable`]: as long as the job is there, the filter that it has given up still stands on what
    /// it wrote and writes there what is there already. So that cannot be made read-only, and nobody tries again later.
    fn leaves_writable(&self, id: JobId) -> bool {
        let job = self.job(id);
        // Of a stream that is refused at last the filter never was in the chain.
        self.has(Quirk::StreamLeavesWritable)
            && job.plan.job_type() == JobType::Stream
            && !matches!(job.status, Status::Created | Status::Null)
    }

    /// A fault strikes: it may keep a job that is about to end from making read-only what it wrote, where nobody is let in to
    /// write any more already.
    pub(crate) fn restoring_may_fail(&mut self) {
        let is_ending = |id: &JobId| self.job(*id).restored && !self.job(*id).ended;
        let written = |id: JobId| self.job(id).plan.written;
        let nodes: Vec<NodeId> = self.live_jobs().filter(is_ending).filter_map(written).collect();
        for node in nodes {
            let node = self.graph.node_mut(node);
            node.may_have_stayed_writable |= node.read_only;
        }
    }

    /// The filter that the job has given up goes, although the job still holds it.
    pub(crate) fn job_releases_filter(&mut self, id: JobId) {
        let filter = self.job(id).filter;
        self.graph.blockers.retain(|blocker| blocker.node != filter);
        self.graph.collect();
    }

    /// The end of the job is reported: by now it has done all that it does to the graph.
    fn has_ended(&mut self, id: JobId) {
        if !self.job(id).edited && self.requests.is_empty() {
            self.job_edits_graph(id);
        } else if !self.job(id).edited {
            // Other ways for requests are those in which the chain was changed before this was reported.
            *self = self.chain_edited_by(id).swap_remove(0);
        }
        if !self.job(id).restored {
            self.job_restores_node(id);
        }
        self.job_mut(id).ended = true;
    }

    /// The job has succeeded: its chain, its headers and its copy are what they were to be.
    pub(super) fn finish(&mut self, id: JobId) {
        self.has_ended(id);
        if let Work::Mirror(span) = &self.job(id).plan.work {
            let is_struck = self.is_struck_since(self.job(id).since);
            let target = span.target;
            let target = self.graph.node_mut(target);
            target.may_have_stayed_writable |= target.read_only && is_struck;
        }
        for Header { image, names, is_certain } in self.job(id).headers.clone() {
            let over = |(id, _): &(NodeId, &Node)| {
                self.graph.node(*id).image == Some(image) && self.layer_of(&self.graph, *id) == Some(image)
            };
            let nodes: Vec<_> = self.graph.alive().filter(over).map(|(id, _)| id).collect();
            for node in nodes {
                self.graph.node_mut(node).header = names.as_deref().map(Into::into);
            }
            self.overlay_forgotten(is_certain);
            self.header_was_not_flushed(image);
            if self.is_renamed_by_another(id, image, &names) {
                self.either_headers.push(image);
            }
            let is_certain = is_certain && !self.either_headers.contains(&image);
            let headers = &mut self.images[usize::from(image.0)].headers;
            if is_certain {
                headers.clear();
            }
            headers.push(names);
        }
        if self.members(id).filter(|job| job.ended).count() > 1 {
            self.count(LawId::BackupsTogether);
        }
    }

    /// Whether another job is about to end that makes a header name something else. QEMU ends one in a drain of the other:
    /// which of them wrote last, nobody saw.
    fn is_renamed_by_another(&self, id: JobId, image: ImageId, names: &Option<String>) -> bool {
        let is_other = |(at, header): &(ImageId, Option<String>)| *at == image && header != names;
        let mut others = self.ending_jobs().filter(|other| *other != id);
        self.allows(Rule::HeaderNamesEither)
            && others.any(|other| self.next_headers(other).iter().any(is_other))
    }

    /// The job has failed or was cancelled: the chain is as before.
    pub(super) fn give_up(&mut self, id: JobId) {
        self.count(LawId::GraphKept);
        self.has_ended(id);
        self.headers_are_back(id);
        self.copy_stopped(id);
    }

    /// What a job made headers name before it failed, it has made them name no more, wherever the disk let it.
    fn headers_are_back(&mut self, id: JobId) {
        if self.is_half(id) {
            return;
        }
        for Header { image, names, .. } in self.job(id).headers.clone() {
            if self.may_name_for_another(id, image, &names) {
                continue;
            }
            let headers = &mut self.images[usize::from(image.0)].headers;
            let present = headers.pop();
            headers.retain(|header| *header != names);
            headers.extend(present);
        }
    }

    /// Whether the header of an image may name this for another reason than a job: a fault of its disk, or somebody else.
    fn may_name_for_another(&self, id: JobId, image: ImageId, names: &Option<String>) -> bool {
        let file = &self.images[usize::from(image.0)].file;
        let is_same = |(other, header): &(ImageId, Option<String>)| *other == image && header == names;
        let mut others = self.live_jobs().filter(|other| *other != id);
        self.either_headers.contains(&image)
            || self.faults.iter().any(|fault| fault.file == *file)
            || others.any(|other| self.next_headers(other).iter().any(is_same))
    }

    /// The job is gone, and with it what it held.
    pub(super) fn vanished(&mut self, id: JobId, before: Status) {
        if before == Status::Created {
            self.give_up(id);
            let plan = &self.job(id).plan;
            if plan.job_type() == JobType::Stream && self.allows(Rule::DeviceLeftBehind) {
                // QEMU 10.0 then forgets the stream's device where its filter stood.
                let left = User::left_behind(plan.under);
                self.graph.users.push(left);
            }
        }
        let filter = self.job(id).filter;
        self.graph.release(id);
        self.graph.collect();
        let node = self.graph.node(filter);
        let is_held = self.graph.held_by_job(filter).is_some();
        let kept = !node.alive || node.file.is_some() || is_held;
        assert!(kept, "the filter of a vanished job is still there, empty and held by nobody");
    }
}
