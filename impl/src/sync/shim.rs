//! The lock underneath. tests/loom.rs compiles this folder over loom's instead, and explores every interleaving.

use seam::footprint::{Access, Object};
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

/// A mutex that nobody sees poisoned: a broken invariant stops the process. Whether a step reads or changes what is
/// inside is noted for whoever explores all orders of steps (`seam::footprint`).
#[derive(Debug)]
pub(crate) struct Mutex<T> {
    inside: std::sync::Mutex<T>,
    object: Object,
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> Mutex<T> {
    /// A new, unlocked one.
    pub(crate) fn new(value: T) -> Self {
        Mutex { inside: std::sync::Mutex::new(value), object: Object::new() }
    }

    /// Locks; held for a few instructions, never across an await.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        Guard { inside: self.lock_unnoted(), object: &self.object }
    }

    /// Locks for somebody who looks, and changes nothing that anybody could see.
    pub(crate) fn lock_to_look(&self) -> MutexGuard<'_, T> {
        self.object.touch(Access::Read);
        self.lock_unnoted()
    }

    /// Locks for somebody who notes by itself what it does inside.
    pub(crate) fn lock_unnoted(&self) -> MutexGuard<'_, T> {
        self.inside.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Access to what a mutex holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Guard<'a, T> {
    inside: MutexGuard<'a, T>,
    object: &'a Object,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object.touch(Access::Read);
        &self.inside
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.object.touch(Access::Write);
        &mut self.inside
    }
}
