//! A client at work: it sends one command after the other, and the oracle sees each, and its reply.

use crate::oracle::Oracle;
use crate::workload::client::{Awaited, ClientPlan, execute};
use block::command::BlockJobInfo;
use block::engine::Engine;
use block::qmp::Monitor;
use midstream::world::host::SimHost;
use midstream::world::struck::{SORTS, Sort};
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
pub async fn run(
    plan: ClientPlan,
    engine: Arc<Engine>,
    monitor: Arc<Monitor>,
    oracle: Arc<Oracle>,
    host: SimHost,
) {
    for command in &plan.commands {
        if let Some(awaited) = command.awaits {
            wait_for(awaited, &engine, &host).await;
        }
        host.think(command.think).await;
        send(plan.client, &command.text, &monitor, &oracle).await;
    }
}

/// How often a patient operator looks after a job, and how many steps there are between two looks.
const LOOKS_MAX: u32 = 32;
const STEPS_BETWEEN: u32 = 8;

/// Waits until a job has got somewhere, as long as it is there, and not for ever.
async fn wait_for(awaited: Awaited, engine: &Engine, host: &SimHost) {
    let id = format!("j{}", awaited.job);
    for _ in 0..LOOKS_MAX {
        let jobs = engine.query_block_jobs();
        match jobs.iter().find(|job| *job.device == *id) {
            Some(job) if !awaited.statuses.contains(&job.status) => host.think(STEPS_BETWEEN).await,
            _ => return,
        }
    }
}

/// What the closing client asks at each look, for the judge.
const QUERY: &str = r#"{"execute":"query-block-jobs"}"#;
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
        send(client, QUERY, &monitor, &oracle).await;
        for job in &jobs {
            for text in urge(job) {
                send(client, &text, &monitor, &oracle).await;
            }
            if round >= ROUNDS_RUNNING
                && let Some(text) = give_up(job, fails_for_ever(&host))
            {
                send(client, &text, &monitor, &oracle).await;
            }
        }
        // Time passes only when nothing else can happen, so after this the jobs have done all they could.
        host.sleep_until(host.now().plus(Nanos::SECOND)).await;
    }
}

/// Whether a flush has failed: a file of which one has may fail all of them. So may one with tables that have rotted.
fn fails_for_ever(host: &SimHost) -> bool {
    let core = host.core();
    let struck = |sort: Sort| core.disks.faults.sorts().of(sort) > 0;
    SORTS
        .into_iter()
        .map(|(sort, _)| sort)
        .filter(|sort| struck(*sort))
        .any(|sort| sort.is_lie() || [Sort::Flush, Sort::Forgets, Sort::Close].contains(&sort))
}

/// What ends a job that does not come to its end: a backup of nothing but what is overwritten has none of its own, and who
/// tries again for ever what will not be done has none either.
fn give_up(job: &BlockJobInfo, fails_for_ever: bool) -> Option<String> {
    let BlockJobInfo { kind, device, status, .. } = job;
    if fails_for_ever {
        return Some(execute("block-job-cancel", &format!(r#""device":"{device}","force":true"#)));
    }
    let is_endless = *kind == "backup" && *status == "running";
    is_endless.then(|| execute("job-cancel", &format!(r#""id":"{device}""#)))
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
