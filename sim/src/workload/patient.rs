//! Draws an operator who follows a job: it is started, and each verb is said once the job is where that is admitted.
//!
//! Of those who do not look, most verbs are refused: the job is not there, or not there yet.

use super::client::{Awaited, ClientPlan, Command, execute, job_of};
use super::jobs;
use super::scenario::{Profile, Scenario};
use midstream::choice::Draw;

/// The operator's commands at most: what starts the job, and verbs.
const COMMANDS: u32 = 5;

/// A verb, by what the command calls the job, and where the job is to be before; anywhere, if nothing is said.
type Verb = (&'static str, &'static str, &'static [&'static str]);

const AT_WORK: &[&str] = &["running", "ready"];
const AT_REST: &[&str] = &["paused", "standby"];

/// What is said to the job; a second cancel comes right after a complete, say.
const VERBS: [Option<Verb>; 16] = [
    None,
    Some(("block-job-complete", "device", &["ready"])),
    Some(("block-job-complete", "device", &["ready"])),
    Some(("job-complete", "id", &["ready"])),
    Some(("block-job-cancel", "device", &["ready"])),
    Some(("block-job-cancel", "device", &[])),
    Some(("block-job-cancel", "device", &[])),
    Some(("job-cancel", "id", &[])),
    Some(("job-pause", "id", AT_WORK)),
    Some(("block-job-pause", "device", AT_WORK)),
    Some(("job-resume", "id", AT_REST)),
    Some(("block-job-resume", "device", AT_REST)),
    Some(("block-job-resume", "device", &[])),
    Some(("job-finalize", "id", &["pending"])),
    Some(("job-finalize", "id", &["pending"])),
    Some(("block-job-dismiss", "id", &["concluded"])),
];

/// Draws the operator.
pub fn draw(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, client: u32) -> ClientPlan {
    let of = [client, 0, 0];
    let text = match draw.below("client # command #", of, 9) {
        0 => return ClientPlan { client, commands: Vec::new() },
        1..=3 => jobs::mirror(draw, scenario, profile, of),
        4..=6 => jobs::commit(draw, scenario, profile, of),
        7 => jobs::backup(draw, scenario, profile, of),
        _ => jobs::stream(draw, scenario, of),
    };
    let job = job_of(&text).expect("whoever starts a job names it");
    let think = draw.entry("client # command # think", of, &[0, 0, 4, 16, 32, 64, 128]);
    let mut commands = vec![Command { think, slot: 0, text, awaits: None }];
    commands.extend((1..COMMANDS).filter_map(|slot| verb(draw, job, [client, slot, 0])));
    ClientPlan { client, commands }
}

fn verb(draw: &mut Draw<'_>, job: u32, of: [u32; 3]) -> Option<Command> {
    let (name, member, statuses) = draw.entry("client # command #", of, &VERBS)?;
    let awaits = (!statuses.is_empty()).then_some(Awaited { job, statuses });
    let think = draw.entry("client # command # think", of, &[0, 0, 0, 1, 4, 16, 64]);
    let text = execute(name, &format!(r#""{member}":"j{job}""#));
    Some(Command { think, slot: of[1], text, awaits })
}
