//! An engine on disks in memory: tasks polled in a drawn order, a clock that goes on by itself, and every event noted.

use super::memory_disk::MemoryDisk;
use super::random::Random;
use block::engine::{Engine, Guest, Tuning};
use block::event::{Event, EventSink};
use block::qmp::dispatch;
use seam::{Disk, Errno, Host, IoResult, Nanos, OpenMode, Pending, WallClock};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// How much time every round of polls takes.
const ROUND: u64 = 1_000_000;

/// More rounds than this are a hang.
const ROUNDS_MAX: u64 = 200_000;

/// The host.
#[derive(Default)]
pub struct MemoryHost {
    disks: Mutex<BTreeMap<String, Arc<MemoryDisk>>>,
    now: Arc<Mutex<u64>>,
    tasks: Mutex<Vec<Pending<'static, ()>>>,
}

impl fmt::Debug for MemoryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryHost")
    }
}

impl Host for MemoryHost {
    fn open(&self, path: &str, _mode: OpenMode) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let found = self.disks.lock().unwrap().get(path).cloned();
        Box::pin(std::future::ready(found.map(|disk| disk as Arc<dyn Disk>).ok_or(Errno::ENOENT)))
    }

    fn create(&self, path: &str) -> Pending<'static, IoResult<Arc<dyn Disk>>> {
        let mut disks = self.disks.lock().unwrap();
        let disk = MemoryDisk::new(Vec::new());
        disks.insert(path.to_owned(), disk.clone());
        Box::pin(std::future::ready(Ok(disk as Arc<dyn Disk>)))
    }

    fn canonical(&self, path: &str) -> Option<String> {
        Some(path.to_owned())
    }

    fn absolute(&self, path: &str) -> String {
        path.to_owned()
    }

    fn now(&self) -> Nanos {
        Nanos(*self.now.lock().unwrap())
    }

    fn wall_clock(&self) -> WallClock {
        WallClock::default()
    }

    fn sleep_until(&self, deadline: Nanos) -> Pending<'static, ()> {
        let now = self.now.clone();
        Box::pin(std::future::poll_fn(move |_| {
            if *now.lock().unwrap() >= deadline.0 { Poll::Ready(()) } else { Poll::Pending }
        }))
    }

    fn spawn(&self, _name: &str, task: Pending<'static, ()>) {
        self.tasks.lock().unwrap().push(task);
    }
}

/// Notes events by the words that matter.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl EventSink for Notes {
    fn emit(&self, event: &Event, _at: WallClock) {
        let note = match event {
            Event::JobStatusChange { status, .. } => (*status).to_owned(),
            Event::BlockJobCompleted { error: Some(error), .. } => format!("COMPLETED {error}"),
            Event::BlockJobCompleted { .. } => "COMPLETED".to_owned(),
            Event::BlockJobCancelled { .. } => "CANCELLED".to_owned(),
            Event::BlockJobReady { .. } => "READY".to_owned(),
            Event::BlockJobPending { .. } => "PENDING".to_owned(),
            Event::BlockJobError { operation, action, .. } => format!("ERROR {operation} {action}"),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(note);
    }
}

/// The world.
pub struct World {
    /// The engine in it.
    pub engine: Arc<Engine>,
    host: Arc<MemoryHost>,
    notes: Arc<Notes>,
    tasks: Vec<Pending<'static, ()>>,
    random: Random,
}

impl World {
    /// A world in which tasks run in the order that `seed` draws.
    pub fn new(seed: u64) -> World {
        let host = Arc::new(MemoryHost::default());
        let engine = Engine::new(host.clone(), Tuning::default());
        let notes = Arc::new(Notes::default());
        engine.subscribe(notes.clone());
        World { engine, host, notes, tasks: Vec::new(), random: Random::new(seed) }
    }

    /// A file of this name.
    pub fn file(&mut self, name: &str, disk: Arc<MemoryDisk>) {
        self.host.disks.lock().unwrap().insert(name.to_owned(), disk);
    }

    /// The disk of this name.
    pub fn disk(&self, name: &str) -> Arc<MemoryDisk> {
        self.host.disks.lock().unwrap()[name].clone()
    }

    /// One task, drawn, goes on; the clock goes on by itself.
    fn step(&mut self) {
        self.tasks.append(&mut self.host.tasks.lock().unwrap());
        *self.host.now.lock().unwrap() += ROUND / 4;
        if self.tasks.is_empty() {
            return;
        }
        let next = self.random.below(self.tasks.len() as u64) as usize;
        let mut context = Context::from_waker(Waker::noop());
        if self.tasks[next].as_mut().poll(&mut context).is_ready() {
            drop(self.tasks.swap_remove(next));
        }
    }

    /// Runs until `future` is ready, with everybody else beside it.
    pub fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..ROUNDS_MAX {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            for _ in 0..self.random.below(4) {
                self.step();
            }
        }
        panic!("nothing happens any more after {:?}", self.events());
    }

    /// Runs tasks until this was noted as often as `times`.
    pub fn until(&mut self, note: &str, times: usize) {
        for _ in 0..ROUNDS_MAX {
            if self.events().iter().filter(|seen| *seen == note).count() >= times {
                return;
            }
            self.step();
        }
        panic!("{note} never came: {:?}", self.events());
    }

    /// Runs tasks for so many steps.
    pub fn steps(&mut self, steps: u64) {
        (0..steps).for_each(|_| self.step());
    }

    /// Every event so far.
    pub fn events(&self) -> Vec<String> {
        self.notes.0.lock().unwrap().clone()
    }

    /// What was noted, from `note` on.
    pub fn events_from(&self, note: &str) -> Vec<String> {
        self.events().into_iter().skip_while(|seen| seen != note).collect()
    }

    /// A command; the answer as text, or the text of its refusal.
    pub fn command(&mut self, name: &str, arguments: Value) -> Result<String, String> {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let engine = self.engine.clone();
        let done = self.run(async move { dispatch::run_named(&engine, name, arguments).await });
        done.map(|text| text.into_owned()).map_err(|refusal| refusal.description)
    }

    /// A command that is done.
    pub fn ok(&mut self, name: &str, arguments: Value) -> Value {
        let answer = self.command(name, arguments).unwrap_or_else(|why| panic!("{name}: {why}"));
        serde_json::from_str(&answer).expect("an answer is JSON")
    }

    /// A guest of a node.
    pub fn guest(&self, node: &str, writable: bool) -> Guest {
        self.engine.open_guest(node, writable).unwrap_or_else(|why| panic!("{node}: {why}"))
    }

    /// What a reader of a node sees.
    pub fn content(&mut self, node: &str) -> Vec<u8> {
        let guest = self.guest(node, false);
        let len = guest.len_bytes().unwrap();
        self.run(guest.read(0, len)).unwrap()
    }
}
