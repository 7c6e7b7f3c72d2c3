//! A history as readable lines, one for each thing that happened.

use super::observed::{Asked, Found, Observed};
use super::{Entry, History, What};
use crate::content::tags_text;
use crate::request::Operation;
use model::CrashKind;
use std::collections::BTreeMap;

/// What stands before the part of a history that shows once more how a sequence went until it was cut.
const ONCE_MORE: &str = "once more, until the cut:";

impl History {
    /// All of it, a line each, with its step.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.texts().map(|(step, text)| format!("step {step:<5} {text}")).collect();
        if let Some(cut) = &self.cut {
            lines.push(format!("step 0     {ONCE_MORE}"));
            lines.extend(cut.shown().map(|text| format!("step 0     {text}")));
        }
        lines
    }

    /// The lines as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// What led to the verdict: a sequence that was cut afterwards is shown up to there. Lines without their steps.
    pub fn story(&self) -> Vec<String> {
        match &self.cut {
            None => self.texts().map(|(_, text)| text).collect(),
            Some(cut) => cut.shown().collect(),
        }
    }

    /// What a reader wants to know of how a sequence came to its end; looks at jobs and nodes say nothing.
    fn shown(&self) -> impl Iterator<Item = String> {
        let is_look = |entry: &Entry| match &entry.what {
            What::Observed(Observed::Sent { text, .. }) => text.contains("query-"),
            What::Observed(Observed::Reply { .. } | Observed::View { .. }) => true,
            _ => false,
        };
        self.entries
            .iter()
            .zip(self.all_texts())
            .filter(move |(entry, _)| !is_look(entry))
            .filter_map(|(_, text)| text)
    }

    fn texts(&self) -> impl Iterator<Item = (u64, String)> {
        let texts = self.entries.iter().zip(self.all_texts());
        texts.filter_map(|(entry, text)| Some((entry.step, text?)))
    }

    /// The line of each entry without its step, if it has one: as many as there are entries.
    pub fn lines_by_entry(&self) -> Vec<Option<String>> {
        self.all_texts().collect()
    }

    fn all_texts(&self) -> impl Iterator<Item = Option<String>> {
        let mut guests = BTreeMap::new();
        let may_fail = self.entries.iter().any(|entry| matches!(entry.what, What::Armed(..)));
        self.entries.iter().map(move |entry| {
            // Where nothing was to go wrong, nothing stops going wrong.
            if entry.what == What::FaultsStopped && !may_fail {
                return None;
            }
            if let What::Observed(Observed::Began { request, guest, name, .. }) = &entry.what {
                let who = name.map_or_else(|| format!("guest {guest}"), |name| name.to_string());
                guests.insert(*request, who);
            }
            entry.text(&guests)
        })
    }
}

impl Entry {
    /// Its line; `guests` knows who made which request.
    fn text(&self, guests: &BTreeMap<u64, String>) -> Option<String> {
        let who = |request: u64| format!("{:<9}", guests.get(&request).map_or("guest", String::as_str));
        Some(match &self.what {
            What::Armed(fault, file) => {
                format!("fault     {}", fault.text(file))
            }
            What::FaultsStopped => "fault     no more".to_owned(),
            What::Note(text) => text.clone(),
            // A world notes what is armed; that it has struck shows in what follows.
            What::Observed(Observed::FaultStruck { .. }) => return None,
            What::Observed(observed) => observed.text(&who),
        })
    }
}

impl Observed {
    fn text(&self, who: &dyn Fn(u64) -> String) -> String {
        match self {
            Observed::Sent { client, text } => format!("client {client:<2} -> {}", brief(text)),
            Observed::Reply { client, text } => format!("client {client:<2} <- {}", text.trim_end()),
            Observed::Event { text } => format!("event     {}", without_time(text)),
            Observed::SchemaCommandRefused { text } => format!("schema    {} was refused", brief(text)),
            Observed::SchemaCommand => "only data is judged from here".to_owned(),
            Observed::Attached { guest, node, writable } => {
                format!("guest {guest:<3} attaches to {node}{}", if *writable { ", to write" } else { "" })
            }
            Observed::Connected { guest, export } => format!("guest {guest:<3} connects to {export}"),
            Observed::Refused { guest, node, why, .. } => {
                format!("guest {guest:<3} is turned away from {node}: {why}")
            }
            Observed::Detached { guest } => format!("guest {guest:<3} leaves"),
            Observed::Began { request, asked, .. } => format!("{} {}", who(*request), asked.text()),
            Observed::Ended { request, result } => match result {
                Ok(values) if values.is_empty() => format!("{} is done", who(*request)),
                Ok(values) => format!("{} reads {}", who(*request), tags_text(values)),
                Err(failure) => format!("{} fails: {}", who(*request), failure.text),
            },
            Observed::FaultStruck { file, error, .. } => format!("struck    {file}: {error}"),
            Observed::FaultArmed { file, error, .. } => format!("fault     {file}: {error}"),
            Observed::View { node, values } => format!("look      {node}: {}", tags_text(values)),
            Observed::Crash { kind: CrashKind::KillUnheard } => "kill".to_owned(),
            Observed::Crash { kind: CrashKind::Kill } => "crash     kill".to_owned(),
            Observed::Crash { kind: CrashKind::PowerCut } => "crash     power cut".to_owned(),
            Observed::Unreadable { file, why } => format!("reopened  {file} cannot be read: {why}"),
            Observed::Recovered(found) => {
                format!("reopened  {}{}", found.text(), found.damage_text(found.corruptions > 0))
            }
            Observed::Closed(found) => format!("reopened  {}{}", found.text(), found.damage_text(true)),
            Observed::End => "end".to_owned(),
        }
    }
}

impl Asked {
    /// What it does, and where.
    pub fn text(&self) -> String {
        let Asked { operation, sector, count, .. } = self;
        match operation {
            Operation::Flush => operation.word().to_owned(),
            Operation::Write if self.fua => format!("write of {count} at {sector}, durable"),
            other => format!("{} of {count} at {sector}", other.word()),
        }
    }
}

/// So many things that a check has found stand in a line.
const DAMAGE_SHOWN_MAX: usize = 4;

impl Found {
    /// What the check has found, if that matters: after a crash, leaks do not.
    fn damage_text(&self, matters: bool) -> String {
        let shown = &self.damage[..self.damage.len().min(DAMAGE_SHOWN_MAX)];
        if !matters || shown.is_empty() {
            return String::new();
        }
        let more = if self.damage.len() > shown.len() { "; …" } else { "" };
        format!("; the check: {}{more}", shown.join("; "))
    }

    /// The chain and what it shows.
    pub fn text(&self) -> String {
        format!("{}: {}", self.chain.join(" -> "), tags_text(&self.values))
    }
}

/// A command as a reader wants it: its name and its arguments.
pub fn brief(text: &str) -> String {
    let text = text.trim().trim_start_matches(r#"{"execute":""#).trim_end_matches('}');
    text.replace(r#"","arguments":{"#, " ").replace('"', "")
}

/// An event without its timestamp, which says less than the step.
fn without_time(text: &str) -> String {
    let Ok(serde_json::Value::Object(mut event)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    event.remove("timestamp");
    let name = event.remove("event").and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
    let data = event.remove("data").map(|data| data.to_string()).unwrap_or_default();
    format!("{name} {}", data.replace('"', ""))
}
