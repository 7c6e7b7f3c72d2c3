//! Who waits for whom, where a run does not come to its end.

use super::{CLOSING, World};
use block::command::BlockJobInfo;
use midstream::choice::Point;
use midstream::world::waiting::{under_way, waiting};

impl World {
    /// Why it does not go on; then each who waits, and for what: requests of disks, tasks, commands and guests' requests,
    /// jobs.
    pub(super) fn stuck(&self, why: &str) -> String {
        let jobs = self.engine.query_block_jobs();
        let is_listed = |task: Point| jobs.iter().any(|job| self.host.label(task) == task_of(job));
        let is_closing = |task: Point| task.name == CLOSING;
        let is_reported =
            |task: Point| self.oracle.is_outstanding(task) || is_listed(task) || is_closing(task);
        let mut who = waiting(why, &self.scheduler, &self.host, &is_reported);
        for waiting in self.oracle.outstanding() {
            who += &format!("\n  {waiting}");
        }
        if self.scheduler.unfinished().any(is_closing) {
            who += "\n  whoever closes the run waits for every job to end";
        }
        let requests = under_way(&self.scheduler, &self.host);
        for job in &jobs {
            let has_request = requests.iter().any(|request| request.by == task_of(job));
            let BlockJobInfo { status, offset, len, .. } = job;
            let waits = waits_for(job, has_request);
            who += &format!("\n  {} is {status} at {offset} of {len}, and {waits}", task_of(job));
        }
        who
    }
}

/// What the engine calls a job's task.
fn task_of(job: &BlockJobInfo) -> String {
    format!("job {}", job.device)
}

/// What a job waits for, as far as its status says.
fn waits_for(job: &BlockJobInfo, has_request: bool) -> String {
    let for_whom = match job.status {
        "running" | "ready" if job.paused => return "has not paused, though it was asked to".to_owned(),
        "paused" | "standby" if job.io_status != "ok" => "for an operator to resume it after an error",
        "paused" | "standby" => "for an operator to resume it",
        "ready" => "for an operator to complete or to cancel it",
        "pending" => "for job-finalize",
        "concluded" => "for job-dismiss",
        "waiting" => "for the other jobs of its transaction",
        _ if has_request => "for the disk",
        _ if job.speed > 0 => return format!("may run at {} bytes a second", job.speed),
        _ => "for no disk and for no operator: for somebody inside the engine",
    };
    format!("waits {for_whom}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(status: &'static str, paused: bool, speed: i64) -> BlockJobInfo {
        BlockJobInfo {
            kind: "stream",
            device: "j0".to_owned(),
            len: 8,
            offset: 4,
            busy: false,
            paused,
            speed,
            io_status: "ok",
            ready: false,
            status,
            auto_finalize: true,
            auto_dismiss: true,
            actively_synced: None,
            error: None,
        }
    }

    #[test]
    fn a_job_says_whom_it_waits_for() {
        let waits = |status, paused, speed, has_request| waits_for(&job(status, paused, speed), has_request);
        assert_eq!(waits("paused", true, 0, false), "waits for an operator to resume it");
        assert_eq!(waits("running", false, 0, true), "waits for the disk");
        assert_eq!(waits("running", true, 0, false), "has not paused, though it was asked to");
        assert_eq!(waits("ready", true, 0, true), "has not paused, though it was asked to");
        assert_eq!(waits("running", false, 512, false), "may run at 512 bytes a second");
        let inside = "waits for no disk and for no operator: for somebody inside the engine";
        assert_eq!(waits("aborting", false, 0, false), inside);
    }
}
