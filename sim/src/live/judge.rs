//! Walks the model beside a live daemon: every line and every request becomes an observation, in the order received.

use super::journal::Journal;
use crate::device::Devices;
use crate::oracle::{brief, goals, laws, setup, tags_text, without_time};
use crate::recovery::Recovered;
use crate::verdict::{Outcome, Verdict};
use crate::workload::guest::{Operation, tag_in_sector};
use crate::workload::image::Tag;
use crate::workload::scenario::Scenario;
use model::law::LawId;
use model::{CrashKind, FaultKind, GuestOp, ImageSetup, Observation};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

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

/// What stands before the part of a history that tells once more how a sequence went until it was cut.
pub const ONCE_MORE: &str = "once more, until the cut:";

/// A law was broken: the sequence is over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Broken;

/// The judge of one sequence.
#[derive(Debug)]
pub struct Judge {
    model: model::Judge,
    lines: Option<Vec<String>>,
    steps: u64,
    verdict: Verdict,
    /// Kept where the sequence can be cut at other points later.
    journal: Option<Journal>,
}

impl Judge {
    /// A judge of a daemon that finds the scenario's files.
    pub fn new(scenario: &Scenario, is_readable: bool) -> Judge {
        let setups: Vec<ImageSetup> = scenario.images.iter().map(|image| setup(image, scenario)).collect();
        let lines = is_readable.then(Vec::new);
        Judge {
            model: model::Judge::new(&setups).on_real_files(),
            lines,
            steps: 0,
            verdict: Verdict::Passed,
            journal: None,
        }
    }

    /// Keeps everything that is shown from now on, each with what the devices had done before.
    pub(super) fn keep_journal(&mut self, devices: &Arc<Devices>) {
        self.journal = Some(Journal::new(Arc::clone(devices), self.model.clone()));
    }

    /// The journal, if one was kept and nothing is broken.
    pub(super) fn take_journal(&mut self) -> Option<Journal> {
        self.journal.take().filter(|_| self.verdict == Verdict::Passed)
    }

    /// Tells once more how the sequence went up to where it was cut.
    pub(super) fn tell_again(&mut self, story: &[String]) {
        if let Some(lines) = &mut self.lines {
            lines.push(format!("step 0     {ONCE_MORE}"));
            lines.extend(story.iter().map(|line| format!("step 0     {line}")));
        }
    }

    /// The line that is shown next was there when so much had been said on the monitor.
    pub(super) fn said(&mut self, bytes: u64) {
        if let Some(journal) = &mut self.journal {
            journal.said_bytes = bytes;
        }
    }

    /// Says one line about what happens.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let step = self.steps;
        if let Some(lines) = &mut self.lines {
            let line = format!("step {step:<5} {}", line());
            lines.push(line);
        }
    }

    fn tell(&mut self, observation: &Observation<'_>, line: impl FnOnce() -> String) -> Result<(), Broken> {
        self.steps += 1;
        self.note(line);
        if let Some(journal) = &mut self.journal {
            journal.note(observation);
        }
        match self.model.observe(observation) {
            Ok(()) => Ok(()),
            Err(broken) => Err(self.break_law(broken.law.name(), broken.detail)),
        }
    }

    /// A law was broken that needs no model to be seen.
    pub fn break_law(&mut self, law: &str, detail: String) -> Broken {
        if self.verdict == Verdict::Passed {
            self.verdict = Verdict::Broken { law: law.to_owned(), detail };
        }
        Broken
    }

    /// A command is about to be sent.
    pub fn sent(&mut self, client: u32, text: &str) -> Result<(), Broken> {
        self.tell(&Observation::Sent { client, text }, || format!("client {client:<2} -> {}", brief(text)))
    }

    /// A command that it was not shown has succeeded.
    pub fn unlisted(&mut self) -> Result<(), Broken> {
        self.tell(&Observation::Unlisted, || "only data is judged from here".to_owned())
    }

    /// Whether not everything is judged any more.
    pub fn is_lost(&self) -> bool {
        self.model.is_inconclusive()
    }

    /// Its reply.
    pub fn reply(&mut self, client: u32, text: &str) -> Result<(), Broken> {
        self.tell(&Observation::Reply { client, text }, || format!("client {client:<2} <- {text}"))
    }

    /// An event.
    pub fn event(&mut self, text: &str) -> Result<(), Broken> {
        self.tell(&Observation::Event { text }, || format!("event     {}", without_time(text)))
    }

    /// From now on this may go wrong.
    pub fn armed(&mut self, file: &str, error: &str) -> Result<(), Broken> {
        let observation = Observation::FaultArmed { file, kind: FaultKind::Any, error };
        self.tell(&observation, || format!("fault     {file}: {error}"))
    }

    /// A guest is connected to an export.
    pub fn connected(&mut self, guest: u32, export: &str) -> Result<(), Broken> {
        let observation = Observation::GuestConnected { guest, export };
        self.tell(&observation, || format!("guest {guest:<3} connects to {export}"))
    }

    /// A guest has left.
    pub fn detached(&mut self, guest: u32) -> Result<(), Broken> {
        self.tell(&Observation::GuestDetached { guest }, || format!("guest {guest:<3} leaves"))
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
        let written = if operation == Operation::Write { sectors } else { 0 };
        let values: Vec<Tag> = (sector..sector + written).map(|sector| tag_in_sector(tag, sector)).collect();
        let op = match operation {
            Operation::Read => GuestOp::Read { sector, count: sectors },
            Operation::Write => GuestOp::Write { sector, values: &values },
            Operation::WriteZeroes => GuestOp::WriteZeroes { sector, count: sectors },
            Operation::Discard => GuestOp::Discard { sector, count: sectors },
            Operation::Flush => GuestOp::Flush,
        };
        let line = || format!("guest {guest:<3} {operation:?} of {sectors} at {sector}");
        self.tell(&Observation::GuestBegan { request, guest, op }, line)
    }

    /// It has ended. A read brings its tags.
    pub fn ended(&mut self, request: u64, guest: u32, result: Result<&[Tag], &str>) -> Result<(), Broken> {
        let line = || match result {
            Ok([]) => format!("guest {guest:<3} is done"),
            Ok(tags) => format!("guest {guest:<3} reads {}", tags_text(tags)),
            Err(error) => format!("guest {guest:<3} fails: {error}"),
        };
        self.tell(&Observation::GuestEnded { request, result }, line)
    }

    /// A node's whole content, at rest.
    pub fn viewed(&mut self, node: &str, values: &[Tag]) -> Result<(), Broken> {
        let line = || format!("look      {node}: {}", tags_text(values));
        self.tell(&Observation::View { node, values }, line)
    }

    /// The daemon was killed.
    pub fn killed(&mut self) -> Result<(), Broken> {
        self.tell(&Observation::Crash { kind: CrashKind::KillUnheard }, || "kill".to_owned())
    }

    /// What a file shows to the next process, after a clean end or not.
    pub fn afresh(&mut self, found: &Recovered, is_clean: bool) -> Result<(), Broken> {
        let values = match &found.values {
            Ok(values) => values,
            // Headers may name what somebody told them to.
            Err(_) if self.model.is_inconclusive() => return Ok(()),
            Err(why) => return Err(self.break_law(LawId::ChainOnDisk.name(), why.clone())),
        };
        let chain: Vec<&str> = found.chain.iter().map(String::as_str).collect();
        let (file, chain_of) = (found.file.as_str(), chain.as_slice());
        let line = || format!("afresh    {}: {}", chain_of.join(" -> "), tags_text(values));
        let (check_corruptions, check_leaks) = (found.corruptions, found.leaks);
        let observation = if is_clean {
            Observation::Closed { file, values, chain: chain_of, check_corruptions, check_leaks }
        } else {
            Observation::Recovered { file, values, chain: chain_of, check_corruptions }
        };
        self.tell(&observation, line)
    }

    /// The sequence is over.
    pub fn over(&mut self) -> Result<(), Broken> {
        self.tell(&Observation::End, || "end".to_owned())
    }

    /// The chains and jobs as the model knows them.
    pub fn state_text(&self) -> String {
        format!("{}\n{}", self.model.chain_text(), self.model.jobs_text())
    }

    /// What was seen, looked back on.
    pub fn outcome(self) -> Outcome {
        let mut outcome = Outcome::of(self.verdict);
        outcome.steps = self.steps;
        outcome.is_lost = self.model.is_inconclusive();
        outcome.census = self.model.census();
        let tally = self.model.tally();
        outcome.laws_checked = laws().map(|law| tally.of(law)).collect();
        outcome.goals_reached = goals().map(|goal| tally.of(goal) > 0).collect();
        outcome.history = self.lines.unwrap_or_default();
        outcome.history_hash = xxh3_64(outcome.history.join("\n").as_bytes());
        outcome
    }
}
