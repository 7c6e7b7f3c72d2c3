//! What quirks do to data: to single sectors, until they are written or flushed.

use super::{ANYTHING, Decides, NEVER, NONE, Version, Views};
use crate::graph::ImageId;

/// Flushed by nobody: what is superseded by it comes back for ever.
const NOBODY: ImageId = ImageId(u16::MAX);

impl Views {
    /// Whoever reads through an image may copy what is below into it.
    pub fn may_populate(&mut self, image: ImageId) {
        let layer = self.layer_mut(image);
        (0..layer.sectors()).for_each(|sector| layer.may_decide(sector));
    }

    /// Readers may see this value too, until the sector is written.
    pub fn may_show_too(&mut self, image: ImageId, sector: u32, value: u64) {
        if sector < self.layer(image).sectors() {
            self.show(image, sector, Version { value, replaces: false, ..Version::before_all(image) });
        }
    }

    /// Readers may see anything, until the sector is written.
    pub fn may_show_anything(&mut self, image: ImageId, sector: u32) {
        self.may_show_too(image, sector, ANYTHING);
    }

    /// No reader sees this value, but a crash may bring it back until `image` is flushed.
    pub fn may_come_back(&mut self, image: ImageId, sector: u32, value: u64) {
        self.comes_back(image, sector, value, image);
    }

    /// No reader sees this value, but the next one who opens the image may.
    pub fn will_come_back(&mut self, image: ImageId, sector: u32, value: u64) {
        self.comes_back(image, sector, value, NOBODY);
    }

    fn comes_back(&mut self, image: ImageId, sector: u32, value: u64, flushed: ImageId) {
        if sector >= self.layer(image).sectors() {
            return;
        }
        let version = Version {
            value,
            replaces: false,
            superseded: 0,
            superseded_by: flushed,
            ..Version::before_all(image)
        };
        self.show(image, sector, version);
    }

    /// Everything stops: where a crash may bring back what was there before, it may as well show what lies below by now.
    pub fn lost_shows_below(&mut self) {
        for id in self.ids() {
            let Some(below) = self.layer(id).below else { continue };
            for sector in self.layer(id).unsettled.clone() {
                let is_lost = |v: &Version| v.superseded == 0 && v.superseded_by == id && !v.gone;
                if self.versions(id, sector).any(is_lost) {
                    let values = self.values_until_now(below, sector);
                    values.into_iter().for_each(|value| self.may_come_back(id, sector, value));
                }
            }
        }
    }

    /// Everything was flushed: what only a crash may bring back does not come back any more.
    pub fn nothing_comes_back(&mut self) {
        for id in self.ids() {
            for sector in self.layer(id).unsettled.clone() {
                let mut slot = self.layer(id).heads[sector as usize];
                while slot != NONE {
                    let version = &mut self.pool[slot as usize];
                    version.gone |= version.superseded == 0 && version.superseded_by != NOBODY;
                    slot = version.next;
                }
            }
        }
    }

    /// Every value that a sector may have had until now, but [`ANYTHING`].
    pub fn values_until_now(&self, id: ImageId, sector: u32) -> Vec<u64> {
        self.values_now(id, sector).into_iter().filter(|value| *value != ANYTHING).collect()
    }

    /// From this sector on a layer may show what lies below it as well, where it does not decide for certain.
    pub fn below_shows(&mut self, id: ImageId, below: ImageId, from: u32) {
        for sector in from..self.layer(id).sectors() {
            if self.layer(id).decides(sector) != Decides::Yes {
                self.look_through(id, Some(below), sector, false);
            }
        }
        self.recompose_above(id);
    }

    /// The sectors that an image has not decided for certain.
    pub fn undecided(&self, id: ImageId) -> Vec<u32> {
        let layer = self.layer(id);
        (0..layer.sectors()).filter(|sector| layer.decides(*sector) != Decides::Yes).collect()
    }

    /// Whether a reader of `image` comes to `below` for a sector: no layer above that decides it for certain.
    pub fn sees_through(&self, image: ImageId, below: ImageId, sector: u32) -> bool {
        let links = std::iter::successors(Some(image), |at| self.layer(*at).below);
        for at in links.take(self.layer_count()) {
            if at == below {
                return sector < self.layer(at).sectors();
            }
            if self.layer(at).decides(sector) == Decides::Yes || sector >= self.layer(at).sectors() {
                return false;
            }
        }
        false
    }

    /// An image and all that lie below it.
    pub fn at_or_below(&self, image: ImageId) -> Vec<ImageId> {
        std::iter::successors(Some(image), |at| self.layer(*at).below).take(self.layer_count()).collect()
    }

    /// The other sectors of the clusters at both ends of a change.
    pub fn beside(&self, image: ImageId, sector: u32, count: u32) -> Vec<u32> {
        let layer = self.layer(image);
        if count == 0 || sector >= layer.sectors() {
            return Vec::new();
        }
        let (first, last) = (layer.cluster(sector), layer.cluster(sector + count - 1));
        (first.start..sector).chain(sector + count..last.end).collect()
    }

    /// Where the cluster of a sector ends, or the image in it.
    pub fn cluster_end(&self, image: ImageId, sector: u32) -> u32 {
        self.layer(image).cluster(sector).end
    }

    /// Whether a change reaches over more than one cluster, or over more than one part where each has several.
    pub fn spans_clusters(&self, image: ImageId, (sector, count): (u32, u32), parts: u32) -> bool {
        let unit = (self.layer(image).cluster_sectors / parts).max(1);
        count > 0 && sector / unit != (sector + count - 1) / unit
    }

    /// Whether the cluster of a sector was given up since the last flush of its image, and the value stands, or stood
    /// since then, in a cluster that was written since. A job may have given up and written any cluster that it copied.
    pub fn may_be_reused(&self, image: ImageId, sector: u32, value: u64, by_job: bool) -> bool {
        let layer = self.layer(image);
        if sector >= layer.sectors() {
            return false;
        }
        let is_changed = |at: u32| self.versions(image, at).any(|v| v.request != 0 && v.origin == image);
        let is_given_up = |at: u32| {
            by_job && self.values_until_now(image, at).contains(&0)
                || self.versions(image, at).any(|v| v.request != 0 && v.value == 0 && v.origin == image)
        };
        // What a job has copied no request has written.
        let is_copied = |at: u32| by_job || layer.decides(at) == Decides::Maybe;
        let here = layer.cluster(sector);
        value != 0
            && here.clone().any(is_given_up)
            && (0..layer.sectors()).filter(|at| !here.contains(at)).any(|at| {
                self.values_until_now(image, at).contains(&value)
                    && (is_copied(at) || layer.cluster(at).any(is_changed))
            })
    }

    /// Whether somebody has a change under way that shares a cluster with these sectors: one of the two gives them up, the
    /// other one writes.
    pub fn meets_a_change(&self, image: ImageId, sector: u32, count: u32, gives_up: bool) -> bool {
        let layer = self.layer(image);
        if count == 0 || sector >= layer.sectors() {
            return false;
        }
        let all = layer.cluster(sector).start..layer.cluster(sector + count - 1).end;
        let is_other = |v: &Version| v.ended == NEVER && v.origin == image && (v.value == 0) != gives_up;
        all.into_iter().any(|at| self.versions(image, at).any(is_other))
    }
}
