//! The scripts of a sequence, turn by turn: what is done, in which order, and what is looked at in between.

use super::schema::Schema;
use super::schema_command;
use crate::workload::client::Command;
use crate::workload::guest::{GuestPlan, Request};
use crate::workload::scenario::Scenario;
use midstream::choice::{Choices, Point};
use std::collections::VecDeque;
use std::sync::Arc;

/// How many places in the order of turns there are.
const ORDERS: u32 = 8;

/// One turn of a script, and what is done around it.
pub(super) struct Turn<'a> {
    pub(super) what: What<'a>,
    /// Of the first turns of all scripts the one with the lowest number is taken.
    pub(super) order: u32,
    /// The jobs run on while the next turn is taken.
    pub(super) runs_on: bool,
    /// A request's answer is not awaited before the next turn.
    pub(super) in_flight: bool,
    /// What the operator looks at afterwards.
    pub(super) look: Option<&'static str>,
    /// A command that nobody listed, after that.
    pub(super) schema_command: Option<String>,
}

/// What is done.
#[derive(Copy, Clone)]
pub(super) enum What<'a> {
    Command { client: u32, slot: u32, text: &'a str },
    Request { plan: &'a GuestPlan, lane: u32, request: Request, is_last: bool },
}

/// What operators look at between turns.
const LOOKS: [Option<&str>; 12] = {
    let mut looks = [None; 12];
    looks[1] = Some(r#"{"execute":"x-debug-query-block-graph"}"#);
    looks[2] = Some(r#"{"execute":"query-named-block-nodes"}"#);
    looks
};

/// Every script with its turns. What is drawn for a turn is drawn under its own name: it stays when others are left out.
pub(super) fn scripts<'a>(choices: &mut Choices, scenario: &'a Scenario) -> Vec<VecDeque<Turn<'a>>> {
    let mut scripts = Vec::new();
    for plan in &scenario.clients {
        let turn = |command: &'a Command| {
            let of = [plan.client, command.slot, 0];
            Turn {
                what: What::Command { client: plan.client, slot: command.slot, text: &command.text },
                order: choices.choose(Point::new("client # command # order", of), ORDERS),
                runs_on: choices.choose(Point::new("client # command # runs on", of), 4) == 3,
                in_flight: false,
                look: LOOKS[choices.choose(Point::new("client # command # look", of), 12) as usize],
                schema_command: None,
            }
        };
        scripts.push(plan.commands.iter().map(turn).collect());
    }
    for plan in &scenario.guests {
        for (lane, requests) in plan.lanes.iter().enumerate() {
            // The lane that ends last takes the guest away.
            let is_last_lane = lane + 1 == plan.lanes.len();
            let turn = |(index, request): (usize, &Request)| {
                let lane = lane as u32;
                let of = [plan.guest, lane, request.slot()];
                let is_last = is_last_lane && index + 1 == requests.len();
                Turn {
                    what: What::Request { plan, lane, request: *request, is_last },
                    order: choices.choose(Point::new("guest # lane # request # order", of), ORDERS),
                    runs_on: choices.choose(Point::new("guest # lane # request # runs on", of), 4) == 3,
                    in_flight: false,
                    look: LOOKS[choices.choose(Point::new("guest # lane # request # look", of), 12) as usize],
                    schema_command: None,
                }
            };
            scripts.push(requests.iter().enumerate().map(turn).collect());
        }
    }
    scripts
}

/// One sequence in so many has commands that nobody listed, and there a turn in so many.
const SCHEMA_COMMAND_IN: [u32; 2] = [4, 3];

/// Puts commands that nobody listed behind turns of operators.
pub(super) fn add_schema_commands(
    choices: &mut Choices,
    scenario: &Scenario,
    schema: impl FnOnce() -> Arc<Schema>,
    scripts: &mut [VecDeque<Turn<'_>>],
) {
    if choices.choose(Point::new("live unlisted", [0; 3]), SCHEMA_COMMAND_IN[0]) != 1 {
        return;
    }
    let schema = schema();
    for turn in scripts.iter_mut().flatten() {
        let What::Command { client, slot, .. } = turn.what else { continue };
        let at = Point::new("client # command # unlisted", [client, slot, 0]);
        if choices.choose(at, SCHEMA_COMMAND_IN[1]) == 1 {
            turn.schema_command = schema_command::draw(choices, [client, slot], &schema, scenario);
        }
    }
}
