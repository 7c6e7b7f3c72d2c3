//! The lock underneath. tests/loom.rs compiles this folder over loom's instead, and explores every interleaving.

use std::sync::MutexGuard;

/// A mutex that nobody sees poisoned: a broken invariant stops the process.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A new, unlocked one.
    pub(crate) fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Locks; held for a few instructions, never across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
