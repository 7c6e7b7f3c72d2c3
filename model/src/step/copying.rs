//! What a job's copying does to what readers see: from its start, with every write of a guest, and at its end.

use crate::command::plan::{JobType, Work};
use crate::command::record::Job;
use crate::command::starting::Sync;
use crate::content::Decides;
use crate::graph::{ImageId, JobId, NodeId};
use crate::inconclusive::Inconclusive;
use crate::law::LawId;
use crate::quirk::Quirk;
use crate::rule::Rule;
use crate::step::state::State;

/// Jobs write under numbers that no guest's request has.
const JOB_REQUESTS: u64 = 1 << 63;

/// A mirror copies whole chunks of this many sectors, unless its target's clusters are larger.
const CHUNK_SECTORS: u32 = 128;

pub(super) fn request_of(id: JobId) -> u64 {
    JOB_REQUESTS | u64::from(id.0)
}

/// Whether one of these changes is of that sector.
fn is_being_changed(changes: &[(ImageId, u32, u32)], image: ImageId, sector: u32) -> bool {
    changes.iter().any(|(at, first, count)| *at == image && (*first..first + count).contains(&sector))
}

/// What a job copies from, and to, and how much of it.
pub(super) struct Route {
    pub(super) source: NodeId,
    pub(super) target: NodeId,
    pub(super) sync: Sync,
    /// Layers whose sectors are copied, where not all are.
    pub(super) layers: Vec<NodeId>,
}

/// What a guest changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    /// Where the guest sits.
    pub node: NodeId,
    /// The image under it.
    pub image: ImageId,
    /// The first sector, and how many.
    pub sectors: (u32, u32),
    /// Whether it may do nothing.
    pub is_discard: bool,
}

impl State {
    pub(super) fn route(&self, id: JobId) -> Option<Route> {
        match &self.job(id).plan.work {
            Work::Stream(_) => None,
            Work::Commit(span) => Some(Route {
                source: span.top,
                target: span.base,
                sync: Sync::Top,
                layers: span.between.clone(),
            }),
            Work::Mirror(span) => Some(Route {
                source: span.source,
                target: span.target,
                sync: if self.has(Quirk::MirrorKeepsTarget) { span.asked } else { span.sync },
                layers: vec![span.source],
            }),
            Work::Backup(span) => Some(Route {
                // What its filter stands on: a snapshot may have put an overlay between.
                source: self.graph.unfiltered(self.job(id).filter).unwrap_or(span.source),
                target: span.target,
                sync: span.sync,
                layers: vec![span.source],
            }),
        }
    }

    /// The image whose changes a mirror or an active commit has copied as they were made.
    pub(crate) fn mirrored_by(&self, id: JobId) -> Option<ImageId> {
        let route = self.route(id).filter(|_| self.job(id).plan.becomes_ready())?;
        self.layer_of(&self.graph, route.source)
    }

    /// The two images a job copies between.
    pub(super) fn images_of(&self, route: &Route) -> Option<(ImageId, ImageId)> {
        let source = self.layer_of(&self.graph, route.source)?;
        Some((source, self.layer_of(&self.graph, route.target)?))
    }

    /// Mirrors and backups copy whole chunks of so many sectors.
    fn chunk_sectors(&self, source: ImageId, target: ImageId) -> u32 {
        let cluster = |image| self.views.layer(image).cluster_sectors;
        cluster(source).max(cluster(target)).max(CHUNK_SECTORS)
    }

    /// The job starts: from now on its target may show what it copies.
    pub(super) fn copy_starts(&mut self, id: JobId) {
        if let Work::Stream(span) = &self.job(id).plan.work {
            let (target, between) = (span.target, span.between.clone());
            return self.stream_starts(id, target, &between);
        }
        let Some(route) = self.route(id) else { return };
        let Some((source, target)) = self.images_of(&route) else {
            return self.raw_copy_starts(&route);
        };
        if matches!(self.job(id).plan.work, Work::Commit(_)) {
            self.base_may_grow(route.target, source, target);
        }
        let zeroes_first = route.sync == Sync::Full && self.allows(Rule::MirrorZeroesTarget);
        if self.job(id).plan.job_type() == JobType::Mirror && zeroes_first {
            // A target that may hold anything is zeroed first, as QEMU does.
            self.views.may_be_zeroed(target, request_of(id), self.now);
        }
        self.touched[usize::from(target.0)] = true;
        self.job_mut(id).copies = self.copy_sectors(id, &route, source, target);
        self.memory_is_copied(id, source, target);
        self.job_mut(id).copies_onto_nothing = self.views.layer(target).below.is_none();
        self.copies_interfere(id);
        for (image, sector, count) in self.changes_under_way() {
            self.copies_may_see(id, image, sector, count);
        }
    }

    /// What lies in the raw bytes of a format, the model does not know, and so not what a copy of them shows.
    fn raw_copy_starts(&mut self, route: &Route) {
        let source = self.graph.unfiltered(route.source).and_then(|node| self.graph.node(node).image);
        if source.is_some() && self.layer_of(&self.graph, route.target).is_some() {
            self.lose(Inconclusive::CopyOfRaw);
        }
    }

    /// A commit makes its base as long as its top, if it is shorter.
    fn base_may_grow(&mut self, node: NodeId, source: ImageId, target: ImageId) {
        let before = self.views.layer(target).sectors();
        if before < self.views.layer(source).sectors() {
            let length = self.views.layer(source).sectors();
            // Perhaps another job, or a command, has tried to make it longer before.
            let shortest = self.shortest_length(target) as u32;
            self.set_sectors(target, length);
            self.length_may_be_forgotten(target, before);
            self.shortest[usize::from(target.0)] = Some(shortest);
            self.set_bytes(node, None);
        }
    }

    /// What the job may copy shows in its target from now on. Gives the sectors that it must have copied at its end.
    fn copy_sectors(&mut self, id: JobId, route: &Route, source: ImageId, target: ImageId) -> Vec<bool> {
        let sectors = self.views.layer(target).sectors();
        let layers = self.layers(&route.layers);
        let mut copies = vec![false; sectors as usize];
        let chunk = match self.job(id).plan.job_type() {
            // An intermediate commit copies what it finds, no more.
            JobType::Commit => 1,
            _ => self.chunk_sectors(source, target),
        };
        let length = self.views.layer(source).sectors();
        let dirty = self.dirty_sectors(id);
        // Of a source whose length is not known nobody must copy more than it has for sure.
        let certain = self.shortest_length(source) as u32;
        for sector in 0..sectors {
            // Only a commit reads what lies past its source's end.
            let is_commit = matches!(self.job(id).plan.work, Work::Commit(_));
            if sector >= length && !is_commit {
                break;
            }
            let decided = |sector: u32, certain: bool| {
                layers.iter().any(|layer| match self.views.layer(*layer).decides(sector) {
                    Decides::Yes => true,
                    Decides::Maybe => !certain,
                    Decides::No => sector >= self.views.layer(*layer).sectors(),
                })
            };
            let of_chunk = |sector: u32| {
                let first = sector - sector % chunk;
                (first..first.saturating_add(chunk).min(sectors)).any(|at| decided(at, false))
            };
            // What lies past its end a commit hides as far as somebody sees it.
            let (may, must) = match route.sync {
                Sync::Top if sector >= length => (true, false),
                Sync::Full => (true, true),
                Sync::Top => (of_chunk(sector), decided(sector, true)),
                // What is dirty beside what guests made so, nobody knows.
                Sync::Incremental | Sync::Bitmap => (true, dirty.contains(&sector)),
                Sync::Nothing => (false, false),
            };
            copies[sector as usize] = must && sector < certain;
            if may {
                self.views.copy_sector(source, target, sector, request_of(id), self.now);
            }
        }
        copies
    }

    /// A change did not pass the filters of those who mirror an image: what is there they may have copied or not.
    pub(super) fn copies_miss(&mut self, image: ImageId, sector: u32, count: u32) {
        for id in self.live_jobs().collect::<Vec<_>>() {
            let is_partial = self.route(id).is_some_and(|route| route.sync != Sync::Full);
            if is_partial && self.mirrored_by(id) == Some(image) {
                let copies = &mut self.job_mut(id).copies;
                let end = ((sector + count) as usize).min(copies.len());
                copies[(sector as usize).min(end)..end].fill(false);
            }
        }
    }

    /// A change that was on its way when the job began may or may not have passed its filter.
    pub(super) fn copies_may_see(&mut self, id: JobId, image: ImageId, sector: u32, count: u32) {
        if !self.allows(Rule::CopySeesWrite) {
            return;
        }
        let Some((source, target)) = self.route(id).and_then(|route| self.images_of(&route)) else { return };
        if !self.views.at_or_above(image).contains(&source) || source == target {
            return;
        }
        let chunk = self.chunk_sectors(source, target);
        let end = (sector + count).div_ceil(chunk).saturating_mul(chunk);
        for at in sector - sector % chunk..end.min(self.views.layer(target).sectors()) {
            self.views.copy_sector(source, target, at, request_of(id), self.now);
            if let Some(copied) = self.job_mut(id).copies.get_mut(at as usize) {
                // Of a change somewhere below its source it is not notified.
                *copied &= image == source;
            }
        }
    }

    fn stream_starts(&mut self, id: JobId, target: NodeId, between: &[NodeId]) {
        let between = self.layers(between);
        let Some(target) = self.layer_of(&self.graph, target) else { return };
        let length = self.views.layer(target).sectors();
        if between.iter().any(|image| self.views.layer(*image).sectors() < length) {
            self.count(LawId::ShortLayerStreamed);
        }
        debug_assert!(self.job(id).is_live(), "a job that starts is alive");
        self.views.stream_starts(target, &between);
        if between.is_empty() && self.has(Quirk::IdleStreamCopies) {
            self.views.may_populate(target);
        }
        self.backups_of_top_may_copy_more(target);
        self.stream_opens_window(id, target);
        for image in self.views.at_or_above(target) {
            self.streamed[usize::from(image.0)] = true;
        }
    }

    /// Of two jobs of which one writes what lies below the other's source.
    fn copies_interfere(&mut self, id: JobId) {
        let images = |id: JobId| self.route(id).and_then(|route| self.images_of(&route));
        let writes_below = |one: JobId, other: JobId| {
            images(one)
                .zip(images(other))
                .is_some_and(|((_, target), (source, _))| self.views.at_or_above(target).contains(&source))
        };
        let others = self.live_jobs().filter(|other| *other != id && !self.job(*other).has_left());
        let pairs = others.flat_map(|other| [(id, other), (other, id)]);
        let interfered: Vec<JobId> =
            pairs.filter(|(one, other)| writes_below(*one, *other)).map(|(_, other)| other).collect();
        for id in interfered.into_iter().filter(|_| self.allows(Rule::CopiesInterfere)).collect::<Vec<_>>() {
            self.job_mut(id).interfered = true;
        }
        self.interfered_copies_see();
    }

    /// What stands below their source has changed, or is about to: mirrors may copy what it shows now, whatever comes after.
    /// (A backup copies what was there at its start, or, where it is interfered, what is there at its end.)
    fn interfered_copies_see(&mut self) {
        let is_mirror = |job: &Job| job.interfered && job.plan.becomes_ready() && !job.has_left();
        let mirrors: Vec<JobId> = self.live_jobs().filter(|id| is_mirror(self.job(*id))).collect();
        for id in mirrors {
            let images = self.route(id).and_then(|route| self.images_of(&route));
            let Some((source, target)) = images.filter(|(source, target)| source != target) else { continue };
            for sector in 0..self.views.layer(target).sectors() {
                self.views.copy_sector(source, target, sector, request_of(id), self.now);
            }
        }
    }

    /// What readers of `image` see has changed under jobs that copy it: they may have copied the one or the other.
    pub(super) fn copies_lose_track(&mut self, image: ImageId) {
        let seen = self.views.at_or_above(image);
        if !self.allows(Rule::CopyLosesTrack) {
            return;
        }
        for id in self.live_jobs().collect::<Vec<_>>() {
            let images = self.route(id).and_then(|route| self.images_of(&route));
            let concerns = images.is_some_and(|(source, _)| seen.contains(&source));
            if concerns && !self.job(id).has_left() {
                self.copy_loses_track(id);
            }
        }
    }

    /// The job may or may not have copied what its source shows now.
    pub(super) fn copy_loses_track(&mut self, id: JobId) {
        let Some((source, target)) = self.route(id).and_then(|route| self.images_of(&route)) else { return };
        self.job_mut(id).copies.fill(false);
        if source == target {
            return;
        }
        for sector in 0..self.views.layer(target).sectors() {
            self.views.copy_sector(source, target, sector, request_of(id), self.now);
        }
    }

    /// A stream allocates what a backup of the top layer finds there to copy, if it looks late.
    fn backups_of_top_may_copy_more(&mut self, image: ImageId) {
        if !self.allows(Rule::BackupOfTopFindsStreamed) {
            return;
        }
        for id in self.live_jobs().collect::<Vec<_>>() {
            if self.job(id).plan.job_type() != JobType::Backup {
                continue;
            }
            let Some(route) = self.route(id).filter(|route| route.sync == Sync::Top) else { continue };
            let Some((source, target)) = self.images_of(&route).filter(|(source, _)| *source == image) else {
                continue;
            };
            for sector in 0..self.views.layer(target).sectors() {
                if self.views.layer(source).decides(sector) != Decides::Yes {
                    self.views.copy_sector(source, target, sector, request_of(id), self.now);
                }
            }
        }
    }

    /// An overlay may be coming between a backup's filter and its source: which of them it looks at to find what there is
    /// to copy, nobody sees.
    pub(super) fn backups_of_top_lose_track(&mut self, image: ImageId) {
        if !self.allows(Rule::BackupOfTopLosesTrack) {
            return;
        }
        for id in self.live_jobs().collect::<Vec<_>>() {
            let Some(route) = self.route(id).filter(|route| route.sync == Sync::Top) else { continue };
            let is_backup = self.job(id).plan.job_type() == JobType::Backup;
            if is_backup && self.layer_of(&self.graph, route.source) == Some(image) {
                self.copy_loses_track(id);
            }
        }
    }

    /// A guest is about to change sectors of `image`: whoever copies from it copies the change, or what was there.
    pub(super) fn copies_see_a_write(&mut self, changed: Changed, before: bool) {
        let Changed { node, image, sectors: (sector, count), is_discard } = changed;
        // A mirror's filter passes every write to its target until the target takes its place.
        let follows = |id: &JobId| {
            let job = self.job(*id);
            job.is_at_work() || job.plan.becomes_ready() && !job.has_left()
        };
        let jobs: Vec<JobId> = self.live_jobs().filter(follows).collect();
        for id in jobs {
            let job_type = self.job(id).plan.job_type();
            if before != (job_type == JobType::Backup) || job_type == JobType::Stream {
                continue;
            }
            let Some(route) = self.route(id) else { continue };
            let Some((source, target)) = self.images_of(&route) else { continue };
            if !self.views.at_or_above(image).contains(&source) || source == target {
                continue;
            }
            if image == source && matches!(job_type, JobType::Mirror | JobType::Backup) {
                self.count(LawId::WriteWhileCopying);
            }
            let cluster = self.chunk_sectors(source, target);
            let first = sector - sector % cluster;
            let end = (sector + count).div_ceil(cluster).saturating_mul(cluster);
            let changes = self.changes_under_way();
            for at in first..end.min(self.views.layer(target).sectors()) {
                // A backup keeps what was there at its start; what it has copied already it does not copy again.
                if job_type != JobType::Backup
                    || route.sync == Sync::Nothing && !self.job(id).copies[at as usize]
                {
                    self.views.copy_sector(source, target, at, request_of(id), self.now);
                }
                // What it does not copy from the top, a backup does not save either.
                let is_copied = job_type != JobType::Backup || route.sync != Sync::Top;
                if !is_copied || !(sector..sector + count).contains(&at) {
                    continue;
                }
                // Of a writer somewhere below its source a mirror is not notified, nor of one that writes its target.
                let is_past = self.backup_is_bypassed(id, node);
                let is_notified = image == source && !is_past && !is_being_changed(&changes, target, at);
                if !is_notified && !self.job(id).changed_beside.contains(&at) {
                    self.job_mut(id).changed_beside.push(at);
                }
                if let Some(copied) = self.job_mut(id).copies.get_mut(at as usize) {
                    // A discard may do nothing, and then there is nothing to copy. What is not dirty is not saved.
                    *copied = is_notified && (*copied || !is_discard && !route.sync.is_by_bitmap());
                }
            }
        }
        self.interfered_copies_see();
    }
}
