//! The engine in a world without chance: what is done from outside runs until it is done, time passes as asked.

use block::engine::{Engine, Tuning};
use block::qmp::Monitor;
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use midstream::world::scheduler::Scheduler;
use midstream::world::socket::End;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// So often somebody may step aside while nothing else can happen.
const IDLE_LOOKS_MAX: usize = 1000;
/// Steps that one thing done from outside may take.
const STEPS_MAX: u64 = 5_000_000;
/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// The engine in its world.
#[derive(Debug)]
pub struct World {
    /// Its host.
    pub host: SimHost,
    /// The engine.
    pub engine: Arc<Engine>,
    /// Its one client.
    pub monitor: Arc<Monitor>,
    scheduler: Scheduler,
}

/// Learns that what is done from outside can go on.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl World {
    /// A world with these files, whose relative names mean files of `folder`.
    pub fn new(files: Vec<File>, folder: &str) -> World {
        let host = SimHost::in_folder(Disks::new(files), folder);
        let engine = Engine::new(Arc::new(host.clone()), Tuning::default());
        let monitor = Monitor::new(engine.clone());
        let scheduler = Scheduler::new(host.clone());
        World { host, engine, monitor, scheduler }
    }

    /// Now, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.host.core().now
    }

    /// Does something to its end, for so many seconds at most. `None`: it does not end.
    pub fn run<T>(&mut self, seconds_max: f64, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        self.until(seconds_max, || {
            if !woken.0.swap(false, Ordering::Relaxed) {
                return None;
            }
            match work.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            }
        })
    }

    /// Waits until bytes have come over a connection. `None`: it has ended, or they do not come.
    pub fn receive(&mut self, end: &End, len: usize, seconds_max: f64) -> Option<Vec<u8>> {
        let mut over = false;
        self.until(seconds_max, || {
            let ended = end.has_ended();
            let taken = end.take(len);
            over = taken.is_none() && ended;
            if over { Some(None) } else { taken.map(Some) }
        })
        .flatten()
    }

    /// Lets so many seconds pass, with all that happens meanwhile.
    pub fn pass(&mut self, seconds: f64) {
        let end = self.now() + (seconds * SECOND) as u64;
        let _nothing: Option<()> = self.until(seconds, || None);
        let mut core = self.host.core();
        core.now = core.now.max(end);
    }

    /// Lets things happen, time only when nothing else can, until `look` sees what it waits for.
    fn until<T>(&mut self, seconds_max: f64, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let end = self.now() + (seconds_max * SECOND) as u64;
        let mut idle = 0;
        for _ in 0..STEPS_MAX {
            if let Some(seen) = look() {
                return Some(seen);
            }
            // Who steps aside for others goes on, although there is nobody.
            let goes_on = self.scheduler.step_now() || self.scheduler.pass_time_until(end);
            idle = if goes_on { 0 } else { idle + 1 };
            if idle > IDLE_LOOKS_MAX {
                return None;
            }
        }
        None
    }
}
