//! A simulated world for one task, which goes on by option 0 alone.

use midstream::choice::Point;
use midstream::world::host::SimHost;
use midstream::world::scheduler::{Rest, STEPS_MAX, Scheduler};
use std::sync::{Arc, Mutex};

/// Does something to its end. Whatever the bytes were, it ends.
pub fn run<T: Send + 'static>(host: &SimHost, work: impl Future<Output = T> + Send + 'static) -> T {
    let place = Arc::new(Mutex::new(None));
    let put = place.clone();
    let mut scheduler = Scheduler::new(host.clone());
    let task = Box::pin(async move {
        let done = work.await;
        *put.lock().expect("nobody panics holding it") = Some(done);
    });
    let task = scheduler.spawn(Point::new("fuzz", [0; 3]), task);
    let rest = scheduler.run(&[task], STEPS_MAX, None);
    assert!(rest == Rest::Done, "it does not end within {STEPS_MAX} steps");
    drop(scheduler);
    let done = place.lock().expect("nobody panics holding it").take();
    done.expect("a task that has ended has put it there")
}
