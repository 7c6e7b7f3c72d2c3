//! How views come about: layers over layers, when nodes are opened and when a stream moves data up.

use super::{Decides, NONE, Version, Views};
use crate::graph::ImageId;

impl Views {
    /// Says what `id` is composed with, before [`Views::compose_all`]. Headers may name each other in a ring.
    pub fn link_by_header(&mut self, id: ImageId, below: Option<ImageId>) {
        self.layer_mut(id).below = below;
    }

    /// Says what `id` stands on, which it shows already.
    pub fn link(&mut self, id: ImageId, below: Option<ImageId>) {
        let is_ring = below.is_some_and(|below| self.at_or_above(id).contains(&below));
        self.stands_on_itself |= is_ring;
        self.layer_mut(id).below = below.filter(|_| !is_ring);
    }

    /// Opens `id` over `below`. If that is not what its view was composed with, composes it anew,
    /// and every view above with it.
    pub fn compose(&mut self, id: ImageId, below: Option<ImageId>) {
        if self.layer(id).below != below {
            self.link(id, below);
            if self.layer(id).below.is_none() {
                self.show_nothing_below(id);
            }
            self.recompose(id, self.layers.len());
        }
    }

    /// Composes every view from the layers' own sectors; `below` links must be set.
    pub fn compose_all(&mut self) {
        for id in self.ids() {
            if self.layer(id).below.is_none() {
                self.recompose(id, self.layers.len());
            }
        }
    }

    pub(super) fn recompose(&mut self, id: ImageId, depth_max: usize) {
        let below = self.layer(id).below;
        for sector in 0..self.layer(id).sectors() {
            self.recompose_sector(id, below, sector);
        }
        // The header of an image could name the image itself: the depth bounds what the links do not.
        if depth_max > 0 {
            let above = self.ids().filter(|above| self.layer(*above).below == Some(id));
            for above in above.collect::<Vec<_>>() {
                self.recompose(above, depth_max - 1);
            }
        }
    }

    fn recompose_sector(&mut self, id: ImageId, below: Option<ImageId>, sector: u32) {
        match self.layer(id).decides(sector) {
            Decides::Yes => {}
            Decides::No => self.look_through(id, below, sector, true),
            Decides::Maybe => self.look_through(id, below, sector, false),
        }
    }

    /// Readers above see in these sectors what `id` shows now.
    pub fn show_through(&mut self, id: ImageId, sectors: &[u32]) {
        let above = self.at_or_above(id).into_iter().skip(1);
        for above in above.collect::<Vec<_>>() {
            let (below, end) = (self.layer(above).below, self.layer(above).sectors());
            for sector in sectors.iter().copied().filter(|sector| *sector < end) {
                self.recompose_sector(above, below, sector);
            }
        }
    }

    /// Without anything below, what a layer does not decide reads as zeroes.
    fn show_nothing_below(&mut self, id: ImageId) {
        for sector in 0..self.layer(id).sectors() {
            match self.layer(id).decides(sector) {
                Decides::Yes => {}
                Decides::No => {
                    self.clear(id, sector);
                    self.layer_mut(id).settled[sector as usize] = 0;
                }
                Decides::Maybe => {
                    self.push(id, sector, Version { replaces: false, ..Version::before_all(id) })
                }
            }
        }
    }

    /// Makes a sector of `id` show what `below` shows, instead of its own versions or beside them; zeroes where nothing
    /// is below.
    pub(super) fn look_through(&mut self, id: ImageId, below: Option<ImageId>, sector: u32, instead: bool) {
        let below = below.filter(|below| sector < self.layer(*below).sectors());
        if let Some(value) = self.settled_below(below, sector).filter(|_| instead) {
            let layer = self.layer(id);
            if layer.heads[sector as usize] == NONE && layer.settled[sector as usize] == value {
                // A layer that is not changed stays shared.
                return;
            }
            self.clear(id, sector);
            self.layer_mut(id).settled[sector as usize] = value;
            return;
        }
        let lower: Vec<Version> = match below {
            None => vec![Version::before_all(id)],
            Some(below) if self.layer(below).heads[sector as usize] == NONE => {
                let value = self.layer(below).settled[sector as usize];
                vec![Version { value, ..Version::before_all(below) }]
            }
            Some(below) => self.versions(below, sector).cloned().collect(),
        };
        if instead {
            self.clear(id, sector);
            if let [only] = &lower[..] {
                self.layer_mut(id).settled[sector as usize] = only.value;
                return;
            }
        }
        for version in lower.into_iter().rev() {
            if instead && self.layer(id).heads[sector as usize] == NONE {
                let slot = self.take(Version { next: NONE, ..version });
                self.layer_mut(id).heads[sector as usize] = slot;
                self.layer_mut(id).unsettled.push(sector);
            } else {
                let replaces = instead && version.replaces;
                self.push(id, sector, Version { replaces, ..version });
            }
        }
    }

    /// The one value that shows from below, as in most sectors.
    fn settled_below(&self, below: Option<ImageId>, sector: u32) -> Option<u64> {
        let Some(layer) = below.map(|below| self.layer(below)) else { return Some(0) };
        (layer.heads[sector as usize] == NONE).then_some(layer.settled[sector as usize])
    }

    pub(super) fn clear(&mut self, id: ImageId, sector: u32) {
        let mut slot = std::mem::replace(&mut self.layer_mut(id).heads[sector as usize], NONE);
        if slot != NONE {
            let unsettled = &mut self.layer_mut(id).unsettled;
            let at = unsettled.iter().position(|other| *other == sector);
            unsettled.swap_remove(at.expect("a sector with versions is not settled"));
        }
        while slot != NONE {
            let next = self.pool[slot as usize].next;
            self.give_back(slot);
            slot = next;
        }
    }

    /// A stream from the layers `between` into `target` starts: what it copies, `target` may decide from now on.
    pub fn stream_starts(&mut self, target: ImageId, between: &[ImageId]) {
        for sector in 0..self.layer(target).sectors() {
            let copied = between.iter().any(|id| self.copies(*id, sector));
            if copied && self.layer(target).decides(sector) == Decides::No {
                let layer = self.layer_mut(target);
                for neighbour in layer.cluster(sector) {
                    layer.may_decide(neighbour);
                }
            }
        }
    }

    /// Whether a layer's part of the chain must be copied up: what it decides, and the zeroes past its end.
    fn copies(&self, id: ImageId, sector: u32) -> bool {
        sector >= self.layer(id).sectors() || self.layer(id).decides(sector) != Decides::No
    }

    /// The stream has ended well: `target` decides what the layers between decided, and reads `below` elsewhere.
    pub fn stream_ends(&mut self, target: ImageId, between: &[ImageId], below: Option<ImageId>) {
        for sector in 0..self.layer(target).sectors() {
            // Below a layer that is too short nothing is read any more; the zeroes past its end need no copy unless
            // there is a base.
            let read = between.iter().take_while(|id| sector < self.layer(**id).sectors());
            let is_decided = read.into_iter().any(|id| self.layer(*id).decides(sector) == Decides::Yes);
            // A guest's zeroes may have taken away what was copied.
            let is_zeroed = self.versions(target, sector).any(|v| v.request != 0 && v.value == 0);
            if is_decided && is_zeroed {
                self.layer_mut(target).may_decide(sector);
            } else if is_decided {
                self.layer_mut(target).decides[sector as usize] = Decides::Yes;
            } else if between.iter().any(|id| sector >= self.layer(*id).sectors()) {
                self.layer_mut(target).may_decide(sector);
            }
        }
        self.link(target, below);
    }
}
