//! Runs one ready task at a time, or completes one disk request; which one is a choice. Owns virtual time.
//!
//! A step is one poll or one completion. Time moves only when no task is ready and nothing is in flight: first to the
//! next step somebody thinks until, then to the next alarm (or the other way round, by choice). When nothing is left
//! to happen the world is idle, and whoever still waits is stuck.

use crate::choice::{Choices, Point};
use crate::world::host::SimHost;
use crate::world::ready::{ReadySet, TASKS_MAX};
use seam::Pending;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

/// Steps a part of a run may take; far more than any healthy run needs.
pub const STEPS_MAX: u64 = 200_000;

struct Task {
    name: Point,
    /// `None` once it has ended.
    future: Option<Pending<'static, ()>>,
    waker: Waker,
}

/// A task, for asking after it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct TaskId(usize);

/// Something that can happen next.
#[derive(Copy, Clone)]
enum Offer {
    Poll(usize),
    Complete(usize),
}

/// Why the scheduler came back.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Rest {
    /// What was waited for came true.
    Done,
    /// Somebody asked to stop.
    Halted,
    /// Nothing can happen any more.
    Idle,
    /// So many steps were not enough.
    Bound,
}

/// The executor of one world.
pub struct Scheduler {
    host: SimHost,
    ready: Arc<ReadySet>,
    halt: Arc<AtomicBool>,
    tasks: Vec<Task>,
    /// What happened in each step so far.
    ran: Vec<Point>,
    /// The task that ran last, if that was a task.
    last_polled: usize,
    steps: u64,
    names: Vec<Point>,
    offers: Vec<Offer>,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scheduler(step {}, {} tasks)", self.steps, self.tasks.len())
    }
}

impl Scheduler {
    /// A scheduler for the tasks and requests of `host`.
    pub fn new(host: SimHost) -> Self {
        Scheduler {
            host,
            ready: ReadySet::new(),
            halt: Arc::default(),
            tasks: Vec::with_capacity(16),
            ran: Vec::with_capacity(1_024),
            last_polled: usize::MAX,
            steps: 0,
            names: Vec::with_capacity(16),
            offers: Vec::with_capacity(16),
        }
    }

    /// Raising this flag stops the scheduler after the present step.
    pub fn halt_flag(&self) -> Arc<AtomicBool> {
        self.halt.clone()
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What happened in each step so far.
    pub fn ran(&self) -> &[Point] {
        &self.ran
    }

    /// Adds a task, ready to run.
    pub fn spawn(&mut self, name: Point, future: Pending<'static, ()>) -> TaskId {
        let task = self.tasks.len();
        assert!(task < TASKS_MAX, "{name}: a world has no more than {TASKS_MAX} tasks");
        let waker = self.ready.waker(task);
        waker.wake_by_ref();
        self.tasks.push(Task { name, future: Some(future), waker });
        TaskId(task)
    }

    /// Whether a task has ended.
    pub fn has_ended(&self, task: TaskId) -> bool {
        self.tasks[task.0].future.is_none()
    }

    /// Names of the tasks that have not ended.
    pub fn unfinished(&self) -> impl Iterator<Item = Point> {
        self.tasks.iter().filter(|t| t.future.is_some()).map(|t| t.name)
    }

    /// Runs until all of `tasks` have ended, for `steps_max` steps at most. Without `choices` option 0 is taken.
    pub fn run(&mut self, tasks: &[TaskId], steps_max: u64, mut choices: Option<&mut Choices>) -> Rest {
        let last_step = self.steps + steps_max;
        let mut waiting_for = 0;
        loop {
            while waiting_for < tasks.len() && self.has_ended(tasks[waiting_for]) {
                waiting_for += 1;
            }
            if waiting_for == tasks.len() && !tasks.is_empty() {
                return Rest::Done;
            }
            if self.halt.load(Ordering::Relaxed) {
                return Rest::Halted;
            }
            if self.steps == last_step {
                return Rest::Bound;
            }
            if !self.step(choices.as_deref_mut()) {
                return Rest::Idle;
            }
        }
    }

    /// One step, by option 0, without letting time pass; false when nothing can happen now.
    pub fn step_now(&mut self) -> bool {
        self.gather();
        !self.offers.is_empty() && self.step(None)
    }

    /// Lets the next alarm ring, if that is not after `end`; false when it is, or when there is none.
    pub fn pass_time_until(&mut self, end: u64) -> bool {
        let next = self.host.core().moments.next();
        next <= end && self.pass_time(None)
    }

    /// One step; false when nothing can happen any more.
    fn step(&mut self, mut choices: Option<&mut Choices>) -> bool {
        self.gather();
        // Every round lets one alarm ring, so this ends.
        while self.offers.is_empty() {
            if !self.pass_time(choices.as_deref_mut()) {
                return false;
            }
            self.gather();
        }
        let index = match choices {
            Some(choices) => choices.pick(Point::new("schedule", [0; 3]), &self.names),
            None => 0,
        };
        self.ran.push(self.names[index]);
        self.steps += 1;
        match self.offers[index] {
            Offer::Poll(task) => self.poll(task),
            Offer::Complete(request) => {
                self.last_polled = usize::MAX;
                let waker = self.host.core().complete(request);
                wake(waker);
            }
        }
        true
    }

    /// Lists what can happen: what ran last goes first, then ready tasks by age, then requests by age.
    fn gather(&mut self) {
        self.names.clear();
        self.offers.clear();
        let mut core = self.host.core();
        core.steps = self.steps;
        while core.thoughts.next() <= self.steps {
            let waker = core.thoughts.ring(self.steps).flatten();
            drop(core);
            wake(waker);
            core = self.host.core();
        }
        if !core.spawned.is_empty() {
            let spawned = std::mem::take(&mut core.spawned);
            drop(core);
            for (name, future) in spawned {
                self.spawn(name, future);
            }
            core = self.host.core();
        }
        self.ready.visit(self.tasks.len(), |task| {
            if self.tasks[task].future.is_some() {
                self.names.push(self.tasks[task].name);
                self.offers.push(Offer::Poll(task));
            }
        });
        for (index, name) in core.disks.names().iter().enumerate() {
            self.names.push(*name);
            self.offers.push(Offer::Complete(index));
        }
        drop(core);
        let last = self.last_polled;
        if let Some(again) = self.offers.iter().position(|o| matches!(o, Offer::Poll(task) if *task == last))
        {
            self.names[..=again].rotate_right(1);
            self.offers[..=again].rotate_right(1);
        }
    }

    fn poll(&mut self, index: usize) {
        self.ready.clear(index);
        self.last_polled = index;
        let task = &mut self.tasks[index];
        let future = task.future.as_mut().expect("only unfinished tasks are on offer");
        if future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready() {
            task.future = None;
        }
    }

    /// Nothing can run now: lets the next thought or moment come. False when there is none.
    fn pass_time(&mut self, choices: Option<&mut Choices>) -> bool {
        let mut core = self.host.core();
        let thinks = !core.thoughts.is_empty();
        let waits = !core.moments.is_empty();
        let time_first = match (thinks, waits) {
            (false, false) => return false,
            (true, true) => {
                choices.is_some_and(|choices| choices.choose(Point::new("time passes", [0; 3]), 2) == 1)
            }
            (thinks, _) => !thinks,
        };
        let waker = if time_first {
            core.now = core.now.max(core.moments.next());
            let now = core.now;
            core.moments.ring(now)
        } else {
            core.thoughts.ring(u64::MAX)
        };
        drop(core);
        wake(waker.flatten());
        true
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::choice::Strategy;
    use crate::world::disk::{Disks, File};
    use seam::{Host, Nanos, OpenMode};
    use std::sync::Mutex;

    /// A small linear congruence: chance enough for tests.
    pub(crate) struct Chance(pub u64);

    impl Chance {
        fn below(&mut self, of: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % of
        }
    }

    impl Strategy for Chance {
        fn choose(&mut self, _: Point, of: u32) -> u32 {
            self.below(u64::from(of)) as u32
        }

        fn pick(&mut self, _: Point, options: &[Point]) -> usize {
            self.below(options.len() as u64) as usize
        }
    }

    fn choices(seed: u64) -> Choices {
        Choices::new(Box::new(Chance(seed)))
    }

    fn host() -> SimHost {
        SimHost::new(Disks::new(vec![File::new("a", vec![0; 4096])]))
    }

    async fn yield_once() {
        let mut yielded = false;
        std::future::poll_fn(move |context| {
            context.waker().wake_by_ref();
            if std::mem::replace(&mut yielded, true) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    /// Three tasks that each append to a list ten times, yielding in between.
    fn order_of(seed: u64) -> Vec<u32> {
        let list = Arc::new(Mutex::new(Vec::new()));
        let mut scheduler = Scheduler::new(host());
        let tasks: Vec<TaskId> = (0..3)
            .map(|task| {
                let list = list.clone();
                let future = async move {
                    for _ in 0..10 {
                        list.lock().unwrap().push(task);
                        yield_once().await;
                    }
                };
                scheduler.spawn(Point::new("task #", [task, 0, 0]), Box::pin(future))
            })
            .collect();
        assert_eq!(scheduler.run(&tasks, 1_000, Some(&mut choices(seed))), Rest::Done);
        drop(scheduler);
        Arc::into_inner(list).unwrap().into_inner().unwrap()
    }

    #[test]
    fn the_same_choices_give_the_same_order_and_others_another() {
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2));
    }

    // The first task checks, the second wakes nobody, the first sleeps: the wake-up is lost.
    #[test]
    fn a_lost_wakeup_leaves_the_world_idle_with_its_victim_named() {
        let mut scheduler = Scheduler::new(host());
        let victim = scheduler.spawn(Point::new("victim", [0; 3]), Box::pin(std::future::pending()));
        let other = scheduler.spawn(Point::new("other", [0; 3]), Box::pin(yield_once()));
        assert_eq!(scheduler.run(&[other, victim], 1_000, Some(&mut choices(3))), Rest::Idle);
        assert_eq!(scheduler.unfinished().map(|n| n.to_string()).collect::<Vec<_>>(), ["victim"]);
    }

    #[test]
    fn an_endless_loop_ends_at_the_bound() {
        let mut scheduler = Scheduler::new(host());
        let endless = async {
            loop {
                yield_once().await;
            }
        };
        let task = scheduler.spawn(Point::new("endless", [0; 3]), Box::pin(endless));
        assert_eq!(scheduler.run(&[task], 100, None), Rest::Bound);
        assert_eq!(scheduler.steps(), 100);
    }

    #[test]
    fn time_jumps_to_the_next_alarm_and_never_past_it() {
        let sim = host();
        let mut scheduler = Scheduler::new(sim.clone());
        let sleeper = sim.clone();
        let task = scheduler.spawn(
            Point::new("sleeper", [0; 3]),
            Box::pin(async move {
                let late = sleeper.sleep_until(Nanos(900));
                sleeper.sleep_until(Nanos(500)).await;
                assert_eq!(sleeper.now(), Nanos(500));
                late.await;
                assert_eq!(sleeper.now(), Nanos(900));
            }),
        );
        assert_eq!(scheduler.run(&[task], 100, None), Rest::Done);
    }

    // Two overlapping writes are in flight at once: both orders must be possible.
    #[test]
    fn requests_in_flight_complete_in_any_order() {
        let mut seen = [false; 2];
        for seed in 0..20 {
            let sim = host();
            let mut scheduler = Scheduler::new(sim.clone());
            let inner = sim.clone();
            let task = scheduler.spawn(
                Point::new("writer", [0; 3]),
                Box::pin(async move {
                    let disk = inner.open("a", OpenMode::ReadWrite).await.unwrap();
                    let (first, second) = (disk.write(0, vec![1; 512]), disk.write(0, vec![2; 512]));
                    first.await.unwrap();
                    second.await.unwrap();
                }),
            );
            assert_eq!(scheduler.run(&[task], 100, Some(&mut choices(seed))), Rest::Done);
            let last = sim.core().disks.files[0].bytes[0];
            seen[usize::from(last == 2)] = true;
        }
        assert_eq!(seen, [true, true]);
    }

    #[test]
    fn thinking_takes_steps_and_no_time() {
        let sim = host();
        let mut scheduler = Scheduler::new(sim.clone());
        let thinker = sim.clone();
        let task = scheduler.spawn(
            Point::new("thinker", [0; 3]),
            Box::pin(async move {
                thinker.think(10).await;
                assert_eq!(thinker.now(), Nanos(0));
            }),
        );
        let other = async {
            for _ in 0..30 {
                yield_once().await;
            }
        };
        let other = scheduler.spawn(Point::new("other", [0; 3]), Box::pin(other));
        assert_eq!(scheduler.run(&[task], 100, Some(&mut choices(1))), Rest::Done);
        assert!(scheduler.steps() >= 10, "it thought for {} steps only", scheduler.steps());
        assert!(!scheduler.has_ended(other), "the other one is not waited for");
    }
}
