//! What the judges of a running world have in common: they record what happens, and the first law that breaks ends the run.

pub mod commands;

use crate::choice::Point;
use crate::content::named;
use crate::history::fingerprint::Fingerprint;
use crate::history::observed::Observed;
use crate::history::{Entry, History, Recorder, What, brief};
use crate::verdict::{Detail, Outcome, Verdict};
use commands::Commands;
use model::ImageSetup;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The record of one run, until it is over.
pub struct Recording {
    fingerprint: Fingerprint,
    history: History,
    /// Whether the history is kept, or its fingerprint alone.
    detail: Detail,
    /// The law that broke, and how.
    broken: Option<(String, String)>,
    /// Stops the scheduler.
    halt: Arc<AtomicBool>,
    /// The world has ended; what its parts say while they are taken down counts for nothing.
    is_over: bool,
    /// Commands without a reply and requests without an end.
    outstanding: Vec<(Point, Waiting)>,
    /// Every command so far.
    commands: Commands,
}

/// What somebody waits for the end of.
enum Waiting {
    /// A command, or a request that the model was shown.
    Seen(Observed),
    /// Anything else, in words.
    Other(String),
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recording({} entries of history)", self.history.entries.len())
    }
}

impl Recording {
    /// Of a run that starts with these images, and is stopped by `halt`.
    pub fn new(images: Vec<ImageSetup>, halt: Arc<AtomicBool>, detail: Detail) -> Recording {
        Recording {
            fingerprint: Fingerprint::default(),
            history: History::new(Recorder::World, images),
            detail,
            broken: None,
            halt,
            is_over: false,
            outstanding: Vec::new(),
            commands: Commands::default(),
        }
    }

    /// Whether anything that happens still matters to a judge.
    pub fn is_judged(&self) -> bool {
        !self.is_over && self.broken.is_none()
    }

    /// One more thing that happened.
    pub fn note(&mut self, entry: &Entry) {
        if self.is_over {
            return;
        }
        self.fingerprint.add(entry);
        if self.detail == Detail::Full {
            self.history.entries.push(entry.clone());
        }
    }

    /// One more thing that a judge is shown; gives it back.
    pub fn observed(&mut self, step: u64, at: u64, observed: Observed) -> Observed {
        let entry = Entry { step, at, what: What::Observed(observed) };
        self.note(&entry);
        let What::Observed(observed) = entry.what else { unreachable!("it is made above") };
        self.commands.see(&observed);
        observed
    }

    /// A law is broken: the first one counts, and ends the run.
    pub fn break_law(&mut self, law: &str, detail: String) {
        if self.is_judged() {
            self.broken = Some((law.to_owned(), named(&detail)));
            self.halt.store(true, Ordering::Relaxed);
        }
    }

    /// A law is broken by this observation: the command behind it is named, too.
    pub fn break_law_by(&mut self, observed: &Observed, law: &str, detail: &str) {
        self.break_law(law, self.commands.beside(observed, detail));
    }

    /// What else there is to say of the law that has just broken.
    pub fn explain(&mut self, law: &str, lines: &[String]) {
        let Some((broken, detail)) = &mut self.broken else { return };
        if broken == law {
            *detail = explained(detail, lines);
        }
    }

    /// What was begun waits for its end.
    pub fn awaits(&mut self, point: Point, begun: Observed) {
        self.outstanding.push((point, Waiting::Seen(begun)));
    }

    /// What was begun, and no judge was shown, waits for its end.
    pub fn awaits_other(&mut self, point: Point, what: String) {
        self.outstanding.push((point, Waiting::Other(what)));
    }

    /// It has ended.
    pub fn settle(&mut self, point: Point) {
        self.outstanding.retain(|(waiting, _)| *waiting != point);
    }

    /// Nobody waits any more.
    pub fn forget_all(&mut self) {
        self.outstanding.clear();
    }

    /// Whether what a task has begun is among what has not ended.
    pub fn is_outstanding(&self, task: Point) -> bool {
        let is_of = |point: &Point| {
            *point == task || point.name.starts_with(task.name) && point.of[..2] == task.of[..2]
        };
        self.outstanding.iter().any(|(point, _)| is_of(point))
    }

    /// What has begun and not ended.
    pub fn outstanding(&self) -> Vec<String> {
        let waits = |(who, begun): &(Point, Waiting)| match begun {
            Waiting::Seen(Observed::Sent { text, .. }) => {
                format!("{who} waits for the reply to {}", brief(text))
            }
            Waiting::Seen(Observed::Began { name, guest, asked, .. }) => {
                let who = name.map_or_else(|| format!("guest {guest}"), |name| name.to_string());
                format!("{who} waits for {}", asked.text())
            }
            Waiting::Seen(other) => panic!("nobody waits for {other:?}"),
            Waiting::Other(what) => format!("{who} waits for {what}"),
        };
        self.outstanding.iter().map(waits).collect()
    }

    /// The history so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The judgement so far.
    pub fn verdict(&self) -> Verdict {
        match self.broken.clone() {
            None => Verdict::Passed,
            Some((law, detail)) => Verdict::Broken { law, detail },
        }
    }

    /// Writes down what was recorded, and records nothing any more.
    pub fn report(&mut self, outcome: &mut Outcome) {
        self.is_over = true;
        outcome.history_hash = self.fingerprint.value();
        if self.detail == Detail::Full {
            outcome.history = std::mem::take(&mut self.history);
        }
    }
}

/// What broke, and each finding below its first line: the chain and its jobs come after.
pub fn explained(detail: &str, findings: &[String]) -> String {
    let (first, rest) = detail.split_once('\n').map_or((detail, None), |(first, rest)| (first, Some(rest)));
    let findings = findings.iter().map(|line| format!("\n  {line}"));
    let rest = rest.map(|rest| format!("\n{rest}"));
    findings.chain(rest).fold(first.to_owned(), |text, line| text + &line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_law_names_the_command_behind_it_and_each_finding() {
        let mut recording = Recording::new(Vec::new(), Arc::default(), Detail::Quiet);
        recording.observed(1, 0, Observed::Sent { client: 1, text: r#"{"execute":"quit"}"#.to_owned() });
        let reply = recording.observed(2, 0, Observed::Reply { client: 1, text: "{}".to_owned() });
        recording.break_law_by(&reply, "a law", "sector 3: found w8589934596\n");
        recording.explain("another law", &["this says nothing of it".to_owned()]);
        recording.explain("a law", &["L2 entry 0x200 has reserved bits set".to_owned()]);
        let detail = "sector 3: found n1\n  L2 entry 0x200 has reserved bits set\nin reply to client 1: quit";
        let verdict = Verdict::Broken { law: "a law".to_owned(), detail: detail.to_owned() };
        assert_eq!(recording.verdict(), verdict);
    }
}
