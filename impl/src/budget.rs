//! Memory that images, not clients, make us hold: one limit for everything that is open.
//!
//! Whoever is about to hold a table, a list or a map that an image sizes takes its share first. What is over the limit
//! is refused in words that say who wanted how much. Shares go back by themselves.

use crate::sync::YieldNow;
use crate::sync::ending::Ending;
use crate::sync::shim::Mutex;
use seam::footprint::{Access, Object};
use seam::{Errno, IoResult};
use std::sync::Arc;
use thiserror::Error;

/// The limit when nobody says another.
pub(crate) const BUDGET_DEFAULT: u64 = 512 << 20;

/// Somebody wanted more than there is.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{what} needs {wanted} bytes of memory, and {left} of the {limit} bytes for images are left")]
pub struct OverBudget {
    /// For what.
    pub what: String,
    /// How much.
    pub wanted: u64,
    /// How much there was.
    pub left: u64,
    /// How much there is at all.
    pub limit: u64,
}

/// The limit and what is held of it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<State>);

#[derive(Debug)]
struct State {
    limit: u64,
    /// How many tables of one image stay in memory while they can be read again; nothing: as many as the cache likes.
    tables_max: Option<usize>,
    held: Mutex<Held>,
    noted: Object,
}

#[derive(Debug, Default)]
struct Held {
    bytes: u64,
    peak: u64,
    refused: Option<OverBudget>,
}

impl Default for Budget {
    /// Without a limit.
    fn default() -> Self {
        Budget::new(u64::MAX)
    }
}

impl Budget {
    /// Nothing is held yet.
    pub fn new(limit: u64) -> Budget {
        Budget::with_tables(limit, None)
    }

    /// Of which so many tables of one image stay in memory while they can be read again.
    pub fn with_tables(limit: u64, tables_max: Option<usize>) -> Budget {
        Budget(Arc::new(State { limit, tables_max, held: Mutex::default(), noted: Object::new() }))
    }

    /// How many tables of one image stay in memory, if somebody said so.
    pub(crate) fn tables_max(&self) -> Option<usize> {
        self.0.tables_max
    }

    /// How much may be held.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// How much is held.
    pub fn held(&self) -> u64 {
        self.0.noted.touch(Access::Read);
        self.0.held.lock().bytes
    }

    /// The most that was held at a time.
    pub fn peak(&self) -> u64 {
        self.0.held.lock().peak
    }

    /// What was refused last.
    pub fn refused(&self) -> Option<OverBudget> {
        self.0.held.lock().refused.clone()
    }

    /// Takes so much for something.
    pub fn take(&self, bytes: u64, what: impl FnOnce() -> String) -> Result<Share, OverBudget> {
        let mut share = self.nothing();
        share.grow(bytes, what)?;
        Ok(share)
    }

    /// A share to be grown.
    pub fn nothing(&self) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }

    /// Takes from the first `limit` bytes, or does not.
    fn try_take(&self, bytes: u64, limit: u64) -> Result<(), u64> {
        let mut held = self.0.held.lock_unnoted();
        let left = limit.saturating_sub(held.bytes);
        // Two that stay below a quarter are both below what caches may have: nobody is refused, in whatever order they come.
        self.0.note(bytes, held.bytes.saturating_add(bytes) <= self.0.limit / 4);
        if bytes > left {
            return Err(left);
        }
        held.add(bytes);
        Ok(())
    }

    fn give_back(&self, bytes: u64) {
        self.0.note(bytes.wrapping_neg(), true);
        self.0.held.lock_unnoted().bytes -= bytes;
    }
}

impl State {
    /// For whoever explores all orders of steps: a share is taken or given back. The peak may differ by their order; that
    /// is for people, and no step depends on it.
    fn note(&self, amount: u64, commutes: bool) {
        match commutes {
            true => self.noted.add(0, amount, 0, u64::MAX),
            false => self.noted.touch(Access::Write),
        }
    }
}

impl Held {
    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.peak = self.peak.max(self.bytes);
    }
}

/// A part of the budget, for as long as this lives.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: u64,
}

impl Share {
    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The budget it is a part of.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Takes more, or refuses.
    pub fn grow(&mut self, bytes: u64, what: impl FnOnce() -> String) -> Result<(), OverBudget> {
        let limit = self.budget.0.limit;
        match self.budget.try_take(bytes, limit) {
            Ok(()) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(left) => {
                let refused = OverBudget { what: what(), wanted: bytes, left, limit };
                self.budget.0.held.lock().refused = Some(refused.clone());
                Err(refused)
            }
        }
    }

    /// Takes more of what may be held for convenience: a quarter of the budget is never given out like this, so that a
    /// full cache keeps no image from being opened. False: no more.
    pub(crate) fn grow_cache(&mut self, bytes: u64) -> bool {
        let limit = self.budget.0.limit;
        let is_taken = self.budget.try_take(bytes, limit - limit / 4).is_ok();
        self.bytes += if is_taken { bytes } else { 0 };
        is_taken
    }

    /// Takes more, come what may: what is there already has to be somewhere.
    pub(crate) fn grow_anyway(&mut self, bytes: u64) {
        self.budget.0.note(bytes, true);
        self.budget.0.held.lock_unnoted().add(bytes);
        self.bytes += bytes;
    }

    /// Gives a part back.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.give_back(bytes);
        self.bytes -= bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

/// What work on images may use: memory, and time until the end begins.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    /// The memory.
    pub budget: Budget,
    /// When long work is given up; nothing: nobody else is there to give way to, and it runs to its end at once.
    pub ending: Option<Ending>,
}

impl Allowance {
    /// For one piece of long work.
    pub(crate) fn breath(&self) -> Breath {
        Breath { ending: self.ending.clone(), steps: 0 }
    }
}

/// Makes long work let others run from time to time, and stop when the end has begun.
#[derive(Debug)]
pub(crate) struct Breath {
    ending: Option<Ending>,
    steps: u64,
}

/// Steps between two pauses; one is some hundred instructions.
const STEPS_BEFORE_PAUSE: u64 = 1 << 14;

impl Breath {
    /// So many steps of the work are done. ECANCELED: no more of it.
    pub(crate) async fn after(&mut self, steps: u64) -> IoResult<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps < STEPS_BEFORE_PAUSE {
            return Ok(());
        }
        self.steps = 0;
        let Some(ending) = &self.ending else { return Ok(()) };
        if ending.has_begun() {
            return Err(Errno::ECANCELED);
        }
        YieldNow::default().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_refused_in_words() {
        let budget = Budget::new(1000);
        let first = budget.take(600, || "the first".into()).expect("it fits");
        let refused = budget.take(500, || "the second".into()).unwrap_err();
        let text = "the second needs 500 bytes of memory, and 400 of the 1000 bytes for images are left";
        assert_eq!(refused.to_string(), text);
        assert_eq!(budget.refused(), Some(refused));
        drop(first);
        assert_eq!((budget.held(), budget.peak()), (0, 600));
        budget.take(1000, || "the third".into()).expect("the first has gone");
    }

    #[test]
    fn caches_leave_a_quarter_to_others() {
        let budget = Budget::new(1000);
        let mut cache = budget.nothing();
        assert!(cache.grow_cache(700));
        assert!(!cache.grow_cache(100));
        cache.shrink(300);
        assert!(cache.grow_cache(350));
        assert_eq!((cache.bytes(), budget.held()), (750, 750));
        cache.grow_anyway(500);
        assert_eq!(budget.held(), 1250);
    }
}
