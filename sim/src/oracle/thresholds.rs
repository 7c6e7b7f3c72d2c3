//! The law of write thresholds: the first write past the mark of a node is reported, once, with how far it goes.
//!
//! A mark stands from the moment on that the command that sets it is answered. A guest's write that begins after that and
//! goes past the mark is reported before it ends, unless another was; so is one of a job, which is not followed here. Commands
//! that may move the mark, or the node, end what is known of it.

use crate::oracle::asked::{after, name_of, read};
use crate::oracle::write::Write;
use midstream::request::Operation;
use serde_json::Value;
use std::collections::BTreeMap;

/// What is known of the mark of one node.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Mark {
    /// It is there, at so many bytes.
    Stands(u64),
    /// A write past it was reported, and it is gone.
    Passed,
}

/// The marks of all nodes.
#[derive(Clone, Debug, Default)]
pub struct Thresholds {
    marks: BTreeMap<String, Mark>,
    /// The commands under way that set a mark: node and bytes.
    asked: BTreeMap<u32, (String, u64)>,
    /// Writes under way that began when the mark stood there.
    under_way: BTreeMap<u64, (Write, u64)>,
    looks: u64,
}

impl Thresholds {
    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        self.asked.remove(&client);
        let name = name_of(text);
        if name == "block-set-write-threshold" {
            let arguments = &read(text)["arguments"];
            let node = arguments["node-name"].as_str().unwrap_or_default().to_owned();
            self.marks.remove(&node);
            // They passed the mark that was there before, wherever the new one is.
            self.under_way.retain(|_, (write, _)| write.node != node);
            self.asked.insert(client, (node, arguments["write-threshold"].as_u64().unwrap_or_default()));
        } else if ["blockdev-del", "blockdev-add", "blockdev-reopen"].contains(&&*name) {
            self.marks.clear();
        }
    }

    /// It is answered.
    pub fn reply(&mut self, client: u32, text: &str) {
        let Some((node, bytes)) = self.asked.remove(&client) else { return };
        // Of two that set it at once, nobody knows which came last.
        let is_open = self.asked.values().any(|(other, _)| *other == node);
        if text.starts_with(r#"{"return""#) && bytes > 0 && !is_open {
            self.marks.insert(node, Mark::Stands(bytes));
        }
    }

    /// A guest's change begins.
    pub fn began(&mut self, request: u64, write: &Write) {
        let is_write = matches!(write.operation, Operation::Write | Operation::WriteZeroes);
        if let Some(Mark::Stands(mark)) = self.marks.get(&write.node).filter(|_| is_write) {
            self.under_way.insert(request, (write.clone(), *mark));
        }
    }

    /// Nobody knows which node it changes.
    pub fn forget(&mut self, request: u64) {
        self.under_way.remove(&request);
    }

    /// It has ended. Says how it breaks the law, if it does.
    pub fn ended(&mut self, request: u64, is_well: bool) -> Option<String> {
        let (write, mark) = self.under_way.remove(&request)?;
        self.looks += 1;
        let stands = self.marks.get(&write.node) == Some(&Mark::Stands(mark));
        let end = write.bytes.end;
        (is_well && stands && end > mark).then(|| {
            format!(
                "a write up to {end} of node `{}` passed its mark at {mark}, and nobody said so",
                write.node
            )
        })
    }

    /// An event. Says how it breaks the law, if it does.
    pub fn event(&mut self, text: &str) -> Option<String> {
        after(text, "BLOCK_WRITE_THRESHOLD")?;
        let event: Value = serde_json::from_str(text).ok()?;
        let data = &event["data"];
        let node = data["node-name"].as_str()?.to_owned();
        let (exceeded, mark) = (data["amount-exceeded"].as_u64()?, data["write-threshold"].as_u64()?);
        self.looks += 1;
        let is_asked = self.asked.values().any(|(asked, bytes)| *asked == node && *bytes == mark);
        let known = self.marks.get(&node).copied().filter(|_| !is_asked);
        self.marks.entry(node.clone()).and_modify(|known| *known = Mark::Passed);
        match known {
            _ if exceeded == 0 => {
                Some(format!("a write that ends at the mark of node `{node}`, at {mark}, does not pass it"))
            }
            Some(Mark::Stands(there)) if there != mark => {
                Some(format!("node `{node}` reports a mark at {mark}, which is at {there}"))
            }
            Some(Mark::Passed) => {
                Some(format!("node `{node}` reports once more that its mark at {mark} was passed"))
            }
            _ => None,
        }
    }

    /// How often there was something to find.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked() -> Thresholds {
        let mut thresholds = Thresholds::default();
        thresholds.sent(1, r#"{"execute":"block-set-write-threshold","arguments":{"node-name":"n1","write-threshold":1024}}"#);
        thresholds.reply(1, r#"{"return": {}}"#);
        thresholds
    }

    fn write(end: u64, operation: Operation) -> Write {
        Write { node: "n1".to_owned(), operation, bytes: 512..end }
    }

    fn passes(thresholds: &mut Thresholds, end: u64, operation: Operation) -> bool {
        thresholds.began(7, &write(end, operation));
        thresholds.ended(7, true).is_some()
    }

    fn event(exceeded: u64, mark: u64) -> String {
        format!(
            r#"{{"event":"BLOCK_WRITE_THRESHOLD","data":{{"amount-exceeded":{exceeded},"node-name":"n1","write-threshold":{mark}}}}}"#
        )
    }

    #[test]
    fn a_write_past_the_mark_is_reported_before_it_ends() {
        assert!(!passes(&mut marked(), 1024, Operation::Write));
        assert!(passes(&mut marked(), 1536, Operation::Write));
        assert!(passes(&mut marked(), 1536, Operation::WriteZeroes));
        assert!(!passes(&mut marked(), 1536, Operation::Discard));
        let mut thresholds = marked();
        thresholds.began(7, &write(1536, Operation::Write));
        assert_eq!(thresholds.event(&event(512, 1024)), None);
        assert_eq!(thresholds.ended(7, true), None);
        assert_eq!(thresholds.looks(), 2);
    }

    #[test]
    fn a_write_that_began_under_an_earlier_mark_passes_no_other() {
        let mut thresholds = marked();
        thresholds.began(7, &write(1536, Operation::Write));
        assert_eq!(thresholds.event(&event(512, 1024)), None);
        thresholds.sent(2, r#"{"execute":"block-set-write-threshold","arguments":{"node-name":"n1","write-threshold":1024}}"#);
        thresholds.reply(2, r#"{"return": {}}"#);
        assert_eq!(thresholds.ended(7, true), None);
    }

    #[test]
    fn a_report_is_of_the_mark_that_stands_and_comes_once() {
        assert!(marked().event(&event(0, 1024)).is_some());
        assert!(marked().event(&event(512, 2048)).is_some());
        let mut thresholds = marked();
        assert_eq!(thresholds.event(&event(512, 1024)), None);
        assert!(thresholds.event(&event(512, 1024)).is_some());
        let mut moved = marked();
        moved.sent(2, r#"{"execute":"blockdev-del","arguments":{"node-name":"n1"}}"#);
        assert_eq!(moved.event(&event(512, 2048)), None);
    }
}
