//! What a reader of each layer may see, sector by sector, now and after a crash.
//!
//! A layer's *view* is what a reader of that image sees through its whole chain. Almost every sector
//! has one settled value. A sector that was written since the last flush has a list of versions instead: the
//! settled value, and each write with the moments it began and ended. From that list follow
//!
//! - what a read may return: every version that was not superseded before the read began. A version is
//!   superseded when a later write, begun after the version's end, ends without error;
//! - what a crash may leave: every version that was not superseded before a flush began that ended well.
//!
//! ```text
//! write a  |---|
//! write b         |---|            read: a or b       flush: forgets the old value, keeps b
//! read               |------|      crash: old, a, b   crash: b
//! ```
//! A failed write and a discard add a version that supersedes nothing: both old and new stay possible.
//! A read settles nothing. Streams, filters and rewiring leave every view alone; that is the law.

mod compose;
mod copy;
mod marred;
mod possible;

use crate::graph::ImageId;
use crate::shared::Shared;

/// A sector nobody wrote a known value to: torn, foreign, or nonsense. Never allowed.
pub const GARBAGE: u64 = u64::MAX;

/// A version that stands for any value at all, where a quirk has marred a sector.
pub const ANYTHING: u64 = u64::MAX - 1;

/// A value as texts show it: `zeroes`, `w7`, `garbage`; a larger one by its digits, as a history's file writes it.
pub(crate) fn word(value: u64) -> String {
    match value {
        0 => "zeroes".to_owned(),
        GARBAGE => "garbage".to_owned(),
        ANYTHING => "anything".to_owned(),
        small if small < 1 << 53 => format!("w{small}"),
        large => format!("{large:#x}"),
    }
}

/// The unit of content.
pub const SECTOR_BYTES: u64 = 512;

/// A moment: the number of an observation.
pub type Moment = u32;

const NEVER: Moment = Moment::MAX;
const NONE: u32 = u32::MAX;

/// Whether a layer itself decides a sector, rather than its backing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decides {
    /// Read from the backing.
    No,
    /// A copy or a neighbour's write may have allocated it, or a write that a crash may still undo.
    Maybe,
    /// Read from this layer.
    Yes,
}

/// One value a sector may have.
#[derive(Clone, PartialEq, Debug)]
struct Version {
    value: u64,
    /// The request that writes it; 0 for the value before all requests.
    request: u64,
    /// The image that was written, which may lie below the layer that shows it.
    origin: ImageId,
    /// The image whose flush makes it durable: the same, or the overlay that it may have reached instead.
    flushed_with: ImageId,
    began: Moment,
    ended: Moment,
    /// Whether it replaces what was there before, once it ends without error.
    replaces: bool,
    superseded: Moment,
    superseded_by: ImageId,
    /// A flush has made sure that no crash brings it back; kept for reads that began before.
    gone: bool,
    next: u32,
}

/// One image and what its readers see.
#[derive(Clone)]
pub struct Layer {
    /// The layer this view was composed with.
    pub below: Option<ImageId>,
    /// Sectors allocated together.
    pub cluster_sectors: u32,
    settled: Vec<u64>,
    /// Head of each sector's version list, or [`NONE`].
    heads: Vec<u32>,
    unsettled: Vec<u32>,
    decides: Vec<Decides>,
}

impl std::fmt::Debug for Layer {
    // Whole contents would drown every other value in a message.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let below = self.below;
        write!(
            f,
            "Layer {{ below: {below:?}, sectors: {}, unsettled: {:?} }}",
            self.sectors(),
            self.unsettled
        )
    }
}

/// The views of all layers.
#[derive(Clone, Debug)]
pub struct Views {
    layers: Vec<Shared<Layer>>,
    pool: Vec<Version>,
    /// First unused slot of the pool, or [`NONE`].
    free: u32,
    /// An image was to stand on itself, as two nodes may have one file. No view is that: the link is not there.
    pub stands_on_itself: bool,
    /// Whether [`ANYTHING`] is more than a value like others: only where a quirk may have put it.
    pub holds_anything: bool,
}

/// Two views are the same if all readers may see the same in both, whatever slots of the pool hold it.
impl PartialEq for Views {
    fn eq(&self, other: &Self) -> bool {
        let same_versions = |id: ImageId, sector: u32| {
            let [own, theirs] = [self, other].map(|views| {
                views.versions(id, sector).map(|version| Version { next: NONE, ..version.clone() })
            });
            own.eq(theirs)
        };
        let same = |id: ImageId| {
            let (own, theirs) = (self.layer(id), other.layer(id));
            let mut unsettled = own.unsettled.iter();
            let is_one = self.layers[usize::from(id.0)].is(&other.layers[usize::from(id.0)]);
            let looks_alike = is_one
                || own.sectors() == theirs.sectors()
                    && own.below == theirs.below
                    && own.unsettled.len() == theirs.unsettled.len()
                    && unsettled.clone().all(|sector| theirs.heads[*sector as usize] != NONE)
                    && own.decides == theirs.decides
                    && own.settled == theirs.settled;
            looks_alike && unsettled.all(|sector| same_versions(id, *sector))
        };
        self.layers.len() == other.layers.len() && self.ids().all(same)
    }
}

impl Default for Views {
    fn default() -> Self {
        Views {
            layers: Vec::new(),
            pool: Vec::new(),
            free: NONE,
            stands_on_itself: false,
            holds_anything: false,
        }
    }
}

/// What a request does to the sectors it covers.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// One value a sector.
    Values(&'a [u64]),
    /// Zeroes, for that many sectors.
    Zeroes(u32),
    /// Zeroes or nothing, sector by sector, for that many sectors.
    Discard(u32),
}

impl Change<'_> {
    fn len(&self) -> u32 {
        match self {
            Change::Values(values) => u32::try_from(values.len()).unwrap_or(u32::MAX),
            Change::Zeroes(count) | Change::Discard(count) => *count,
        }
    }

    fn value(&self, index: u32) -> u64 {
        match self {
            Change::Values(values) => values[index as usize],
            Change::Zeroes(_) | Change::Discard(_) => 0,
        }
    }
}

impl Layer {
    /// A layer that decides the sectors in `own` and shows zeroes elsewhere until it is composed.
    pub fn new(sectors: u32, cluster_sectors: u32, decides_all: bool, own: &[(u64, u64)]) -> Layer {
        let count = sectors as usize;
        let start = if decides_all { Decides::Yes } else { Decides::No };
        let mut layer = Layer {
            below: None,
            cluster_sectors: cluster_sectors.max(1),
            settled: vec![0; count],
            heads: vec![NONE; count],
            unsettled: Vec::new(),
            decides: vec![start; count],
        };
        for &(sector, value) in own {
            let Some(at) = usize::try_from(sector).ok().filter(|at| *at < count) else { continue };
            layer.settled[at] = value;
            layer.decides[at] = Decides::Yes;
        }
        layer
    }

    /// Its length.
    pub fn sectors(&self) -> u32 {
        // `new` is given a u32, and the length never changes.
        self.settled.len() as u32
    }

    /// Whether it decides a sector itself; past its end it does not.
    pub fn decides(&self, sector: u32) -> Decides {
        self.decides.get(sector as usize).copied().unwrap_or(Decides::No)
    }

    fn cluster(&self, sector: u32) -> std::ops::Range<u32> {
        let start = sector - sector % self.cluster_sectors;
        start..start.saturating_add(self.cluster_sectors).min(self.sectors())
    }

    fn may_decide(&mut self, sector: u32) {
        let decides = &mut self.decides[sector as usize];
        if *decides == Decides::No {
            *decides = Decides::Maybe;
        }
    }
}

impl Views {
    /// Adds a layer; its id is the number of layers before it.
    pub fn add(&mut self, layer: Layer) -> ImageId {
        let id = ImageId(u16::try_from(self.layers.len()).expect("a run has fewer than 65,536 images"));
        self.layers.push(layer.into());
        id
    }

    /// A layer.
    pub fn layer(&self, id: ImageId) -> &Layer {
        &self.layers[usize::from(id.0)]
    }

    fn layer_mut(&mut self, id: ImageId) -> &mut Layer {
        &mut self.layers[usize::from(id.0)]
    }

    /// A layer and all that are composed over it.
    pub fn at_or_above(&self, id: ImageId) -> Vec<ImageId> {
        let mut found = vec![id];
        let mut index = 0;
        // Each layer is found once, so the loop ends even if headers name each other in a ring.
        while let Some(&at) = found.get(index) {
            let above = self.ids().filter(|above| self.layer(*above).below == Some(at));
            let fresh: Vec<ImageId> = above.filter(|above| !found.contains(above)).collect();
            found.extend(fresh);
            index += 1;
        }
        found
    }

    /// A number that equal views have in common, made of what is not settled.
    pub fn sketch(&self) -> u64 {
        let mix = |all: u64, number: u64| (all ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let of_sector = |id: ImageId, sector: u32| {
            self.versions(id, sector).fold(u64::from(sector), |all, version| {
                let moments = u64::from(version.began) << 32 | u64::from(version.ended);
                let ends = u64::from(version.superseded) << 2
                    | u64::from(version.replaces) << 1
                    | u64::from(version.gone);
                [version.value, version.request, moments, ends].into_iter().fold(all, mix)
            })
        };
        // In which order its sectors became unsettled does not matter.
        let of_layer = |id: ImageId| {
            let unsettled = self.layer(id).unsettled.iter();
            unsettled.fold(0, |sum: u64, sector| sum.wrapping_add(of_sector(id, *sector)))
        };
        self.ids().map(of_layer).fold(0, mix)
    }

    fn ids(&self) -> impl Iterator<Item = ImageId> + use<> {
        (0..self.layers.len()).map(|index| ImageId(index as u16))
    }

    fn layer_count(&self) -> usize {
        self.layers.len()
    }

    fn take(&mut self, version: Version) -> u32 {
        if self.free == NONE {
            self.pool.push(version);
            return self.pool.len() as u32 - 1;
        }
        let slot = self.free;
        self.free = self.pool[slot as usize].next;
        self.pool[slot as usize] = version;
        slot
    }

    fn give_back(&mut self, slot: u32) {
        self.pool[slot as usize].next = self.free;
        self.free = slot;
    }

    fn versions(&self, id: ImageId, sector: u32) -> impl Iterator<Item = &Version> {
        let head = self.layer(id).heads[sector as usize];
        std::iter::successors(self.pool.get(head as usize), |v| self.pool.get(v.next as usize))
    }

    fn push(&mut self, id: ImageId, sector: u32, version: Version) {
        let at = sector as usize;
        if self.layer(id).heads[at] == NONE {
            let settled = self.layer(id).settled[at];
            let first = Version { value: settled, ..Version::before_all(id) };
            let slot = self.take(first);
            let layer = self.layer_mut(id);
            layer.heads[at] = slot;
            layer.unsettled.push(sector);
        }
        let next = self.layer(id).heads[at];
        let slot = self.take(Version { next, ..version });
        self.layer_mut(id).heads[at] = slot;
    }

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
    fn touch_clusters(&mut self, image: ImageId, sector: u32, count: u32) {
        let layer = self.layer_mut(image);
        if count == 0 {
            return;
        }
        for at in layer.cluster(sector).start..layer.cluster(sector + count - 1).end {
            layer.may_decide(at);
        }
    }

    fn show(&mut self, layer: ImageId, sector: u32, version: Version) {
        self.show_but(None, layer, sector, version);
    }

    /// The same, to all but one of those who read through it.
    fn show_but(&mut self, but: Option<ImageId>, layer: ImageId, sector: u32, version: Version) {
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

    fn end_in(&mut self, id: ImageId, sector: u32, request: u64, failed: bool, now: Moment) {
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
            let still =
                unsettled.into_iter().filter(|sector| !self.forget(id, *sector, image, began, oldest_read));
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
        began: Moment,
        oldest_read: Moment,
    ) -> bool {
        // A write that is durable hides the layers below for good.
        // Zeroes may need no cluster.
        let is_kept = |v: &Version| {
            let stands = v.superseded == NEVER && v.value != 0;
            v.origin == id && v.request != 0 && v.replaces && v.ended < began && stands
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
            version.gone |= version.superseded < began && version.superseded_by == flushed;
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

impl Version {
    /// A version that has always been there.
    fn before_all(origin: ImageId) -> Version {
        Version {
            value: 0,
            request: 0,
            origin,
            flushed_with: origin,
            began: 0,
            ended: 0,
            replaces: true,
            superseded: NEVER,
            superseded_by: origin,
            gone: false,
            next: NONE,
        }
    }
}
