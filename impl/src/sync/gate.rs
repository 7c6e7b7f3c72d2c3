//! The drain gate: requests go in and out side by side; a drain waits for all of them and keeps new ones outside.
//!
//! A drained section is exclusive, like QEMU's main loop: two jobs never change the graph at the same time.

use super::range_lock::{Acquire, Mode, RangeLock};
use super::signal::{Changed, Signal};

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    lock: RangeLock,
    presses: Signal,
}

impl Gate {
    /// An open gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes in beside others, unless a drain holds or waits.
    pub fn enter(&self) -> Acquire<'_> {
        self.lock.acquire(0, 1, Mode::Shared)
    }

    /// Keeps new requests outside, waits until nobody is inside, and stays alone until the guard drops.
    pub fn drain(&self) -> Acquire<'_> {
        let alone = self.lock.acquire(0, 1, Mode::Exclusive);
        self.presses.notify();
        alone
    }

    /// Whether a drain waits, so that whoever is inside should not linger.
    pub(crate) fn is_pressed(&self) -> bool {
        self.lock.has_exclusive()
    }

    /// How many drains there were; see [`Signal::changes`].
    pub(crate) fn presses(&self) -> u64 {
        self.presses.changes()
    }

    /// Waits for the next drain.
    pub(crate) fn pressed_since(&self, seen: u64) -> Changed<'_> {
        self.presses.changed_since(seen)
    }

    /// How many are inside or wait.
    pub fn in_flight(&self) -> usize {
        self.lock.in_flight()
    }
}
