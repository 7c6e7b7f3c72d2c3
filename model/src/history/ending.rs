//! How a job ends: what headers name then, what becomes of the chain, and what is read-only again.

use super::Model;
use crate::chain::{Graph, ImageId, JobId, Node, NodeId, User};
use crate::command::Command;
use crate::exporting::Exporting;
use crate::job::Status;
use crate::law::LawId;
use crate::plan::{Trade, Work};
use crate::record::Edit;

impl Model {
    /// The jobs that may have changed the chain already, before the event that tells it.
    pub(super) fn ending_jobs(&self) -> impl Iterator<Item = JobId> {
        self.live_jobs().filter(|id| self.job(*id).edit == Edit::Unsure)
    }

    /// The job rewrites headers now, if it does; the graph follows at any moment.
    pub(super) fn finalizing(&mut self, id: JobId) {
        self.job_mut(id).edit = Edit::Unsure;
        self.doubt_requests();
        self.job_mut(id).headers = self.next_headers(id);
        for (image, header) in self.job(id).headers.clone() {
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
                let header = given.or(header).filter(|file| !file.is_empty());
                self.layer_of(&self.graph, layer).map(|image| (image, header)).into_iter().collect()
            }
            Work::Commit(span) if !span.is_active => {
                let base = self.graph.unfiltered(span.base);
                let header = base.and_then(|base| self.graph.node(base).filename.clone());
                let header = given.or(header).filter(|file| !file.is_empty());
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
        let Work::Commit(_) = &self.job(id).plan.work else { return true };
        let filter = Some(self.job(id).filter);
        let mut layers = self.graph.alive().filter(|(id, _)| self.layer_of(&self.graph, *id) == Some(image));
        layers.all(|(_, node)| node.backing.is_none() || node.backing == filter)
    }

    /// What a job that ends does to a graph.
    pub(super) fn edit(&self, graph: &mut Graph, id: JobId) {
        let job = self.job(id);
        if job.status == Status::Pending {
            graph.finish(&job.plan, id, job.filter, job.read_only_before, job.pivots());
        } else {
            graph.abandon(&job.plan, id, job.filter, job.read_only_before);
            if job.plan.trade() == Trade::Commit {
                // A commit that fails lets go of its nodes at once, one that succeeds when it is forgotten.
                graph.release(id);
            }
        }
        // Until its end is told the job may be about to reopen what it wrote.
        if let Some(written) = job.plan.written {
            let node = graph.node_mut(written);
            node.may_have_stayed_writable = node.read_only;
        }
    }

    /// Its end is told: a target that was read-only is so again, unless somebody writes or a fault kept it from it.
    fn restored(&mut self, id: JobId) {
        let job = self.job(id);
        let Some(target) = job.plan.written else { return };
        // A mirror that succeeds leaves its target as it is, whether or not that took its source's place.
        let pivoted = job.status == Status::Pending && job.plan.becomes_ready();
        let was_read_only = match pivoted {
            true => self.graph.node(target).read_only,
            false => job.read_only_before,
        };
        let has_writer = self.with_exports_gone().has_writer(target);
        // Somebody who is about to write through it may have come before, and who is about to leave may be there still.
        let may_have_writer = self.writer_is_coming(target) || self.graph.has_writer(target);
        let is_unsure = !self.faults.is_empty() || may_have_writer;
        let node = self.graph.node_mut(target);
        node.read_only = was_read_only && !has_writer;
        node.may_have_stayed_writable = node.read_only && is_unsure;
    }

    /// The graph without the exports that were asked to go.
    fn with_exports_gone(&self) -> Graph {
        let mut after = self.graph.clone();
        for pending in self.clients.iter().flat_map(|client| &client.pending) {
            if let Ok(Command::Export(exporting)) = &pending.command {
                exporting.take_away(&mut after);
            }
        }
        after
    }

    /// Whether an export of a node to writers has been asked for and not answered.
    fn writer_is_coming(&self, target: NodeId) -> bool {
        let asked = self.clients.iter().flat_map(|client| &client.pending);
        let mut exports = asked.filter_map(|pending| match &pending.command {
            Ok(Command::Export(exporting)) => match &**exporting {
                Exporting::Add { node, writable: true, .. } => self.graph.find(node),
                _ => None,
            },
            _ => None,
        });
        exports.any(|node| node == target)
    }

    /// The job has succeeded: its chain, its headers and its copy are what they were to be.
    pub(super) fn finish(&mut self, id: JobId) {
        // Once the chain has changed it does not tell any more what the job made of the headers.
        let headers = match self.job(id).edit {
            Edit::Done => self.job(id).headers.clone(),
            _ => self.next_headers(id),
        };
        let certain: Vec<bool> = headers.iter().map(|(image, _)| self.rewrites(id, *image)).collect();
        if self.job(id).edit != Edit::Done {
            let mut graph = std::mem::take(&mut self.graph);
            self.edit(&mut graph, id);
            self.graph = graph;
            self.edited(id);
        }
        self.restored(id);
        if let Work::Mirror(span) = &self.job(id).plan.work {
            let is_unsure = !self.faults.is_empty();
            let target = span.target;
            let target = self.graph.node_mut(target);
            target.may_have_stayed_writable |= target.read_only && is_unsure;
        }
        for ((image, header), is_certain) in headers.into_iter().zip(certain) {
            let over = |(id, _): &(NodeId, &Node)| {
                self.graph.node(*id).image == Some(image) && self.layer_of(&self.graph, *id) == Some(image)
            };
            let nodes: Vec<_> = self.graph.alive().filter(over).map(|(id, _)| id).collect();
            for node in nodes {
                self.graph.node_mut(node).header = header.clone();
            }
            let headers = &mut self.images[usize::from(image.0)].headers;
            if is_certain && !self.contested.contains(&image) {
                headers.clear();
            }
            headers.push(header);
        }
        self.job_mut(id).ended = true;
        if self.members(id).filter(|job| job.ended).count() > 1 {
            self.count(LawId::BackupsTogether);
        }
    }

    /// The job has failed or was cancelled: the chain is as before.
    pub(super) fn give_up(&mut self, id: JobId) {
        self.count(LawId::GraphKept);
        if self.job(id).edit != Edit::Done {
            let mut graph = std::mem::take(&mut self.graph);
            self.edit(&mut graph, id);
            self.graph = graph;
            self.edited(id);
        }
        self.restored(id);
        self.copy_stopped(id);
        self.job_mut(id).ended = true;
    }

    /// The graph has been edited by a job that ends; what readers see through it has changed with it.
    pub(super) fn edited(&mut self, id: JobId) {
        self.job_mut(id).edit = Edit::Done;
        if self.job(id).status == Status::Pending {
            self.copy_succeeded(id);
        }
        assert_eq!(self.graph.malformed(), None, "after job {} ended", self.job(id).id);
    }

    /// The job is gone, and with it what it held.
    pub(super) fn vanished(&mut self, id: JobId, before: Status) {
        if before == Status::Created {
            self.give_up(id);
            let plan = &self.job(id).plan;
            if plan.trade() == Trade::Stream {
                // QEMU 10.0 then forgets the stream's device where its filter stood.
                let left = User::left_behind(plan.under);
                self.graph.users.push(left);
            }
        }
        let filter = self.job(id).filter;
        self.graph.release(id);
        self.graph.bury();
        let node = self.graph.node(filter);
        let is_held = self.graph.held_by_job(filter).is_some();
        let kept = !node.alive || node.file.is_some() || is_held;
        assert!(kept, "the filter of a vanished job is still there, empty and held by nobody");
    }
}
