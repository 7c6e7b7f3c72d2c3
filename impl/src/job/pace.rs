//! Where a job pauses, sleeps for its speed limit, and learns that it was cancelled.

use super::life::{Cancelled, Job, PausePoint};
use super::rate::RateLimit;
use crate::core::Core;
use crate::sync::{YieldNow, either};

/// As `pace`, but a speed limit that changes during a sleep is felt only after it, as in QEMU's backup.
pub(crate) async fn pace_unhurried(core: &Core, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    let mut start = None;
    loop {
        let seen = job.changes();
        if job.pause_point()? == PausePoint::Wait {
            // A copy that was paused is begun anew.
            start = None;
            job.changed_since(seen).await;
            continue;
        }
        let host = core.host();
        let start = *start.get_or_insert_with(|| rate.next_start(job.speed(), host.now()));
        if start <= host.now() {
            return pace(core, job, &mut RateLimit::default()).await;
        }
        either(host.sleep_until(start), job.changed_since(seen)).await;
    }
}

/// What a job does where it waits for its next piece.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// It is paused.
    Paused,
    /// It sleeps for its speed limit.
    Sleeps,
    /// It goes on.
    Goes,
}

/// Comes back when the job may do its next piece.
pub(crate) async fn pace(core: &Core, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    pace_watched(core, job, rate, &|_| ()).await
}

/// As `pace`, for a job that is busy at all times but those in which it waits here.
pub(crate) async fn pace_busily(core: &Core, job: &Job, rate: &mut RateLimit) -> Result<(), Cancelled> {
    pace_watched(core, job, rate, &|turn| job.set_busy(turn == Turn::Goes)).await
}

/// As `pace`; `watch` is called at each turn as it begins.
pub(crate) async fn pace_watched(
    core: &Core,
    job: &Job,
    rate: &mut RateLimit,
    watch: &(dyn Fn(Turn) + Sync),
) -> Result<(), Cancelled> {
    loop {
        let seen = job.changes();
        if job.pause_point()? == PausePoint::Wait {
            watch(Turn::Paused);
            job.changed_since(seen).await;
            continue;
        }
        let host = core.host();
        let start = rate.next_start(job.speed(), host.now());
        if start <= host.now() {
            watch(Turn::Goes);
            // Others may run once, and a cancel may come, even if nothing else makes us wait.
            YieldNow::default().await;
            if job.pause_point()? == PausePoint::Wait {
                continue;
            }
            return Ok(());
        }
        watch(Turn::Sleeps);
        either(host.sleep_until(start), job.changed_since(seen)).await;
    }
}
