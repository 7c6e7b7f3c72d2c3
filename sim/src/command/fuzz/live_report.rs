//! The report of a campaign on a live daemon: each kind of failure by its name, known or not, with the page of what was seen.

use crate::command::reported::{put_file, write_cases};
use crate::html::campaign::{Failure, Report};
use crate::html::{self, Heading};
use crate::live::campaign::{Campaign, Found, Plan};
use crate::report::Cost;
use crate::report::growth::Point;
use crate::report::junit::{Case, End};
use crate::report::text;
use midstream::campaign::Subject;
use std::path::{Path, PathBuf};

/// A campaign, looked back on.
pub(super) struct Seen<'a> {
    pub(super) campaign: &'a Campaign,
    pub(super) plan: &'a Plan,
    pub(super) cost: Cost,
    pub(super) points: &'a [Point],
    /// Whether known defects fail it, too.
    pub(super) strict: bool,
}

impl Seen<'_> {
    /// Writes it; gives the file to begin with.
    pub(super) fn write(&self, folder: &Path, subject: &Subject) -> Result<PathBuf, String> {
        let mut kinds: Vec<&Found> = self.campaign.found.values().collect();
        kinds.sort_by_key(|found| (found.is_known, std::cmp::Reverse(found.runs)));
        let failures = kinds.iter().enumerate().map(|(number, found)| self.failure(folder, number, found));
        let failures = failures.collect::<Result<Vec<_>, _>>()?;
        let early = self.campaign.is_early.then(|| "the campaign was ended early".to_owned());
        let unwritten =
            self.campaign.unwritten.as_ref().map(|what| format!("a history was not written {what}"));
        let missing: Vec<String> = [early, unwritten].into_iter().flatten().collect();
        let name = format!("fuzz of {} from seed {}", self.plan.target, self.plan.seed);
        let report = Report {
            name: &name,
            totals: &self.campaign.totals,
            laws: subject.laws,
            wall: self.cost.wall,
            cpu_seconds: Some(self.cost.cpu_seconds + self.cost.children_cpu_seconds),
            points: self.points,
            failures: &failures,
            missing: &missing,
            is_live: true,
        };
        write_cases(folder, &report, &self.cases(&kinds, subject))
    }

    fn failure(&self, folder: &Path, number: usize, found: &Found) -> Result<Failure, String> {
        let trace = found.shortest.as_ref().and_then(|least| least.trace.as_deref());
        let repro = match trace {
            Some(trace) => text::repro(None, Some(trace)),
            None => self.again(found),
        };
        let page = match &found.seen {
            None => None,
            Some(history) => {
                let heading = Heading {
                    title: found.name.clone(),
                    law: found.law.clone(),
                    verdict: midstream::content::named(&found.detail),
                    origin: format!("seed {} on a live {}", found.seed, self.plan.target),
                    repro: repro.lines().map(str::to_owned).collect(),
                    ..Heading::default()
                };
                let name = format!("pages/{}-seed-{}.html", number + 1, found.seed);
                put_file(&folder.join(&name), &html::page(&html::of_history(&heading, history)))?;
                Some(name)
            }
        };
        Ok(Failure {
            law: found.law.clone(),
            kind: Some(found.name.clone()),
            is_known: found.is_known && !self.strict,
            runs: Some(found.runs),
            note: found.detail.lines().next().unwrap_or_default().to_owned(),
            page,
            repro,
        })
    }

    /// The sequence that failed first, once more.
    fn again(&self, found: &Found) -> String {
        let (program, target, seed) = (text::program(), &self.plan.target, found.seed);
        format!("repro   {program} fuzz --target {target} --seed {seed} --runs 1")
    }

    fn cases(&self, kinds: &[&Found], subject: &Subject) -> Vec<Case> {
        let of_kind = |found: &&Found| {
            let (runs, seed) = (text::counted(found.runs, "run"), found.seed);
            let end = if found.is_known && !self.strict {
                End::Skipped(format!("a known defect, in {runs}, first by seed {seed}"))
            } else {
                End::Failed(format!("in {runs}, first by seed {seed}"), found.detail.clone())
            };
            Case { class: "kind of failure", name: found.name.clone(), end }
        };
        let totals = &self.campaign.totals;
        let laws = totals.counts(subject.laws, false).filter(|(law, _)| !totals.broken.contains_key(*law));
        let of_law = |(law, checks): (&str, u64)| {
            let end = if checks > 0 { End::Passed } else { End::Skipped("never checked".to_owned()) };
            Case { class: "law", name: law.to_owned(), end }
        };
        kinds.iter().map(of_kind).chain(laws.map(of_law)).collect()
    }
}
