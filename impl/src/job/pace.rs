//! Where a job pauses, sleeps for its speed limit, and hears that it was cancelled.

use super::life::{Cancelled, Job, PausePoint};
use super::rate::RateLimit;
use crate::engine::Engine;
use crate::sync::{YieldNow, either};

/// As `pace`, but a speed limit that changes during a sleep is felt only after it, as in QEMU's backup.
pub async fn pace_unhurried(engine: &Engine, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    let mut start = None;
    loop {
        let seen = job.changes();
        if job.pause_point()? == PausePoint::Wait {
            // A copy that was paused is begun anew.
            start = None;
            job.changed_since(seen).await;
            continue;
        }
        let host = engine.host();
        let start = *start.get_or_insert_with(|| rate.next_start(job.speed(), host.now()));
        if start <= host.now() {
            return pace(engine, job, &mut RateLimit::default()).await;
        }
        either(host.sleep_until(start), job.changed_since(seen)).await;
    }
}

/// Comes back when the job may do its next piece.
pub async fn pace(engine: &Engine, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    wait_turn(engine, job, rate, &|_| ()).await
}

/// As `pace`, for a job that is busy at all times but those in which it waits here.
pub async fn pace_busily(engine: &Engine, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    wait_turn(engine, job, rate, &|busy| job.set_busy(busy)).await
}

async fn wait_turn(
    engine: &Engine,
    job: &Job,
    rate: &mut RateLimit,
    set_busy: &(dyn Fn(bool) + Sync),
) -> Result<(), Cancelled> {
    loop {
        let seen = job.changes();
        if job.pause_point()? == PausePoint::Wait {
            set_busy(false);
            job.changed_since(seen).await;
            continue;
        }
        let host = engine.host();
        let start = rate.next_start(job.speed(), host.now());
        if start <= host.now() {
            set_busy(true);
            // Others may run once, and a cancel may come, even if nothing else makes us wait.
            YieldNow::default().await;
            if job.pause_point()? == PausePoint::Wait {
                continue;
            }
            return Ok(());
        }
        set_busy(false);
        either(host.sleep_until(start), job.changed_since(seen)).await;
    }
}
