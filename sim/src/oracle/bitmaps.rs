//! The law of bitmaps: what a guest changed while a bitmap recorded is dirty in it.
//!
//! Followed is a bitmap from the moment on that the command that adds it is answered, or from the beginning where an image has
//! it, until a client sends a command that may take it away or clear it. What it must have is what guests changed since, in requests that have ended; jobs may make
//! more of it dirty. A query must show that much, and so must the image after a clean end, if the bitmap is persistent. After a
//! crash an image may say that nobody knows what is dirty; it must not say less than is.
//!
//! While a backup holds it nothing is asked of it. Afterwards it has what was changed since the backup began, and all that it had
//! before as well, unless the backup has made it forget that.

mod held;
mod shown;

use crate::oracle::asked::{after, name_of, read};
use crate::oracle::write::Write;
use crate::recovery::Kept;
use crate::workload::image::{BITMAP, BITMAP_GRANULARITY};
use held::Held;
use serde_json::Value;
use shown::{Node, nodes};
use std::collections::{BTreeMap, BTreeSet};

/// A bitmap that is followed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Bitmap {
    granularity: u64,
    is_persistent: bool,
    /// Whether it may have stopped recording; what was dirty stays so.
    is_stopped: bool,
    /// Dirty granules, as far as guests made them so.
    dirty: BTreeSet<u64>,
    /// The backup that holds it, or may.
    held: Option<Held>,
    /// How many backups have held it.
    backups: u64,
}

/// The commands after which a bitmap records, and does not.
const ENABLE: &str = "block-dirty-bitmap-enable";
const DISABLE: &str = "block-dirty-bitmap-disable";

/// The node and the name of a bitmap.
type Name = (String, String);

/// A bitmap that records, the backup that holds it by its number, and how many have begun to.
type Recording = (Name, Option<u64>, u64);

/// What must be dirty in bitmaps.
#[derive(Clone, Debug, Default)]
pub struct Bitmaps {
    followed: BTreeMap<Name, Bitmap>,
    /// The command of each client that waits for its answer, if it is of bitmaps, and what a query had to show when it was
    /// sent.
    asked: BTreeMap<u32, (Value, BTreeMap<Name, Bitmap>)>,
    /// Changes under way, and the bitmaps that recorded when each began, with the backup that had begun by then.
    under_way: BTreeMap<u64, (Write, Vec<Recording>)>,
    looks: u64,
}

impl Bitmaps {
    /// Those that images have from the beginning, by the names of their nodes.
    pub fn of(nodes: impl Iterator<Item = String>) -> Bitmaps {
        let (granularity, dirty) = (BITMAP_GRANULARITY, BTreeSet::new());
        let bitmap = Bitmap { granularity, is_persistent: true, dirty, ..Bitmap::default() };
        let followed = nodes.map(|node| ((node, BITMAP.to_owned()), bitmap.clone())).collect();
        Bitmaps { followed, ..Bitmaps::default() }
    }

    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        let name = name_of(text);
        let is_query = name == "query-named-block-nodes";
        let followed = if is_query { self.followed.clone() } else { BTreeMap::new() };
        let is_backup = name == "blockdev-backup" && !self.followed.is_empty();
        let is_ours = is_query || is_backup || name.starts_with("block-dirty-bitmap-") || may_undo(&name);
        let command = if is_ours { read(text) } else { Value::Null };
        if may_undo(&name) {
            self.undo(&command);
        } else if name == DISABLE {
            self.stop(&command["arguments"]);
        }
        if is_backup {
            self.may_be_held(client, &command["arguments"]);
        }
        self.asked.insert(client, (command, followed));
    }

    /// It is answered. Says how the answer breaks the law, if it does.
    pub fn reply(&mut self, client: u32, text: &str) -> Option<String> {
        let (command, followed) = self.asked.remove(&client)?;
        if command["execute"] == "blockdev-backup" {
            self.is_held(client, read(text).get("return").is_some());
            return None;
        }
        let is_query = command["execute"] == "query-named-block-nodes";
        let is_addition = command["execute"] == "block-dirty-bitmap-add";
        if command["execute"] == ENABLE && text.starts_with(r#"{"return""#) {
            self.go_on(&command["arguments"]);
        }
        if !is_query && !is_addition || is_query && followed.is_empty() {
            return None;
        }
        if is_query {
            return self.queried(&followed, &nodes(text)?);
        }
        if text.starts_with(r#"{"return""#) {
            self.added(&command["arguments"]);
        }
        None
    }

    /// Another one may be there to be taken away by a command under way.
    fn added(&mut self, arguments: &Value) {
        let undone =
            self.asked.values().any(|(command, _)| may_undo(command["execute"].as_str().unwrap_or_default()));
        let (Some(node), Some(name)) = (arguments["node"].as_str(), arguments["name"].as_str()) else {
            return;
        };
        let Some(granularity) = arguments["granularity"].as_u64().filter(|_| !undone) else { return };
        let is_persistent = arguments["persistent"] == true;
        let bitmap = Bitmap { granularity, is_persistent, ..Bitmap::default() };
        self.followed.insert((node.to_owned(), name.to_owned()), bitmap);
    }

    /// What a command may take away is not followed any more.
    fn undo(&mut self, command: &Value) {
        match command["arguments"]["node"].as_str() {
            Some(node) => self.followed.retain(|(of, _), _| of != node),
            None => self.followed.clear(),
        }
    }

    /// From now on it may not record; nor may it what is under way.
    fn stop(&mut self, arguments: &Value) {
        let Some(name) = bitmap_of(arguments) else { return };
        if let Some(bitmap) = self.followed.get_mut(&name) {
            bitmap.is_stopped = true;
        }
        self.under_way.values_mut().for_each(|(_, here)| here.retain(|(other, ..)| *other != name));
    }

    /// It records again, unless a command under way stops it.
    fn go_on(&mut self, arguments: &Value) {
        let Some(name) = bitmap_of(arguments) else { return };
        let stops = |command: &Value| {
            command["execute"] == DISABLE && bitmap_of(&command["arguments"]).as_ref() == Some(&name)
        };
        let is_stopped = self.asked.values().any(|(command, _)| stops(command));
        if let Some(bitmap) = self.followed.get_mut(&name) {
            bitmap.is_stopped = is_stopped;
        }
    }

    /// A guest's change begins.
    pub fn began(&mut self, request: u64, write: &Write) {
        let records = |((node, _), bitmap): &(&Name, &Bitmap)| *node == write.node && !bitmap.is_stopped;
        let here = self.followed.iter().filter(records);
        let here =
            here.map(|(name, bitmap)| (name.clone(), bitmap.begun(), bitmap.backups_begun())).collect();
        self.under_way.insert(request, (write.clone(), here));
    }

    /// Nobody knows which node it changes.
    pub fn forget(&mut self, request: u64) {
        self.under_way.remove(&request);
    }

    /// It has ended: what it changed is dirty. One that failed may have changed nothing.
    pub fn ended(&mut self, request: u64, is_well: bool) {
        let Some((write, here)) = self.under_way.remove(&request).filter(|_| is_well) else { return };
        for (name, backup, backups) in here {
            // A backup that came and went meanwhile may have saved what was changed, and the bitmap forgot it.
            let may_have_it = |bitmap: &&mut Bitmap| bitmap.backups_gone() <= backups;
            if let Some(bitmap) = self.followed.get_mut(&name).filter(may_have_it) {
                let granules =
                    write.bytes.start / bitmap.granularity..write.bytes.end.div_ceil(bitmap.granularity);
                bitmap.dirty.extend(granules.clone());
                let is_since = backup.is_some() && bitmap.begun() == backup;
                if let Some(held) = bitmap.held.as_mut().filter(|_| is_since) {
                    held.since.extend(granules);
                }
            }
        }
    }

    /// A query shows nodes; `followed` is what must have been dirty when it was asked.
    fn queried(&mut self, followed: &BTreeMap<Name, Bitmap>, nodes: &[Node]) -> Option<String> {
        for ((node, name), bitmap) in followed {
            // What was taken away meanwhile may or may not be shown, and a backup may have made it forget.
            let now = self.followed.get(&(node.clone(), name.clone()));
            if now.is_none_or(|now| now.backups != bitmap.backups) || bitmap.held.is_some() {
                continue;
            }
            let Some(shown) = nodes.iter().find(|shown| shown.node_name.as_ref() == Some(node)) else {
                continue;
            };
            self.looks += 1;
            if let Some(missed) = bitmap.missed(shown.dirty_bytes(name)) {
                return Some(format!("bitmap {name} of node `{node}` {missed}"));
            }
        }
        None
    }

    /// What an image keeps after a clean end, whose node had this name. One that nobody wrote may have been read-only, and
    /// keeps none.
    pub fn closed(&mut self, node: &str, kept: &[Kept]) -> Option<String> {
        let is_kept = |bitmap: &Bitmap| bitmap.is_persistent && !bitmap.dirty.is_empty();
        let here: Vec<(&Name, &Bitmap)> =
            self.followed.iter().filter(|((of, _), bitmap)| of == node && is_kept(bitmap)).collect();
        self.looks += here.len() as u64;
        here.into_iter().find_map(|((_, name), bitmap)| {
            let found = kept.iter().find(|kept| kept.name == *name).map(|kept| kept.dirty_bytes);
            bitmap
                .missed(found)
                .map(|missed| format!("bitmap {name} of node `{node}`, after a clean end, {missed}"))
        })
    }

    /// What an image keeps after a crash, whose node had this name. Those of which it says that nobody knows are not among it.
    pub fn recovered(&mut self, node: &str, kept: &[Kept]) -> Option<String> {
        let here = self.followed.iter().filter(|((of, _), bitmap)| of == node && bitmap.is_persistent);
        let found = here.filter_map(|((_, name), bitmap)| {
            Some((name, bitmap, kept.iter().find(|kept| kept.name == *name)?.dirty_bytes))
        });
        let found: Vec<(&String, &Bitmap, u64)> = found.collect();
        self.looks += found.len() as u64;
        found.into_iter().find_map(|(name, bitmap, dirty)| {
            let missed = bitmap.missed(Some(dirty))?;
            Some(format!("bitmap {name} of node `{node}`, after a crash, {missed}"))
        })
    }

    /// A bitmap that a query shows with more than its node has, after a resize, say.
    pub fn beyond(text: &str) -> Option<String> {
        after(text, r#""dirty-bitmaps""#)?;
        nodes(text)?.iter().find_map(Node::beyond)
    }

    /// How often there was something to find.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

impl Bitmap {
    /// What it misses, if so many bytes are dirty in it; nothing: it is gone.
    fn missed(&self, dirty_bytes: Option<u64>) -> Option<String> {
        // Whether a backup that holds it has come to its end, nobody saw.
        let dirty = self.held.as_ref().map_or(&self.dirty, |held| &held.since);
        let expected = dirty.len() as u64 * self.granularity;
        match dirty_bytes {
            None => Some("is gone".to_owned()),
            Some(found) if found < expected => {
                Some(format!("has {found} dirty bytes, and guests changed {expected}"))
            }
            Some(_) => None,
        }
    }
}

/// The bitmap that a command is about.
fn bitmap_of(arguments: &Value) -> Option<Name> {
    Some((arguments["node"].as_str()?.to_owned(), arguments["name"].as_str()?.to_owned()))
}

/// Whether a command may clear a bitmap, or take it away with its node.
fn may_undo(name: &str) -> bool {
    let is_of_bitmaps = name.starts_with("block-dirty-bitmap-")
        && !["block-dirty-bitmap-add", ENABLE, DISABLE].contains(&name);
    is_of_bitmaps || ["blockdev-del", "block_resize", "transaction", "blockdev-reopen"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::request::Operation;

    const ADD: &str = r#"{"execute":"block-dirty-bitmap-add","arguments":{"node":"n1","name":"b","granularity":512,"persistent":true}}"#;
    pub(super) const QUERY: &str = r#"{"execute":"query-named-block-nodes"}"#;

    pub(super) fn said(bitmaps: &mut Bitmaps, text: &str, reply: &str) -> Option<String> {
        bitmaps.sent(1, text);
        bitmaps.reply(1, reply)
    }

    pub(super) fn shows(count: u64) -> String {
        format!(r#"{{"return":[{{"node-name":"n1","dirty-bitmaps":[{{"name":"b","count":{count}}}]}}]}}"#)
    }

    pub(super) fn written() -> Bitmaps {
        let mut bitmaps = Bitmaps::default();
        let write = Write { node: "n1".to_owned(), operation: Operation::WriteZeroes, bytes: 512..1536 };
        bitmaps.began(1, &write);
        assert_eq!(said(&mut bitmaps, ADD, r#"{"return":{}}"#), None);
        bitmaps.began(2, &write);
        assert_eq!(said(&mut bitmaps, QUERY, &shows(0)), None, "it is under way");
        bitmaps.ended(1, true);
        assert_eq!(said(&mut bitmaps, QUERY, &shows(0)), None, "it began before the bitmap did");
        bitmaps.ended(2, true);
        bitmaps
    }

    #[test]
    fn a_query_shows_at_least_what_guests_changed() {
        let mut bitmaps = written();
        let missed = said(&mut bitmaps, QUERY, &shows(512)).expect("half of it is missing");
        assert_eq!(missed, "bitmap b of node `n1` has 512 dirty bytes, and guests changed 1024");
        assert_eq!(said(&mut bitmaps, QUERY, &shows(1024)), None);
        assert!(said(&mut bitmaps, QUERY, r#"{"return":[{"node-name":"n1"}]}"#).is_some(), "it is gone");
        assert_eq!(said(&mut bitmaps, QUERY, r#"{"return":[]}"#), None, "with its node");
        assert_eq!(bitmaps.looks(), 5);
    }

    #[test]
    fn a_persistent_one_is_in_the_image_after_a_clean_end() {
        let kept = |dirty_bytes| [Kept { name: "b".to_owned(), dirty_bytes }];
        assert!(written().closed("n1", &[]).is_some());
        assert!(written().closed("n1", &kept(512)).is_some());
        assert_eq!(written().closed("n1", &kept(1024)), None);
    }

    #[test]
    fn after_a_crash_one_that_is_believed_has_what_guests_changed() {
        let kept = |dirty_bytes| [Kept { name: "b".to_owned(), dirty_bytes }];
        assert!(written().recovered("n1", &kept(512)).is_some());
        assert_eq!(written().recovered("n1", &kept(1024)), None);
        assert_eq!(written().recovered("n1", &[]), None, "nobody believes it");
    }

    #[test]
    fn nothing_past_the_end_of_a_node_is_dirty() {
        let shows = |count: u64| {
            format!(
                r#"{{"return":[{{"node-name":"n1","image":{{"virtual-size":1536}},"dirty-bitmaps":[{{"name":"b","count":{count},"granularity":1024}}]}}]}}"#
            )
        };
        assert_eq!(Bitmaps::beyond(&shows(2048)), None);
        assert!(Bitmaps::beyond(&shows(3072)).is_some());
        assert_eq!(Bitmaps::beyond(r#"{"return":[]}"#), None);
    }

    #[test]
    fn one_that_was_stopped_keeps_what_it_has_and_records_once_it_goes_on() {
        let switch = |to: &str| ADD.replace("bitmap-add", &format!("bitmap-{to}"));
        let mut bitmaps = written();
        bitmaps.sent(2, &switch("disable"));
        let more = Write { node: "n1".to_owned(), operation: Operation::Write, bytes: 4096..4608 };
        let write = |bitmaps: &mut Bitmaps, request| {
            bitmaps.began(request, &more);
            bitmaps.ended(request, true);
        };
        write(&mut bitmaps, 7);
        assert!(said(&mut bitmaps, QUERY, &shows(512)).is_some());
        assert_eq!(said(&mut bitmaps, QUERY, &shows(1024)), None);
        bitmaps.sent(3, &switch("enable"));
        bitmaps.reply(3, r#"{"return": {}}"#);
        write(&mut bitmaps, 8);
        assert_eq!(said(&mut bitmaps, QUERY, &shows(1024)), None, "it may be stopped after that");
        bitmaps.reply(2, r#"{"return": {}}"#);
        bitmaps.sent(3, &switch("enable"));
        bitmaps.reply(3, r#"{"return": {}}"#);
        write(&mut bitmaps, 9);
        assert!(said(&mut bitmaps, QUERY, &shows(1024)).is_some());
    }

    #[test]
    fn what_a_command_may_take_away_is_not_followed() {
        for undo in [
            r#"{"execute":"block-dirty-bitmap-clear","arguments":{"node":"n1","name":"b"}}"#,
            r#"{"execute":"block_resize","arguments":{"node-name":"n1","size":512}}"#,
            r#"{"execute":"blockdev-del","arguments":{"node-name":"n1"}}"#,
        ] {
            let mut bitmaps = written();
            bitmaps.sent(2, undo);
            assert_eq!(said(&mut bitmaps, QUERY, &shows(0)), None, "{undo}");
            assert_eq!(bitmaps.closed("n1", &[]), None, "{undo}");
        }
    }
}
