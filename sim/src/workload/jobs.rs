//! Draws the commands that start jobs: mostly such as the engine accepts, on nodes where something is to be done.

use super::client::{execute, image, job};
use super::faults;
use super::scenario::{Profile, Scenario, World};
use midstream::choice::Draw;
use midstream::world::fault::{Fault, Kind};

/// `block-stream`.
pub fn stream(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let device = image(draw, scenario, of);
    let job = job(draw, of);
    let mut arguments = format!(r#""device":"n{device}","job-id":"j{job}""#);
    arguments += &lower_end(draw, scenario, device, of);
    arguments += on_error(draw, of);
    arguments += &pace_and_ends(draw, scenario, of);
    if draw.below("client # command # filter", of, 6) == 1 {
        arguments += &format!(r#","filter-node-name":"filter{job}""#);
    }
    execute("block-stream", &arguments)
}

/// `base`, `base-node` or `bottom`: mostly a node that is really below the device.
fn lower_end(draw: &mut Draw<'_>, scenario: &Scenario, device: usize, of: [u32; 3]) -> String {
    let below = scenario.below(device);
    let kind = draw.below("client # command # lower end", of, 16);
    let far = draw.below("client # command # distance", of, 60) as usize;
    // The lowest node first: a base directly below the device leaves nothing to stream.
    let nearest = below.len().saturating_sub(1 + far % below.len().max(1));
    let (Some(below), true) = (below.get(nearest), kind != 15) else {
        // Nothing below, or an operator who is mistaken.
        return if kind < 15 {
            String::new()
        } else {
            format!(r#","base-node":"n{}""#, far % scenario.layers)
        };
    };
    match kind {
        0..=4 => String::new(),
        5..=8 => format!(r#","base-node":"n{below}""#),
        9..=11 => format!(r#","bottom":"n{below}""#),
        12 | 13 => format!(r#","base":"{}""#, scenario.images[*below].path),
        _ => format!(r#","base-node":"n{below}","backing-file":"{}""#, scenario.images[*below].path),
    }
}

/// `on-error`, one job in two.
fn on_error(draw: &mut Draw<'_>, of: [u32; 3]) -> &'static str {
    match draw.below("client # command # on-error", of, 8) {
        0..=3 => "",
        4 => r#","on-error":"ignore""#,
        5 | 6 => r#","on-error":"stop""#,
        _ => r#","on-error":"enospc""#,
    }
}

/// `speed`, `auto-finalize` and `auto-dismiss`.
fn pace_and_ends(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> String {
    let slow = scenario.stream_chunk_bytes * 10;
    let speed = match draw.below("client # command # speed", of, 8) {
        0..=4 => String::new(),
        5 | 6 => format!(r#","speed":{slow}"#),
        _ => r#","speed":512"#.to_owned(),
    };
    let ends = match draw.below("client # command # endings", of, 8) {
        0..=3 => "",
        4 => r#","auto-finalize":false"#,
        5 => r#","auto-dismiss":false"#,
        6 => r#","auto-finalize":false,"auto-dismiss":false"#,
        _ => r#","auto-finalize":true,"auto-dismiss":true"#,
    };
    speed + ends
}

/// The node on which jobs on whole chains are made: a root, or now and then another.
fn device(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3]) -> usize {
    match draw.below("client # command # device", of, 8) {
        0..=6 => scenario.layers - 1,
        _ => image(draw, scenario, of),
    }
}

/// What two overlays stand on, where the header of the second cannot be written: a commit of it fails half way.
pub(super) fn half_committed(scenario: &Scenario, profile: Profile) -> Option<usize> {
    let top = faults::half_renamed(&scenario.faults, &scenario.images)?;
    let has_base = profile.world == World::Simulated && scenario.images[top].backing.is_some();
    has_base.then_some(top)
}

/// `block-commit`: of the top layer, or of one further down.
pub fn commit(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    let device = device(draw, scenario, of);
    let job = job(draw, of);
    let mut arguments = format!(r#""device":"n{device}","job-id":"j{job}""#);
    let below = scenario.below(device);
    let far = draw.below("client # command # distance", of, 60) as usize;
    let top = if draw.below("client # command # active", of, 4) == 0 || below.len() < 2 {
        None
    } else {
        Some(below[far % (below.len() - 1)])
    };
    let top = half_committed(scenario, profile).filter(|top| below.contains(top)).or(top);
    if let Some(top) = top {
        arguments += &format!(r#","top-node":"n{top}""#);
    }
    let under_top = scenario.below(top.unwrap_or(device));
    if let Some(base) = under_top.get(far / 4 % under_top.len().max(1)) {
        match draw.below("client # command # lower end", of, 4) {
            0 => {}
            3 => arguments += &format!(r#","base":"{}""#, scenario.images[*base].path),
            _ => arguments += &format!(r#","base-node":"n{base}""#),
        }
    }
    arguments += on_error(draw, of);
    arguments += &pace_and_ends(draw, scenario, of);
    if draw.below("client # command # filter", of, 6) == 1 {
        arguments += &format!(r#","filter-node-name":"filter{job}""#);
    }
    execute("block-commit", &arguments)
}

/// The target of a copy: mostly a spare image.
fn target(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    // Where a disk is to fail at it, somebody copies.
    let is_struck = |fault: &&Fault| fault.kind == Kind::Write && fault.file as usize >= scenario.layers;
    let struck = scenario.faults.iter().find(is_struck).map(|fault| fault.file as usize - scenario.layers);
    let struck = struck.filter(|_| profile.world == World::Simulated);
    match draw.below("client # command # target", of, 16) {
        15 => format!("n{}", image(draw, scenario, of)),
        other => format!("t{}", struck.unwrap_or(other as usize % scenario.spares().max(1))),
    }
}

fn sync(draw: &mut Draw<'_>, of: [u32; 3]) -> &'static str {
    draw.entry("client # command # sync", of, &["full", "full", "top", "none"])
}

/// What a copy does about errors of either side.
fn on_both_errors(draw: &mut Draw<'_>, of: [u32; 3]) -> &'static str {
    match draw.below("client # command # on-error", of, 8) {
        0..=3 => "",
        4 => r#","on-source-error":"ignore""#,
        5 => r#","on-source-error":"stop""#,
        6 => r#","on-target-error":"stop""#,
        _ => r#","on-source-error":"stop","on-target-error":"enospc""#,
    }
}

/// `blockdev-mirror`.
pub fn mirror(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    let device = device(draw, scenario, of);
    let (job, target, sync) = (job(draw, of), target(draw, scenario, profile, of), sync(draw, of));
    let mut arguments =
        format!(r#""device":"n{device}","job-id":"j{job}","target":"{target}","sync":"{sync}""#);
    arguments += match draw.below("client # command # copy mode", of, 4) {
        0 | 1 => "",
        2 => r#","copy-mode":"background""#,
        _ => r#","copy-mode":"write-blocking""#,
    };
    if draw.below("client # command # granularity", of, 4) == 1 {
        arguments += r#","granularity":512"#;
    }
    arguments += on_both_errors(draw, of);
    arguments += &pace_and_ends(draw, scenario, of);
    if draw.below("client # command # filter", of, 6) == 1 {
        arguments += &format!(r#","filter-node-name":"filter{job}""#);
    }
    execute("blockdev-mirror", &arguments)
}

/// `blockdev-backup`.
pub fn backup(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    let (device, job) = (image(draw, scenario, of), job(draw, of));
    let (target, sync) = (target(draw, scenario, profile, of), sync(draw, of));
    let mut arguments =
        format!(r#""device":"n{device}","job-id":"j{job}","target":"{target}","sync":"{sync}""#);
    arguments += on_both_errors(draw, of);
    arguments += &pace_and_ends(draw, scenario, of);
    if draw.below("client # command # filter", of, 6) == 1 {
        arguments += &format!(r#","filter-node-name":"filter{job}""#);
    }
    execute("blockdev-backup", &arguments)
}

/// Which of two jobs are finalized by hand.
const BY_HAND: [[bool; 2]; 5] = [[false; 2], [false; 2], [true, false], [true; 2], [false, true]];

/// A `transaction` of two backups that end together, or each by itself.
pub fn backups(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, of: [u32; 3]) -> String {
    let grouped = draw.entry("client # command # together", of, &["grouped", "grouped", "individual"]);
    let (first, job) = (image(draw, scenario, of), job(draw, of));
    let second =
        scenario.layers - 1 - draw.below("client # command # distance", of, 60) as usize % scenario.layers;
    let sync = sync(draw, of);
    let speed = if draw.below("client # command # speed", of, 2) == 1 { r#","speed":512"# } else { "" };
    // By hand the one, or both, or the other.
    let by_hand = match profile.world {
        World::Narrow => [false; 2],
        World::Simulated | World::Wide => draw.entry("client # command # by hand", of, &BY_HAND),
    };
    let ends = by_hand.map(|by_hand| if by_hand { r#","auto-finalize":false"# } else { "" });
    let action = |device: usize, job: u32, target: u32, speed: &str| {
        format!(
            r#"{{"type":"blockdev-backup","data":{{"device":"n{device}","job-id":"j{job}","target":"t{target}","sync":"{sync}"{speed}}}}}"#
        )
    };
    let (one, other) = (format!("{speed}{}", ends[0]), ends[1]);
    let actions = format!("{},{}", action(first, job, 0, &one), action(second, 7 - job, 1, other));
    execute(
        "transaction",
        &format!(r#""actions":[{actions}],"properties":{{"completion-mode":"{grouped}"}}"#),
    )
}
