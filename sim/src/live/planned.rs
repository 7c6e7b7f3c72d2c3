//! What the trace of a live sequence holds by itself: its images, the errors that are injected, its turns in order.
//!
//! Nothing is started for it. What the daemon answered does not stand in a trace; taking it again tells.

use super::plan::{Plan, Rule};
use super::turns::{Turn, What, scripts};
use crate::report::chain::chain;
use crate::workload::guest::{Place, Request};
use crate::workload::scenario::Scenario;
use midstream::choice::{Choices, Decision};
use midstream::strategy::replay::{Offer, strict};
use midstream::verdict::{Outcome, Verdict};
use std::collections::VecDeque;
use std::fmt::Write;

/// The plan of a sequence by its decisions, as text. `None`: they do not fit what would be drawn today.
pub fn planned(tape: &[Decision]) -> Option<String> {
    let mut text = None;
    let draw = |mut choices: Choices| {
        let mut scenario = Scenario::draw(&mut choices);
        let plan = Plan::draw(&mut choices, &scenario);
        plan.fit(&mut scenario);
        let turns = in_order(scripts(&mut choices, &scenario));
        text = Some(told(&scenario, &plan, &turns));
        let mut outcome = Outcome::of(Verdict::Passed);
        outcome.tape = choices.into_tape();
        outcome
    };
    // What the tape says beyond the plan was decided while it ran.
    let (_, divergence) = strict(draw, tape);
    text.filter(|_| divergence.is_none_or(|divergence| divergence.offered == Offer::End))
}

/// The turns as they are taken: of the first of every script the one with the lowest number.
fn in_order<'a>(mut scripts: Vec<VecDeque<Turn<'a>>>) -> Vec<What<'a>> {
    let mut turns = Vec::new();
    loop {
        let next = scripts.iter().enumerate().filter_map(|(at, script)| Some((script.front()?.order, at)));
        let Some((_, at)) = next.min() else { return turns };
        turns.extend(scripts[at].pop_front().map(|turn| turn.what));
    }
}

fn told(scenario: &Scenario, plan: &Plan, turns: &[What<'_>]) -> String {
    let mut text = chain(scenario);
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes any text");
    plan.rules.iter().for_each(|rule| line(format!("error  {}", rule_text(rule, scenario))));
    line(String::new());
    for turn in turns {
        match turn {
            What::Command { client, text, .. } => line(format!("client {client}  {text}")),
            What::Request { plan, request, .. } => {
                line(format!("guest {}   {}", plan.guest, request_text(request)));
            }
        }
    }
    match plan.kill {
        None => line("then quit".to_owned()),
        Some(u32::MAX) => line("then the daemon is killed".to_owned()),
        Some(turns) => line(format!("the daemon is killed after {turns} turns")),
    }
    text
}

fn rule_text(rule: &Rule, scenario: &Scenario) -> String {
    let times = if rule.once { "once" } else { "each time" };
    let kind = if rule.iotype.is_empty() { "any request" } else { rule.iotype };
    format!(
        "{}: `{}` for {kind}, armed at {}, {times}",
        scenario.images[rule.image].path,
        rule.text(),
        rule.event
    )
}

fn request_text(request: &Request) -> String {
    let place = match request.place {
        Place::Sector(sector) => format!("at sector {sector}"),
        Place::NearJob(distance) => format!("{distance} sectors from where the oldest job is"),
    };
    format!("{:?} {} sectors {place}", request.operation, request.sectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::trace::Trace;
    use std::path::Path;

    #[test]
    fn a_recorded_sequence_is_told_by_its_trace_alone() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/live");
        let trace = Trace::read(&folder.join("no-flush.json")).expect("a recorded trace");
        let text = planned(&trace.choices).expect("it fits");
        for part in ["\nn1 ", "clusters of", "client ", "block-stream"] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        assert_eq!(planned(&trace.choices[1..]), None);
    }
}
