//! Where the inside of a host is kept, and whether anybody has looked in since the scheduler did.
//!
//! Most steps of most tasks have nothing to do with disks or time. After those the scheduler need not look for new requests.

use crate::world::host::Core;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The place. A world runs on one thread: nobody waits for the lock, and nothing here is ordered by it.
#[derive(Default)]
pub(super) struct Shelf {
    core: Mutex<Core>,
    /// Steps of the scheduler so far: the inside learns of them when somebody looks in.
    steps: AtomicU64,
    /// Whether the scheduler knows what the inside is now.
    is_seen: AtomicBool,
}

impl Shelf {
    pub(super) fn new(core: Core) -> Shelf {
        Shelf { core: Mutex::new(core), ..Shelf::default() }
    }

    /// The inside, to be changed, perhaps.
    pub(super) fn open(&self) -> MutexGuard<'_, Core> {
        self.is_seen.store(false, Ordering::Relaxed);
        let mut core = self.core.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        core.steps = self.steps.load(Ordering::Relaxed);
        core
    }

    /// The scheduler is at this step. True if it knows what the inside is now.
    pub(super) fn is_seen_at(&self, steps: u64) -> bool {
        self.steps.store(steps, Ordering::Relaxed);
        self.is_seen.load(Ordering::Relaxed)
    }

    /// The scheduler knows what the inside is now.
    pub(super) fn seen(&self) {
        self.is_seen.store(true, Ordering::Relaxed);
    }
}
