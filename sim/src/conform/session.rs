//! A subject at work: commands and replies, the events so far, and waiting.

use super::case::WaitEvent;
use super::names::Names;
use super::subject::{Lost, Subject};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// More events than this, and the subject runs in circles.
const EVENTS_MAX: usize = 2_000;
/// Between two looks that must agree before a subject counts as settled.
const SETTLE_SECONDS: f64 = 0.006;
/// When settling is given up: a daemon that makes things durable on a slow disk may take its time.
const SETTLE_SECONDS_MAX: f64 = 20.0;
/// How long the end of an export is waited for.
const EXPORT_SECONDS_MAX: f64 = 5.0;

/// A subject at work.
#[allow(missing_debug_implementations)]
pub struct Session<'a> {
    /// On whom the case is played.
    pub subject: &'a mut dyn Subject,
    /// The names of this run.
    pub names: Names,
    /// The step that is being done: -1 before the first.
    pub step: i64,
    events: Vec<Emitted>,
}

/// An event, and what became of it.
struct Emitted {
    step: i64,
    event: Value,
    /// A wait of the case has taken it.
    taken: bool,
}

impl<'a> Session<'a> {
    /// A session that has received nothing yet.
    pub fn new(subject: &'a mut dyn Subject) -> Session<'a> {
        let names = Names::new(subject.folder());
        Session { subject, names, step: -1, events: Vec::new() }
    }

    /// Sends a text and gives the next reply, without its id.
    pub fn execute(&mut self, text: &str) -> Result<Value, Lost> {
        let reply = self.subject.execute(text);
        self.listen()?;
        let mut reply = reply?;
        if let Some(members) = reply.as_object_mut() {
            members.remove("id");
        }
        Ok(reply)
    }

    /// Does a command and gives its reply.
    pub fn command(&mut self, name: &str, arguments: Value) -> Result<Value, Lost> {
        self.execute(&json!({"execute": name, "arguments": arguments}).to_string())
    }

    /// Asks for a list; nothing if the command is refused.
    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, Lost> {
        let mut reply = self.execute(&json!({"execute": name}).to_string())?;
        match reply["return"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, seconds: f64) -> Result<(), Lost> {
        let passed = self.subject.pass(seconds);
        self.listen()?;
        passed
    }

    /// Takes over what the subject has emitted meanwhile.
    pub fn listen(&mut self) -> Result<(), Lost> {
        for mut event in self.subject.take_events() {
            if self.events.len() >= EVENTS_MAX {
                return Err(Lost::Flooding);
            }
            if let Some(members) = event.as_object_mut() {
                members.remove("timestamp");
            }
            self.events.push(Emitted { step: self.step, event, taken: false });
        }
        Ok(())
    }

    /// Jobs by id, as both queries show them.
    pub fn jobs(&mut self) -> Result<BTreeMap<String, Map<String, Value>>, Lost> {
        let mut jobs: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        for (query, id_member, place) in
            [("query-block-jobs", "device", "block"), ("query-jobs", "id", "job")]
        {
            for mut job in self.list(query)? {
                let id = job.as_object_mut().and_then(|members| members.remove(id_member));
                let id = id.and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_default();
                jobs.entry(id).or_default().insert(place.to_owned(), job);
            }
        }
        Ok(jobs)
    }

    /// Waits for rest: two looks at the jobs agree, and nobody is busy.
    pub fn settle(&mut self) -> Result<(), Lost> {
        let mut last = None;
        let mut waited = 0.0;
        while waited < SETTLE_SECONDS_MAX {
            let jobs = self.jobs()?;
            if jobs.is_empty() {
                return Ok(());
            }
            let rests = !jobs.values().any(is_busy);
            if rests && last.as_ref() == Some(&jobs) {
                return Ok(());
            }
            last = Some(jobs);
            self.pass(SETTLE_SECONDS)?;
            waited += SETTLE_SECONDS;
        }
        Ok(())
    }

    /// Waits for an event that no earlier wait has taken.
    pub fn wait_event(&mut self, wait: &WaitEvent) -> Result<Option<Value>, Lost> {
        let mut waited = 0.0;
        loop {
            let wanted = |emitted: &&mut Emitted| {
                let data = &emitted.event["data"];
                !emitted.taken
                    && emitted.event["event"] == wait.event.as_str()
                    && wait.matching.iter().all(|(name, value)| data.get(name) == Some(value))
            };
            if let Some(emitted) = self.events.iter_mut().find(wanted) {
                emitted.taken = true;
                return Ok(Some(emitted.event.clone()));
            }
            if waited >= wait.timeout {
                return Ok(None);
            }
            self.pass(0.02)?;
            waited += 0.02;
        }
    }

    /// Deletes an export that is the player's own business: its event is not part of the result.
    pub fn drop_export(&mut self, id: &str) -> Result<(), Lost> {
        self.command("block-export-del", json!({"id": id, "mode": "hard"}))?;
        let mut waited = 0.0;
        while waited < EXPORT_SECONDS_MAX {
            let is_end = |emitted: &Emitted| {
                emitted.event["event"] == "BLOCK_EXPORT_DELETED" && emitted.event["data"]["id"] == id
            };
            if let Some(index) = self.events.iter().position(is_end) {
                self.events.remove(index);
                return Ok(());
            }
            self.pass(0.005)?;
            waited += 0.005;
        }
        Ok(())
    }

    /// All events and the steps during which they came.
    pub fn events(&mut self) -> (Value, Value) {
        let events = std::mem::take(&mut self.events);
        let named = events.iter().map(|emitted| self.names.value(&emitted.event)).collect();
        (named, events.iter().map(|emitted| Value::from(emitted.step)).collect())
    }
}

fn is_busy(job: &Map<String, Value>) -> bool {
    let Some(block) = job.get("block") else {
        return false;
    };
    let status = block["status"].as_str().unwrap_or_default();
    block["busy"] == true && ["running", "aborting", "waiting", "created"].contains(&status)
}
