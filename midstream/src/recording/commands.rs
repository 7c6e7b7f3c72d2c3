//! Which command is behind what was seen: the one that a reply answers, or the one that started the job an event is of.

use crate::history::brief;
use crate::history::observed::Observed;
use serde_json::Value;
use std::collections::BTreeMap;

/// The commands of a run, as far as they may still be behind something.
#[derive(Clone, Default, Debug)]
pub struct Commands {
    /// The last of each client.
    last: BTreeMap<u32, String>,
    /// Those that named a job to be started, with the client.
    starts: Vec<(u32, String)>,
}

impl Commands {
    /// One more observation.
    pub fn see(&mut self, observed: &Observed) {
        let Observed::Sent { client, text } = observed else { return };
        if text.contains(JOB) {
            self.starts.push((*client, text.clone()));
        }
        self.last.insert(*client, text.clone());
    }

    /// What broke a law, and below it the command behind the observation that broke it, if there is one.
    pub fn beside(&self, observed: &Observed, detail: &str) -> String {
        let cause = self.behind(observed).map(|cause| format!("\n{cause}")).unwrap_or_default();
        format!("{}{cause}", detail.trim_end())
    }

    /// The command behind an observation, as a line.
    pub fn behind(&self, observed: &Observed) -> Option<String> {
        match observed {
            Observed::Reply { client, .. } => {
                let text = self.last.get(client)?;
                Some(format!("in reply to client {client}: {}", brief(text)))
            }
            Observed::Event { text } => {
                let job = job_of(text)?;
                let named = Value::from(job.as_str()).to_string();
                let is_start = |text: &str| {
                    text.split(JOB)
                        .skip(1)
                        .any(|rest| rest.trim_start_matches([':', ' ']).starts_with(&named))
                };
                let (client, text) = self.starts.iter().rfind(|(_, text)| is_start(text))?;
                Some(format!("job {job} was started by client {client}: {}", brief(text)))
            }
            _ => None,
        }
    }
}

/// Before the name of a job in the command that starts it.
const JOB: &str = r#""job-id""#;

/// The job that an event is of.
fn job_of(event: &str) -> Option<String> {
    let event: Value = serde_json::from_str(event).ok()?;
    let data = event.get("data")?;
    let name = data.get("id").or_else(|| data.get("device"))?;
    name.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(client: u32, text: &str) -> Observed {
        Observed::Sent { client, text: text.to_owned() }
    }

    #[test]
    fn a_reply_and_an_event_lead_to_their_command() {
        let mut commands = Commands::default();
        let start = r#"{"execute":"block-stream","arguments":{"device":"n2","job-id":"j0"}}"#;
        commands.see(&sent(2, start));
        commands.see(&sent(2, r#"{"execute":"block-job-pause","arguments":{"device":"j0"}}"#));
        let reply = Observed::Reply { client: 2, text: "{}".to_owned() };
        let behind = commands.behind(&reply);
        assert_eq!(behind.as_deref(), Some("in reply to client 2: block-job-pause device:j0"));
        let event = |job: &str| Observed::Event {
            text: format!(r#"{{"event":"JOB_STATUS_CHANGE","data":{{"id":"{job}","status":"paused"}}}}"#),
        };
        assert_eq!(
            commands.behind(&event("j0")).as_deref(),
            Some("job j0 was started by client 2: block-stream device:n2,job-id:j0")
        );
        assert_eq!(commands.behind(&event("j")), None);
        assert_eq!(commands.behind(&Observed::End), None);
    }
}
