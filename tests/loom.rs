//! Every interleaving of two or three threads through the engine's synchronisation primitives.
//!
//! The primitives' own files are compiled here over loom's mutex instead of std's. A lost wake-up shows as a
//! deadlock, which loom reports; a broken exclusion fails the assertion in the test.

#![allow(dead_code, missing_docs, missing_debug_implementations)]

/// The engine's `sync` folder over loom.
#[path = "../impl/src/sync"]
mod sync {
    pub mod shim {
        /// As the engine's, over loom.
        #[derive(Debug, Default)]
        pub struct Mutex<T>(loom::sync::Mutex<T>);

        impl<T> Mutex<T> {
            pub fn new(value: T) -> Self {
                Mutex(loom::sync::Mutex::new(value))
            }

            pub fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
                self.0.lock().expect("no thread panics while it holds the lock")
            }

            pub fn lock_unnoted(&self) -> loom::sync::MutexGuard<'_, T> {
                self.lock()
            }
        }
    }

    #[path = "range_lock.rs"]
    pub mod range_lock;

    #[path = "gate.rs"]
    pub mod gate;

    #[path = "signal.rs"]
    pub mod signal;
}

use loom::future::block_on;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sync::gate::Gate;
use sync::range_lock::{Mode, RangeLock};
use sync::signal::Signal;

// A serialising copy and a guest write to the same cluster run at the same time.
#[test]
fn two_exclusive_holders_of_a_range_never_meet() {
    loom::model(|| {
        let shared = Arc::new((RangeLock::new(), AtomicUsize::new(0)));
        let work = |shared: &(RangeLock, AtomicUsize), start, end| {
            let guard = block_on(shared.0.acquire(start, end, Mode::Exclusive));
            assert_eq!(shared.1.fetch_add(1, Ordering::SeqCst), 0, "somebody else is inside");
            shared.1.fetch_sub(1, Ordering::SeqCst);
            drop(guard);
        };
        let other = shared.clone();
        let thread = thread::spawn(move || work(&other, 0, 8));
        work(&shared, 4, 12);
        thread.join().expect("the other thread ends");
        assert_eq!(shared.0.in_flight(), 0);
    });
}

// The waiter registers its waker just after the holder has looked for somebody to wake.
#[test]
fn a_shared_waiter_behind_an_exclusive_one_is_woken() {
    loom::model(|| {
        let lock = Arc::new(RangeLock::new());
        let threads: Vec<_> = [Mode::Exclusive, Mode::Shared]
            .into_iter()
            .map(|mode| {
                let lock = lock.clone();
                thread::spawn(move || drop(block_on(lock.acquire(0, 8, mode))))
            })
            .collect();
        for thread in threads {
            thread.join().expect("it ends");
        }
        assert_eq!(lock.in_flight(), 0);
    });
}

// A drain begins while a request is going in: one of the two must wait for the other.
#[test]
fn a_drained_section_has_nobody_inside() {
    loom::model(|| {
        let shared = Arc::new((Gate::new(), AtomicUsize::new(0)));
        let other = shared.clone();
        let request = thread::spawn(move || {
            let inside = block_on(other.0.enter());
            other.1.fetch_add(1, Ordering::SeqCst);
            other.1.fetch_sub(1, Ordering::SeqCst);
            drop(inside);
        });
        let alone = block_on(shared.0.drain());
        assert_eq!(shared.1.load(Ordering::SeqCst), 0, "a request runs in a drained section");
        drop(alone);
        request.join().expect("the request ends");
        assert_eq!(shared.0.in_flight(), 0);
    });
}

// A waiter gives up (its future is dropped) while others wait behind it.
#[test]
fn a_dropped_waiter_does_not_block_those_behind_it() {
    loom::model(|| {
        let lock = Arc::new(RangeLock::new());
        let first = block_on(lock.acquire(0, 8, Mode::Exclusive));
        let given_up = lock.acquire(0, 8, Mode::Exclusive);
        let other = lock.clone();
        let behind = thread::spawn(move || drop(block_on(other.acquire(0, 8, Mode::Exclusive))));
        drop(given_up);
        drop(first);
        behind.join().expect("it ends");
        assert_eq!(lock.in_flight(), 0);
    });
}

// The operator resumes between the job's look at its state and its falling asleep.
#[test]
fn a_change_between_look_and_sleep_is_not_lost() {
    loom::model(|| {
        let shared = Arc::new((Signal::new(), AtomicUsize::new(0)));
        let other = shared.clone();
        let operator = thread::spawn(move || {
            other.1.store(1, Ordering::SeqCst);
            other.0.notify();
        });
        loop {
            let seen = shared.0.changes();
            if shared.1.load(Ordering::SeqCst) == 1 {
                break;
            }
            block_on(shared.0.changed_since(seen));
        }
        operator.join().expect("the operator ends");
    });
}
