//! Draws an operator who makes increments: a bitmap, a full copy, and then copies of what was changed since the last one.
//!
//! It is drawn when all else is there, as one more client; a run that was recorded without it stays as it was.

use super::client::{ClientPlan, Command, execute};
use super::scenario::Scenario;
use midstream::choice::Draw;

/// The operator's commands at most.
const COMMANDS: u32 = 6;

/// The name of its bitmap.
const NAME: &str = "i0";

/// How a copy uses the bitmap: those that fit most operators first.
const SYNCS: [&str; 8] = [
    r#""sync":"incremental""#,
    r#""sync":"incremental""#,
    r#""sync":"bitmap","bitmap-mode":"on-success""#,
    r#""sync":"bitmap","bitmap-mode":"always""#,
    r#""sync":"bitmap","bitmap-mode":"never""#,
    r#""sync":"full","bitmap-mode":"always""#,
    r#""sync":"top","bitmap-mode":"on-success""#,
    r#""sync":"full","bitmap-mode":"on-success""#,
];

/// One run in so many has the operator, if there is something to copy into.
const ONE_IN: u32 = 4;

/// The operator, if the run has one.
pub fn draw(draw: &mut Draw<'_>, scenario: &Scenario) -> Option<ClientPlan> {
    if scenario.spares() == 0 || draw.below("increments", [0; 3], ONE_IN) != 1 {
        return None;
    }
    let client = scenario.clients.len() as u32;
    // Of the nodes that guests write, or the topmost.
    let which = draw.below("increments of", [0; 3], 4) as usize;
    let node = match scenario.guests.len() {
        guests if guests > 0 && which > 0 => scenario.guests[which % guests].image,
        _ => scenario.layers - 1,
    };
    let commands = (0..COMMANDS).filter_map(|slot| command(draw, scenario, [client, slot, 0], node));
    Some(ClientPlan { client, commands: commands.collect() })
}

fn command(draw: &mut Draw<'_>, scenario: &Scenario, of: [u32; 3], node: usize) -> Option<Command> {
    let [client, slot, _] = of;
    let think = draw.entry("increments # command # think", of, &[0, 8, 16, 32, 64, 64, 128, 128]);
    let text = match slot {
        0 => {
            let more = draw.entry("increments # command # kind", of, &["", r#","persistent":true"#]);
            let granularity = r#","granularity":512"#;
            execute(
                "block-dirty-bitmap-add",
                &format!(r#""node":"n{node}","name":"{NAME}"{granularity}{more}"#),
            )
        }
        1 => copy(draw, scenario, of, node, &SYNCS[7..]),
        _ => match draw.below("increments # command # what", of, 8) {
            0 => return None,
            1 => r#"{"execute":"query-named-block-nodes"}"#.to_owned(),
            2 => execute("job-cancel", &format!(r#""id":"j{client}""#)),
            _ => copy(draw, scenario, of, node, &SYNCS),
        },
    };
    Some(Command { think, slot, text, awaits: None })
}

fn copy(
    draw: &mut Draw<'_>,
    scenario: &Scenario,
    of: [u32; 3],
    node: usize,
    syncs: &[&'static str],
) -> String {
    let sync = draw.entry("increments # command # sync", of, syncs);
    let target = draw.below("increments # command # target", of, 8) as usize;
    // Mostly over what was copied before.
    let target = if target < 6 { 0 } else { target % scenario.spares() };
    let speed = draw.entry("increments # command # speed", of, &["", "", "", r#","speed":512"#]);
    let error =
        draw.entry("increments # command # on-error", of, &["", "", r#","on-target-error":"ignore""#]);
    let job = of[0];
    execute(
        "blockdev-backup",
        &format!(
            r#""device":"n{node}","job-id":"j{job}","target":"t{target}",{sync},"bitmap":"{NAME}"{speed}{error}"#
        ),
    )
}
