//! What events told of jobs: which of them are alive, and, as facts about a sequence for signatures, which failed when
//! nothing was to go wrong any more and which wait for their operator.

use serde_json::Value;
use std::collections::BTreeMap;

/// Follows a sequence's job events.
#[derive(Clone, Debug, Default)]
pub(super) struct JobsTold {
    /// Jobs of which events said that they were made and not that they are gone: their last statuses, the oldest first.
    alive: BTreeMap<String, Vec<String>>,
    /// The types of jobs that were told to wait for being finalized.
    pending: BTreeMap<String, String>,
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
            (Some("BLOCK_JOB_PENDING"), Some(id), _) => {
                let kind = data["type"].as_str().unwrap_or_default();
                self.pending.insert(id.to_owned(), kind.to_owned());
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

    /// A line for every job that failed after it was pending, and for every one that was ready and waits to be finalized.
    pub(super) fn into_facts(mut self) -> Vec<String> {
        for (id, kind) in self.pending {
            let statuses = self.alive.get(&id).map_or(&[][..], Vec::as_slice);
            if statuses.iter().any(|at| at == "ready") && statuses.last().is_some_and(|at| at == "pending") {
                self.facts.push(format!("{kind} waits to be finalized after it was ready"));
            }
        }
        self.facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    #[test]
    fn a_job_that_waits_to_be_finalized_is_told_of_while_it_waits() {
        let status =
            |status: &str| json!({"event": "JOB_STATUS_CHANGE", "data": {"id": "j", "status": status}});
        let pending = json!({"event": "BLOCK_JOB_PENDING", "data": {"type": "mirror", "id": "j"}});
        let waits = [status("ready"), status("waiting"), status("pending"), pending];
        let mut told = JobsTold::default();
        waits.iter().for_each(|event| told.follow(event));
        let after: JobsTold = [status("concluded")].iter().fold(told.clone(), |mut told, event| {
            told.follow(event);
            told
        });
        assert_eq!(told.into_facts(), ["mirror waits to be finalized after it was ready"]);
        assert!(after.into_facts().is_empty());
    }
}
