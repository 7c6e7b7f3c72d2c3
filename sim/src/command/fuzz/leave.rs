//! What a campaign leaves beside its traces: a part its result, and a report for whoever asked for one.

use super::Fuzz;
use super::ending::Ended;
use super::failures::Failures;
use crate::command::reported::{Failed, write_report};
use crate::report::text;
use crate::shard::Part;
use crate::shard::result::{Results, Seen};
use midstream::terminal::shown;
use std::env;

impl Fuzz {
    /// The part that is asked for; whoever left it to the environment learns what that says.
    pub(super) fn part(&self) -> Result<Option<Part>, String> {
        let Some(asked) = self.shard else { return Ok(None) };
        if self.seed.is_fresh {
            return Err("--shard: all parts need the same --seed".to_owned());
        }
        let (part, by) = asked.part(|name| env::var(name).ok()).map_err(|why| format!("--shard: {why}"))?;
        let by = by.map(|by| format!(" (by {by})")).unwrap_or_default();
        complain!("part {part}{by}");
        Ok(Some(part))
    }

    pub(super) fn leave(
        &self,
        ended: &Ended,
        part: Option<Part>,
        failures: &Failures<'_>,
    ) -> Result<(), String> {
        if let Some(part) = part {
            self.leave_result(ended, part, failures)?;
        }
        let Some(folder) = &self.report else { return Ok(()) };
        let cost = ended.cost.unwrap_or_default();
        let failed = |(law, path): (&String, &std::path::PathBuf)| Failed {
            law: law.clone(),
            trace: path.clone(),
            repro: text::repro(ended.campaign.totals.broken.get(law).map(|broken| broken.seed), Some(path)),
        };
        let failed: Vec<Failed> = failures.traces.iter().map(failed).collect();
        let name = format!("fuzz from seed {}", self.seed.number);
        let written =
            write_report(folder, &name, &ended.campaign, cost, &ended.points, &failed, failures.subject)?;
        self.say(&format!("report  {}", shown(&written)));
        Ok(())
    }

    fn leave_result(&self, ended: &Ended, part: Part, failures: &Failures<'_>) -> Result<(), String> {
        let campaign = &ended.campaign;
        let trouble = campaign.nondeterminism.as_ref().map(ToString::to_string);
        let seen = Seen {
            asked: self.runs.map(|runs| part.share(runs)),
            early: campaign.is_early,
            trouble: campaign.panicked.clone().or(trouble),
            milliseconds: ended.cost.unwrap_or_default().wall.as_millis() as u64,
            ..Seen::of(&campaign.totals, failures.subject.laws)
        };
        let folder = self.result.as_ref().unwrap_or(&self.out);
        let results = Results::of_part(self.seed.number, part, seen, failures.traces.values().cloned());
        let written = results.write(folder, &Results::file_name(self.seed.number, part));
        let path = written.map_err(|error| format!("--result {}: {error}", folder.display()))?;
        self.say(&format!("result  {}", shown(&path)));
        Ok(())
    }
}
