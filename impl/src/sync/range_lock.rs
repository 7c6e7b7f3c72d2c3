//! A lock on ranges: requests that overlap, one of which insists on being alone, run one after the other.
//!
//! First come, first served: a request waits for every *earlier* one it conflicts with and for no later one, so
//! nobody starves and, as long as a holder waits only for ranges of other locks, nobody deadlocks.

use super::shim::Mutex;
use seam::footprint::{self, Access, Object};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// How a request stands to others on the same bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Beside other shared ones.
    Shared,
    /// Alone; QEMU's word is serialising.
    Exclusive,
}

/// The lock.
#[derive(Debug, Default)]
pub struct RangeLock {
    queue: Mutex<Queue>,
    notes: Notes,
}

/// Which parts of the lock a step touches, for whoever explores all orders of steps: requests that do not conflict come
/// and go in any order, and nobody can see in which.
#[derive(Debug, Default)]
struct Notes(Object);

impl Notes {
    /// Aspects of the object.
    const EXCLUSIVE: u64 = 0;
    const SHARED: u64 = 1;

    fn comes(&self, entry: &Entry) {
        self.passes(entry, entry.noted);
    }

    fn goes(&self, entry: &Entry) {
        self.passes(entry, entry.noted.wrapping_neg());
    }

    fn passes(&self, entry: &Entry, amount: u64) {
        match entry.mode {
            Mode::Shared => self.0.add(Self::SHARED, amount, entry.start, entry.end),
            Mode::Exclusive => {
                self.0.touch_part(Self::EXCLUSIVE, Access::Write, entry.start, entry.end);
            }
        }
        self.looks(entry);
    }

    /// Whether anybody is in its way, or it in theirs.
    fn looks(&self, entry: &Entry) {
        self.0.touch_part(Self::EXCLUSIVE, Access::Read, entry.start, entry.end);
        if entry.mode == Mode::Exclusive {
            self.0.touch_part(Self::SHARED, Access::Read, entry.start, entry.end);
        }
    }

    fn counts(&self, aspects: &[u64]) {
        aspects.iter().for_each(|aspect| self.0.touch_part(*aspect, Access::Read, 0, u64::MAX));
    }
}

#[derive(Debug, Default)]
struct Queue {
    next_ticket: u64,
    /// Held and waiting requests, in the order they came.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    start: u64,
    end: u64,
    mode: Mode,
    waiter: Option<Waker>,
    /// Its name in notes.
    noted: u64,
}

impl Entry {
    fn conflicts_with(&self, other: &Entry) -> bool {
        let overlap = self.start < other.end && other.start < self.end;
        overlap && (self.mode == Mode::Exclusive || other.mode == Mode::Exclusive)
    }
}

impl Queue {
    fn position(&self, ticket: u64) -> usize {
        self.entries
            .iter()
            .position(|e| e.ticket == ticket)
            .expect("an entry stays until its owner removes it")
    }

    fn is_free(&self, position: usize) -> bool {
        let entry = &self.entries[position];
        !self.entries[..position].iter().any(|earlier| earlier.conflicts_with(entry))
    }

    /// Removes an entry and says who may have become free.
    fn leave(&mut self, ticket: u64, notes: &Notes) -> Vec<Waker> {
        let position = self.position(ticket);
        let gone = self.entries.remove(position);
        notes.goes(&gone);
        let later = self.entries[position..].iter_mut();
        later
            .filter(|e| e.waiter.is_some() && e.conflicts_with(&gone))
            .filter_map(|e| e.waiter.take())
            .collect()
    }
}

impl RangeLock {
    /// A lock nobody holds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for the bytes `start..end`. The place in the queue is taken by this call, not by the first poll.
    pub fn acquire(&self, start: u64, end: u64, mode: Mode) -> Acquire<'_> {
        assert!(start <= end, "a range from {start} to {end}");
        let mut queue = self.queue.lock_unnoted();
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        let noted = if footprint::is_on() { footprint::fresh() } else { 0 };
        let entry = Entry { ticket, start, end, mode, waiter: None, noted };
        self.notes.comes(&entry);
        queue.entries.push(entry);
        Acquire { place: Some(RangeGuard { lock: self, ticket }) }
    }

    /// Whether anybody is alone on a range, or waits to be.
    pub(crate) fn has_exclusive(&self) -> bool {
        self.notes.counts(&[Notes::EXCLUSIVE]);
        self.queue.lock_unnoted().entries.iter().any(|entry| entry.mode == Mode::Exclusive)
    }

    /// How many requests hold a range or wait for one.
    pub fn in_flight(&self) -> usize {
        self.notes.counts(&[Notes::EXCLUSIVE, Notes::SHARED]);
        self.queue.lock_unnoted().entries.len()
    }
}

/// A request for a range; ready once no earlier request conflicts.
#[derive(Debug)]
#[must_use = "a range is held only while its guard lives"]
pub struct Acquire<'a> {
    place: Option<RangeGuard<'a>>,
}

impl<'a> Future for Acquire<'a> {
    type Output = RangeGuard<'a>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<RangeGuard<'a>> {
        let place = self.place.as_ref().expect("not polled again after it was ready");
        let mut queue = place.lock.queue.lock_unnoted();
        let position = queue.position(place.ticket);
        place.lock.notes.looks(&queue.entries[position]);
        if queue.is_free(position) {
            drop(queue);
            return Poll::Ready(self.place.take().expect("seen above"));
        }
        queue.entries[position].waiter = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Holds a range; dropping it lets the next ones in.
#[derive(Debug)]
pub struct RangeGuard<'a> {
    lock: &'a RangeLock,
    ticket: u64,
}

impl Drop for RangeGuard<'_> {
    fn drop(&mut self) {
        let freed = self.lock.queue.lock_unnoted().leave(self.ticket, &self.lock.notes);
        // Woken outside the lock: a waker may poll at once.
        freed.into_iter().for_each(Waker::wake);
    }
}
