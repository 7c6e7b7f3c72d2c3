//! Runs one ready task at a time, or completes one disk request; which one is a choice. Owns virtual time.
//!
//! A step is one poll or one completion. Time moves only when no task is ready and nothing is in flight: first to the
//! next step somebody thinks until, then to the next alarm (or the other way round, by choice). When nothing is left
//! to happen the world is idle, and whoever still waits is stuck.

use crate::choice::{Choices, Point};
use crate::world::host::SimHost;
use crate::world::notes::{Shared, hash};
use crate::world::probe::{Move, TaskView, View, Watch};
use crate::world::ready::{ReadySet, TASKS_MAX};
use seam::Pending;
use seam::footprint::{Access, mixed};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

/// Steps a part of a run may take; far more than any healthy run needs.
pub const STEPS_MAX: u64 = 200_000;

/// Where it is decided what happens next.
const SCHEDULE: Point = Point::new("schedule", [0; 3]);

struct Task {
    name: Point,
    /// Its name in notes.
    noted: u64,
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

/// How far the scheduler goes at most.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// So many steps.
    pub steps_max: u64,
    /// Until so many flushes were handed to the disks.
    pub flushes: Option<u64>,
    /// Until so many of them were to make durable what a file begins with.
    pub head_flushes: Option<u64>,
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
    /// How many things can happen next.
    moves: usize,
    /// The task that ran last, if it can go on: that is the first of them.
    first: Option<usize>,
    /// Their names, for a strategy that goes by names.
    names: Vec<Point>,
    /// The step at which the next thought ends, as it was when nobody had looked into the host since.
    next_thought: u64,
    /// The requests in flight, as they were then.
    requests: Vec<Point>,
    /// In a run that may end at any step: the ways to end it, and who looks.
    watch: Watch,
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
            moves: 0,
            first: None,
            names: Vec::with_capacity(16),
            next_thought: 0,
            requests: Vec::with_capacity(16),
            watch: Watch::default(),
        }
    }

    /// From now on the run may end at any step.
    pub fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Which of the ways to end it was taken.
    pub fn ended(&self) -> Option<usize> {
        self.watch.ended
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
        let numbers = name.of.iter().fold(0, |all, number| mixed(all, u64::from(*number)));
        self.spawn_noted(name, future, mixed(hash(name.name.as_bytes()), numbers))
    }

    fn spawn_noted(&mut self, name: Point, future: Pending<'static, ()>, noted: u64) -> TaskId {
        let task = self.tasks.len();
        assert!(task < TASKS_MAX, "{name}: a world has no more than {TASKS_MAX} tasks");
        let waker = self.ready.waker(task);
        self.ready.begin(task);
        waker.wake_by_ref();
        self.tasks.push(Task { name, noted, future: Some(future), waker });
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
    pub fn run(&mut self, tasks: &[TaskId], steps_max: u64, choices: Option<&mut Choices>) -> Rest {
        self.run_to(tasks, Bound { steps_max, flushes: None, head_flushes: None }, choices)
    }

    /// The same, to a bound of another kind.
    pub fn run_to(&mut self, tasks: &[TaskId], bound: Bound, mut choices: Option<&mut Choices>) -> Rest {
        let last_step = self.steps + bound.steps_max;
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
            if self.steps == last_step || self.has_flushed(bound) {
                return Rest::Bound;
            }
            if !self.step(choices.as_deref_mut()) {
                return Rest::Idle;
            }
        }
    }

    /// Whether as many flushes were handed to the disks as a bound has.
    fn has_flushed(&self, bound: Bound) -> bool {
        bound.flushes.is_some_and(|flushes| self.flushes() >= flushes)
            || bound.head_flushes.is_some_and(|flushes| self.head_flushes() >= flushes)
    }

    /// How many flushes were handed to the disks so far.
    pub fn flushes(&self) -> u64 {
        self.host.core().disks.flushes()
    }

    /// How many of them were to make durable what a file begins with.
    pub fn head_flushes(&self) -> u64 {
        self.host.core().disks.head_flushes()
    }

    /// One step, by option 0, without letting time pass; false when nothing can happen now.
    pub fn step_now(&mut self) -> bool {
        self.gather();
        self.moves > 0 && self.step(None)
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
        while self.moves == 0 {
            if !self.pass_time(choices.as_deref_mut()) {
                return false;
            }
            self.gather();
        }
        let Some(offer) = self.pick(choices) else { return true };
        self.ran.push(*self.name(offer));
        self.steps += 1;
        match offer {
            Offer::Poll(task) => self.poll(task),
            Offer::Complete(request) => {
                self.last_polled = usize::MAX;
                let waker = self.host.core().complete(request);
                wake(waker);
            }
        }
        true
    }

    /// Decides what happens next; nothing, if the run ends here.
    #[inline]
    fn pick(&mut self, choices: Option<&mut Choices>) -> Option<Offer> {
        let Some(choices) = choices else { return Some(self.offer(0)) };
        if self.watch.is_off()
            && let Some(picked) = choices.pick_by_number(&SCHEDULE, self.moves)
        {
            let offer = self.offer(picked.index());
            choices.picked(&SCHEDULE, picked, self.name(offer));
            return Some(offer);
        }
        self.list();
        self.pick_listed(choices).map(|index| self.offer(index))
    }

    /// Decides by name: what happens next, or that the run ends here.
    fn pick_listed(&mut self, choices: &mut Choices) -> Option<usize> {
        if !self.look() {
            self.halt.store(true, Ordering::Relaxed);
            return None;
        }
        let moves = self.names.len();
        self.names.extend_from_slice(&self.watch.ends);
        let index = choices.pick(SCHEDULE, &self.names);
        if index >= moves {
            self.watch.ended = Some(index - moves);
            self.halt.store(true, Ordering::Relaxed);
            return None;
        }
        Some(index)
    }

    /// Shows somebody what may happen next; false: nothing does.
    fn look(&mut self) -> bool {
        let Some(mut probe) = self.watch.probe.take() else { return true };
        let moves = (0..self.moves).map(|index| match self.offer(index) {
            Offer::Poll(task) => Move { id: self.tasks[task].noted, task: Some(task) },
            Offer::Complete(request) => Move { id: self.host.core().disks.noted(request), task: None },
        });
        let moves: Vec<Move> = moves.collect();
        let view = |(index, task): (usize, &Task)| TaskView {
            id: task.noted,
            is_live: task.future.is_some(),
            is_ready: self.ready.has(index),
        };
        let tasks: Vec<TaskView> = self.tasks.iter().enumerate().map(view).collect();
        let goes_on = probe.look(&View { host: &self.host, moves: &moves, tasks: &tasks });
        self.watch.probe = Some(probe);
        goes_on
    }

    /// Everything is done; the run may yet end as it may at any step. False: it does.
    pub fn last_step(&mut self, choices: &mut Choices) -> bool {
        if self.watch.is_off() {
            return true;
        }
        (self.moves, self.first) = (0, None);
        self.names.clear();
        self.names.push(Point::new("go on", [0; 3]));
        self.pick_listed(choices).is_some()
    }

    /// Counts what can happen: what ran last goes first, then ready tasks by age, then requests by age.
    #[inline]
    fn gather(&mut self) {
        if !self.host.shelf.is_seen_at(self.steps) || self.next_thought <= self.steps {
            self.look_in();
        }
        let last = self.last_polled;
        self.first = (last < self.tasks.len() && self.ready.can_run(last)).then_some(last);
        self.moves = self.ready.count(self.tasks.len()) + self.requests.len();
    }

    /// What can happen, by its place.
    #[inline]
    fn offer(&self, index: usize) -> Offer {
        let others = match self.first {
            Some(first) if index == 0 => return Offer::Poll(first),
            Some(_) => index - 1,
            None => index,
        };
        // Requests stand at the end.
        match (index + self.requests.len()).checked_sub(self.moves) {
            Some(request) => Offer::Complete(request),
            None => Offer::Poll(self.ready.nth(others, self.first)),
        }
    }

    #[inline]
    fn name(&self, offer: Offer) -> &Point {
        match offer {
            Offer::Poll(task) => &self.tasks[task].name,
            Offer::Complete(request) => &self.requests[request],
        }
    }

    /// Lists the names of what can happen.
    fn list(&mut self) {
        let Scheduler { tasks, ready, names, requests, first, .. } = self;
        names.clear();
        names.extend(first.map(|first| tasks[first].name));
        ready.visit(tasks.len(), |task| {
            if Some(task) != *first {
                names.push(tasks[task].name)
            }
        });
        names.extend_from_slice(requests);
    }

    /// Lets thoughts end whose step has come, takes over new tasks, and learns what is asked of disks. Most steps change
    /// none of that.
    fn look_in(&mut self) {
        let mut core = self.host.core();
        while core.thoughts.next() <= self.steps {
            let waker = core.thoughts.ring(self.steps).flatten();
            drop(core);
            wake(waker);
            core = self.host.core();
        }
        if !core.spawned.is_empty() {
            let spawned = std::mem::take(&mut core.spawned);
            drop(core);
            for (name, future, noted) in spawned {
                self.spawn_noted(name, future, noted);
            }
            core = self.host.core();
        }
        self.next_thought = core.thoughts.next();
        self.requests.clear();
        self.requests.extend_from_slice(core.disks.names());
        drop(core);
        self.host.shelf.seen();
    }

    fn poll(&mut self, index: usize) {
        self.ready.clear(index);
        self.last_polled = index;
        let task = &mut self.tasks[index];
        let future = task.future.as_mut().expect("only unfinished tasks are on offer");
        if future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready() {
            task.future = None;
            self.ready.end(index);
            Shared::Ends.touch(Access::Write);
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
pub(crate) mod tests;
