//! What led to what: a reply to its command, an end to its beginning, an event to what its job did before or to the command
//! that it follows from, a request of a disk to whoever asked for it.

use super::data::Page;
use midstream::history::observed::Observed;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// Members of a command that name a job.
const JOB_MEMBERS: [&str; 3] = ["job-id", "id", "device"];

/// The rows that later ones may follow from.
#[derive(Default)]
pub(super) struct Causes {
    /// Commands without a reply, by client.
    commands: BTreeMap<u32, VecDeque<usize>>,
    /// Requests without an end, by number.
    requests: BTreeMap<u64, usize>,
    /// Requests by their name.
    names: BTreeMap<String, usize>,
    /// By guest: where it came in.
    guests: BTreeMap<u32, usize>,
    /// By job: the command or event that was last.
    jobs: BTreeMap<String, usize>,
    /// The crash, if there was one.
    crash: Option<usize>,
}

impl Causes {
    /// The rows from which what is seen in row `at` follows.
    pub fn of(&mut self, at: usize, observed: &Observed) -> Vec<usize> {
        let cause = match observed {
            Observed::Sent { client, text } => {
                self.commands.entry(*client).or_default().push_back(at);
                return self.sent(at, text);
            }
            Observed::Reply { client, .. } => {
                self.commands.get_mut(client).and_then(|commands| commands.pop_front())
            }
            Observed::Event { text } => return self.event(at, text),
            Observed::Attached { guest, .. } | Observed::Connected { guest, .. } => {
                self.guests.insert(*guest, at);
                None
            }
            Observed::Began { request, guest, name, .. } => {
                self.requests.insert(*request, at);
                if let Some(name) = name {
                    self.names.insert(name.to_string(), at);
                }
                self.guests.get(guest).copied()
            }
            Observed::Detached { guest } => self.guests.remove(guest),
            Observed::Ended { request, .. } => self.requests.remove(request),
            Observed::Crash { .. } => {
                self.crash = Some(at);
                None
            }
            Observed::Recovered(_) | Observed::Unreadable { .. } => self.crash,
            _ => None,
        };
        cause.into_iter().collect()
    }

    /// A command about jobs follows from what they did last, and what they do next follows from it.
    fn sent(&mut self, at: usize, text: &str) -> Vec<usize> {
        let Ok(command) = serde_json::from_str::<Value>(text) else { return Vec::new() };
        let is_query = command["execute"].as_str().is_some_and(|name| name.starts_with("query-"));
        let mut before = Vec::new();
        for argument in [&command["arguments"]].into_iter().chain(actions(&command)).filter(|_| !is_query) {
            // Its own name comes before that of the device that the job is asked of.
            let job = JOB_MEMBERS.iter().find_map(|member| argument[*member].as_str());
            if let Some(job) = job {
                before.extend(self.jobs.insert(job.to_owned(), at));
            }
        }
        before
    }

    fn event(&mut self, at: usize, text: &str) -> Vec<usize> {
        let Ok(event) = serde_json::from_str::<Value>(text) else { return Vec::new() };
        let job = ["id", "device"].iter().find_map(|member| event["data"][*member].as_str());
        job.and_then(|job| self.jobs.insert(job.to_owned(), at)).into_iter().collect()
    }

    /// The row from which a request of a disk follows, by its line: the request of a guest whose data it has, or what the
    /// job that asked for it did last.
    pub fn of_disk(&self, line: &str) -> Vec<usize> {
        let words = || line.split(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-');
        let request = words().find_map(|word| self.names.get(word));
        let job = || words().find_map(|word| self.jobs.get(word));
        request.or_else(job).copied().into_iter().collect()
    }
}

/// The arguments of a transaction's parts.
fn actions(command: &Value) -> impl Iterator<Item = &Value> {
    let actions = command["arguments"]["actions"].as_array().into_iter().flatten();
    actions.map(|action| &action["data"])
}

/// The rows before row `at` that changed last which values the given sectors may have.
pub(super) fn last_changes(page: &Page, at: usize, sectors: &[(u16, u32)]) -> Vec<usize> {
    let readable = |cell: usize| &page.cells[cell].r;
    let last = |(image, sector): &(u16, u32)| {
        let first = page.images.get(usize::from(*image))?.cells.get(*sector as usize)?;
        let (mut before, mut last) = (readable(*first), None);
        for (row, change) in
            page.rows[..at].iter().enumerate().flat_map(|(at, row)| row.d.iter().map(move |d| (at, d)))
        {
            if (change.0, change.1) == (*image, *sector) && readable(change.2) != before {
                (before, last) = (readable(change.2), Some(row));
            }
        }
        last
    };
    let mut found: Vec<usize> = sectors.iter().filter_map(last).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::html::data::{Cell, Image, Row};

    fn event(data: &str) -> Observed {
        Observed::Event { text: format!("{{\"event\":\"JOB_STATUS_CHANGE\",\"data\":{data}}}") }
    }

    #[test]
    fn a_reply_follows_from_its_command_and_an_event_from_what_its_job_did_before() {
        let mut causes = Causes::default();
        let sent = |text: &str| Observed::Sent { client: 1, text: text.to_owned() };
        let stream = r#"{"execute":"block-stream","arguments":{"device":"n2","job-id":"j0"}}"#;
        assert_eq!(causes.of(0, &sent(stream)), [0; 0]);
        assert_eq!(causes.of(1, &event(r#"{"id":"j0","status":"created"}"#)), [0]);
        assert_eq!(causes.of(2, &event(r#"{"id":"j0","status":"running"}"#)), [1]);
        assert_eq!(causes.of(3, &Observed::Reply { client: 1, text: "{}".to_owned() }), [0]);
        let cancel = r#"{"execute":"block-job-cancel","arguments":{"device":"j0"}}"#;
        assert_eq!(causes.of(4, &sent(cancel)), [2]);
        assert_eq!(causes.of(5, &event(r#"{"id":"j0","status":"aborting"}"#)), [4]);
        assert_eq!(causes.of_disk("job j0: read /n1.qcow2 0x400+0x400 (n1*2)"), [5]);
    }

    #[test]
    fn the_last_change_of_a_sectors_value_is_found() {
        let row = |d: &[(u16, u32, usize)]| Row { d: d.to_vec(), ..Row::default() };
        let cell = |o, value: &str| Cell { o, r: vec![value.to_owned()], s: None };
        let page = Page {
            images: vec![Image { cells: vec![0; 4], ..Image::default() }],
            cells: vec![cell(0, "0"), cell(0, "g1.0.0"), cell(1, "g1.0.0")],
            // The last one allocates what was written before.
            rows: vec![row(&[(0, 3, 1)]), row(&[(0, 2, 1), (0, 3, 2)]), row(&[]), row(&[(0, 3, 0)])],
            ..Page::default()
        };
        assert_eq!(last_changes(&page, 3, &[(0, 3), (0, 1), (1, 0)]), [0]);
        assert_eq!(last_changes(&page, 4, &[(0, 3)]), [3]);
    }
}
