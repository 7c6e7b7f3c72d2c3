//! Changes and edits that pass each other: a guest's change ends while a command waits that edits what it goes to. Nobody
//! sees which came first.
//!
//! Where an edit may put an overlay on an image, a change has reached the image or, coming late, the overlay. Readers through
//! the overlay see it either way; the image alone may lack it. That is data of one state: each order a state of its own
//! would be twice as many states for each change.

use crate::content::{Layer, Moment, Views};
use crate::graph::{ImageId, NodeId};
use crate::shared::Shared;
use crate::step::guest::{Kind, Op};
use crate::step::state::State;
use std::ops::Range;

/// What has changed since the oldest edit was sent that waits and moves guests, or what they stand on.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Lately {
    /// What readers saw when it was sent, and when that was; none, if no such edit waits.
    before: Option<(Shared<Views>, Moment)>,
    /// Changes that have ended since.
    changes: Vec<Change>,
}

/// A change that an edit may have come before.
#[derive(Clone, PartialEq, Debug)]
struct Change {
    image: ImageId,
    op: Op,
    /// Its request and when that began, while it is under way.
    under_way: Option<(u64, Moment)>,
}

impl State {
    /// An edit was sent: from now on what ends may have met it.
    pub(super) fn watch_changes(&mut self) {
        if self.lately.before.is_none() && self.is_edit_waiting() {
            self.lately.before = Some((self.views.clone(), self.now));
        }
    }

    /// Forgets what no edit can come before any more.
    pub(super) fn forget_changes(&mut self) {
        if self.lately.before.is_some() && !self.is_edit_waiting() {
            self.lately = Lately::default();
        }
    }

    /// A change has ended.
    pub(super) fn change_ended(&mut self, image: ImageId, op: Op) {
        if self.lately.before.is_some() {
            self.lately.changes.push(Change { image, op, under_way: None });
        }
    }

    /// The changes that an edit which takes effect now may come before.
    fn late_changes(&self) -> Vec<Change> {
        let is_change = self.requests.iter().filter(|request| request.op.kind() == Kind::Change);
        let under_way = is_change.filter_map(|request| {
            let under_way = Some((request.number, request.began));
            Some(Change { image: request.image?, op: request.op.clone(), under_way })
        });
        self.lately.changes.iter().cloned().chain(under_way).collect()
    }

    /// An image may stand on nothing since an edit: zeroes that come after it need no cluster.
    pub(super) fn zeroes_may_come_late(&mut self) {
        for Change { image, op, .. } in self.late_changes() {
            let Range { start, end } = op.sectors_in(self.views.layer(image));
            self.zeroes_may_need_no_cluster(image, (start, end - start), &op);
        }
    }

    /// An overlay has come over an image: what has changed there may have gone to the overlay instead.
    pub(super) fn changes_may_reach_overlay(&mut self, image: ImageId, overlay: NodeId) {
        let Some(over) = self.layer_of(&self.graph, overlay) else { return };
        let all = self.late_changes().into_iter();
        let changes: Vec<Change> = all.filter(|change| change.image == image).collect();
        let (before, since) = self.lately.before.clone().unwrap_or_else(|| (self.views.clone(), self.now));
        for Change { op, under_way, .. } in &changes {
            let sectors = op.sectors_in(self.views.layer(over));
            let range = (sectors.start, sectors.end - sectors.start);
            self.change_may_corrupt(over, range, !matches!(op, Op::Write(..)));
            self.views.may_be_written(over, image, sectors, *under_way, |sector| op.value(sector));
            for sector in op.sectors_in(self.views.layer(image)) {
                self.views.is_flushed_with(over, image, sector, since);
                let written = changes.iter().filter_map(|other| other.op.value(sector));
                self.views.may_lack(image, over, sector, &before, written);
            }
        }
        for Change { op, .. } in &changes {
            let Range { start, end } = op.sectors_in(self.views.layer(image));
            for id in self.live_jobs().collect::<Vec<_>>() {
                self.copies_may_see(id, image, start, end - start);
            }
        }
        self.requests_follow(image, over);
    }

    /// Who was on the image is on its overlay now. What is under way ends there.
    fn requests_follow(&mut self, image: ImageId, over: ImageId) {
        let certain = self.shortest_length(over) as u64;
        // It may have come to its end on the image.
        let failed_before = self.is_unwritable(image);
        for index in 0..self.requests.len() {
            let request = &self.requests[index];
            let is_moved = self.image_of_guest(request.guest) == Some(over);
            if request.op.kind() != Kind::Change || request.image != Some(image) || !is_moved {
                continue;
            }
            let Range { start, end } = request.op.sectors_in(self.views.layer(over));
            let (sector, count) = request.op.range();
            let request = &mut self.requests[index];
            request.image = Some(over);
            request.may_fail |= failed_before || sector.checked_add(count).is_none_or(|end| end > certain);
            (request.sector, request.count) = (start, end - start);
        }
    }
}

impl Op {
    /// The sectors of a layer that it covers.
    fn sectors_in(&self, layer: &Layer) -> Range<u32> {
        let sectors = u64::from(layer.sectors());
        let (sector, count) = self.range();
        let end = sector.saturating_add(count).min(sectors);
        // Both lie in the layer, which has no more sectors than a u32 counts.
        sector.min(sectors) as u32..end as u32
    }

    /// What a change leaves in a sector, if it covers it.
    fn value(&self, sector: u32) -> Option<u64> {
        let (first, count) = self.range();
        let index = u64::from(sector).checked_sub(first).filter(|index| *index < count)?;
        match self {
            Op::Write(_, values) => values.get(index as usize).copied(),
            _ => Some(0),
        }
    }
}
