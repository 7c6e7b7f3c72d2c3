//! What each sector of a device may read as, now and after a crash.
//!
//! A sector that was never written has the value it had at the start. Any other has a list of versions: values that were
//! written, each with the moment at which that ended. A version is *replaced* when a write that began after its end ends
//! without error. From this follow
//!
//! - what a read may return: the versions that were not replaced before it began;
//! - what a power cut may leave: the versions that were not replaced before a flush began that ended well.
//!
//! ```text
//! write a  |---|                          after a and b   read: a or b      power cut: old, a, b
//! write b    |----|                       after c         read: c           power cut: old, a, b, c
//! write c            |---|                after the flush read: c           power cut: c
//! flush                    |---|
//! ```
//!
//! A write that failed, and one that a crash cut off, adds a version that replaces nothing. A read that overlaps no write
//! settles what is there: the other versions count as replaced from then on.

use super::{Law, VERSIONS_MAX};
use std::collections::{BTreeMap, BTreeSet};

/// A device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// How long it is.
    pub sectors: u64,
    /// Whether what serves it keeps metadata back that a kill loses.
    keeps_back: bool,
    /// What was there at the start; zeroes elsewhere.
    initial: BTreeMap<u64, u64>,
    /// Sectors that were written.
    written: BTreeMap<u64, Sector>,
    /// Those of which a power cut may leave more than one value.
    unflushed: BTreeSet<u64>,
    /// The versions of all sectors.
    versions: usize,
    /// The law that the last crash put to the test.
    crashed: Option<Law>,
}

/// A change of one sector that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub value: u64,
    pub began: u64,
    pub ended: u64,
    pub how: How,
}

/// What a change that has ended did to a sector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// It replaced what was there.
    Replaced,
    /// It did, and is durable.
    Durable,
    /// It may have replaced what was there.
    Failed,
    /// What was there may be given up at any moment from now on.
    Discarded,
}

/// A value that a sector may have.
#[derive(Clone, Copy, Debug)]
struct Version {
    value: u64,
    ended: u64,
    /// When it was replaced.
    replaced: u64,
    /// Whether a power cut may bring it back.
    is_on_disk: bool,
    /// Whether no read settles whether it is there.
    is_open: bool,
}

#[derive(Clone, Debug)]
struct Sector {
    versions: Vec<Version>,
    /// Versions there was no room for, taken together; their value counts for nothing.
    forgotten: Option<Version>,
    /// The law that the last crash put to the test, until the sector is read or written.
    crashed: Option<Law>,
    /// After a power cut and before any change: what is read is what is on the disk.
    shows_disk: bool,
}

const NEVER: u64 = u64::MAX;

impl Device {
    pub(super) fn new(sectors: u64, keeps_back: bool, own: &[(u64, u64)]) -> Device {
        Device {
            sectors,
            keeps_back,
            initial: own.iter().copied().collect(),
            written: BTreeMap::new(),
            unflushed: BTreeSet::new(),
            versions: 0,
            crashed: None,
        }
    }

    /// How many sectors, and how many versions of them, are kept.
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.written.len(), self.versions)
    }

    fn initial(&self, sector: u64) -> u64 {
        self.initial.get(&sector).copied().unwrap_or(0)
    }

    /// A change of these sectors begins.
    pub(super) fn changing(&mut self, first: u64, count: u64) {
        for (_, sector) in self.written.range_mut(first..first + count) {
            sector.shows_disk = false;
        }
    }

    /// A change of a sector has ended. `oldest`: no read that began earlier is under way.
    pub(super) fn write(&mut self, at: u64, written: Written, oldest: u64) {
        let initial = self.initial(at);
        let before = self.written.get(&at).map_or(0, |sector| sector.versions.len());
        let sector = self.written.entry(at).or_insert_with(|| Sector::new(initial));
        sector.write(written, oldest);
        self.versions = self.versions - before + sector.versions.len();
        self.unflushed.insert(at);
    }

    /// A flush that began then has ended well. `oldest`: no read that began earlier is under way.
    pub(super) fn flushed(&mut self, began: u64, oldest: u64) {
        for at in std::mem::take(&mut self.unflushed) {
            let sector = self.written.get_mut(&at).expect("what is not flushed was written");
            let before = sector.versions.len();
            sector.flushed(began, oldest);
            self.versions = self.versions - before + sector.versions.len();
            if sector.versions.len() > 1 || sector.forgotten.is_some() {
                self.unflushed.insert(at);
            }
        }
    }

    pub(super) fn crashed(&mut self, is_power_cut: bool) {
        let loses = is_power_cut || self.keeps_back;
        let law = if loses { Law::FlushedStays } else { Law::KillKeeps };
        self.crashed = Some(law);
        for sector in self.written.values_mut() {
            if loses {
                sector.lose();
            }
            // What a killed process left may still wait in the host's memory.
            sector.shows_disk = is_power_cut;
            sector.crashed = Some(law);
        }
        self.versions = self.written.values().map(|sector| sector.versions.len()).sum();
    }

    /// The law that reading a sector puts to the test, if a crash may be to blame for what is there.
    pub(super) fn crash_law(&self, at: u64) -> Option<Law> {
        self.written.get(&at).map_or(self.crashed, |sector| sector.crashed)
    }

    /// Whether a read that began then may return a value that was not kept.
    pub(super) fn has_forgotten(&self, at: u64, began: u64) -> bool {
        let forgotten = self.written.get(&at).and_then(|sector| sector.forgotten);
        forgotten.is_some_and(|version| version.replaced >= began)
    }

    /// Whether a change ended after that moment.
    pub(super) fn is_written_since(&self, at: u64, began: u64) -> bool {
        self.written.get(&at).is_some_and(|sector| sector.is_written_since(began))
    }

    /// The values a read that began then may return, apart from what is being written.
    pub(super) fn readable(&self, at: u64, began: u64) -> Vec<u64> {
        match self.written.get(&at) {
            None => vec![self.initial(at)],
            Some(sector) => sector.readable(began).collect(),
        }
    }

    pub(super) fn may_read(&self, at: u64, value: u64, began: u64) -> bool {
        match self.written.get(&at) {
            None => value == self.initial(at),
            Some(sector) => sector.readable(began).any(|readable| readable == value),
        }
    }

    /// A read that nothing was being written beside has returned this.
    pub(super) fn settle(&mut self, at: u64, value: u64, began: u64, now: u64) {
        if let Some(sector) = self.written.get_mut(&at) {
            sector.settle(value, began, now);
        }
    }
}

impl Sector {
    fn new(initial: u64) -> Sector {
        let version = Version { value: initial, ended: 0, replaced: NEVER, is_on_disk: true, is_open: false };
        Sector { versions: vec![version], forgotten: None, crashed: None, shows_disk: false }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Version> {
        self.versions.iter_mut().chain(&mut self.forgotten)
    }

    fn write(&mut self, written: Written, oldest: u64) {
        let is_durable = written.how == How::Durable;
        if is_durable || written.how == How::Replaced {
            for version in self.all().filter(|version| version.ended < written.began) {
                version.replaced = version.replaced.min(written.ended);
                version.is_on_disk &= !is_durable;
            }
            self.crashed = None;
        }
        self.versions.push(Version {
            value: written.value,
            ended: written.ended,
            replaced: NEVER,
            is_on_disk: true,
            is_open: written.how == How::Discarded,
        });
        self.drop_unseen(oldest);
        if self.versions.len() > VERSIONS_MAX {
            self.forget_one();
        }
    }

    /// Drops the versions that nobody can see any more, now or after a crash.
    fn drop_unseen(&mut self, oldest: u64) {
        let is_seen = |version: &Version| version.is_on_disk || version.replaced >= oldest;
        self.versions.retain(is_seen);
        self.forgotten = self.forgotten.filter(is_seen);
    }

    /// Makes room: by the oldest that only a crash can bring back, or simply by the oldest.
    fn forget_one(&mut self) {
        let spare = self.versions.iter().position(|version| version.replaced != NEVER).unwrap_or(0);
        let gone = self.versions.remove(spare);
        let known = self.forgotten.unwrap_or(gone);
        self.forgotten = Some(Version {
            ended: known.ended.max(gone.ended),
            replaced: known.replaced.max(gone.replaced),
            is_on_disk: known.is_on_disk || gone.is_on_disk,
            ..gone
        });
    }

    fn readable(&self, began: u64) -> impl Iterator<Item = u64> {
        self.versions.iter().filter(move |version| version.replaced >= began).map(|version| version.value)
    }

    fn is_written_since(&self, began: u64) -> bool {
        self.versions.iter().any(|version| version.ended > began)
    }

    fn flushed(&mut self, began: u64, oldest: u64) {
        for version in self.all() {
            version.is_on_disk &= version.replaced > began;
        }
        self.drop_unseen(oldest);
        self.versions.shrink_to_fit();
    }

    /// Whatever is on the disk may be what is there now, and nothing else.
    fn lose(&mut self) {
        self.versions.retain(|version| version.is_on_disk);
        self.forgotten = self.forgotten.filter(|version| version.is_on_disk);
        for version in self.all() {
            version.replaced = NEVER;
        }
    }

    fn settle(&mut self, value: u64, began: u64, now: u64) {
        let is_current = |version: &&Version| version.replaced == NEVER;
        let mut current = self.versions.iter().filter(is_current);
        // What the read saw may have been replaced while it was under way, or be given up at any moment.
        if self.is_written_since(began) || !current.clone().any(|version| version.value == value) {
            return;
        }
        self.crashed = None;
        if current.any(|version| version.is_open) {
            return;
        }
        let shows_disk = self.shows_disk;
        for version in self.versions.iter_mut().filter(|version| version.value != value) {
            version.replaced = version.replaced.min(now);
            version.is_on_disk &= !shows_disk;
        }
    }
}
