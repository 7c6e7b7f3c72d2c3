//! What the trace of a live sequence holds by itself: its images, the errors that are injected, its turns in order.
//!
//! Nothing is started for it. What the daemon answered does not stand in a trace; taking it again shows.

use super::plan::{Plan, Rule};
use super::turns::{Turn, What, scripts};
use crate::report::chain::chain;
use crate::report::lanes::{Lane, Row};
use crate::workload::guest::{Place, Request};
use crate::workload::scenario::Scenario;
use midstream::choice::{Choices, Decision};
use midstream::history::brief;
use midstream::strategy::replay::{Offer, strict};
use midstream::verdict::{Outcome, Verdict};
use std::collections::VecDeque;
use std::fmt::Write;

/// What was to be done.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The chain, and the errors that are injected.
    pub chain: String,
    /// The turns in order, each by its number.
    pub rows: Vec<Row>,
    /// How the sequence ends.
    pub end: String,
}

/// The plan of a sequence by its decisions. `None`: they do not fit what would be drawn today.
pub fn planned(tape: &[Decision]) -> Option<Planned> {
    let mut all = None;
    let draw = |mut choices: Choices| {
        let mut scenario = Scenario::draw_live(&mut choices);
        let plan = Plan::draw(&mut choices, &scenario);
        plan.fit(&mut scenario);
        let turns = in_order(scripts(&mut choices, &scenario));
        all = Some(shown(&scenario, &plan, &turns));
        let mut outcome = Outcome::of(Verdict::Passed);
        outcome.tape = choices.into_tape();
        outcome
    };
    // What the choice log says beyond the plan was decided while it ran.
    let (_, divergence) = strict(draw, tape);
    all.filter(|_| divergence.is_none_or(|divergence| divergence.offered == Offer::End))
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

fn shown(scenario: &Scenario, plan: &Plan, turns: &[What<'_>]) -> Planned {
    let mut chain = chain(scenario);
    for rule in &plan.rules {
        writeln!(chain, "error  {}", rule_text(rule, scenario)).expect("a string takes any text");
    }
    let rows = (1..).zip(turns).map(|(turn, what): (usize, _)| {
        let (lane, text) = match what {
            What::Command { client, text, .. } => (Lane::Clients, format!("{client} -> {}", brief(text))),
            What::Request { plan, request, .. } => {
                let name = midstream::content::request_of(request.tag);
                let name = name.map_or_else(|| plan.guest.to_string(), |name| name.to_string());
                (Lane::Guests, format!("{name} {}", request_text(request)))
            }
        };
        Row { step: turn.to_string(), lane, text }
    });
    let end = match plan.kill {
        None => "then quit".to_owned(),
        Some(u32::MAX) => "then the daemon is killed".to_owned(),
        Some(turns) => format!("the daemon is killed after {turns} turns"),
    };
    Planned { chain: chain + "\n", rows: rows.collect(), end }
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
    format!("{} of {} sectors {place}", request.operation.word(), request.sectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::trace::Trace;
    use std::path::Path;

    #[test]
    fn requests_of_a_sequence_go_by_their_names() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/live");
        let trace = Trace::read(&folder.join("mirror-bypassed.json")).expect("a recorded trace");
        let rows = planned(&trace.choices).expect("it fits").rows;
        let mut requests = rows.iter().filter(|row| row.lane == Lane::Guests);
        assert!(requests.any(|row| row.text.starts_with("g0.0.")), "{rows:?}");
    }

    #[test]
    fn a_recorded_sequence_is_shown_by_its_trace_alone() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/live");
        let trace = Trace::read(&folder.join("no-flush.json")).expect("a recorded trace");
        let Planned { chain, rows, end } = planned(&trace.choices).expect("it fits");
        assert!(chain.contains("\nn1 ") && chain.contains("clusters of"), "{chain}");
        let is_stream = |row: &Row| row.lane == Lane::Clients && row.text.contains("-> block-stream ");
        assert!(rows.iter().any(is_stream), "{rows:?}");
        assert!(end.starts_with("the daemon is killed") || end.starts_with("then"), "{end}");
        assert!(planned(&trace.choices[1..]).is_none());
    }
}
