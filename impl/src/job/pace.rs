//! Where a job pauses, sleeps for its speed limit, and hears that it was cancelled.

use super::life::{Cancelled, Job, PausePoint};
use super::rate::RateLimit;
use crate::engine::Engine;
use crate::sync::{YieldNow, either};

/// Comes back when the job may do its next piece.
pub async fn pace(engine: &Engine, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    loop {
        let seen = job.changes();
        if job.pause_point()? == PausePoint::Wait {
            job.set_busy(false);
            job.changed_since(seen).await;
            continue;
        }
        let host = engine.host();
        let start = rate.next_start(job.speed(), host.now());
        if start <= host.now() {
            // Others may run once, and a cancel may come, even if nothing else makes us wait.
            YieldNow::default().await;
            if job.pause_point()? == PausePoint::Wait {
                continue;
            }
            job.set_busy(true);
            return Ok(());
        }
        job.set_busy(false);
        either(host.sleep_until(start), job.changed_since(seen)).await;
    }
}
