//! What has gone wrong in a run, one count for each sort: a campaign that never saw one of them has tested nothing of it.

use crate::world::fault::Kind;

/// One sort of thing that goes wrong, by what happens.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Sort {
    /// A read fails.
    Read,
    /// A write fails.
    Write,
    /// A flush fails.
    Flush,
    /// A file is not opened.
    Open,
    /// It is not reopened.
    Reopen,
    /// Somebody else has its lock.
    Lock,
    /// Its length does not change.
    Resize,
    /// What is not flushed is lost with its close.
    Close,
    /// A flush fails for good.
    Forgets,
    /// A request comes late.
    Late,
    /// A write does not fit.
    Full,
    /// It would fit again.
    RoomAgain,
    /// A flush answers success and makes nothing durable.
    LostFlush,
    /// A write answers success and changes nothing.
    LostWrite,
    /// A write lands elsewhere.
    Astray,
    /// A bit flips in the header of an image.
    RotHeader,
    /// In its L1 table.
    RotL1,
    /// In an L2 table.
    RotL2,
    /// In its refcount table.
    RotRefcountTable,
    /// In its refcounts.
    RotRefcounts,
    /// In data.
    RotData,
}

/// All of them, each with its goal: a sentence.
pub const SORTS: [(Sort, &str); 21] = [
    (Sort::Read, "a disk fails to read"),
    (Sort::Write, "a disk fails to write"),
    (Sort::Flush, "a disk fails to flush"),
    (Sort::Open, "a file cannot be opened"),
    (Sort::Reopen, "a file cannot be reopened"),
    (Sort::Lock, "a file is locked by somebody else"),
    (Sort::Resize, "a file cannot be resized"),
    (Sort::Close, "a file loses with its close what was not flushed"),
    (Sort::Forgets, "a failed flush loses what it was to make durable"),
    (Sort::Late, "a request comes late"),
    (Sort::Full, "a disk is full"),
    (Sort::RoomAgain, "a full disk has room again"),
    (Sort::LostFlush, "a flush is lost on a lying disk"),
    (Sort::LostWrite, "a write is lost on a lying disk"),
    (Sort::Astray, "a write goes astray on a lying disk"),
    (Sort::RotHeader, "a bit of a header rots"),
    (Sort::RotL1, "a bit of an L1 table rots"),
    (Sort::RotL2, "a bit of an L2 table rots"),
    (Sort::RotRefcountTable, "a bit of a refcount table rots"),
    (Sort::RotRefcounts, "a bit of a refcount rots"),
    (Sort::RotData, "a bit of data rots"),
];

impl Sort {
    /// Whether it is a lie: something that no honest disk does.
    pub fn is_lie(self) -> bool {
        self as usize >= Sort::LostFlush as usize
    }

    /// The failing of such a request.
    pub(crate) fn of(kind: Kind) -> Sort {
        match kind {
            Kind::Read => Sort::Read,
            Kind::Write => Sort::Write,
            Kind::Flush => Sort::Flush,
            Kind::Open => Sort::Open,
            Kind::Reopen => Sort::Reopen,
            Kind::Lock => Sort::Lock,
            Kind::Resize => Sort::Resize,
            Kind::Close => Sort::Close,
        }
    }
}

/// How often each has struck.
#[derive(Clone, Debug, Default)]
pub struct Struck([u64; SORTS.len()]);

impl Struck {
    /// Once more.
    pub(crate) fn count(&mut self, sort: Sort) {
        self.0[sort as usize] += 1;
    }

    /// How often this one has.
    pub fn of(&self, sort: Sort) -> u64 {
        self.0[sort as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_has_its_place_and_its_goal() {
        for (index, (sort, _)) in SORTS.into_iter().enumerate() {
            assert_eq!(sort as usize, index);
        }
    }
}
