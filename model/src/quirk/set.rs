//! Which quirks a judge has: one bit for each.

use super::{QUIRK_COUNT, Quirk};

/// A set of quirks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Quirks(u64);

// One bit for each.
const _: () = assert!(QUIRK_COUNT <= 64);

impl Quirks {
    /// With this one too.
    pub fn add(&mut self, quirk: Quirk) {
        self.0 |= 1 << quirk as u32;
    }

    /// Whether this one is among them.
    #[inline]
    pub fn has(self, quirk: Quirk) -> bool {
        self.0 >> quirk as u32 & 1 != 0
    }
}
