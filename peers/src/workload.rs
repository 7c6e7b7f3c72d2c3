//! What everybody runs: tasks that draw, fold what they drew into a shared number, and yield.

use midstream::strategy::random::Stream;
use std::sync::{Arc, Mutex};

/// So many tasks, each as often.
pub const TASKS: u32 = 3;
/// How often a task does it.
pub const ROUNDS: u32 = 30;

/// What the tasks share.
pub type Shared = Arc<Mutex<u64>>;

/// Folds a number into another: in another order the end is another.
pub fn fold(into: &mut u64, drawn: u64) {
    *into = into.rotate_left(7) ^ drawn;
}

/// One task, for whoever polls futures.
pub async fn task<Y: Future<Output = ()>>(
    shared: Shared,
    mut draw: impl FnMut() -> u64,
    yield_now: impl Fn() -> Y,
) {
    for _ in 0..ROUNDS {
        let drawn = draw();
        fold(&mut shared.lock().expect("nobody panics holding it"), drawn);
        yield_now().await;
    }
}

/// Random numbers for those that give out none of their own.
pub fn numbers(seed: u64, task: u32) -> impl FnMut() -> u64 {
    let mut stream = Stream::new(seed << 2 | u64::from(task));
    move || u64::from(stream.below(u32::MAX))
}
