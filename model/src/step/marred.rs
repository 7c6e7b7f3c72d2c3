//! What QEMU does wrong, where a judge allows it: each quirk's effect, called from the one place that it concerns.
//!
//! Where a function is called for every run, it does nothing as long as its quirk is not had.

use crate::command::plan::{JobType, Plan, Work};
use crate::command::stream::Span;
use crate::content::{ANYTHING, Decides, Moment, Views};
use crate::graph::{ImageId, JobId, NodeId};
use crate::observation::CrashKind;
use crate::quirk::Quirk;
use crate::rule::Rule;
use crate::step::query::names_file;
use crate::step::state::{EVER, Phase, State};

/// What quirks have left, beside data.
#[derive(Clone, PartialEq, Default, Debug)]
pub(crate) struct Marred {
    /// Images whose check may find corruptions.
    corrupt: Vec<ImageId>,
    /// Headers that were rewritten and not flushed since, with what they named before.
    rewritten: Vec<(ImageId, Vec<Option<String>>)>,
    /// Images that jobs have copied into, and not flushed since.
    copied: Vec<ImageId>,
    /// Streams under way, and those that are over while somebody may still read as if they were not.
    streams: Vec<Window>,
    /// Images with a bitmap that nobody can write any more.
    pub(super) unwritable: Vec<ImageId>,
    /// Jobs that change the graph although they fail.
    pub(super) half: Vec<JobId>,
    /// Jobs that fail at their end for no cause.
    pub(super) causeless: Vec<JobId>,
    /// A node was left read-only by a stream that was refused.
    pub(super) read_only: bool,
    /// A commit has left the header of an overlay behind a filter as it was.
    pub(super) forgot_overlay: bool,
    /// Nodes are inactive that nobody made so.
    pub(super) inactive: bool,
    /// An internal snapshot was refused: clusters may have leaked.
    pub(super) leaks: bool,
    /// Lengths, in sectors, that images may go back to.
    lengths: Vec<(ImageId, u32)>,
    /// Nodes that jobs took off what they stood on: on which file, and when.
    taken_off: Vec<(NodeId, String, Moment)>,
    /// Sectors of a mirror's source that went past the mirror.
    bypassed: Vec<JobId>,
}

/// A stream, as those see it who read meanwhile.
#[derive(Clone, PartialEq, Debug)]
struct Window {
    job: JobId,
    target: ImageId,
    /// The layer directly below the target ends here.
    short_from: u32,
    /// When it was over.
    until: Moment,
}

/// What a target showed, sector by sector, before it was copied to; of nobody if that does not matter.
pub(super) struct Unflushed {
    target: Option<ImageId>,
    values: Vec<Vec<u64>>,
}

impl State {
    /// A stream starts.
    pub(super) fn stream_opens_window(&mut self, job: JobId, target: ImageId) {
        if self.has(Quirk::ShortLayerReadsMemory) || self.has(Quirk::StreamReadErrorReadsMemory) {
            // Also below a target that is all there is to stream.
            let below = self.views.layer(target).below;
            let short_from = below.map_or(u32::MAX, |below| self.views.layer(below).sectors());
            self.marred.streams.push(Window { job, target, short_from, until: Moment::MAX });
            // Copies that are under way read through its filter from now on.
            for copy in self.live_jobs().filter(|copy| *copy != job).collect::<Vec<_>>() {
                let images = self.route(copy).and_then(|route| self.images_of(&route));
                if let Some((source, target)) = images {
                    self.memory_is_copied(copy, source, target);
                }
            }
        }
    }

    /// Nodes have been taken off what they stood on. A query that was sent before may still report that.
    pub(super) fn nodes_taken_off(&mut self, nodes: &[NodeId], below: Option<NodeId>) {
        let file = below.and_then(|below| self.graph.node(below).filename.clone());
        if let Some(file) = file.filter(|_| self.has(Quirk::QueryInAJobsEnd)) {
            self.marred.taken_off.extend(nodes.iter().map(|node| (*node, file.to_string(), self.now)));
        }
    }

    /// Whether a query that was sent then may report a node on this file, on which it stood at that time.
    pub(super) fn may_be_reported_on(&self, node: NodeId, file: &str, sent: Moment) -> bool {
        let names = |old: &str| names_file(file, old, self.allows(Rule::FileNameInJson));
        self.marred.taken_off.iter().any(|(at, old, when)| *at == node && names(old) && *when >= sent)
    }

    /// A job gives up its filter.
    pub(super) fn stream_closes_window(&mut self, job: JobId) {
        if self.marred.streams.iter().any(|window| window.job == job && window.until == Moment::MAX) {
            let now = self.now;
            let mut windows = self.marred.streams.iter_mut();
            windows.by_ref().filter(|window| window.job == job).for_each(|window| window.until = now);
        }
    }

    /// Whether a read that began then may have found anything in a sector, as a stream was under way.
    fn may_read_memory(&self, image: ImageId, sector: u32, began: Moment) -> bool {
        let by_error = self.has(Quirk::StreamReadErrorReadsMemory) && !self.faults.is_empty();
        let by_length = self.has(Quirk::ShortLayerReadsMemory);
        self.marred.streams.iter().filter(|window| window.until >= began).any(|window| {
            by_error && self.views.at_or_above(window.target).contains(&image)
                || by_length && self.is_past_short_layer(image, window, sector)
        })
    }

    /// Whether a read that began then may find anything in a sector.
    pub(super) fn is_marred(&self, views: &Views, image: ImageId, sector: u32, began: Moment) -> bool {
        let holds_anything = views.holds_anything && views.may_read(image, sector, ANYTHING, began);
        holds_anything || self.may_read_memory(image, sector, began)
    }

    /// Whether a read of a sector through a stream's filter meets the end of the layer below: from the first sector there
    /// that the target does not decide, nothing is read any more, not even what the target decides.
    fn is_past_short_layer(&self, image: ImageId, window: &Window, sector: u32) -> bool {
        let target = self.views.layer(window.target);
        let end = (sector + 1).min(target.sectors());
        (window.short_from..end).any(|at| target.decides(at) != Decides::Yes)
            && self.views.sees_through(image, window.target, sector)
    }

    /// Whoever copies through a stream's filter, or writes a part of a cluster there, makes what he read lasting.
    pub(super) fn memory_is_written(&mut self, image: ImageId, sectors: &[u32]) {
        if !self.has(Quirk::ShortLayerReadsMemory) {
            return;
        }
        for sector in sectors {
            let is_open = |window: &Window| {
                window.until == Moment::MAX && self.is_past_short_layer(image, window, *sector)
            };
            if self.marred.streams.iter().any(is_open) {
                self.views.may_show_anything(image, *sector);
            }
        }
    }

    /// What a copy from `source` to `target` may read while a stream is under way.
    pub(super) fn memory_is_copied(&mut self, id: JobId, source: ImageId, target: ImageId) {
        if !self.has(Quirk::ShortLayerReadsMemory) || source == target {
            return;
        }
        let sectors = self.views.layer(source).sectors().min(self.views.layer(target).sectors());
        for sector in 0..sectors {
            let is_open = |window: &Window| {
                window.until == Moment::MAX && self.is_past_short_layer(source, window, sector)
            };
            if self.marred.streams.iter().any(is_open) {
                self.views.may_show_anything(target, sector);
                if let Some(copied) = self.job_mut(id).copies.get_mut(sector as usize) {
                    *copied = false;
                }
            }
        }
    }

    /// A stream has copied, and not flushed.
    pub(super) fn stream_was_not_flushed(&mut self, span: &Span) {
        let fails_unseen = self.has(Quirk::StreamFlushErrorLost) && self.is_struck_since(EVER);
        if !self.has(Quirk::StreamDoesNotFlush) && !fails_unseen {
            return;
        }
        let base = self.graph.stream_base(span).and_then(|base| self.layer_of(&self.graph, base));
        let Some(target) = self.layer_of(&self.graph, span.target) else { return };
        for sector in self.views.undecided(target) {
            let mut lost = base.map_or(Vec::new(), |base| self.views.values_until_now(base, sector));
            lost.push(0);
            lost.into_iter().for_each(|value| self.views.may_come_back(target, sector, value));
        }
    }

    /// A stream onto a base has ended at the end of a short layer.
    pub(super) fn short_layer_shows_base(
        &mut self,
        target: ImageId,
        below: Option<&ImageId>,
        base: Option<ImageId>,
    ) {
        if let (true, Some(below), Some(base)) = (self.has(Quirk::ShortLayerReadsBase), below, base) {
            let from = self.views.layer(*below).sectors();
            self.views.below_shows(target, base, from);
        }
    }

    /// An overlay of a committed top stands on the base now, which may be longer than the top was.
    pub(super) fn short_commit_shows_base(&mut self, overlay: ImageId, top: ImageId, base: ImageId) {
        if self.has(Quirk::ShortCommitShowsBase) {
            let from = self.copied_to(top);
            self.views.below_shows(overlay, base, from);
        }
    }

    /// As far as a commit of a top that gets longer meanwhile, as the base of another, copies it: that is settled as it starts.
    fn copied_to(&self, top: ImageId) -> u32 {
        self.shortest_length(top) as u32
    }

    /// What a copy is about to replace in its target, as long as nobody flushes that.
    pub(super) fn before_copy(&self, quirk: Quirk, target: NodeId) -> Unflushed {
        let target = self.layer_of(&self.graph, target).filter(|_| self.has(quirk));
        let values = target.map_or(Vec::new(), |target| {
            let sectors = 0..self.views.layer(target).sectors();
            sectors.map(|sector| self.views.values_until_now(target, sector)).collect()
        });
        Unflushed { target, values }
    }

    /// The copy is there, and not flushed.
    pub(super) fn copy_was_not_flushed(&mut self, before: Unflushed) {
        let Some(target) = before.target else { return };
        if !self.marred.copied.contains(&target) {
            self.marred.copied.push(target);
        }
        for (sector, values) in (0..).zip(before.values) {
            for value in values.into_iter().chain([0]) {
                self.views.may_come_back(target, sector, value);
            }
        }
    }

    /// A job may have been ending when everything stopped, and has flushed nothing.
    pub(super) fn cut_off_unflushed(&mut self, id: JobId) {
        let plan = self.job(id).plan.clone();
        match &plan.work {
            Work::Stream(span) => {
                for (image, _) in self.next_headers(id) {
                    self.header_was_not_flushed(image);
                }
                self.stream_was_not_flushed(span);
                let base = self.graph.stream_base(span).and_then(|base| self.layer_of(&self.graph, base));
                let (target, between) = (self.layer_of(&self.graph, span.target), self.layers(&span.between));
                if let Some(target) = target {
                    self.short_layer_shows_base(target, between.first(), base);
                }
            }
            Work::Commit(span) if !span.is_active => {
                let before = self.before_copy(Quirk::CommitDoesNotFlush, span.base);
                self.copy_was_not_flushed(before);
                self.overlays_cut_off(id, span.base, span.top);
            }
            _ => {}
        }
    }

    /// The overlays of a commit's top may stand on its base already, which nobody has flushed, and which may be longer.
    fn overlays_cut_off(&mut self, id: JobId, base: NodeId, top: NodeId) {
        let images = self.layer_of(&self.graph, base).zip(self.layer_of(&self.graph, top));
        let Some((base, top)) = images else { return };
        let short_from = match self.has(Quirk::ShortCommitShowsBase) {
            true => self.copied_to(top),
            false => u32::MAX,
        };
        for (overlay, _) in self.next_headers(id) {
            for sector in self.views.undecided(overlay) {
                if sector >= short_from || self.has(Quirk::CommitDoesNotFlush) {
                    let values = self.views.values_until_now(base, sector);
                    values.into_iter().for_each(|value| self.views.may_come_back(overlay, sector, value));
                }
            }
        }
    }

    /// An image is made longer: the new length may be on the disk before the zeroes that hide what lies below.
    pub(super) fn grows_before_zeroes(&mut self, image: ImageId, before: u32) {
        let Some(below) = self.views.layer(image).below.filter(|_| self.has(Quirk::GrowsBeforeZeroes)) else {
            return;
        };
        for sector in before..self.views.layer(image).sectors() {
            let values = self.views.values_until_now(below, sector);
            values.into_iter().for_each(|value| self.views.may_come_back(image, sector, value));
        }
    }

    /// A qcow2 image became longer, within the cluster of its end.
    pub(super) fn shrunk_data_returns(&mut self, image: ImageId, before: u32) {
        if !self.has(Quirk::ShrunkDataReturns) || !self.images[usize::from(image.0)].qcow2 || before == 0 {
            return;
        }
        let end = self.views.cluster_end(image, before - 1);
        (before..end).for_each(|sector| self.views.may_show_anything(image, sector));
    }

    /// A copy that nobody flushed is lost: its image shows what it stands on by now.
    pub(super) fn lost_copies_show_below(&mut self) {
        if self.views.holds_anything {
            self.views.lost_shows_below();
        }
    }

    /// Everything was flushed when the daemon ended well.
    pub(super) fn views_are_flushed(&mut self) {
        if self.views.holds_anything {
            self.views.nothing_comes_back();
        }
    }

    /// A header is about to name something else; it is not flushed.
    pub(super) fn header_was_not_flushed(&mut self, image: ImageId) {
        if self.has(Quirk::HeaderNotDurable) || self.has(Quirk::HeaderIsTorn) {
            let before = self.images[usize::from(image.0)].headers.clone();
            self.marred.rewritten.push((image, before));
        }
    }

    /// An image was flushed.
    pub(super) fn header_is_flushed(&mut self, image: ImageId) {
        self.marred.copied.retain(|copied| *copied != image);
        if self.marred.rewritten.iter().any(|(other, _)| *other == image) {
            self.marred.rewritten.retain(|(other, _)| *other != image);
        }
    }

    /// What the header of an image may name after a power cut although it was rewritten.
    pub(super) fn headers_of_before(&self, image: ImageId) -> impl Iterator<Item = &Option<String>> {
        let is_cut = self.phase == Phase::Crashed(CrashKind::PowerCut) && self.has(Quirk::HeaderNotDurable);
        let rewritten = self.marred.rewritten.iter().filter(move |(other, _)| is_cut && *other == image);
        rewritten.flat_map(|(_, before)| before)
    }

    /// Whether a power cut may have torn the header of an image, or of one that it stands on.
    pub(super) fn may_be_torn(&self, image: ImageId) -> bool {
        let is_cut = self.phase == Phase::Crashed(CrashKind::PowerCut) && self.has(Quirk::HeaderIsTorn);
        let is_changed = |image: &ImageId| {
            self.images[usize::from(image.0)].headers.len() > 1
                || self.marred.rewritten.iter().any(|(other, _)| other == image)
        };
        is_cut && self.views.at_or_below(image).iter().any(is_changed)
    }

    /// Whether a crash, or an end beside errors, may have left a value of another sector, in whose cluster it was written anew.
    pub(super) fn may_be_reused(&self, image: ImageId, sector: u32, value: u64) -> bool {
        // What an error kept from the disk is lost at a clean end, too.
        (matches!(self.phase, Phase::Crashed(_)) || self.is_struck_since(EVER))
            && self.has(Quirk::ReusedClusterShows)
            && self.views.at_or_below(image).into_iter().any(|at| {
                let is_copied = self.marred.copied.contains(&at);
                self.views.may_be_reused(at, sector, value, is_copied)
            })
    }

    /// A write of more than one cluster begins: until all of it is there, any of it may be zeroes.
    pub(super) fn write_may_zero(&mut self, image: ImageId, sectors: (u32, u32)) {
        let parts = self.images[usize::from(image.0)].parts();
        if self.has(Quirk::FailedWriteZeroes) && self.views.spans_clusters(image, sectors, parts) {
            (sectors.0..sectors.0 + sectors.1).for_each(|at| self.views.may_show_too(image, at, 0));
        }
    }

    /// A guest gives up sectors of an image, or writes them.
    pub(super) fn change_may_corrupt(&mut self, image: ImageId, (sector, count): (u32, u32), gives_up: bool) {
        let meets = self.has(Quirk::DiscardUnderWriteCorrupts)
            && self.views.meets_a_change(image, sector, count, gives_up);
        let unflushed = self.has(Quirk::FlushErrorCorrupts) && gives_up && !self.faults.is_empty();
        if meets || unflushed {
            self.corrupts(image);
        }
    }

    /// A job begins to write: zeroes that it copies give up what was there, as a guest's do.
    pub(super) fn copy_may_corrupt(&mut self, plan: &Plan) {
        let written = match &plan.work {
            Work::Stream(span) => span.target,
            Work::Commit(span) => span.base,
            Work::Mirror(span) => span.target,
            Work::Backup(span) => span.target,
        };
        let image = self.layer_of(&self.graph, written).filter(|_| self.has(Quirk::FlushErrorCorrupts));
        if let Some(image) = image.filter(|_| !self.faults.is_empty()) {
            self.corrupts(image);
        }
    }

    /// From now on the check of an image may find corruptions.
    pub(super) fn corrupts(&mut self, image: ImageId) {
        if !self.marred.corrupt.contains(&image) {
            self.marred.corrupt.push(image);
        }
    }

    /// Whether the check of an image may find corruptions.
    pub(crate) fn may_be_corrupt(&self, file: &str) -> bool {
        self.opening().find(file).is_some_and(|image| self.marred.corrupt.contains(&image))
    }

    /// A mirror's progress may pass its end.
    pub(super) fn may_pass_its_end(&self, id: JobId) -> bool {
        self.has(Quirk::MirrorPassesItsEnd) && self.job(id).plan.becomes_ready()
    }

    /// A commit has not rewritten the header of an overlay.
    pub(super) fn overlay_forgotten(&mut self, is_certain: bool) {
        if !is_certain && self.has(Quirk::CommitLeavesHeader) {
            self.marred.forgot_overlay = true;
        }
    }

    /// An image is made longer, and a fault may keep that from the disk.
    pub(super) fn length_may_be_forgotten(&mut self, image: ImageId, before: u32) {
        if self.has(Quirk::FailedResizeForgotten) && !self.faults.is_empty() {
            self.marred.lengths.push((image, before));
            for sector in before..self.views.layer(image).sectors() {
                self.views.will_come_back(image, sector, 0);
            }
        }
    }

    /// The lengths that an image may have gone back to.
    pub(super) fn forgotten_lengths(&self, image: ImageId) -> impl Iterator<Item = u32> {
        self.marred.lengths.iter().filter(move |(other, _)| *other == image).map(|(_, length)| *length)
    }

    /// A guest changes what a mirror copies, below the mirror's filter: the mirror may not be notified.
    pub(super) fn mirror_may_be_bypassed(&mut self, node: NodeId, (sector, count): (u32, u32)) {
        if !self.has(Quirk::MirrorIsBypassed) {
            return;
        }
        for id in self.live_jobs().collect::<Vec<_>>() {
            let job = self.job(id);
            let is_past = job.plan.becomes_ready() && job.plan.under == node && !job.has_left();
            if !is_past {
                continue;
            }
            let copies = &mut self.job_mut(id).copies;
            let end = ((sector + count) as usize).min(copies.len());
            copies[(sector as usize).min(end)..end].fill(false);
            self.marred.bypassed.push(id);
        }
    }

    /// Whether a guest writes below a backup's filter, which does not see it then.
    pub(super) fn backup_is_bypassed(&self, id: JobId, node: NodeId) -> bool {
        let job = self.job(id);
        self.has(Quirk::BackupIsBypassed)
            && job.plan.job_type() == JobType::Backup
            && !self.graph.passes(node, job.filter)
    }

    /// Whether what readers of a mirror's target see is to be composed anew.
    pub(super) fn was_bypassed(&self, id: JobId) -> bool {
        self.marred.bypassed.contains(&id)
    }
}
