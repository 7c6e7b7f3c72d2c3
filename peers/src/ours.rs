//! The scheduler of `midstream/`, as its worlds use it: everything drawn stands in the choice log, and so does the order.

use crate::workload::{ROUNDS, Shared, TASKS, task};
use midstream::choice::{Choices, Draw, Point};
use midstream::strategy::random::Random;
use midstream::world::host::SimHost;
use midstream::world::scheduler::{Rest, STEPS_MAX, Scheduler, TaskId};
use std::future::poll_fn;
use std::task::Poll;

/// So many worlds, one after the other.
pub fn run(executions: u64, seed: u64) -> u64 {
    (seed..seed + executions).map(|seed| execute(seed).0).fold(0, u64::wrapping_add)
}

/// One world: what the tasks came to, and how many decisions its choice log has.
fn execute(seed: u64) -> (u64, usize) {
    let mut choices = Choices::new(Box::new(Random::new(seed)));
    let mut scheduler = Scheduler::new(SimHost::default());
    let shared = Shared::default();
    // As a guest's requests: drawn when the world is made, so that minimising can change each.
    let tasks: [TaskId; TASKS as usize] = std::array::from_fn(|task| {
        let name = Point::new("task #", [task as u32, 0, 0]);
        let drawn = draw(&mut choices, task as u32);
        scheduler.spawn(name, Box::pin(self::task(shared.clone(), numbers(drawn), yield_now)))
    });
    let rest = scheduler.run(&tasks, STEPS_MAX, Some(&mut choices));
    assert_eq!(rest, Rest::Done, "nobody waits for anybody");
    let end = *shared.lock().expect("nobody panics holding it");
    (end, choices.tape().len())
}

fn draw(choices: &mut Choices, task: u32) -> [u32; ROUNDS as usize] {
    let mut draw = Draw::new(choices);
    std::array::from_fn(|round| draw.below("task # draw #", [task, round as u32, 0], u32::MAX))
}

fn numbers(drawn: [u32; ROUNDS as usize]) -> impl FnMut() -> u64 {
    let mut drawn = drawn.into_iter();
    move || u64::from(drawn.next().expect("as many as rounds"))
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
