//! The peers: the same workload, each as it is commonly run, a fresh world for each execution.

use crate::workload::{ROUNDS, Shared, TASKS, fold, numbers, task};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// shuttle: threads on stacks of their own, its own mutex, its scheduler by chance.
pub fn shuttle(executions: u64, seed: u64) -> u64 {
    let ends = Arc::new(AtomicU64::new(0));
    let all = ends.clone();
    shuttled(executions, seed, move || {
        let shared = Arc::new(shuttle::sync::Mutex::new(0));
        let threads: Vec<_> = (0..TASKS)
            .map(|_| {
                let shared = shared.clone();
                shuttle::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        let drawn = shuttle_number();
                        fold(&mut shared.lock().expect("nobody panics holding it"), drawn);
                        shuttle::thread::yield_now();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        let end = *shared.lock().expect("nobody panics holding it");
        all.fetch_add(end, Ordering::Relaxed);
    });
    ends.load(Ordering::Relaxed)
}

/// shuttle without its mutex and threads: its tasks, and a mutex of std, so that only yields are switches.
pub fn shuttle_tasks(executions: u64, seed: u64) -> u64 {
    let ends = Arc::new(AtomicU64::new(0));
    let all = ends.clone();
    shuttled(executions, seed, move || {
        let shared = Shared::default();
        let spawn =
            |_| shuttle::future::spawn(task(shared.clone(), shuttle_number, shuttle::future::yield_now));
        let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
        shuttle::future::block_on(async {
            for task in tasks {
                task.await.expect("it ends");
            }
        });
        all.fetch_add(*shared.lock().expect("nobody panics holding it"), Ordering::Relaxed);
    });
    ends.load(Ordering::Relaxed)
}

fn shuttled(executions: u64, seed: u64, world: impl Fn() + Send + Sync + 'static) {
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(seed, executions as usize);
    shuttle::Runner::new(scheduler, shuttle::Config::new()).run(world);
}

fn shuttle_number() -> u64 {
    use shuttle::rand::RngCore;
    shuttle::rand::thread_rng().next_u64()
}

/// loom: every order, one after the other, as far as the count goes.
pub fn loom(executions: u64, seed: u64) -> u64 {
    let ends = Arc::new(AtomicU64::new(0));
    let all = ends.clone();
    let mut model = loom::model::Builder::new();
    model.max_permutations = Some(executions as usize);
    // By default it gives up after 1,000 branches of one execution.
    model.max_branches = 100_000;
    model.check(move || {
        let shared = loom::sync::Arc::new(loom::sync::Mutex::new(0));
        let threads: Vec<_> = (0..TASKS)
            .map(|thread| {
                let (shared, mut draw) = (shared.clone(), numbers(seed, thread));
                loom::thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        let drawn = draw();
                        fold(&mut shared.lock().expect("nobody panics holding it"), drawn);
                        loom::thread::yield_now();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        let end = *shared.lock().expect("nobody panics holding it");
        all.fetch_add(end, Ordering::Relaxed);
    });
    ends.load(Ordering::Relaxed)
}

/// madsim: a runtime for each seed, which picks the next task by chance.
pub fn madsim(executions: u64, seed: u64) -> u64 {
    let draw = || {
        use madsim::rand::RngCore;
        madsim::rand::thread_rng().next_u64()
    };
    let world = |seed| {
        let runtime = madsim::runtime::Runtime::with_seed_and_config(seed, madsim::Config::default());
        runtime.block_on(async {
            let shared = Shared::default();
            let spawn = |_| madsim::task::spawn(task(shared.clone(), draw, madsim::task::yield_now));
            let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
            for task in tasks {
                task.await.expect("it ends");
            }
            *shared.lock().expect("nobody panics holding it")
        })
    };
    (seed..seed + executions).map(world).fold(0, u64::wrapping_add)
}

/// turmoil: one host whose tasks these are.
pub fn turmoil(executions: u64, seed: u64) -> u64 {
    let world = |seed| {
        let mut sim = turmoil::Builder::new().rng_seed(seed).build();
        let shared = Shared::default();
        let inside = shared.clone();
        sim.client("host", async move {
            tokio_tasks(inside, seed).await;
            Ok(())
        });
        sim.run().expect("it ends");
        *shared.lock().expect("nobody panics holding it")
    };
    (seed..seed + executions).map(world).fold(0, u64::wrapping_add)
}

/// tokio: its runtime of one thread, with the clock stopped.
pub fn tokio(executions: u64, seed: u64) -> u64 {
    let world = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let shared: Shared = Arc::new(Mutex::new(0));
        runtime.expect("a runtime").block_on(tokio_tasks(shared.clone(), seed));
        *shared.lock().expect("nobody panics holding it")
    };
    (seed..seed + executions).map(world).fold(0, u64::wrapping_add)
}

async fn tokio_tasks(shared: Shared, seed: u64) {
    let spawn = |number| tokio::spawn(task(shared.clone(), numbers(seed, number), tokio::task::yield_now));
    let tasks: Vec<_> = (0..TASKS).map(spawn).collect();
    for task in tasks {
        task.await.expect("it ends");
    }
}
