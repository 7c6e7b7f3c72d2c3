//! What is drawn for a live sequence beside the scenario: errors that blkdebug nodes inject, and how it ends.

use crate::workload::scenario::{Nodes, Scenario};
use midstream::choice::{Choices, Point};
use serde_json::{Value, json};

/// Slots of injected errors.
const RULES: u32 = 2;

/// Everything a live sequence does beside its scenario.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Errors, each below one image.
    pub rules: Vec<Rule>,
    /// The process is stopped after so many turns, or after the last one and the end of all jobs.
    pub kill: Option<u32>,
    /// How it is stopped then.
    pub stop: Stop,
}

/// How a process is stopped that is not asked to quit.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Stop {
    /// By SIGKILL, without warning.
    #[default]
    Kill,
    /// By SIGTERM: it is to bring everything to a sound end, soon.
    Term,
}

/// What a round puts a daemon through.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Ordeal {
    /// SIGKILL at any moment.
    Kill,
    /// SIGTERM at any moment.
    Term,
    /// No space is left below one image, from some moment on; then SIGKILL.
    Full,
}

/// One injected error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Index of the image whose file node lies under it.
    pub image: usize,
    /// The moment at which it is armed.
    pub event: &'static str,
    /// What kind of request it strikes; any, if empty.
    pub iotype: &'static str,
    /// Only requests that touch this sector of the file.
    pub sector: Option<u32>,
    /// `EIO` or `ENOSPC`.
    pub errno: i32,
    /// Whether it strikes one time only.
    pub once: bool,
    /// So many such moments pass before.
    pub after: u32,
}

/// The moments of the format driver and of the node itself: half of the rules are armed from the start.
const EVENTS: [&str; 24] = [
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "none",
    "l1_update",
    "l2_load",
    "l2_update",
    "l2_alloc_write",
    "read_aio",
    "write_aio",
    "refblock_load",
    "refblock_alloc",
    "cluster_alloc",
    "flush_to_os",
    "flush_to_disk",
    "pwritev_zero",
];
/// What a full disk refuses: whatever needs new space.
const FULL_EVENTS: [&str; 5] =
    ["cluster_alloc", "write_aio", "l2_alloc_write", "refblock_alloc", "l1_grow_write_table"];
const TYPES: [&str; 12] = [
    "write",
    "write",
    "write",
    "write",
    "write",
    "read",
    "read",
    "read",
    "flush",
    "write-zeroes",
    "discard",
    "",
];

impl Plan {
    /// Draws one for `scenario`.
    pub fn draw(choices: &mut Choices, scenario: &Scenario) -> Plan {
        let mut plan = Plan::default();
        // Two sequences in three have healthy files: an error ends most of what could otherwise go wrong.
        if choose(choices, "live faults", 0, 3) == 1 {
            for slot in 0..RULES {
                plan.rules.extend(draw_rule(choices, scenario, slot));
            }
        }
        plan.kill = match choose(choices, "live kill", 0, 8) {
            1 => Some(choose(choices, "live kill turn", 0, 16)),
            2 | 3 => Some(u32::MAX),
            _ => None,
        };
        plan
    }

    /// Draws one of a given kind: stopped in the middle of it all, with or without a disk that gets full before.
    pub fn of_ordeal(choices: &mut Choices, scenario: &Scenario, ordeal: Ordeal) -> Plan {
        let turn = choose(choices, "ordeal turn", 0, 24);
        let mut plan = Plan { rules: Vec::new(), kill: Some(turn), stop: Stop::Kill };
        match ordeal {
            Ordeal::Kill => {}
            Ordeal::Term => plan.stop = Stop::Term,
            Ordeal::Full => {
                let image = choose(choices, "ordeal image", 0, scenario.images.len() as u32) as usize;
                let event =
                    FULL_EVENTS[choose(choices, "ordeal event", 0, FULL_EVENTS.len() as u32) as usize];
                let after = choose(choices, "ordeal after", 0, 4);
                let rule = Rule { image, event, iotype: "", sector: None, errno: 28, once: false, after };
                plan.rules = vec![rule];
                plan.kill =
                    if choose(choices, "ordeal end", 0, 2) == 1 { Some(u32::MAX) } else { Some(turn) };
            }
        }
        plan
    }

    /// The rules under one image.
    pub fn rules_of(&self, image: usize) -> Vec<&Rule> {
        self.rules.iter().filter(|rule| rule.image == image).collect()
    }

    /// Makes the scenario fit: a node whose file errors lie under is built on a node of its own.
    pub fn fit(&self, scenario: &mut Scenario) {
        if !self.rules.is_empty() {
            scenario.nodes = Nodes::Named;
        }
    }

    /// A command of the scenario, with the nodes under errors standing on those that inject them.
    pub fn rewrite(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for image in self.rules.iter().map(|rule| rule.image) {
            text = text.replace(&format!(r#""file":"f{image}""#), &format!(r#""file":"d{image}""#));
        }
        text
    }

    /// The command that adds the node which injects an image's errors.
    pub fn debug_node(&self, image: usize) -> Option<String> {
        let rules = self.rules_of(image);
        if rules.is_empty() {
            return None;
        }
        let mut states = Vec::new();
        let mut state = 1;
        let errors: Vec<Value> = rules
            .iter()
            .map(|rule| {
                let mut error = json!({"event": rule.event, "errno": rule.errno, "once": rule.once});
                if !rule.iotype.is_empty() {
                    error["iotype"] = rule.iotype.into();
                }
                if let Some(sector) = rule.sector {
                    error["sector"] = sector.into();
                }
                if rule.after > 0 {
                    for _ in 0..rule.after {
                        states.push(json!({"event": rule.event, "state": state, "new_state": state + 1}));
                        state += 1;
                    }
                    error["state"] = state.into();
                }
                error
            })
            .collect();
        let mut arguments = json!({
            "driver": "blkdebug", "node-name": format!("d{image}"), "image": format!("f{image}"),
            "inject-error": errors,
        });
        if !states.is_empty() {
            arguments["set-state"] = states.into();
        }
        Some(json!({"execute": "blockdev-add", "arguments": arguments}).to_string())
    }
}

impl Rule {
    /// The text of its error.
    pub fn text(&self) -> &'static str {
        if self.errno == 28 { "No space left on device" } else { "Input/output error" }
    }
}

fn draw_rule(choices: &mut Choices, scenario: &Scenario, slot: u32) -> Option<Rule> {
    if choose(choices, "live fault #", slot, 2) == 0 {
        return None;
    }
    let image = choose(choices, "live fault # image", slot, scenario.images.len() as u32) as usize;
    let event = EVENTS[choose(choices, "live fault # event", slot, EVENTS.len() as u32) as usize];
    let iotype = TYPES[choose(choices, "live fault # type", slot, TYPES.len() as u32) as usize];
    let sector = match choose(choices, "live fault # sector", slot, 6) {
        0..=2 => None,
        3 => Some(0),
        _ => Some(choose(choices, "live fault # which sector", slot, 64)),
    };
    let errno = [5, 28][choose(choices, "live fault # errno", slot, 2) as usize];
    let once = choose(choices, "live fault # often", slot, 3) < 2;
    // What is armed from the start knows no moments to be counted.
    let after = if event == "none" { 0 } else { choose(choices, "live fault # after", slot, 4) };
    Some(Rule { image, event, iotype, sector, errno, once, after })
}

fn choose(choices: &mut Choices, name: &'static str, slot: u32, below: u32) -> u32 {
    choices.choose(Point::new(name, [slot, 0, 0]), below)
}
