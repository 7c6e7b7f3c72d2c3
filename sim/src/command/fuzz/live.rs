//! A campaign on a live daemon.

use super::super::Exit;
use super::super::laws::check_live_law;
use super::super::limits::check_folder;
use super::super::seeds;
use super::live_report::Seen;
use super::{Fuzz, stop_on_interrupt};
use crate::live::campaign::{Campaign, Found, Minimise, News, PANICKED, Plan, Until, fuzz};
use crate::live::report;
use crate::live::target::Target;
use crate::report::Cost;
use crate::report::growth::Growth;
use crate::report::progress::Progress;
use midstream::campaign::Subject;
use midstream::terminal::shown;
use std::time::Instant;

impl Fuzz {
    pub(super) fn live(&self, subject: &Subject, target: &Target) -> Result<Exit, String> {
        let target = self.checked(subject, target)?;
        let stop = stop_on_interrupt()?;
        let (history, plan) = (self.keep()?, self.plan(None));
        let before = self.failed_before(Some(&target.name()));
        if !before.is_empty() {
            complain!("{}", seeds::announced(&before));
        }
        self.announce(&plan);
        let plan = Plan {
            history,
            target,
            before,
            seed: self.seed.number,
            runs: plan.runs,
            time: plan.time,
            jobs: plan.jobs,
            out: self.out.clone(),
            // A known defect has its trace already; only who wants to see them all wants theirs made anew.
            minimise: if self.strict { Minimise::All } else { Minimise::New },
            until: self.until_failure.then(|| Until { laws: self.law.clone(), known_too: self.strict }),
        };
        let started = Instant::now();
        let mut progress = Progress::new(self.runs, plan.time);
        let mut growth = Growth::new(false);
        let campaign = fuzz(&plan, &stop, &mut |news| match news {
            News::Tick(runs, failures, totals) => {
                growth.tick(&totals, subject.laws);
                progress.report(runs, failures, String::new);
            }
            News::Found(found) => progress.print(|| self.say(&report::failure(&found))),
        });
        progress.end();
        let cost = Cost::now(started.elapsed(), plan.jobs);
        if campaign.is_early {
            self.say(&self.resume(campaign.runs.saturating_sub(plan.before.len() as u64)));
        }
        self.say(&report::table(&campaign, &plan, cost));
        if let Some(folder) = &self.report {
            let points = growth.end(&campaign.totals, subject.laws);
            let seen = Seen { campaign: &campaign, plan: &plan, cost, points: &points, strict: self.strict };
            let index = seen.write(folder, subject)?;
            self.say(&format!("report  {}", shown(&index)));
        }
        if self.json {
            say!("{}", report::json(&campaign, &plan, cost));
        }
        if let Some(unwritten) = &campaign.unwritten {
            self.say(&format!("history not written {unwritten}"));
        }
        Ok(self.exit(&campaign))
    }

    fn exit(&self, campaign: &Campaign) -> Exit {
        let fails = |found: &Found| self.strict || !found.is_known;
        match (campaign.found.values().any(fails), campaign.is_early) {
            _ if campaign.found.values().any(|found| found.law == PANICKED) => Exit::Panicked,
            (true, _) => Exit::Broken,
            _ if campaign.unwritten.is_some() => Exit::Usage,
            (false, true) => Exit::Early,
            (false, false) => Exit::Clean,
        }
    }

    /// The daemon to drive, if all that was asked of it can be done.
    fn checked(&self, subject: &Subject, target: &Target) -> Result<Target, String> {
        let named = self.law.iter().try_for_each(|law| check_live_law(subject, law));
        named.map_err(|problem| format!("--law: {problem}"))?;
        check_folder("--out", &self.out)?;
        self.report.iter().try_for_each(|folder| check_folder("--report", folder))?;
        let target = if self.disk { target.on_disk()? } else { target.clone() };
        target.check().map_err(|problem| format!("--target: {problem}"))?;
        Ok(target)
    }
}
