//! What the scheduler does, and what it never does.

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
