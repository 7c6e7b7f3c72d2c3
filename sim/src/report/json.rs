//! One object for programs: the last line of a campaign.

use crate::report::Cost;
use midstream::campaign::Campaign;
use midstream::coverage::{Law, Totals};
use model::LawId;
use model::law::PAIRS;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The campaign that began at `seed`, with the trace written for each law.
pub fn campaign(
    campaign: &Campaign,
    laws: &[Law],
    seed: u64,
    cost: Cost,
    traces: &BTreeMap<String, PathBuf>,
) -> Value {
    let totals = &campaign.totals;
    let broken = totals.broken.iter().map(|(law, broken)| {
        let trace = traces.get(law).map(|path| path.display().to_string());
        (law.clone(), json!({ "runs": broken.runs, "seed": broken.seed, "trace": trace }))
    });
    json!({
        "seed": seed,
        "runs": totals.runs,
        "steps": totals.steps,
        "inconclusive": totals.inconclusive,
        "inconclusive_seeds": totals.inconclusive_seeds,
        "states_mean": totals.census.mean(),
        "states_max": totals.census.states_max,
        "seconds": cost.wall.as_secs_f64(),
        "cpu_seconds": cost.cpu_seconds,
        "runs_per_second": cost.runs_per_second(totals),
        "steps_per_second": cost.steps_per_second(totals),
        "failures": totals.failures(),
        "laws_broken": broken.collect::<Map<_, _>>(),
        "laws_checked": object(totals.counts(laws, false)),
        "goals_reached": totals.counts(laws, true).filter(|(_, count)| *count > 0).count(),
        "goals": object(totals.counts(laws, true)),
        "vacuous": totals.vacuous(laws),
        "combinations": combinations(totals, laws),
        "nondeterminism": campaign.nondeterminism.as_ref().map(ToString::to_string),
        "panicked": campaign.panicked,
        "ended_early": campaign.is_early,
        "next_seed": seed.wrapping_add(totals.runs),
        // Text, because not every reader of JSON keeps 64 bits.
        "history_hash": format!("{:016x}", totals.history_hash),
    })
}

/// How many of them were reached: two jobs by how their regions lie, verbs by the type and status of their job, silent steps by
/// the type of theirs.
fn combinations(totals: &Totals, laws: &[Law]) -> Value {
    let pairs = PAIRS.iter().flatten().flatten().flatten();
    let of_pair = |goal: &LawId| totals.counts(laws, true).find(|(name, _)| *name == goal.name());
    let of_pairs: Vec<u64> = pairs.filter_map(of_pair).map(|(_, count)| count).collect();
    let of_verbs: Vec<u64> = totals.verbs().map(|(_, count)| count).collect();
    let of_steps: Vec<u64> = totals.silent_steps().map(|(_, count)| count).collect();
    let reached = |counts: &[u64]| {
        let reached = counts.iter().filter(|count| **count > 0).count();
        json!({ "reached": reached, "of": counts.len() })
    };
    json!({ "two_jobs": reached(&of_pairs), "job_verbs": reached(&of_verbs), "silent_steps": reached(&of_steps) })
}

fn object<'a>(counts: impl Iterator<Item = (&'a str, u64)>) -> Map<String, Value> {
    counts.map(|(name, count)| (name.to_owned(), json!(count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::campaign::{Plan, Seeds, run};
    use midstream::toy;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    #[test]
    fn every_promised_member_is_there() {
        let plan = Plan {
            seeds: Seeds::From(3),
            runs: 500,
            time: None,
            jobs: 1,
            until_failure: false,
            ending_laws: Vec::new(),
            history: None,
        };
        let seen = run(&toy::SUBJECT, &plan, &AtomicBool::new(false), &mut |_, _| {});
        let traces = BTreeMap::from([(toy::LAW.to_owned(), PathBuf::from("new/3.json"))]);
        let cost = Cost { wall: Duration::from_secs(1), cpu_seconds: 1.0, children_cpu_seconds: 0.0 };
        let object = campaign(&seen, toy::SUBJECT.laws, 3, cost, &traces);
        assert_eq!(object["runs"], 500);
        assert_eq!(object["runs_per_second"], 500.0);
        assert_eq!(object["seed"], 3);
        assert_eq!(object["next_seed"], 503);
        assert_eq!(object["failures"], seen.totals.failures());
        assert_eq!(object["laws_broken"][toy::LAW]["trace"], "new/3.json");
        assert_eq!(object["laws_checked"][toy::LAW], seen.totals.steps);
        assert!(object["goals"]["a fault strikes"].as_u64() > Some(0));
        assert_eq!(object["goals_reached"], 1);
        assert_eq!(
            object["combinations"]["two_jobs"],
            json!({ "reached": 0, "of": 0 }),
            "a world without jobs"
        );
        assert_eq!(object["combinations"]["job_verbs"]["reached"], 0);
        assert_eq!(object["combinations"]["silent_steps"]["reached"], 0);
        assert!(object["steps_per_second"].as_f64() > Some(0.0));
        assert_eq!(object["history_hash"], format!("{:016x}", seen.totals.history_hash));
    }
}
