//! What a live campaign reports: each kind of failure when it was minimised, a table at the end, one line of JSON.

use super::again::AGAIN;
use super::bucket::buckets;
use super::campaign::{Campaign, Found, Plan};
use super::cuts::{Tally, Tried};
use crate::report::Cost;
use crate::report::text::repro;
use midstream::terminal::shown;
use model::quirk::QUIRKS;
use serde_json::{Value, json};
use std::fmt::Write;

/// One kind of failure, with the commands that repeat it.
pub fn failure(found: &Found) -> String {
    let kind = if found.is_known { "KNOWN" } else { "NEW  " };
    let mut text = format!("{kind} {}\n      law `{}`, seed {}\n", found.name, found.law, found.seed);
    for line in found.detail.lines() {
        writeln!(text, "      {line}").expect("a string takes any text");
    }
    if let Some(history) = &found.history {
        writeln!(text, "history {}", shown(history)).expect("a string takes any text");
    }
    if let Some(least) = &found.shortest {
        writeln!(
            text,
            "      found after {:.1} s; {} command{}, reproduced {} of {AGAIN}, minimised in {} runs",
            found.after.as_secs_f64(),
            least.commands,
            if least.commands == 1 { "" } else { "s" },
            least.reproduced,
            least.took
        )
        .expect("a string takes any text");
        for other in &least.others {
            writeln!(text, "also    {other}, in shorter forms of this run").expect("a string takes any text");
        }
        if let Some(trace) = &least.trace {
            text += &repro(None, Some(trace));
        }
    }
    text
}

/// Everything a campaign found, a line each, and what it cost.
pub fn table(campaign: &Campaign, plan: &Plan, cost: Cost) -> String {
    let mut text = String::new();
    for found in campaign.found.values() {
        if !found.is_known && found.shortest.is_none() {
            // It did not come again, or there was no time to minimise it: all there is was reported the first time.
            text += &failure(found);
        }
    }
    for found in campaign.found.values() {
        let kind = if found.is_known { "known" } else { "new" };
        let commands = found.shortest.as_ref().map_or("-".to_owned(), |least| least.commands.to_string());
        writeln!(
            text,
            "{kind:<6} {:>6} runs  first after {:>6.1} s, seed {:<8} {commands:>2} commands  {}",
            found.runs,
            found.after.as_secs_f64(),
            found.seed,
            found.name
        )
        .expect("a string takes any text");
    }
    if plan.target.on_disk {
        writeln!(text, "{}", crashes(&campaign.crashes)).expect("a string takes any text");
    }
    for (why, runs) in &campaign.inconclusive {
        writeln!(text, "inconclusive {runs:>4} runs  {why}").expect("a string takes any text");
    }
    let failures = campaign.failures();
    write!(
        text,
        "{} sequences on {} in {:.1} s ({:.1}/s, {:.1}/s of cpu), {} runs to make failures short; {failures} failed in {} ways; \
         {} inconclusive; {} requests in flight beside commands; {} images read twice; seed {}",
        campaign.runs,
        plan.target.kind.name(),
        cost.wall.as_secs_f64(),
        all_runs(campaign) / cost.wall.as_secs_f64().max(1e-9),
        per_core(campaign, cost),
        campaign.minimiser_runs,
        campaign.found.len(),
        campaign.inconclusive.values().sum::<u64>(),
        campaign.in_flight,
        campaign.read_twice,
        plan.seed
    )
    .expect("a string takes any text");
    text
}

/// How many crashes were tried, and how many of them nothing was lost in.
fn crashes(tried: &Tried) -> String {
    let Tried { kills, power_cuts, lost } = tried;
    format!(
        "crash points tried: {} kills, {} held; {} power cuts, {} held; {lost} sequences were not followed again",
        kills.tried, kills.held, power_cuts.tried, power_cuts.held
    )
}

fn all_runs(campaign: &Campaign) -> f64 {
    (campaign.runs + campaign.minimiser_runs) as f64
}

/// Sequences for every second that any core spent on them, the daemons' own time included.
fn per_core(campaign: &Campaign, cost: Cost) -> f64 {
    all_runs(campaign) / (cost.cpu_seconds + cost.children_cpu_seconds).max(1e-9)
}

/// The names that what is known has in the list of defects.
fn ids(names: &str) -> Vec<&'static str> {
    let quirks = QUIRKS.iter().map(|quirk| (quirk.name(), quirk.about().id));
    let buckets = buckets().iter().map(|bucket| (bucket.name.as_str(), bucket.id.as_deref().unwrap_or("")));
    let all: Vec<(&str, &str)> = quirks.chain(buckets).filter(|(_, id)| !id.is_empty()).collect();
    let id = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
    names.split(" + ").filter_map(id).collect()
}

/// The same for a program.
pub fn json(campaign: &Campaign, plan: &Plan, cost: Cost) -> Value {
    let found = |found: &Found| {
        json!({
            "name": found.name, "ids": ids(&found.name), "known": found.is_known, "runs": found.runs, "seed": found.seed,
            "seconds": found.after.as_secs_f64(), "law": found.law,
            "commands": found.shortest.as_ref().map(|least| least.commands),
            "reproduced": found.shortest.as_ref().map(|least| [least.reproduced, AGAIN]),
            "trace": found.shortest.as_ref().and_then(|least| least.trace.as_ref()).map(|path| path.display().to_string()),
        })
    };
    json!({
        "target": plan.target.to_string(), "seed": plan.seed, "jobs": plan.jobs,
        "sequences": campaign.runs, "inconclusive": campaign.inconclusive.values().sum::<u64>(), "inconclusive_by": campaign.inconclusive,
        "minimiser_sequences": campaign.minimiser_runs,
        "requests_in_flight": campaign.in_flight, "images_read_twice": campaign.read_twice,
        "wall_seconds": cost.wall.as_secs_f64(),
        "cpu_seconds": cost.cpu_seconds, "daemon_cpu_seconds": cost.children_cpu_seconds,
        "sequences_per_second": all_runs(campaign) / cost.wall.as_secs_f64().max(1e-9),
        "sequences_per_second_per_core": per_core(campaign, cost),
        "crash_points": plan.target.on_disk.then(|| {
            let tally = |tally: Tally| json!({"tried": tally.tried, "held": tally.held});
            let Tried { kills, power_cuts, lost } = campaign.crashes;
            json!({"kills": tally(kills), "power_cuts": tally(power_cuts), "sequences_not_followed": lost})
        }),
        "early": campaign.is_early,
        "found": campaign.found.values().map(found).collect::<Vec<_>>(),
    })
}
