//! Runs futures without an operating system: one to its end, or several in a drawn order.

use super::random::Random;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Polls until ready. The disk in memory needs no waker.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("a future that never ends");
}

/// Runs all of them, polling whichever `random` says, until every one is ready.
pub fn interleave(mut futures: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>, random: &mut Random) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000_000 {
        if futures.is_empty() {
            return;
        }
        let next = random.below(futures.len() as u64) as usize;
        if futures[next].as_mut().poll(&mut context).is_ready() {
            drop(futures.swap_remove(next));
        }
    }
    panic!("{} futures never end", futures.len());
}
