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

mod change;
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

/// The request of a change that may have reached an image's overlay instead: unlike what was there before all requests, it
/// is somebody's.
const LATE: u64 = u64::MAX;

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

/// A write that is durable with its end.
#[derive(Copy, Clone, Debug)]
pub struct Through {
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// When the oldest read without an end began.
    pub oldest_read: Moment,
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

    /// Writes what decides what readers may see: two that are equal write the same.
    pub(crate) fn write_all(&self, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
        write!(out, "{}{}", self.stands_on_itself, self.holds_anything)?;
        for id in self.ids() {
            let layer = self.layer(id);
            write!(out, "{layer:?}{:?}{:?}", layer.settled, layer.decides)?;
            for sector in &layer.unsettled {
                for version in self.versions(id, *sector) {
                    write!(out, "{:?}", Version { next: NONE, ..version.clone() })?;
                }
            }
        }
        Ok(())
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
