//! How a campaign ends: what it says of itself, the exit code, and the command that does what is left.

use super::Fuzz;
use super::failures::Failures;
use crate::command::Exit;
use crate::report::growth::Point;
use crate::report::text::program;
use crate::report::{Cost, json, text};
use midstream::campaign::{Campaign, Plan};
use midstream::coverage::Totals;
use serde_json::json;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// A campaign, looked back on, with its cost.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) campaign: Campaign,
    pub(super) cost: Option<Cost>,
    /// How it grew.
    pub(super) points: Vec<Point>,
}

impl Ended {
    /// Whether nothing comes after it: what was waited for was found, or somebody stopped it, or it cannot go on.
    pub(super) fn ends(&self, plan: &Plan, stop: &AtomicBool) -> bool {
        let Campaign { totals, nondeterminism, panicked, unwritten, .. } = &self.campaign;
        let is_stopped = nondeterminism.is_some() || panicked.is_some() || unwritten.is_some();
        is_stopped || stop.load(Ordering::Relaxed) || totals.broken.keys().any(|law| plan.ends_with(law))
    }
}

impl Fuzz {
    /// The command that does what is left after so many runs.
    pub(super) fn resume(&self, done: u64) -> String {
        let mut line = format!("resume  {} fuzz --seed {}", program(), self.seed.number.wrapping_add(done));
        let mut option = |name: &str, value: &dyn fmt::Display| {
            write!(line, " --{name} {value}").expect("a string takes any text");
        };
        if let Some(runs) = self.runs {
            option("runs", &runs.saturating_sub(done));
        }
        if let Some(seconds) = self.seconds {
            option("seconds", &seconds);
        }
        if let Some(jobs) = self.jobs {
            option("jobs", &jobs);
        }
        option("out", &text::quoted(&self.out.display().to_string()));
        if let Some(history) = &self.history {
            option("history", &text::quoted(&history.display().to_string()));
        }
        for law in &self.law {
            option("law", &text::quoted(law));
        }
        if let Some(target) = &self.target {
            option("target", &text::quoted(&target.to_string()));
        }
        if let Some(shard) = &self.shard {
            option("shard", shard);
        }
        for (name, folder) in [("result", &self.result), ("report", &self.report)] {
            if let Some(folder) = folder {
                option(name, &text::quoted(&folder.display().to_string()));
            }
        }
        line + if self.disk { " --disk" } else { "" }
            + if self.strict { " --strict" } else { "" }
            + if self.history_all { " --history-all" } else { "" }
            + if self.until_failure { " --until-failure" } else { "" }
            + if self.json { " --json" } else { "" }
            + if self.json_events { " --json-events" } else { "" }
    }

    /// Says what came of a campaign that got so far from its seed; of what failed before, some may have failed again.
    pub(super) fn conclude(
        &self,
        ended: &Ended,
        done: u64,
        failures: &Failures<'_>,
        before: &[u64],
        again: &Ended,
    ) -> Exit {
        let (campaign, cost, laws) = (&ended.campaign, ended.cost.unwrap_or_default(), failures.subject.laws);
        let totals = &campaign.totals;
        if let Some(nondeterminism) = &campaign.nondeterminism {
            let repro = text::repro(Some(nondeterminism.seed), None);
            self.say(&format!("FAIL  not deterministic\n{nondeterminism}\n{repro}"));
        }
        if let Some(panicked) = &campaign.panicked {
            self.say(&format!("FAIL  the harness panicked\n{panicked}"));
        }
        if let Some(unwritten) = &campaign.unwritten {
            self.say(&format!("history not written {unwritten}"));
        }
        let exit = exit(campaign, totals.vacuous(laws).is_empty());
        // Beside anything worse, and in a campaign that was cut short, what was not seen means nothing.
        if exit == Exit::Vacuous {
            for vacuous in totals.vacuous(laws) {
                self.say(&format!("VACUOUS  {vacuous}"));
            }
        }
        if campaign.is_early {
            self.say(&self.resume(done));
        }
        self.say(&text::totals(totals, laws, self.seed.number, cost));
        let failed_again = again.campaign.totals.failures();
        if self.json {
            let mut summary = json::campaign(campaign, laws, self.seed.number, cost, &failures.traces);
            summary["failed_before"] = json!({ "seeds": before, "failed_again": failed_again });
            say!("{summary}");
        }
        match exit {
            Exit::Clean | Exit::Vacuous | Exit::Early if failed_again > 0 => Exit::Broken,
            exit => exit,
        }
    }
}

/// What is worst about a campaign.
fn exit(campaign: &Campaign, is_conclusive: bool) -> Exit {
    let totals: &Totals = &campaign.totals;
    if campaign.panicked.is_some() {
        Exit::Panicked
    } else if campaign.nondeterminism.is_some() {
        Exit::Nondeterministic
    } else if !totals.broken.is_empty() {
        Exit::Broken
    } else if campaign.unwritten.is_some() {
        Exit::Usage
    } else if campaign.is_early {
        Exit::Early
    } else if !is_conclusive {
        Exit::Vacuous
    } else {
        Exit::Clean
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fuzz::tests::fuzz;
    use midstream::campaign::again::Nondeterminism;
    use midstream::coverage::Broken;
    use std::path::PathBuf;

    #[test]
    fn what_is_left_is_reported_with_every_option_that_was_given() {
        let given =
            Fuzz { jobs: Some(3), law: vec!["every job ends".to_owned()], ..fuzz(PathBuf::from("a b")) };
        assert_eq!(
            given.resume(1_500),
            format!(
                "resume  {} fuzz --seed 1501 --runs 500 --jobs 3 --out 'a b' --law 'every job ends' \
                 --until-failure --json",
                program()
            )
        );
        let kept =
            Fuzz { history: Some(PathBuf::from("h")), history_all: true, ..fuzz(PathBuf::from("new")) };
        assert!(kept.resume(1).contains(" --history h --history-all --until-failure"), "{}", kept.resume(1));
        let (runs, seconds) = (None, Some(9));
        let plain = Fuzz { runs, seconds, until_failure: false, json: false, ..fuzz(PathBuf::from("new")) };
        assert_eq!(plain.resume(5), format!("resume  {} fuzz --seed 6 --seconds 9 --out new", program()));
    }

    #[test]
    fn the_worst_of_a_campaign_is_its_end() {
        let mut campaign = Campaign::default();
        assert_eq!(exit(&campaign, true), Exit::Clean);
        assert_eq!(exit(&campaign, false), Exit::Vacuous);
        campaign.is_early = true;
        assert_eq!(exit(&campaign, false), Exit::Early);
        campaign.unwritten = Some(String::new());
        assert_eq!(exit(&campaign, true), Exit::Usage);
        campaign.totals.broken.insert("a law".to_owned(), Broken { runs: 1, seed: 1 });
        assert_eq!(exit(&campaign, true), Exit::Broken);
        let difference = String::new();
        campaign.nondeterminism = Some(Nondeterminism { seed: 1, hashes: [1, 2], difference });
        assert_eq!(exit(&campaign, true), Exit::Nondeterministic);
        campaign.panicked = Some(String::new());
        assert_eq!(exit(&campaign, true), Exit::Panicked);
    }
}
