//! What the disk does badly, and how much of it: only faults a block layer must survive.
//!
//! A fault strikes a request when it completes: it answers an error, and a write may have landed all the same, or
//! in part; what cannot be opened anew stays open as it was. Some do something else: see [`Effect`]. When the chaos is over
//! the faults stop, and everything that failed must be able to go on.

use crate::world::crash::Fate;
use crate::world::notes::Shared;
use crate::world::struck::{Sort, Struck};
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
    /// Reopening alone.
    Reopen,
    /// Taking the lock of a file, which somebody else has. Where files are opened and reopened, and where one that nobody
    /// used gets its first user.
    Lock,
    /// Changing the length alone.
    Resize,
    /// Closing: what was not flushed is written back then, or is not.
    Close,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Flush => "flush",
            Kind::Open => "open",
            Kind::Reopen => "reopen",
            Kind::Lock => "lock",
            Kind::Resize => "resize",
            Kind::Close => "close",
        }
    }

    /// Whether a fault of this kind strikes what was asked.
    fn strikes(self, asked: Kind) -> bool {
        self == asked || matches!((self, asked), (Kind::Write, Kind::Resize) | (Kind::Open, Kind::Reopen))
    }
}

/// What a fault does to what it strikes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The request fails, and that is all.
    Fails,
    /// A flush fails, or the writing back when a file is closed, and what it was to make durable never will be, although
    /// readers go on seeing it and the next flush succeeds. So do ext4 and XFS on Linux, which mark the pages clean and
    /// keep them (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020); Btrfs goes back to what
    /// the disk has, which no layer above can hide from its readers, and which is not done here. What a failed close has lost
    /// the next flush reports, whoever asks for it (Linux since 4.17: `lib/errseq.c`).
    Forgets,
    /// The request is on its way for so many nanoseconds more.
    Late(u64),
    /// The disk is full: the file may grow by so many bytes from the first write on, for so many steps of the run.
    /// Of a write beyond that the sectors that fit land (as with write(2), which writes what it can), of zeroes none do
    /// (fallocate(2)). A new length alone takes no space.
    Full {
        /// What is free.
        free_bytes: u64,
        /// When somebody has made room.
        steps: u64,
    },
    /// No honest disk does it: a flush or a write answers success, and that is all.
    Lies,
    /// No honest disk does it: a write lands so many sectors further on, or further back.
    Astray(i64),
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
    /// What a write that it strikes leaves on the disk; of a flush that forgets, what it has made durable all the same.
    pub leaves: Fate,
    /// What it does.
    pub effect: Effect,
}

impl Fault {
    fn number(&self) -> u64 {
        let Fault { file, kind, errno, after, often, range, leaves, effect } = self;
        let (from, to) = range.unwrap_or((0, u64::MAX));
        let leaves = match leaves {
            Fate::Lost => 0,
            Fate::Whole => 1,
            Fate::Torn(by) => 2 + u64::from(*by),
        };
        let errno = u64::from(errno.0.unsigned_abs());
        let effect = match *effect {
            Effect::Fails => [0, 0, 0],
            Effect::Forgets => [1, 0, 0],
            Effect::Late(nanos) => [2, nanos, 0],
            Effect::Full { free_bytes, steps } => [3, free_bytes, steps],
            Effect::Lies => [4, 0, 0],
            Effect::Astray(sectors) => [5, sectors.unsigned_abs(), u64::from(sectors < 0)],
        };
        let parts =
            [u64::from(*file), *kind as u64, errno, u64::from(*after), *often as u64, from, to, leaves];
        parts.into_iter().chain(effect).fold(0, mixed)
    }

    /// Every write on the first file fails, and leaves nothing.
    pub fn new(errno: Errno) -> Fault {
        let (kind, often, leaves) = (Kind::Write, Often::Always, Fate::Lost);
        Fault { file: 0, kind, errno, after: 0, often, range: None, leaves, effect: Effect::Fails }
    }

    /// What it does to which requests of the file of that name, for readers.
    pub fn text(&self, path: &str) -> String {
        let Fault { kind, errno, after, often, effect, .. } = self;
        let (kind, often) = (kind.word(), often.words());
        match effect {
            Effect::Fails => format!("{kind} of {path}: {errno} after {after} that go well, {often}"),
            Effect::Forgets => format!(
                "{kind} of {path}: {errno}, and what was not flushed is lost, after {after} that go well, {often}"
            ),
            Effect::Late(nanos) => {
                format!("{kind} of {path}: late by {nanos} ns after {after} that do not, {often}")
            }
            Effect::Lies => format!("{kind} of {path}: does nothing, after {after} that do, {often}"),
            Effect::Astray(sectors) => {
                format!("{kind} of {path}: {sectors} sectors astray, after {after} that are not, {often}")
            }
            Effect::Full { free_bytes, steps } => {
                format!("{path} may grow by {free_bytes} bytes: {errno} beyond, for {steps} steps")
            }
        }
    }
}

/// A strike that was not reported yet.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Reported {
    /// Index of the file.
    pub file: u32,
    /// Which kind of request.
    pub kind: Kind,
    /// What it answered.
    pub errno: Errno,
}

/// What a fault does to a request that completes now.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Strike {
    /// The answer.
    pub errno: Errno,
    /// What it leaves.
    pub leaves: Fate,
    /// Whether what was not flushed is lost.
    pub forgets: bool,
}

/// A full disk, from the first look at it on.
#[derive(Copy, Clone, Debug)]
struct FullDisk {
    file: u32,
    ends_at_bytes: u64,
    until_step: u64,
    has_struck: bool,
}

/// The faults of one run.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    armed: Vec<Fault>,
    full: Vec<FullDisk>,
    failed: u64,
    struck: Struck,
    reports: Vec<Reported>,
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
        self.make_room(u64::MAX);
    }

    /// How many requests have failed by faults so far.
    pub fn struck(&self) -> u64 {
        self.failed
    }

    /// What has struck so far, by its sort.
    pub fn sorts(&self) -> &Struck {
        &self.struck
    }

    /// The strikes since the last call.
    pub fn take_strikes(&mut self) -> Vec<Reported> {
        std::mem::take(&mut self.reports)
    }

    /// A number for the faults that are left, and the strikes that were not reported yet.
    pub(crate) fn number(&self) -> u64 {
        let armed = self.armed.iter().map(Fault::number);
        let strikes = self.reports.iter().map(|Reported { file, kind, errno }| {
            mixed(u64::from(*file), mixed(*kind as u64, u64::from(errno.0.unsigned_abs())))
        });
        armed.chain([u64::MAX]).chain(strikes).fold(0, mixed)
    }

    /// Notes that a request of this kind completes: which one a fault strikes is a matter of their order.
    pub(crate) fn note(&self, file: u32, kind: Kind) {
        for fault in self.armed.iter().filter(|fault| fault.file == file && fault.kind.strikes(kind)) {
            let part = u64::from(file) * 16 + fault.kind as u64;
            Shared::Faults.touch_part(Access::Write, part, part + 1);
            // A strike is seen by whatever is observed next.
            Shared::Judge.touch(Access::Write);
        }
    }

    /// Whether a request that completes now fails, and how.
    pub fn strike(&mut self, file: u32, kind: Kind, start: u64, end: u64) -> Option<Strike> {
        let fails = |effect| matches!(effect, Effect::Fails | Effect::Forgets);
        let fault = self.take(file, kind, (start, end), fails)?;
        let Fault { errno, leaves, effect, .. } = fault;
        let forgets = effect == Effect::Forgets;
        self.fail(
            file,
            kind,
            errno,
            if forgets && kind == Kind::Flush { Sort::Forgets } else { Sort::of(kind) },
        );
        Some(Strike { errno, leaves, forgets })
    }

    /// What becomes of a request that completes now and answers success: nothing, or, of a write, something elsewhere.
    pub fn lie(&mut self, file: u32, kind: Kind, start: u64, end: u64) -> Option<Effect> {
        let is_lie = |effect| matches!(effect, Effect::Lies | Effect::Astray(_));
        let effect = self.take(file, kind, (start, end), is_lie)?.effect;
        self.struck.count(match (effect, kind) {
            (Effect::Astray(_), _) => Sort::Astray,
            (_, Kind::Flush) => Sort::LostFlush,
            _ => Sort::LostWrite,
        });
        Some(effect)
    }

    /// A bit has flipped.
    pub fn rots(&mut self, sort: Sort) {
        self.struck.count(sort);
    }

    /// How much longer a request that is asked now is on its way, in nanoseconds.
    pub fn delay(&mut self, file: u32, kind: Kind, start: u64, end: u64) -> u64 {
        let late = self.take(file, kind, (start, end), |effect| matches!(effect, Effect::Late(_)));
        let Some(Fault { effect: Effect::Late(nanos), .. }) = late else { return 0 };
        self.struck.count(Sort::Late);
        nanos
    }

    /// Where a full disk lets a file of so many bytes end, if it is full at this step.
    pub fn room(&mut self, file: u32, len_bytes: u64, step: u64) -> Option<u64> {
        let is_new = |fault: &Fault| fault.file == file && matches!(fault.effect, Effect::Full { .. });
        while let Some(index) = self.armed.iter().position(is_new) {
            let Effect::Full { free_bytes, steps } = self.armed.remove(index).effect else { continue };
            let (ends_at_bytes, until_step) = (len_bytes + free_bytes, step.saturating_add(steps));
            self.full.push(FullDisk { file, ends_at_bytes, until_step, has_struck: false });
        }
        self.make_room(step);
        self.full.iter().filter(|full| full.file == file).map(|full| full.ends_at_bytes).min()
    }

    /// A write has met the end of a full disk.
    pub fn overflows(&mut self, file: u32) -> Errno {
        self.full.iter_mut().filter(|full| full.file == file).for_each(|full| full.has_struck = true);
        self.fail(file, Kind::Write, Errno::ENOSPC, Sort::Full);
        Errno::ENOSPC
    }

    /// A flush reports what was lost when the file was closed.
    pub fn reports_late(&mut self, file: u32) -> Errno {
        self.failed += 1;
        self.reports.push(Reported { file, kind: Kind::Flush, errno: Errno::EIO });
        Errno::EIO
    }

    fn make_room(&mut self, step: u64) {
        let before = self.full.iter().filter(|full| full.has_struck).count();
        self.full.retain(|full| full.until_step > step);
        let after = self.full.iter().filter(|full| full.has_struck).count();
        (after..before).for_each(|_| self.struck.count(Sort::RoomAgain));
    }

    fn fail(&mut self, file: u32, kind: Kind, errno: Errno, sort: Sort) {
        self.failed += 1;
        self.struck.count(sort);
        self.reports.push(Reported { file, kind, errno });
    }

    /// The first fault that strikes such a request, of those whose effect is wanted. One that strikes once is gone then.
    fn take(
        &mut self,
        file: u32,
        kind: Kind,
        (start, end): (u64, u64),
        is_wanted: impl Fn(Effect) -> bool,
    ) -> Option<Fault> {
        let matches = |f: &Fault| {
            let is_there = f.range.is_none_or(|(from, to)| start < to && from < end);
            f.file == file && f.kind.strikes(kind) && is_there && is_wanted(f.effect)
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
            let is_over = fault.often == Often::Once;
            return Some(if is_over { self.armed.remove(index) } else { fault.clone() });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Option<Strike> = Some(Strike { errno: Errno::EIO, leaves: Fate::Lost, forgets: false });

    #[test]
    fn a_fault_lets_some_pass_strikes_once_and_is_gone() {
        let mut faults = Faults::default();
        let (file, often, range) = (1, Often::Once, Some((512, 1024)));
        faults.arm(Fault { file, after: 1, often, range, ..Fault::new(Errno::EIO) });
        assert_eq!(faults.strike(0, Kind::Write, 512, 1024), None, "another file");
        assert_eq!(faults.strike(1, Kind::Read, 512, 1024), None, "another kind");
        assert_eq!(faults.strike(1, Kind::Write, 0, 512), None, "another range");
        assert_eq!(faults.strike(1, Kind::Write, 1023, 1024), None, "the one that passes");
        assert_eq!(faults.strike(1, Kind::Write, 0, 513), LOST);
        assert_eq!(faults.strike(1, Kind::Write, 512, 1024), None, "it was to strike once");
        assert_eq!(faults.struck(), 1);
    }

    #[test]
    fn what_strikes_writes_strikes_resizes_and_not_the_other_way_round() {
        let mut faults = Faults::default();
        faults.arm(Fault { kind: Kind::Resize, ..Fault::new(Errno::EIO) });
        assert_eq!(faults.strike(0, Kind::Write, 0, 512), None);
        assert_eq!(faults.strike(0, Kind::Resize, 0, 1), LOST);
        faults.arm(Fault { file: 1, ..Fault::new(Errno::EIO) });
        assert_eq!(faults.strike(1, Kind::Resize, 0, 1), LOST);
        assert_eq!(faults.sorts().of(Sort::Resize), 2);
    }

    #[test]
    fn a_request_that_comes_late_does_not_fail() {
        let mut faults = Faults::default();
        faults.arm(Fault { effect: Effect::Late(7), often: Often::Once, ..Fault::new(Errno::EIO) });
        assert_eq!(faults.strike(0, Kind::Write, 0, 512), None);
        assert_eq!(faults.delay(0, Kind::Write, 0, 512), 7);
        assert_eq!(faults.delay(0, Kind::Write, 0, 512), 0);
        assert_eq!((faults.struck(), faults.sorts().of(Sort::Late)), (0, 1));
    }

    #[test]
    fn a_full_disk_has_what_is_free_until_somebody_makes_room() {
        let mut faults = Faults::default();
        faults
            .arm(Fault { effect: Effect::Full { free_bytes: 1024, steps: 10 }, ..Fault::new(Errno::ENOSPC) });
        assert_eq!(faults.room(1, 4096, 5), None, "another file");
        assert_eq!(faults.room(0, 4096, 5), Some(5120));
        assert_eq!(faults.room(0, 5120, 14), Some(5120), "what has grown since counts");
        assert_eq!(faults.overflows(0), Errno::ENOSPC);
        assert_eq!(faults.room(0, 5120, 15), None);
        assert_eq!((faults.sorts().of(Sort::Full), faults.sorts().of(Sort::RoomAgain)), (1, 1));
    }
}
