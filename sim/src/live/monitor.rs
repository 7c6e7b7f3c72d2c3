//! A sequence at the daemon's monitor: commands and their replies, what is said unasked, and why nothing comes back.

use super::action::Action;
use super::fall::{Fall, Fell};
use super::judge::{Broken, CRASHED, FLOODED, HUNG, SPINS};
use super::process::Ended;
use super::qmp::Lost;
use super::sequence::{Live, OPERATOR};
use super::timeout::Timeout;
use serde_json::Value;
use std::time::Instant;

impl Live<'_> {
    /// Sends one command and waits for its reply; the judge sees both, and every event on the way.
    pub(super) fn command(&mut self, client: u32, text: &str) -> Result<Value, Broken> {
        self.did(Action::Command(text.to_owned()));
        self.exchange(client, text, false)
    }

    /// Looks at the jobs. A look that shows what the last one did is not worth a line.
    pub(super) fn poll(&mut self) -> Result<Vec<Value>, Broken> {
        let mut reply = self.exchange(OPERATOR, r#"{"execute":"query-block-jobs"}"#, true)?;
        match reply["return"].take() {
            Value::Array(jobs) => Ok(jobs),
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn exchange(&mut self, client: u32, text: &str, is_poll: bool) -> Result<Value, Broken> {
        self.mark();
        self.receive(None, text)?;
        self.judge.sent(client, text)?;
        self.send(text)?;
        if !is_poll {
            self.count_in_flight();
        }
        let mut timeout = Timeout::begin();
        loop {
            let (line, message) = self.message(&mut timeout, text)?;
            if message.get("event").is_some() {
                self.received(&line)?;
                continue;
            }
            if is_poll {
                self.last_poll.clone_from(&line);
            }
            self.judge.said(self.process.qmp.said_bytes());
            *self.last_reply = Some(line.clone());
            self.judge.reply(client, &line)?;
            self.report_answers()?;
            return Ok(message);
        }
    }

    /// Sends one text as the daemon gets it.
    pub(super) fn send(&mut self, text: &str) -> Result<(), Broken> {
        let wire = self.store.wire(text);
        self.process.qmp.send(&wire).map_err(|lost| self.lost(lost, text))
    }

    /// What is said next while a reply to `text` is waited for. Guests' answers are received meanwhile.
    pub(super) fn message(&mut self, timeout: &mut Timeout, text: &str) -> Result<(String, Value), Broken> {
        self.receive_answers();
        let line = match self.process.line(timeout) {
            Ok(line) => self.store.plain(&line),
            Err(lost) => return Err(self.lost_after(timeout, lost, text)),
        };
        match serde_json::from_str(&line) {
            Ok(message) => Ok((line, message)),
            Err(_) => {
                let found = format!("after {text} it said {line}, which is no JSON");
                Err(self.judge.break_law(HUNG, found))
            }
        }
    }

    /// Takes what was said unasked: what is there already, or whatever comes first before a deadline.
    pub(super) fn receive(&mut self, deadline: Option<Instant>, during: &str) -> Result<(), Broken> {
        let mut deadline = deadline;
        for _ in 0..EVENTS_MAX {
            let line = match self.process.qmp.line(deadline) {
                Ok(line) => self.store.plain(&line),
                Err(Lost::Silent) => return Ok(()),
                Err(lost) => return Err(self.lost(lost, during)),
            };
            self.received(&line)?;
            deadline = None;
        }
        Err(self.lost(Lost::Flooding, during))
    }

    /// An event came.
    pub(super) fn received(&mut self, line: &str) -> Result<(), Broken> {
        let is_of = |name: &str| line.contains(name);
        if (is_of("BLOCK_EXPORT_DELETED")
            || is_of("JOB_STATUS_CHANGE")
            || is_of("BLOCK_JOB_COMPLETED")
            || is_of("BLOCK_JOB_PENDING"))
            && let Ok(event) = serde_json::from_str::<Value>(line)
        {
            self.all_stay = false;
            self.follow(&event);
            if event["event"] == "BLOCK_EXPORT_DELETED" {
                self.exports_gone.extend(event["data"]["id"].as_str().map(str::to_owned));
            }
        }
        self.judge.said(self.process.qmp.said_bytes());
        self.judge.event(line)
    }

    /// Keeps which jobs events have reported, and not reported as gone.
    fn follow(&mut self, event: &Value) {
        let data = &event["data"];
        if let (Some("JOB_STATUS_CHANGE"), Some(id)) = (event["event"].as_str(), data["id"].as_str()) {
            match data["status"] == "null" {
                true => drop(self.jobs.remove(id)),
                false => drop(self.jobs.insert(id.to_owned())),
            }
        }
    }

    /// Why nothing came back although it was not waited for.
    pub(super) fn lost(&mut self, lost: Lost, during: &str) -> Broken {
        self.lost_after(&Timeout::begin(), lost, during)
    }

    /// Why nothing came back.
    pub(super) fn lost_after(&mut self, timeout: &Timeout, lost: Lost, during: &str) -> Broken {
        let state = self.judge.state_text();
        let (law, kind, found) = match lost {
            Lost::Silent => {
                let late = format!("no answer within {}", timeout.text());
                if self.process.spins() { (SPINS, Fell::Spin, late) } else { (HUNG, Fell::Hang, late) }
            }
            Lost::Spinning => (SPINS, Fell::Spin, format!("no answer within {}", timeout.text())),
            Lost::Flooding => (FLOODED, Fell::Flood, format!("more than {EVENTS_MAX} events at once")),
            Lost::Closed => match self.process.wait() {
                Some(ended) => return self.crashed(during, &ended, &format!("after {during}\n{state}")),
                None => (HUNG, Fell::Hang, "it closed its monitor and does not end".to_owned()),
            },
        };
        let fall = self.judge.fall(kind, "", during);
        self.judge.fell(law, format!("{found}\nafter {during}\n{state}"), fall)
    }

    /// The daemon has ended by itself.
    pub(super) fn crashed(&mut self, during: &str, ended: &Ended, state: &str) -> Broken {
        let how = &ended.how;
        let said = match ended.stderr.as_str() {
            "" => String::new(),
            said => format!("; it said: {said}"),
        };
        let law = match name_of(during) {
            Some(name) => format!("{CRASHED} in {name}"),
            None => CRASHED.to_owned(),
        };
        let fall = Fall { how: how.clone(), ..self.judge.fall(Fell::Crash, &ended.stderr, during) };
        self.judge.fell(&law, format!("ended with {how}{said}\n{state}"), fall)
    }
}

/// So many events at once are a flood.
const EVENTS_MAX: usize = 5_000;

/// The name of a command, of its text.
pub(super) fn name_of(text: &str) -> Option<&str> {
    text.strip_prefix(r#"{"execute":""#)?.split('"').next()
}
