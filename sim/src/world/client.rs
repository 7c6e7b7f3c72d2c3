//! A client at work: it sends one command after the other, and the oracle sees each, and its reply.

use crate::oracle::Oracle;
use crate::workload::client::{ClientPlan, execute};
use block::command::BlockJobInfo;
use block::engine::Engine;
use block::qmp::Monitor;
use midstream::world::host::SimHost;
use seam::{Host, Nanos};
use std::sync::Arc;

/// Sends one command and waits for its reply, the oracle seeing both.
pub async fn send(client: u32, text: &str, monitor: &Monitor, oracle: &Oracle) {
    oracle.sent(client, text);
    if let Some(reply) = monitor.execute(text).await {
        oracle.reply(client, reply);
    }
}

/// Runs a client's script.
pub async fn run(plan: ClientPlan, monitor: Arc<Monitor>, oracle: Arc<Oracle>, host: SimHost) {
    for command in &plan.commands {
        host.think(command.think).await;
        send(plan.client, &command.text, &monitor, &oracle).await;
    }
}

/// How often the closing client looks after the jobs; each look is a second of virtual time.
const ROUNDS_MAX: u32 = 60;
/// After so many looks a backup that still runs is cancelled, and whatever stops with an error each time it goes on.
const ROUNDS_RUNNING: u32 = 20;

/// Brings every job to its end: resumes, lifts the speed limit, completes, finalizes, dismisses. Each must have ended within a bound.
pub async fn close(
    client: u32,
    engine: Arc<Engine>,
    monitor: Arc<Monitor>,
    oracle: Arc<Oracle>,
    host: SimHost,
) {
    for round in 0..ROUNDS_MAX {
        let jobs = engine.query_block_jobs();
        if jobs.is_empty() {
            return;
        }
        for job in &jobs {
            for text in urge(job) {
                send(client, &text, &monitor, &oracle).await;
            }
            if round >= ROUNDS_RUNNING
                && let Some(text) = give_up(job)
            {
                send(client, &text, &monitor, &oracle).await;
            }
        }
        // Time passes only when nothing else can happen, so after this the jobs have done all they could.
        host.sleep_until(host.now().plus(Nanos::SECOND)).await;
    }
}

/// What ends a job that does not come to its end: a backup of nothing but what is overwritten has none of its own, and a file
/// of which a flush has failed may fail all of them.
fn give_up(job: &BlockJobInfo) -> Option<String> {
    let BlockJobInfo { kind, device, status, io_status, .. } = job;
    let is_endless = *kind == "backup" && *status == "running";
    match *io_status {
        "ok" => is_endless.then(|| execute("job-cancel", &format!(r#""id":"{device}""#))),
        _ => Some(execute("block-job-cancel", &format!(r#""device":"{device}","force":true"#))),
    }
}

/// What moves a job on from where it is.
fn urge(job: &BlockJobInfo) -> Vec<String> {
    let id = &job.device;
    let say =
        |verb: &str, member: &str| execute(&format!("block-job-{verb}"), &format!(r#""{member}":"{id}""#));
    match job.status {
        "concluded" => vec![say("dismiss", "id")],
        "pending" => vec![say("finalize", "id")],
        "ready" => vec![say("complete", "device")],
        "created" | "running" | "paused" | "standby" => {
            let mut urges = Vec::new();
            if job.speed != 0 {
                urges.push(execute("block-job-set-speed", &format!(r#""device":"{id}","speed":0"#)));
            }
            if job.paused {
                urges.push(say("resume", "device"));
            }
            urges
        }
        _ => Vec::new(),
    }
}
