//! The law of internal snapshots: one keeps what it had when the command that made it was answered, whatever guests, jobs and
//! crashes do afterwards.
//!
//! What it had is read from the file at that moment, independently of the engine; and again whenever the file is reopened.

use crate::oracle::asked::after;
use crate::recovery::snapshots::{Snapshot, snapshots};
use midstream::content::{Tag, tags_text};
use serde_json::Value;
use std::collections::BTreeMap;

/// The snapshots that must be there.
#[derive(Clone, Debug, Default)]
pub struct Snapshots {
    /// By the file and the name.
    made: BTreeMap<(String, String), Vec<Option<Tag>>>,
    /// Commands under way that make one: node and name.
    asked: BTreeMap<u32, (String, String)>,
    looks: u64,
}

impl Snapshots {
    /// Those that images have from the beginning: files by name.
    pub fn of(files: impl Iterator<Item = (String, Vec<u8>)>) -> Snapshots {
        let mut all = Snapshots::default();
        for (path, file) in files {
            for Snapshot { name, content } in snapshots(&file) {
                all.made.insert((path.clone(), name), content);
            }
        }
        all
    }

    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        self.asked.remove(&client);
        if after(text, "internal-sync").is_none() {
            return;
        }
        let command: Value = serde_json::from_str(text).unwrap_or_default();
        let argument = |name: &str| command["arguments"][name].as_str().unwrap_or_default().to_owned();
        let name = argument("name");
        if command["execute"] == "blockdev-snapshot-internal-sync" {
            self.asked.insert(client, (argument("device"), name));
        } else {
            // Whether it is gone already, nobody knows before the answer.
            self.made.retain(|(_, made), _| *made != name);
            self.asked.retain(|_, (_, asked)| *asked != name);
        }
    }

    /// It is answered. Gives the node of which a snapshot was made, and its name.
    pub fn reply(&mut self, client: u32, text: &str) -> Option<(String, String)> {
        self.asked.remove(&client).filter(|_| text.starts_with(r#"{"return""#))
    }

    /// One was made in this file, which holds these bytes now.
    pub fn made(&mut self, path: &str, name: String, file: &[u8]) {
        if let Some(made) = snapshots(file).into_iter().find(|found| found.name == name) {
            self.made.insert((path.to_owned(), name), made.content);
        }
    }

    /// What is wrong with the snapshots of a file that was reopened.
    pub fn wrong(&mut self, path: &str, found: &[Snapshot]) -> Option<String> {
        let here: Vec<_> = self.made.iter().filter(|((file, _), _)| file == path).collect();
        self.looks += here.len() as u64;
        here.into_iter().find_map(|((_, name), made)| {
            let Some(found) = found.iter().find(|found| found.name == *name) else {
                return Some(format!("snapshot {name} of {path} is gone"));
            };
            if found.content == *made {
                return None;
            }
            let differs = |sector: &usize| found.content.get(*sector) != made.get(*sector);
            let sector = (0..made.len().max(found.content.len())).find(differs)?;
            let shown = |content: &[Option<Tag>]| match content.get(sector) {
                Some(Some(tag)) => tags_text(&[*tag]),
                _ => "nothing of its own".to_owned(),
            };
            let (expected, read) = (shown(made), shown(&found.content));
            Some(format!("sector {sector} of snapshot {name} of {path}: expected {expected}, found {read}"))
        })
    }

    /// How often there was something to find.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(content: Vec<Option<Tag>>) -> Vec<Snapshot> {
        vec![Snapshot { name: "s0".to_owned(), content }]
    }

    fn made() -> Snapshots {
        let made = BTreeMap::from([(("/n1".to_owned(), "s0".to_owned()), vec![Some(7), None])]);
        Snapshots { made, ..Snapshots::default() }
    }

    #[test]
    fn a_snapshot_is_there_and_holds_what_it_held() {
        assert_eq!(made().wrong("/n1", &with(vec![Some(7), None])), None);
        assert!(made().wrong("/n1", &[]).is_some());
        assert!(made().wrong("/n1", &with(vec![Some(8), None])).is_some());
        assert!(made().wrong("/n1", &with(vec![Some(7), Some(0)])).is_some());
        assert_eq!(made().wrong("/n2", &[]), None);
    }

    #[test]
    fn one_that_is_to_go_may_be_gone() {
        let mut snapshots = made();
        snapshots.sent(
            1,
            r#"{"execute":"blockdev-snapshot-delete-internal-sync","arguments":{"device":"n1","name":"s0"}}"#,
        );
        assert_eq!(snapshots.wrong("/n1", &[]), None);
        assert_eq!(snapshots.looks(), 0);
    }

    #[test]
    fn an_answer_says_where_one_was_made() {
        let make = r#"{"execute":"blockdev-snapshot-internal-sync","arguments":{"device":"n1","name":"s0"}}"#;
        let mut snapshots = Snapshots::default();
        snapshots.sent(1, make);
        assert_eq!(snapshots.reply(1, r#"{"error": {}}"#), None);
        snapshots.sent(1, make);
        assert_eq!(snapshots.reply(1, r#"{"return": {}}"#), Some(("n1".to_owned(), "s0".to_owned())));
    }
}
