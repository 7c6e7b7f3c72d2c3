//! What the disk does badly, and how much of it: only faults a block layer must survive.
//!
//! A fault strikes a request when it completes: it answers an error, and a write may have landed all the same, or
//! in part; what cannot be opened anew stays open as it was. When the chaos is over the faults stop, and everything that
//! failed must be able to go on.

use crate::choice::Draw;
use crate::world::crash::Fate;
use crate::world::notes::Shared;
use seam::Errno;
use seam::footprint::{Access, mixed};

/// What a request asks of a disk, as faults and names see it.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// Reading.
    Read,
    /// Writing data or zeroes, discarding, changing the length.
    Write,
    /// Making durable.
    Flush,
    /// Opening and reopening.
    Open,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Flush => "flush",
            Kind::Open => "open",
        }
    }
}

/// How often a fault strikes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Often {
    /// One time.
    Once,
    /// Every time until the faults stop.
    Always,
}

impl Often {
    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Often::Once => "once",
            Often::Always => "from then on",
        }
    }
}

/// One thing a disk does badly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Index of the file.
    pub file: u32,
    /// Which requests.
    pub kind: Kind,
    /// What it answers.
    pub errno: Errno,
    /// How many matching requests go well before.
    pub after: u32,
    /// How often it strikes then.
    pub often: Often,
    /// Only requests touching these bytes of the file, if given: start and end.
    pub range: Option<(u64, u64)>,
    /// What a write that it strikes leaves on the disk.
    pub leaves: Fate,
}

impl Fault {
    fn number(&self) -> u64 {
        let Fault { file, kind, errno, after, often, range, leaves } = self;
        let (from, to) = range.unwrap_or((0, u64::MAX));
        let leaves = match leaves {
            Fate::Lost => 0,
            Fate::Whole => 1,
            Fate::Torn(by) => 2 + u64::from(*by),
        };
        let errno = u64::from(errno.0.unsigned_abs());
        let parts =
            [u64::from(*file), *kind as u64, errno, u64::from(*after), *often as u64, from, to, leaves];
        parts.into_iter().fold(0, mixed)
    }

    /// Every write on the first file fails, and leaves nothing.
    pub fn new(errno: Errno) -> Fault {
        let (kind, often, leaves) = (Kind::Write, Often::Always, Fate::Lost);
        Fault { file: 0, kind, errno, after: 0, often, range: None, leaves }
    }
}

/// Draws faults for so many files, in at most so many slots. `with_opens`: opening and reopening may be struck too.
pub fn draw(draw: &mut Draw<'_>, files: u32, slots: u32, with_opens: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for slot in 0..slots {
        let of = [slot, 0, 0];
        let kinds = [None, Some(Kind::Read), Some(Kind::Write), Some(Kind::Flush)];
        let Some(kind) = draw.entry("fault #", of, &kinds) else {
            continue;
        };
        let errno = match kind {
            Kind::Write => draw.entry("fault # errno", of, &[Errno::EIO, Errno::ENOSPC]),
            _ => Errno::EIO,
        };
        let file = draw.below("fault # file", of, files);
        let after = draw.entry("fault # after", of, &[0, 1, 2, 3, 5, 8, 13, 21]);
        let often = draw.entry("fault # often", of, &[Often::Once, Often::Once, Often::Always]);
        // A range of the file beyond its metadata, so that a guest's data is struck and not the tables.
        let range = draw.below("fault # range", of, 4);
        // A flush has no range: one number in its place says that opening and reopening are struck.
        let kind = if with_opens && kind == Kind::Flush && range == 3 { Kind::Open } else { kind };
        let range = match range {
            1 => Some((0, 512)),
            2 => Some((8192, 16384)),
            _ => None,
        };
        let leaves = match draw.below("fault # leaves", of, 8) {
            1 | 2 => Fate::Whole,
            3 => Fate::Torn(draw.below("fault # tear", of, 16)),
            _ => Fate::Lost,
        };
        faults.push(Fault { file, kind, errno, after, often, range, leaves });
    }
    faults
}

/// The faults of one run.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    armed: Vec<Fault>,
    struck: u64,
    /// Strikes that were not reported yet: file, kind, answer.
    strikes: Vec<(u32, Kind, Errno)>,
}

impl Faults {
    /// Adds a fault.
    pub fn arm(&mut self, fault: Fault) {
        self.armed.push(fault);
    }

    /// The chaos is over.
    pub fn stop(&mut self) {
        Shared::Faults.touch(Access::Write);
        self.armed.clear();
    }

    /// How many requests were struck so far.
    pub fn struck(&self) -> u64 {
        self.struck
    }

    /// The strikes since the last call.
    pub fn take_strikes(&mut self) -> Vec<(u32, Kind, Errno)> {
        std::mem::take(&mut self.strikes)
    }

    /// A number for the faults that are left, and the strikes that were not reported yet.
    pub(crate) fn number(&self) -> u64 {
        let armed = self.armed.iter().map(Fault::number);
        let strikes = self.strikes.iter().map(|(file, kind, errno)| {
            mixed(u64::from(*file), mixed(*kind as u64, u64::from(errno.0.unsigned_abs())))
        });
        armed.chain([u64::MAX]).chain(strikes).fold(0, mixed)
    }

    /// Notes that a request of this kind completes: which one a fault strikes is a matter of their order.
    pub(crate) fn note(&self, file: u32, kind: Kind) {
        if self.armed.iter().any(|fault| fault.file == file && fault.kind == kind) {
            let part = u64::from(file) * 4 + kind as u64;
            Shared::Faults.touch_part(Access::Write, part, part + 1);
            // A strike is seen by whatever is observed next.
            Shared::Judge.touch(Access::Write);
        }
    }

    /// Whether a request that completes now fails, and how.
    pub fn strike(&mut self, file: u32, kind: Kind, start: u64, end: u64) -> Option<(Errno, Fate)> {
        let matches = |f: &Fault| {
            f.file == file && f.kind == kind && f.range.is_none_or(|(from, to)| start < to && from < end)
        };
        for index in 0..self.armed.len() {
            let fault = &mut self.armed[index];
            if !matches(fault) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            self.struck += 1;
            self.strikes.push((file, kind, fault.errno));
            let struck = (fault.errno, fault.leaves);
            if fault.often == Often::Once {
                self.armed.remove(index);
            }
            return Some(struck);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lets_some_pass_strikes_once_and_is_gone() {
        let mut faults = Faults::default();
        let (file, kind, range) = (1, Kind::Write, Some((512, 1024)));
        faults.arm(Fault {
            file,
            kind,
            errno: Errno::EIO,
            after: 1,
            often: Often::Once,
            range,
            leaves: Fate::Lost,
        });
        assert_eq!(faults.strike(0, Kind::Write, 512, 1024), None, "another file");
        assert_eq!(faults.strike(1, Kind::Read, 512, 1024), None, "another kind");
        assert_eq!(faults.strike(1, Kind::Write, 0, 512), None, "another range");
        assert_eq!(faults.strike(1, Kind::Write, 1023, 1024), None, "the one that passes");
        assert_eq!(faults.strike(1, Kind::Write, 0, 513), Some((Errno::EIO, Fate::Lost)));
        assert_eq!(faults.strike(1, Kind::Write, 512, 1024), None, "it was to strike once");
        assert_eq!(faults.struck(), 1);
    }
}
