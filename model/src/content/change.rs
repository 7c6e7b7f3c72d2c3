//! How values come and go: a request begins, ends or is withdrawn, and a flush makes what it replaced impossible.

use super::{Change, Decides, Moment, NEVER, NONE, Through, Version, Views};
use crate::graph::ImageId;

impl Views {
    /// A request begins to change `image`, and with it every view above that shows it.
    /// Returns whether it meets a write to the same sector that has not ended.
    pub fn begin(
        &mut self,
        image: ImageId,
        sector: u32,
        change: &Change<'_>,
        request: u64,
        now: Moment,
    ) -> bool {
        // The value from before all requests counts as written by request 0.
        assert_ne!(request, 0, "a guest request has the number 0");
        let replaces = !matches!(change, Change::Discard(_));
        let mut meets = false;
        for index in 0..change.len() {
            let at = sector + index;
            meets |= self.versions(image, at).any(|v| v.ended == NEVER);
            let version = Version {
                value: change.value(index),
                request,
                began: now,
                ended: NEVER,
                replaces,
                ..Version::before_all(image)
            };
            self.show(image, at, version);
        }
        self.touch_clusters(image, sector, change.len());
        meets
    }

    /// Whether a layer decides nothing itself: its readers see what lies below.
    pub fn is_blank(&self, image: ImageId) -> bool {
        self.layer(image).decides.iter().all(|decides| *decides == Decides::No)
    }

    /// A layer may have given up these sectors: what is put below it later shows.
    pub fn may_give_up(&mut self, image: ImageId, sector: u32, count: u32) {
        for decides in &mut self.layer_mut(image).decides[sector as usize..(sector + count) as usize] {
            *decides = Decides::Maybe;
        }
    }

    /// A request has not changed anything yet, here or in what was copied from here.
    pub fn withdraw(&mut self, request: u64) {
        for id in self.ids() {
            let shows = |sector: &u32| self.versions(id, *sector).any(|version| version.request == request);
            // A layer that is not changed stays shared.
            if !self.layer(id).unsettled.iter().any(shows) {
                continue;
            }
            let unsettled = std::mem::take(&mut self.layer_mut(id).unsettled);
            for sector in &unsettled {
                self.drop_version(id, *sector, request);
            }
            self.layer_mut(id).unsettled = unsettled;
        }
    }

    /// Takes a request's versions out of a sector. What was there before stays in the list.
    fn drop_version(&mut self, id: ImageId, sector: u32, request: u64) {
        let mut slot = self.layer(id).heads[sector as usize];
        let mut last = NONE;
        while slot != NONE {
            let next = self.pool[slot as usize].next;
            let is_only = last == NONE && next == NONE;
            if self.pool[slot as usize].request == request && !is_only {
                match last {
                    NONE => self.layer_mut(id).heads[sector as usize] = next,
                    last => self.pool[last as usize].next = next,
                }
                self.give_back(slot);
            } else {
                last = slot;
            }
            slot = next;
        }
    }

    /// A write allocates whole clusters: from now on the layer may decide the neighbours as well.
    pub(super) fn touch_clusters(&mut self, image: ImageId, sector: u32, count: u32) {
        let layer = self.layer_mut(image);
        if count == 0 {
            return;
        }
        for at in layer.cluster(sector).start..layer.cluster(sector + count - 1).end {
            layer.may_decide(at);
        }
    }

    pub(super) fn show(&mut self, layer: ImageId, sector: u32, version: Version) {
        self.show_but(None, layer, sector, version);
    }

    /// The same, to all but one of those who read through it.
    pub(super) fn show_but(&mut self, but: Option<ImageId>, layer: ImageId, sector: u32, version: Version) {
        for above in self.ids().filter(|above| Some(*above) != but) {
            if self.layer(above).below != Some(layer) || sector >= self.layer(above).sectors() {
                continue;
            }
            match self.layer(above).decides(sector) {
                Decides::Yes => {}
                Decides::No => self.show(above, sector, version.clone()),
                Decides::Maybe => self.show(above, sector, Version { replaces: false, ..version.clone() }),
            }
        }
        self.push(layer, sector, version);
    }

    /// The request ends. If it failed, both old and new stay possible.
    pub fn end(&mut self, image: ImageId, sector: u32, count: u32, request: u64, failed: bool, now: Moment) {
        for at in sector..sector + count {
            for id in self.ids() {
                if at < self.layer(id).sectors() && self.layer(id).heads[at as usize] != NONE {
                    let hidden = id != image && self.layer(id).decides(at) != Decides::No;
                    self.end_in(id, at, request, failed || hidden, now);
                }
            }
        }
    }

    pub(super) fn end_in(&mut self, id: ImageId, sector: u32, request: u64, failed: bool, now: Moment) {
        let Some(own) = self.versions(id, sector).find(|v| v.request == request) else { return };
        let (began, flushed_with, replaces) = (own.began, own.flushed_with, own.replaces && !failed);
        let mut slot = self.layer(id).heads[sector as usize];
        while slot != NONE {
            let version = &mut self.pool[slot as usize];
            if version.request == request {
                version.ended = now;
                version.replaces = replaces;
            } else if replaces && version.ended < began && version.superseded == NEVER {
                version.superseded = now;
                version.superseded_by = flushed_with;
            }
            slot = version.next;
        }
    }

    /// A flush of `image` that began at `began` has ended without error: what it superseded cannot come back.
    /// `oldest_read` is the moment the oldest unfinished read began.
    pub fn flushed(&mut self, image: ImageId, began: Moment, oldest_read: Moment) {
        for id in self.ids() {
            if self.layer(id).unsettled.is_empty() {
                continue;
            }
            let unsettled = std::mem::take(&mut self.layer_mut(id).unsettled);
            let is_past = |moment| moment < began;
            let still = unsettled
                .into_iter()
                .filter(|sector| !self.forget(id, *sector, image, &is_past, oldest_read));
            let still = still.collect();
            self.layer_mut(id).unsettled = still;
        }
    }

    /// A write into `image` has ended that is durable with its end: what it took the place of cannot come back. What another
    /// took the place of beside it still can, since that one need not be durable.
    pub fn written_through(&mut self, image: ImageId, (first, count): (u32, u32), write: Through) {
        let is_past = |moment| moment < write.began || moment == write.ended;
        for id in self.ids() {
            let unsettled = std::mem::take(&mut self.layer_mut(id).unsettled);
            let is_written = |sector: u32| (first..first + count).contains(&sector);
            let still = unsettled.into_iter().filter(|sector| {
                !is_written(*sector) || !self.forget(id, *sector, image, &is_past, write.oldest_read)
            });
            let still = still.collect();
            self.layer_mut(id).unsettled = still;
        }
    }

    /// Forgets what the flush made impossible in one sector; true once a single settled value is left.
    fn forget(
        &mut self,
        id: ImageId,
        sector: u32,
        flushed: ImageId,
        is_past: &dyn Fn(Moment) -> bool,
        oldest_read: Moment,
    ) -> bool {
        // A write that is durable hides the layers below for good.
        // Zeroes may need no cluster.
        let is_kept = |v: &Version| {
            let stands = v.superseded == NEVER && v.value != 0;
            v.origin == id && v.request != 0 && v.replaces && is_past(v.ended) && stands
        };
        let may_be_given_up = |v: &Version| v.origin == id && v.request != 0 && v.value == 0;
        if flushed == id
            && self.versions(id, sector).any(is_kept)
            && !self.versions(id, sector).any(may_be_given_up)
        {
            self.layer_mut(id).decides[sector as usize] = Decides::Yes;
        }
        let mut slot = std::mem::replace(&mut self.layer_mut(id).heads[sector as usize], NONE);
        let (mut kept, mut last) = (0, NONE);
        while slot != NONE {
            let version = &mut self.pool[slot as usize];
            let next = version.next;
            version.gone |= is_past(version.superseded) && version.superseded_by == flushed;
            if version.gone && version.superseded <= oldest_read {
                self.give_back(slot);
            } else {
                kept += 1;
                version.next = NONE;
                match last {
                    NONE => self.layer_mut(id).heads[sector as usize] = slot,
                    last => self.pool[last as usize].next = slot,
                }
                last = slot;
            }
            slot = next;
        }
        assert!(kept > 0, "a flush left sector {sector} of image {} without any value", id.0);
        let head = self.layer(id).heads[sector as usize];
        let only = &self.pool[head as usize];
        if kept > 1 || only.ended == NEVER {
            return false;
        }
        let value = only.value;
        self.give_back(head);
        let layer = self.layer_mut(id);
        layer.heads[sector as usize] = NONE;
        layer.settled[sector as usize] = value;
        true
    }
}
