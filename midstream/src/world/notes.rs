//! What the world itself notes of each step for whoever explores all orders of steps: which bytes of which file, which
//! answer, whose waking. See `seam::footprint`. All of it is known by value, but for the order in which tasks are made.

use seam::footprint::{Access, Touch, is_on, mixed, note};

/// What steps share in a world.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Shared {
    /// The bytes of a file.
    Bytes(u32),
    /// Its length.
    Length(u32),
    /// Which writes of it have landed: what a flush covers is decided when it is submitted.
    Landed(u32),
    /// Whether it is open for writing.
    Writable(u32),
    /// The answer to a request.
    Answer(u64),
    /// Whether a task is ready.
    Ready(usize),
    /// The faults that are left; the part is a file and a kind of request.
    Faults,
    /// Which files there are.
    Files,
    /// Who waits for a moment; the part is the moment.
    Alarms,
    /// Which tasks there are.
    Tasks,
    /// Which tasks have ended: with the last of them a part of the run ends.
    Ends,
    /// What the judge has seen, in its order.
    Judge,
    /// How long guests take an image to be.
    Lengths,
    /// Everything in a layer that does not note what it shares.
    Layer,
}

impl Shared {
    fn object(self) -> u64 {
        let (kind, number) = match self {
            Shared::Bytes(file) => (1, u64::from(file)),
            Shared::Length(file) => (2, u64::from(file)),
            Shared::Landed(file) => (3, u64::from(file)),
            Shared::Writable(file) => (4, u64::from(file)),
            Shared::Answer(request) => (5, request),
            Shared::Ready(task) => (6, task as u64),
            Shared::Faults => (7, 0),
            Shared::Files => (8, 0),
            Shared::Alarms => (9, 0),
            Shared::Tasks => (10, 0),
            Shared::Ends => (11, 0),
            Shared::Judge => (12, 0),
            Shared::Lengths => (13, 0),
            Shared::Layer => (14, 0),
        };
        mixed(kind, number)
    }

    /// A touch of all of it.
    pub fn whole(self, access: Access) -> Touch {
        self.part(access, 0, u64::MAX)
    }

    fn part(self, access: Access, from: u64, to: u64) -> Touch {
        // A layer that notes nothing is known by its history alone.
        let by_value = !matches!(self, Shared::Layer | Shared::Tasks | Shared::Lengths);
        Touch { object: self.object(), access, from, to, amount: 0, by_value }
    }

    /// All of it is touched.
    #[inline]
    pub fn touch(self, access: Access) {
        self.touch_part(access, 0, u64::MAX);
    }

    /// The part `from..to` of it is touched.
    #[inline]
    pub fn touch_part(self, access: Access, from: u64, to: u64) {
        if is_on() {
            note(self.part(access, from, to));
        }
    }
}

/// A number for bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}
