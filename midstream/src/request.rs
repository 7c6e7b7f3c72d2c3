//! What guests ask for, and how their requests are distinguished.

use crate::choice::Point;
use std::fmt;

/// What a guest asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Look.
    Read,
    /// Write the tag.
    Write,
    /// Write zeroes.
    WriteZeroes,
    /// Not needed any more.
    Discard,
    /// Make durable.
    Flush,
}

impl Operation {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::WriteZeroes => "write zeroes",
            Operation::Discard => "discard",
            Operation::Flush => "flush",
        }
    }
}

/// How many tables of operations there are.
pub const PROFILES: u32 = 4;

/// The operations of each profile; 0 in a slot is no request at all.
pub const TABLES: [&[Option<Operation>; 16]; PROFILES as usize] = {
    use Operation::{Discard, Flush, Read, Write, WriteZeroes};
    let (r, w, z, d, f) = (Some(Read), Some(Write), Some(WriteZeroes), Some(Discard), Some(Flush));
    [
        &[None, r, w, None, w, r, w, r, w, z, d, f, None, None, w, None],
        &[None, r, r, r, r, r, w, w, None, None, None, None, None, r, w, None],
        &[None, w, w, w, w, w, f, r, w, w, w, f, w, z, r, w],
        &[None, d, z, d, z, w, r, d, z, w, r, d, z, f, None, None],
    ]
};

/// A guest's request, by where it was drawn in the script: `g1.0.3` is guest 1, lane 0, request 3. What it writes has
/// this name, too.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RequestId {
    /// Who.
    pub guest: u32,
    /// In which lane.
    pub lane: u32,
    /// Which slot of it.
    pub slot: u32,
}

impl RequestId {
    /// Where traces decide about it.
    pub fn point(self) -> Point {
        Point::new("guest # lane # request #", [self.guest, self.lane, self.slot])
    }

    /// Its number, which no other request of the run has.
    pub fn number(self) -> u64 {
        u64::from(self.guest) << 16 | u64::from(self.lane) << 8 | u64::from(self.slot) | 1 << 24
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}.{}.{}", self.guest, self.lane, self.slot)
    }
}
