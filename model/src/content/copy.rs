//! Copies of a view into another image: what a commit, a mirror or a backup does to its target.
//!
//! While a copy is under way its target shows, sector by sector, what it showed before or what is being copied: the
//! copied values are versions of a request that has not ended. Once it has ended well, they are all there is.

use super::{Decides, LATE, NEVER, NONE, Version, Views};
use crate::content::{Layer, Moment};
use crate::graph::ImageId;

impl Views {
    /// From now on `target` may show in this sector what `source` shows.
    pub fn copy_sector(&mut self, source: ImageId, target: ImageId, sector: u32, request: u64, now: Moment) {
        if sector >= self.layer(target).sectors() {
            return;
        }
        match self.settled_now(source, sector) {
            Some(value) => self.copy_value(target, sector, value, request, now),
            None => {
                for value in self.values_now(source, sector) {
                    self.copy_value(target, sector, value, request, now);
                }
            }
        }
        if self.layer(target).decides(sector) == Decides::No {
            self.touch_clusters(target, sector, 1);
        }
    }

    fn copy_value(&mut self, target: ImageId, sector: u32, value: u64, request: u64, now: Moment) {
        if self.versions(target, sector).any(|v| v.request == request && v.value == value) {
            return;
        }
        let version = Version {
            value,
            request,
            began: now,
            ended: NEVER,
            replaces: false,
            ..Version::before_all(target)
        };
        self.show(target, sector, version);
    }

    /// The only value a sector may have, as it is for most.
    fn settled_now(&self, id: ImageId, sector: u32) -> Option<u64> {
        let layer = self.layer(id);
        match layer.heads.get(sector as usize) {
            None => Some(0),
            Some(&NONE) => Some(layer.settled[sector as usize]),
            Some(_) => None,
        }
    }

    /// Every value a sector may have.
    pub(super) fn values_now(&self, id: ImageId, sector: u32) -> Vec<u64> {
        match self.settled_now(id, sector) {
            Some(value) => vec![value],
            None => self.versions(id, sector).map(|v| v.value).collect(),
        }
    }

    /// A copy that follows its source has ended well: in the sectors of `copies`, `target` is what `source` is.
    pub fn copy_has_followed(&mut self, source: ImageId, target: ImageId, copies: &[bool], on_nothing: bool) {
        for sector in copied(copies, self.layer(target)) {
            let mut versions: Vec<Version> = match self.layer(source).heads.get(sector as usize) {
                Some(&NONE) => {
                    let value = self.layer(source).settled[sector as usize];
                    vec![Version { value, ..Version::before_all(target) }]
                }
                Some(_) => self.versions(source, sector).cloned().collect(),
                None => vec![Version::before_all(target)],
            };
            for version in &mut versions {
                (version.origin, version.flushed_with, version.superseded_by) = (target, target, target);
            }
            self.set_sector(target, sector, versions, on_nothing);
        }
        self.show_below(target, on_nothing);
        self.recompose_above(target);
    }

    /// A copy of one moment has ended well: in the sectors of `copies`, `target` is what was copied.
    pub fn copy_stands(
        &mut self,
        target: ImageId,
        copies: &[bool],
        on_nothing: bool,
        request: u64,
        now: Moment,
    ) {
        for sector in copied(copies, self.layer(target)) {
            if self.versions(target, sector).any(|v| v.request != request && v.request != 0) {
                // A guest wrote there as well, before the copy or after it.
                continue;
            }
            let own = self.versions(target, sector).filter(|v| v.request == request);
            let versions: Vec<Version> =
                own.map(|v| Version { value: v.value, ..Version::before_all(target) }).collect();
            if !versions.is_empty() {
                self.set_sector(target, sector, versions, on_nothing);
            }
        }
        self.copy_stops(target, on_nothing, request, now);
        self.recompose_above(target);
    }

    /// A copy has ended, maybe in the middle: old and new stay possible, and nothing more comes.
    pub fn copy_stops(&mut self, target: ImageId, on_nothing: bool, request: u64, now: Moment) {
        for sector in 0..self.layer(target).sectors() {
            let is_zeroed = |v: &Version| v.request == request && v.value == 0;
            if on_nothing && self.versions(target, sector).any(is_zeroed) {
                self.layer_mut(target).decides[sector as usize] = Decides::Maybe;
            }
            for id in self.ids() {
                if sector < self.layer(id).sectors() && self.layer(id).heads[sector as usize] != NONE {
                    self.end_in(id, sector, request, true, now);
                }
            }
        }
        self.show_below(target, on_nothing);
    }

    /// Gives a sector exactly these versions, newest first.
    fn set_sector(&mut self, id: ImageId, sector: u32, versions: Vec<Version>, on_nothing: bool) {
        self.clear(id, sector);
        // Where nothing was below while it was copied, zeroes need no cluster; what is put there later may show.
        let needs_none = on_nothing && versions.iter().any(|v| v.value == 0);
        self.layer_mut(id).decides[sector as usize] = if needs_none { Decides::Maybe } else { Decides::Yes };
        if let [only] = &versions[..]
            && only.ended != NEVER
        {
            self.layer_mut(id).settled[sector as usize] = only.value;
            return;
        }
        for version in versions.into_iter().rev() {
            let next = self.layer(id).heads[sector as usize];
            if next == NONE {
                self.layer_mut(id).unsettled.push(sector);
            }
            let slot = self.take(Version { next, ..version });
            self.layer_mut(id).heads[sector as usize] = slot;
        }
    }

    /// What a copy has no cluster for shows what was put below it meanwhile.
    fn show_below(&mut self, target: ImageId, on_nothing: bool) {
        if on_nothing && self.layer(target).below.is_some() {
            self.recompose(target, 0);
        }
    }

    /// Composes anew whatever reads through `id`.
    pub fn recompose_above(&mut self, id: ImageId) {
        let above: Vec<ImageId> = self.ids().filter(|above| self.layer(*above).below == Some(id)).collect();
        for above in above {
            self.recompose(above, self.layer_count());
        }
    }

    /// A copy may write zeroes all over its target before it copies anything.
    pub fn may_be_zeroed(&mut self, target: ImageId, request: u64, now: Moment) {
        for sector in 0..self.layer(target).sectors() {
            let version =
                Version { request, began: now, ended: NEVER, replaces: false, ..Version::before_all(target) };
            self.show(target, sector, version);
        }
    }

    /// An image may have given up these sectors: readers may see what is below, or zeroes, or what they saw before.
    pub fn may_be_given_up(&mut self, id: ImageId, sectors: std::ops::Range<u32>) {
        for sector in sectors.clone() {
            self.show(id, sector, Version { replaces: false, ..Version::before_all(id) });
        }
        self.may_give_up(id, sectors.start, sectors.len() as u32);
        self.recompose(id, self.layer_count());
    }

    /// A change of an image may have reached these sectors of its overlay `over` instead; if it is under way, as this
    /// request, which began then.
    pub fn may_be_written(
        &mut self,
        over: ImageId,
        image: ImageId,
        sectors: std::ops::Range<u32>,
        under_way: Option<(u64, Moment)>,
        written: impl Fn(u32) -> Option<u64>,
    ) {
        let below = self.layer(image).sectors();
        let (request, began) = under_way.unwrap_or((LATE, 0));
        let ended = if under_way.is_some() { NEVER } else { 0 };
        for at in sectors.clone() {
            // Where the overlay decides, and past the image's end, its readers do not see what reached the image.
            let shows = self.layer(over).decides(at) != Decides::Yes && at < below;
            if let Some(value) = written(at).filter(|_| !shows) {
                let late =
                    Version { value, request, began, ended, replaces: false, ..Version::before_all(over) };
                self.show(over, at, late);
            }
        }
        if !sectors.is_empty() {
            self.touch_clusters(over, sectors.start, sectors.len() as u32);
        }
    }

    /// Changes of a sector of an image that ended after `since`, or have not ended, may have reached its overlay `over`
    /// instead: only its flush makes sure of them. Those that reached the image were flushed before the overlay came.
    pub fn is_flushed_with(&mut self, over: ImageId, image: ImageId, sector: u32, since: Moment) {
        for id in self.at_or_above(over) {
            if sector >= self.layer(id).sectors() {
                continue;
            }
            let mut slot = self.layer(id).heads[sector as usize];
            while slot != NONE {
                let version = &mut self.pool[slot as usize];
                if version.origin == image && version.ended > since {
                    version.flushed_with = over;
                }
                if version.superseded_by == image && version.superseded > since {
                    version.superseded_by = over;
                }
                slot = version.next;
            }
        }
    }

    /// Changes of a sector of an image may have reached its overlay `over` instead. Whoever reads the image, but not
    /// through the overlay, may see what was there `before` them, or what one of them has left.
    pub fn may_lack(
        &mut self,
        id: ImageId,
        over: ImageId,
        sector: u32,
        before: &Views,
        written: impl Iterator<Item = u64>,
    ) {
        let is_older = usize::from(id.0) < before.layers.len();
        let mut values = match self.layer(id).below {
            _ if is_older => before.values_now(id, sector),
            Some(below) => self.values_now(below, sector),
            None => vec![0],
        };
        values.extend(written);
        for value in values {
            let stays = |v: &Version| v.value == value && v.request == 0 && v.superseded == NEVER;
            if self.layer(id).heads[sector as usize] != NONE && self.versions(id, sector).any(stays) {
                continue;
            }
            let version = Version { value, replaces: false, ..Version::before_all(id) };
            self.show_but(Some(over), id, sector, version);
        }
        let was_decided = is_older && before.layer(id).decides(sector) == Decides::Yes;
        if !was_decided && self.layer(id).decides(sector) == Decides::Yes {
            self.layer_mut(id).decides[sector as usize] = Decides::Maybe;
        }
    }

    /// An image gets another length: what is new reads as zeroes and is nobody's.
    pub fn resize(&mut self, id: ImageId, sectors: u32) {
        for sector in sectors..self.layer(id).sectors() {
            self.clear(id, sector);
        }
        let before = self.layer(id).sectors();
        let layer = self.layer_mut(id);
        if before < sectors {
            // Its last cluster is written as a whole.
            for neighbour in layer.cluster(before).start..before {
                layer.may_decide(neighbour);
            }
        }
        layer.settled.resize(sectors as usize, 0);
        layer.heads.resize(sectors as usize, NONE);
        layer.decides.resize(sectors as usize, Decides::Yes);
        self.recompose_above(id);
    }
}

fn copied(copies: &[bool], target: &Layer) -> Vec<u32> {
    let inside = (0..target.sectors()).zip(copies);
    inside.filter(|(_, copied)| **copied).map(|(sector, _)| sector).collect()
}
