//! Walks the model beside a live daemon: every line and every request becomes an observation, in the order received.

use super::cuts::Loss;
use super::fall::{Fall, Fell, Standing};
use super::journal::Journal;
use super::known::{Known, explained, known, quirks_of, smallest};
use super::second_reader::READERS_DIFFER;
use super::target::Baseline;
use crate::device::Devices;
use crate::oracle::{OF_DAMAGE, goals, laws, setup};
use crate::recovery::Recovered;
use crate::workload::scenario::Scenario;
use midstream::content::{Tag, named};
use midstream::history::observed::Observed;
use midstream::history::{Asked, Failure, History, Recorder, What};
use midstream::recording::commands::Commands;
use midstream::recording::explained as with_findings;
use midstream::request::Operation;
use midstream::verdict::{Detail, Outcome, Verdict};
use model::{CrashKind, FaultKind, ImageSetup, Inconclusive, Quirk};
use std::sync::Arc;

/// The law a daemon breaks that ends by itself.
pub const CRASHED: &str = "daemon crashed";
/// The law a daemon breaks that does not answer.
pub const HUNG: &str = "daemon hung";
/// The law a daemon breaks that does not answer and is busy without end.
pub const SPINS: &str = "daemon spins";
/// The law a daemon breaks whose events never end.
pub const FLOODED: &str = "daemon floods its clients";
/// The law a job breaks that does not go on though nothing holds it.
pub const STUCK: &str = "job stuck";
/// The law a daemon breaks that never says that an export is gone which nobody uses any more.
pub const EXPORT_STAYS: &str = "an export that was taken back never goes";
/// The law a daemon breaks that does not even start.
pub const NOT_STARTED: &str = "daemon did not start";

/// All of these: what only a live daemon can break.
pub const OF_DAEMONS: [&str; 8] =
    [CRASHED, HUNG, SPINS, FLOODED, STUCK, EXPORT_STAYS, NOT_STARTED, READERS_DIFFER];

/// A law was broken: the sequence is over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Broken;

/// The judge of one sequence.
#[derive(Debug)]
pub struct Judge {
    judge: model::Judge,
    history: History,
    steps: u64,
    verdict: Verdict,
    /// The ways in which the daemon may be wrong,
    quirks: Vec<Quirk>,
    /// and what it broke first, if they explain it: from then on they are allowed.
    excused: Option<(String, String)>,
    /// What happened that needs no model to be seen.
    fall: Option<Fall>,
    /// The command in flight, or the one answered last.
    last_command: String,
    /// Every command so far.
    commands: Commands,
    /// Kept where the sequence can be cut at other points later.
    journal: Option<Journal>,
    /// Whether nobody has changed files below the images in them.
    are_files_intact: bool,
    /// The first command of unknown effect, by its name.
    unknown_command: Option<String>,
}

impl Judge {
    /// A judge of a daemon that finds the scenario's files.
    pub fn new(scenario: &Scenario) -> Judge {
        let images: Vec<ImageSetup> = scenario.images.iter().map(|image| setup(image, scenario)).collect();
        Judge {
            judge: model::Judge::new(&images).on_real_files(),
            history: History::new(Recorder::Live, images),
            steps: 0,
            verdict: Verdict::Passed,
            quirks: Vec::new(),
            excused: None,
            fall: None,
            last_command: String::new(),
            commands: Commands::default(),
            journal: None,
            are_files_intact: true,
            unknown_command: None,
        }
    }

    /// From the first observation on the daemon speaks as the release of the baseline does, and may be wrong as that says.
    pub(super) fn of_release(&mut self, baseline: Baseline) {
        assert!(self.history.entries.is_empty(), "nothing was observed yet");
        self.judge = self.judge.clone().of_release(baseline.release);
        self.history.release = baseline.release;
        self.quirks = quirks_of(baseline);
    }

    /// Notes of everything that is shown from now on what the devices had done before.
    pub(super) fn keep_journal(&mut self, devices: &Arc<Devices>) {
        self.journal = Some(Journal::new(Arc::clone(devices), self.judge.clone()));
    }

    /// The journal, if one was kept and nothing is broken.
    pub(super) fn take_journal(&mut self) -> Option<Journal> {
        self.journal.take().filter(|_| self.verdict == Verdict::Passed && self.excused.is_none())
    }

    /// Everything so far.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Cut at one of its points, the sequence lost something.
    pub(super) fn cut(&mut self, loss: Loss) {
        self.break_law(&loss.law, loss.detail);
        self.history.cut = Some(Box::new(loss.history));
    }

    /// The ways in which the daemon may be wrong.
    pub(super) fn quirks(&self) -> &[Quirk] {
        &self.quirks
    }

    /// Whether something broke, and only quirks explain it.
    pub(super) fn is_excused(&self) -> bool {
        self.excused.is_some()
    }

    /// The line that is shown next was there when so much had been said on the monitor.
    pub(super) fn said(&mut self, bytes: u64) {
        if let Some(journal) = &mut self.journal {
            journal.said_bytes = bytes;
        }
    }

    /// Says one line about what happens.
    pub fn note(&mut self, line: String) {
        self.history.push(self.steps, 0, What::Note(line));
    }

    fn observe(&mut self, observed: Observed) -> Result<(), Broken> {
        self.steps += 1;
        let at = self.history.push(self.steps, 0, What::Observed(observed));
        let observed = self.history.observed(at);
        if let Some(journal) = &mut self.journal {
            journal.note(at, observed);
        }
        self.commands.see(observed);
        match observed.show(|seen| self.judge.observe(seen)) {
            Ok(()) => Ok(()),
            Err(broken) => {
                let detail = self.commands.beside(observed, &broken.detail);
                self.broke(broken.law.name(), detail)
            }
        }
    }

    /// The specification does not explain what was seen. If quirks do, the sequence goes on with them.
    fn broke(&mut self, law: &str, detail: String) -> Result<(), Broken> {
        let again = match (&self.excused, self.quirks.as_slice()) {
            (Some(_), _) | (_, []) => None,
            (None, quirks) => explained(&self.history, quirks),
        };
        match (again, &self.excused) {
            (Some(judge), _) => {
                self.judge = judge;
                self.excused = Some((law.to_owned(), named(&detail)));
                Ok(())
            }
            (None, Some((first, _))) => {
                let detail = format!("{detail}\nquirks explain what broke before: {first}");
                Err(self.break_law(law, detail))
            }
            (None, None) => Err(self.break_law(law, detail)),
        }
    }

    /// The daemon, a job or an image has failed in a way that needs no model to be seen.
    pub(super) fn fell(&mut self, law: &str, detail: String, fall: Fall) -> Broken {
        if self.verdict == Verdict::Passed {
            self.fall = Some(fall);
        }
        self.break_law(law, detail)
    }

    /// What there is to say of such a failure; `during` is the command that was in flight, if one was.
    pub(super) fn fall(&self, kind: Fell, said: &str, during: &str) -> Fall {
        let command = if during.starts_with('{') { during } else { &self.last_command };
        let standing = self.judge.jobs().map(|job| Standing {
            job_type: job.job_type,
            status: job.status,
            ignores: job.ignores_errors,
            idle: job.is_idle,
        });
        Fall::new(kind, said.to_owned(), command, standing.collect())
    }

    /// A law was broken that needs no model to be seen.
    pub fn break_law(&mut self, law: &str, detail: String) -> Broken {
        if self.verdict == Verdict::Passed {
            self.verdict = Verdict::Broken { law: law.to_owned(), detail: named(&detail) };
        }
        Broken
    }

    /// A command is about to be sent.
    pub fn sent(&mut self, client: u32, text: &str) -> Result<(), Broken> {
        text.clone_into(&mut self.last_command);
        self.observe(Observed::Sent { client, text: text.to_owned() })
    }

    /// A command of that name, which it was not shown, has succeeded.
    pub fn schema_command(&mut self, name: &str) -> Result<(), Broken> {
        self.unknown_command.get_or_insert_with(|| name.to_owned());
        self.observe(Observed::SchemaCommand)
    }

    /// A command that it was not shown was refused.
    pub fn schema_command_refused(&mut self, text: &str) -> Result<(), Broken> {
        self.observe(Observed::SchemaCommandRefused { text: text.to_owned() })
    }

    /// Why not everything was judged, if that is so.
    pub fn inconclusive(&self) -> Option<String> {
        let why = self.judge.inconclusive()?;
        let command = self.unknown_command.as_ref().filter(|_| why == Inconclusive::UnknownEffect);
        Some(command.map_or_else(|| why.to_string(), |command| format!("{command}: {why}")))
    }

    /// Whether not everything is judged any more.
    pub fn is_lost(&self) -> bool {
        self.judge.is_inconclusive()
    }

    /// Its reply.
    pub fn reply(&mut self, client: u32, text: &str) -> Result<(), Broken> {
        self.observe(Observed::Reply { client, text: text.to_owned() })
    }

    /// An event.
    pub fn event(&mut self, text: &str) -> Result<(), Broken> {
        self.observe(Observed::Event { text: text.to_owned() })
    }

    /// From now on this may go wrong.
    pub fn armed(&mut self, file: &str, error: &str) -> Result<(), Broken> {
        let (file, error) = (file.to_owned(), error.to_owned());
        self.observe(Observed::FaultArmed { file, kind: FaultKind::Any, error })
    }

    /// A guest is connected to an export.
    pub fn connected(&mut self, guest: u32, export: &str) -> Result<(), Broken> {
        self.observe(Observed::Connected { guest, export: export.to_owned() })
    }

    /// A guest has left.
    pub fn detached(&mut self, guest: u32) -> Result<(), Broken> {
        self.observe(Observed::Detached { guest })
    }

    /// A guest's request is about to be made.
    pub fn began(
        &mut self,
        request: u64,
        guest: u32,
        operation: Operation,
        (sector, sectors): (u64, u64),
        tag: Tag,
    ) -> Result<(), Broken> {
        let (name, asked) =
            (midstream::content::request_of(tag), Asked::new(operation, sector, sectors, tag));
        self.observe(Observed::Began { request, guest, name, asked })
    }

    /// It has ended. A read brings its tags.
    pub fn ended(&mut self, request: u64, result: Result<&[Tag], &str>) -> Result<(), Broken> {
        let failure = |text: &str| Failure { errno: 0, text: text.to_owned() };
        self.observe(Observed::Ended { request, result: result.map(<[Tag]>::to_vec).map_err(failure) })
    }

    /// A node's whole content, at rest.
    pub fn viewed(&mut self, node: &str, values: &[Tag]) -> Result<(), Broken> {
        self.observe(Observed::View { node: node.to_owned(), values: values.to_vec() })
    }

    /// The daemon was killed.
    pub fn killed(&mut self) -> Result<(), Broken> {
        self.observe(Observed::Crash { kind: CrashKind::KillUnheard })
    }

    /// A command that nobody knows has done to files what may damage the images in them.
    pub fn files_may_be_damaged(&mut self) {
        self.are_files_intact = false;
    }

    /// What a file shows to the next process, after a clean end or not.
    pub fn reopened(&mut self, found: &Recovered, is_clean: bool) -> Result<(), Broken> {
        if !self.are_files_intact {
            debug_assert!(self.judge.is_inconclusive(), "nobody knows what became of the graph either");
            return Ok(());
        }
        let values = match found.clone().found() {
            Ok(values) => values,
            // Headers may name what somebody made them name.
            Err(_) if self.judge.is_inconclusive() => return Ok(()),
            Err(why) => return self.observe(Observed::Unreadable { file: found.file.clone(), why }),
        };
        let judged =
            self.observe(if is_clean { Observed::Closed(values) } else { Observed::Recovered(values) });
        judged.inspect_err(|_| self.explain(&found.damage))
    }

    /// What a check has found, if that has just broken a law.
    fn explain(&mut self, damage: &[String]) {
        if let Verdict::Broken { law, detail } = &mut self.verdict
            && OF_DAMAGE.iter().any(|of_damage| of_damage.name() == law)
        {
            *detail = with_findings(detail, damage);
        }
    }

    /// The sequence is over.
    pub fn over(&mut self) -> Result<(), Broken> {
        self.observe(Observed::End)
    }

    /// The chains and jobs as the model knows them.
    pub fn state_text(&self) -> String {
        format!("{}\n{}", self.judge.chain_text(), self.judge.jobs_text())
    }

    /// What happened that needs no model to be seen.
    pub(super) fn take_fall(&mut self) -> Option<Fall> {
        self.fall.take()
    }

    /// What a failure is known as, if it is.
    pub fn known(&self, baseline: Baseline, fall: Option<&Fall>) -> Option<Known> {
        let history = self.history.cut.as_deref().unwrap_or(&self.history);
        let is_explained = fall.is_some() || self.history.cut.is_some() || self.verdict == Verdict::Passed;
        if !is_explained || self.excused.is_none() && self.history.cut.is_none() {
            return known(baseline, Vec::new(), fall);
        }
        known(baseline, smallest(history, &self.quirks)?, fall)
    }

    /// What was seen, looked back on.
    pub fn outcome(self, detail: Detail) -> Outcome {
        let verdict = match (self.verdict, self.excused) {
            (Verdict::Passed, Some((law, detail))) => Verdict::Broken { law, detail },
            (verdict, _) => verdict,
        };
        let mut outcome = Outcome::of(verdict);
        outcome.steps = self.steps;
        outcome.is_inconclusive = self.judge.is_inconclusive();
        outcome.census = self.judge.census();
        outcome.verbs_sent = self.judge.verbs_sent();
        outcome.steps_taken = self.judge.steps_taken();
        let tally = self.judge.tally();
        outcome.laws_checked = laws().map(|law| tally.of(law)).collect();
        outcome.goals_reached = goals().map(|goal| tally.of(goal) > 0).collect();
        outcome.history_hash = self.history.fingerprint();
        if detail == Detail::Full {
            outcome.history = self.history;
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_breaks_a_law_stands_with_its_command() {
        let mut judge = Judge::new(&Scenario::chain(&["dd"]));
        let pause = r#"{"execute":"job-pause","arguments":{"id":"j"}}"#;
        assert!(judge.sent(3, pause).is_ok());
        assert!(judge.reply(3, r#"{"return": {}}"#).is_err(), "there is no such job");
        let Verdict::Broken { detail, .. } = &judge.verdict else { panic!("{:?}", judge.verdict) };
        assert!(detail.contains("in reply to client 3: job-pause id:j"), "{detail}");
    }
}
