//! The end of a copy: what its job leaves of contents, links and headers when it succeeds, and when it stops.

use crate::command::plan::Work;
use crate::command::starting::Sync;
use crate::content::SECTOR_BYTES;
use crate::graph::{ImageId, JobId, NodeId};
use crate::law::LawId;
use crate::quirk::Quirk;
use crate::step::copying::request_of;
use crate::step::state::State;

impl State {
    /// The job has succeeded. `self.graph` is what it made of it.
    pub(super) fn copy_succeeded(&mut self, id: JobId) {
        if self.job(id).interfered {
            self.copy_loses_track(id);
        }
        self.increment_succeeded(id);
        let may_be_older = self.job(id).copies.contains(&false);
        let plan = self.job(id).plan.clone();
        match &plan.work {
            Work::Stream(span) => self.stream_succeeded(span),
            Work::Commit(span) => {
                self.has_grown(span.base, span.top);
                let before = self.before_copy(Quirk::CommitDoesNotFlush, span.base);
                self.copy_has_followed(id);
                if !span.is_active {
                    let base = self.graph.unfiltered(span.base);
                    let overlays = self.graph.alive().map(|(overlay, _)| overlay);
                    let overlays: Vec<NodeId> =
                        overlays.filter(|overlay| self.graph.backing_layer(*overlay) == base).collect();
                    self.nodes_taken_off(&overlays, self.graph.unfiltered(span.top));
                    self.relink_above(plan.under, span.base);
                    self.copy_was_not_flushed(before);
                }
                let goal = if span.is_active { LawId::ActiveCommitCompletes } else { LawId::CommitCompletes };
                self.count(goal);
            }
            Work::Mirror(span) => {
                self.copy_has_followed(id);
                self.count(match span.sync {
                    Sync::Full => LawId::MirrorFullCompletes,
                    Sync::Top => LawId::MirrorTopCompletes,
                    _ => LawId::MirrorNothingCompletes,
                });
            }
            Work::Backup(span) => {
                let before = self.before_copy(Quirk::BackupDoesNotFlush, span.target);
                if let Some(target) = self.layer_of(&self.graph, span.target) {
                    let copies = std::mem::take(&mut self.job_mut(id).copies);
                    let on_nothing = self.job(id).copies_onto_nothing;
                    self.views.copy_stands(target, &copies, on_nothing, request_of(id), self.now);
                }
                self.copy_was_not_flushed(before);
                self.count(match span.sync {
                    Sync::Full => LawId::BackupFullCompletes,
                    Sync::Top => LawId::BackupTopCompletes,
                    _ => return,
                });
            }
        }
        if plan.becomes_ready() {
            let pivots = self.job(id).pivots();
            if pivots {
                self.relink_pivot(id, may_be_older);
            }
            self.count(if pivots { LawId::ReadyCompleted } else { LawId::ReadySoftlyCancelled });
        }
    }

    /// A base is as long as what was committed into it.
    fn has_grown(&mut self, base: NodeId, top: NodeId) {
        let Some(image) = self.layer_of(&self.graph, base) else { return };
        let top = self.layer_of(&self.graph, top);
        let sectors = self.views.layer(image).sectors();
        let is_open = |top: ImageId| {
            self.shortest[usize::from(top.0)].is_some() || self.views.layer(top).sectors() < sectors
        };
        if top.is_some_and(is_open) {
            // Nobody knows how long the top is.
            return;
        }
        if self.shortest[usize::from(image.0)].take().is_some() {
            let bytes = u64::from(self.views.layer(image).sectors()) * SECTOR_BYTES;
            self.images[usize::from(image.0)].size_bytes = bytes;
            self.set_bytes(base, Some(bytes));
        }
    }

    fn copy_has_followed(&mut self, id: JobId) {
        let Some(route) = self.route(id) else { return };
        let Some((source, target)) = self.images_of(&route) else { return };
        let copies = std::mem::take(&mut self.job_mut(id).copies);
        let on_nothing = self.job(id).copies_onto_nothing;
        self.views.copy_has_followed(source, target, &copies, on_nothing);
        self.views.copy_stops(target, on_nothing, request_of(id), self.now);
    }

    /// The job gave up in the middle.
    pub(super) fn copy_stopped(&mut self, id: JobId) {
        let Some(route) = self.route(id) else { return };
        let Some((_, target)) = self.images_of(&route) else { return };
        let on_nothing = self.job(id).copies_onto_nothing;
        self.views.copy_stops(target, on_nothing, request_of(id), self.now);
    }

    /// The overlays of a committed top sit on the base now.
    fn relink_above(&mut self, top: NodeId, base: NodeId) {
        let (Some(top), Some(base)) = (self.layer_of(&self.graph, top), self.layer_of(&self.graph, base))
        else {
            return;
        };
        let overlays: Vec<NodeId> = self.graph.alive().map(|(id, _)| id).collect();
        for overlay in overlays {
            let below = self.graph.backing_layer(overlay).and_then(|below| self.layer_of(&self.graph, below));
            let Some(image) = self.layer_of(&self.graph, overlay) else { continue };
            if self.views.layer(image).below == Some(top) && below == Some(base) {
                self.views.link(image, Some(base));
                self.short_commit_shows_base(image, top, base);
                self.touched[usize::from(image.0)] = true;
            }
        }
    }

    /// The overlays of a mirror's source sit on its target now, which `may_be_older` than the source in some sectors: what
    /// was not to be copied, or what the job may have copied before it changed.
    fn relink_pivot(&mut self, id: JobId, may_be_older: bool) {
        let Some(route) = self.route(id) else { return };
        let Some((source, target)) = self.images_of(&route) else { return };
        let above: Vec<ImageId> = self
            .views
            .at_or_above(source)
            .into_iter()
            // What the target itself stands on stays where it is.
            .filter(|image| *image != source && !self.views.at_or_above(*image).contains(&target))
            .collect();
        for image in above {
            if self.views.layer(image).below == Some(source) {
                self.views.link(image, Some(target));
                if matches!(self.job(id).plan.work, Work::Commit(_)) {
                    self.short_commit_shows_base(image, source, target);
                }
            }
        }
        let is_commit = matches!(self.job(id).plan.work, Work::Commit(_));
        if may_be_older && !is_commit || self.was_bypassed(id) {
            self.views.recompose_above(target);
        }
        if is_commit {
            // Nor what a guest has changed in the target since.
            let changed = self.job(id).changed_beside.clone();
            self.views.show_through(target, &changed);
        }
    }

    pub(super) fn stream_succeeded(&mut self, span: &crate::command::stream::Span) {
        let intermediate = self.graph.parents(span.target).next().is_some();
        self.count(match (span.no_op, intermediate) {
            (true, _) => LawId::NoOpStream,
            (false, true) => LawId::StreamIntermediateCompletes,
            (false, false) => LawId::StreamActiveCompletes,
        });
        self.nodes_taken_off(&[span.target], span.between.first().copied());
        let Some(target) = self.layer_of(&self.graph, span.target) else { return };
        let below = self.graph.backing_layer(span.target);
        let below = below.and_then(|base| self.layer_of(&self.graph, base));
        let between = self.layers(&span.between);
        self.stream_was_not_flushed(span);
        self.views.stream_ends(target, &between, below);
        self.short_layer_shows_base(target, between.first(), below);
    }
}
