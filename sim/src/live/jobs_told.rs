//! What events told of jobs: which of them are alive, and which failed when nothing was to go wrong any more, a fact about
//! a sequence for signatures.

use serde_json::Value;
use std::collections::BTreeMap;

/// Follows a sequence's job events.
#[derive(Debug, Default)]
pub(super) struct JobsTold {
    /// Jobs of which events said that they were made and not that they are gone: their last statuses, the oldest first.
    alive: BTreeMap<String, Vec<String>>,
    facts: Vec<String>,
}

impl JobsTold {
    /// An event came.
    pub(super) fn follow(&mut self, event: &Value) {
        let data = &event["data"];
        match (event["event"].as_str(), data["id"].as_str(), data["status"].as_str()) {
            (Some("JOB_STATUS_CHANGE"), Some(id), Some("null")) => drop(self.alive.remove(id)),
            (Some("JOB_STATUS_CHANGE"), Some(id), Some(status)) => {
                self.alive.entry(id.to_owned()).or_default().push(status.to_owned());
            }
            (Some("BLOCK_JOB_COMPLETED"), ..) if data.get("error").is_some() => self.failed(data),
            _ => {}
        }
    }

    fn failed(&mut self, data: &Value) {
        let word = |key: &str| data[key].as_str().unwrap_or_default();
        if self.alive.get(word("device")).is_some_and(|statuses| statuses.iter().any(|at| at == "pending")) {
            self.facts.push(format!("{} failed after it was pending: {}", word("type"), word("error")));
        }
    }

    pub(super) fn none_alive(&self) -> bool {
        self.alive.is_empty()
    }

    /// A line for every job that failed after it was pending.
    pub(super) fn into_facts(self) -> Vec<String> {
        self.facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_fails_at_its_end_is_told_from_one_that_fails_while_it_works() {
        let status = |id: &str, status: &str| {
            format!(r#"{{"event":"JOB_STATUS_CHANGE","data":{{"id":"{id}","status":"{status}"}}}}"#)
        };
        let failed = |id: &str| {
            format!(
                r#"{{"event":"BLOCK_JOB_COMPLETED","data":{{"device":"{id}","type":"stream","error":"No space"}}}}"#
            )
        };
        let events = [
            status("early", "running"),
            status("late", "pending"),
            status("early", "aborting"),
            failed("early"),
            status("early", "null"),
            status("late", "aborting"),
            failed("late"),
        ];
        let mut told = JobsTold::default();
        for event in &events {
            told.follow(&serde_json::from_str(event).expect("an event is JSON"));
        }
        assert!(!told.none_alive());
        assert_eq!(told.into_facts(), ["stream failed after it was pending: No space"]);
    }
}
