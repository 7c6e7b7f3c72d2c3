//! Changes and edits that pass each other: a guest's change ends while a command waits that edits what it goes to. Nobody
//! sees which came first.
//!
//! Where an edit may put an overlay on an image, a change has reached the image or, coming late, the overlay. Readers through
//! the overlay see it either way; the image alone may lack it. That is data of one state: each order a state of its own
//! would be twice as many states for each change.

use crate::chain::{ImageId, NodeId};
use crate::content::Views;
use crate::shared::Shared;
use crate::state::State;
use crate::step::guest::{Kind, Op};

/// What has changed since the oldest edit was sent that waits and moves guests, or what they stand on.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Lately {
    /// What readers saw when it was sent; none, if no such edit waits.
    before: Option<Shared<Views>>,
    /// Changes that have ended since.
    changes: Vec<Change>,
}

/// A change that an edit may have come before.
#[derive(Clone, PartialEq, Debug)]
struct Change {
    image: ImageId,
    sector: u32,
    count: u32,
    op: Op,
}

impl State {
    /// An edit was sent: from now on what ends may have met it.
    pub(super) fn watch_changes(&mut self) {
        if self.lately.before.is_none() && self.is_edit_waiting() {
            self.lately.before = Some(self.views.clone());
        }
    }

    /// Forgets what no edit can come before any more.
    pub(super) fn forget_changes(&mut self) {
        if self.lately.before.is_some() && !self.is_edit_waiting() {
            self.lately = Lately::default();
        }
    }

    /// A change has ended.
    pub(super) fn change_ended(&mut self, image: ImageId, sector: u32, count: u32, op: Op) {
        if self.lately.before.is_some() {
            self.lately.changes.push(Change { image, sector, count, op });
        }
    }

    /// The changes that an edit which takes effect now may come before.
    fn late_changes(&self) -> Vec<Change> {
        let is_change = self.requests.iter().filter(|request| request.op.kind() == Kind::Change);
        let under_way = is_change.filter_map(|request| {
            let (sector, count, op) = (request.sector, request.count, request.op.clone());
            Some(Change { image: request.image?, sector, count, op })
        });
        let all = self.lately.changes.iter().cloned().chain(under_way);
        // An image may have become shorter meanwhile.
        let inside = |change: Change| {
            let sectors = self.views.layer(change.image).sectors();
            let sector = change.sector.min(sectors);
            Change { sector, count: change.count.min(sectors - sector), ..change }
        };
        all.map(inside).collect()
    }

    /// An image may stand on nothing since an edit: zeroes that come after it need no cluster.
    pub(super) fn zeroes_may_come_late(&mut self) {
        for Change { image, sector, count, op } in self.late_changes() {
            self.zeroes_may_need_no_cluster(image, (sector, count), &op);
        }
    }

    /// An overlay has come over an image: what has changed there may have gone to the overlay instead.
    pub(super) fn changes_may_reach_overlay(&mut self, image: ImageId, overlay: NodeId) {
        let Some(over) = self.layer_of(&self.graph, overlay) else { return };
        let changes: Vec<Change> =
            self.late_changes().into_iter().filter(|change| change.image == image).collect();
        let before = self.lately.before.clone().unwrap_or_else(|| self.views.clone());
        for change in &changes {
            let inside = self.views.layer(over).sectors().saturating_sub(change.sector);
            let of_overlay = change.count.min(inside);
            self.change_may_corrupt(over, (change.sector, of_overlay), !matches!(change.op, Op::Write(..)));
            self.views.may_be_written(over, change.sector, of_overlay, |sector| change.value(sector));
            for sector in change.sector..change.sector + change.count {
                let written = changes.iter().filter_map(|other| other.value(sector));
                self.views.may_lack(image, over, sector, &before, written);
            }
        }
        for Change { sector, count, .. } in changes {
            for id in self.live_jobs().collect::<Vec<_>>() {
                self.copies_may_see(id, image, sector, count);
            }
        }
        self.requests_follow(image, over);
    }

    /// Who was on the image is on its overlay now. What is under way ends there.
    fn requests_follow(&mut self, image: ImageId, over: ImageId) {
        let (sectors, certain) = (self.views.layer(over).sectors(), self.shortest_length(over) as u64);
        for index in 0..self.requests.len() {
            let request = &self.requests[index];
            let is_moved = self.image_of_guest(request.guest) == Some(over);
            if request.op.kind() != Kind::Change || request.image != Some(image) || !is_moved {
                continue;
            }
            let request = &mut self.requests[index];
            request.image = Some(over);
            let (sector, count) = request.op.range();
            request.may_fail |= sector.checked_add(count).is_none_or(|end| end > certain);
            request.sector = request.sector.min(sectors);
            request.count = request.count.min(sectors - request.sector);
        }
    }
}

impl Change {
    /// What it left in a sector, if it covers it.
    fn value(&self, sector: u32) -> Option<u64> {
        let index = sector.checked_sub(self.sector).filter(|index| *index < self.count)?;
        match &self.op {
            Op::Write(_, values) => values.get(index as usize).copied(),
            _ => Some(0),
        }
    }
}
