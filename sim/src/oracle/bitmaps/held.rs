//! The backups that hold bitmaps, and what they leave of them when they end.

use super::{Bitmap, Bitmaps};
use crate::oracle::asked::read;
use serde_json::Value;
use std::collections::BTreeSet;

/// A backup that holds a bitmap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Held {
    client: u32,
    job: String,
    /// Whether the bitmap forgets what it had before if the job succeeds, and if it does not.
    forgets: [bool; 2],
    /// Its command was answered: the job has begun.
    has_begun: bool,
    /// Granules that were changed since then.
    pub(super) since: BTreeSet<u64>,
}

impl Bitmaps {
    /// A backup may take hold of a bitmap. If another one does already, or may, nobody knows whose it is.
    pub(super) fn may_be_held(&mut self, client: u32, arguments: &Value) {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let name = (text("device"), text("bitmap"));
        let Some(bitmap) = self.followed.get_mut(&name) else { return };
        if bitmap.held.is_some() {
            self.followed.remove(&name);
            return;
        }
        let forgets = match (&*text("sync"), &*text("bitmap-mode")) {
            (_, "never") => [false, false],
            (_, "always") => [true, true],
            _ => [true, false],
        };
        let since = BTreeSet::new();
        bitmap.held = Some(Held { client, job: text("job-id"), forgets, has_begun: false, since });
        bitmap.backups += 1;
    }

    /// It does, or it was refused.
    pub(super) fn is_held(&mut self, client: u32, is_accepted: bool) {
        for bitmap in self.followed.values_mut() {
            match &mut bitmap.held {
                Some(held) if held.client == client && !held.has_begun => {
                    held.has_begun = true;
                    if !is_accepted {
                        bitmap.held = None;
                    }
                }
                _ => {}
            }
        }
    }

    /// An event: a backup that has ended holds its bitmap no more.
    pub fn event(&mut self, text: &str) {
        if self.followed.values().all(|bitmap| bitmap.held.is_none()) || !text.contains("BLOCK_JOB_C") {
            return;
        }
        let event = read(text);
        let is_success = event["event"] == "BLOCK_JOB_COMPLETED" && event["data"]["error"].is_null();
        self.followed.retain(|_, bitmap| {
            let Some(held) = bitmap.held.take_if(|held| event["data"]["device"] == *held.job) else {
                return true;
            };
            if held.forgets[usize::from(!is_success)] {
                bitmap.dirty = held.since;
            }
            // One that ended before its command was answered has seen changes that nobody can place.
            held.has_begun
        });
    }
}

impl Bitmap {
    /// The number of the backup that has begun and holds it.
    pub(super) fn begun(&self) -> Option<u64> {
        self.held.as_ref().filter(|held| held.has_begun).map(|_| self.backups)
    }

    /// How many backups have begun.
    pub(super) fn backups_begun(&self) -> u64 {
        self.backups - u64::from(self.held.as_ref().is_some_and(|held| !held.has_begun))
    }

    /// How many backups hold it no more.
    pub(super) fn backups_gone(&self) -> u64 {
        self.backups - u64::from(self.held.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{QUERY, said, shows, written};
    use super::*;
    use crate::oracle::write::Write;
    use midstream::request::Operation;

    const BACKUP: &str = r#"{"execute":"blockdev-backup","arguments":{"device":"n1","job-id":"j","target":"t","sync":"incremental","bitmap":"b"}}"#;

    fn ends(error: &str) -> String {
        format!(r#"{{"event":"BLOCK_JOB_COMPLETED","data":{{"device":"j"{error}}}}}"#)
    }

    fn writes(bitmaps: &mut Bitmaps, request: u64, bytes: std::ops::Range<u64>) {
        bitmaps.began(request, &Write { node: "n1".to_owned(), operation: Operation::WriteZeroes, bytes });
        bitmaps.ended(request, true);
    }

    #[test]
    fn a_backup_that_succeeds_leaves_what_was_changed_since_it_began() {
        let mut bitmaps = written();
        bitmaps.sent(1, BACKUP);
        writes(&mut bitmaps, 3, 4096..4608);
        assert_eq!(bitmaps.reply(1, r#"{"return":{}}"#), None);
        writes(&mut bitmaps, 4, 8192..8704);
        assert_eq!(said(&mut bitmaps, QUERY, &shows(0)), None, "what it had is not asked for now");
        bitmaps.event(&ends(""));
        let missed = said(&mut bitmaps, QUERY, &shows(0)).expect("a sector is missing");
        assert_eq!(missed, "bitmap b of node `n1` has 0 dirty bytes, and guests changed 512");
        assert_eq!(said(&mut bitmaps, QUERY, &shows(512)), None);
    }

    #[test]
    fn what_is_under_way_while_a_backup_comes_and_goes_may_be_forgotten() {
        let mut bitmaps = written();
        let write = Write { node: "n1".to_owned(), operation: Operation::Write, bytes: 4096..4608 };
        bitmaps.began(3, &write);
        bitmaps.sent(1, BACKUP);
        assert_eq!(bitmaps.reply(1, r#"{"return":{}}"#), None);
        bitmaps.began(4, &Write { bytes: 8192..8704, ..write });
        bitmaps.event(&ends(""));
        bitmaps.ended(3, true);
        assert_eq!(said(&mut bitmaps, QUERY, &shows(0)), None, "the backup may have it");
        bitmaps.ended(4, true);
        assert!(said(&mut bitmaps, QUERY, &shows(0)).is_some(), "the backup was there when it began");
        assert_eq!(said(&mut bitmaps, QUERY, &shows(512)), None);
    }

    #[test]
    fn a_backup_that_fails_or_is_refused_leaves_all() {
        let mut bitmaps = written();
        bitmaps.sent(1, BACKUP);
        assert_eq!(bitmaps.reply(1, r#"{"error":{}}"#), None);
        assert!(said(&mut bitmaps, QUERY, &shows(512)).is_some(), "it was refused");
        bitmaps.sent(1, BACKUP);
        assert_eq!(bitmaps.reply(1, r#"{"return":{}}"#), None);
        writes(&mut bitmaps, 4, 8192..8704);
        bitmaps.event(&ends(r#","error":"Input/output error""#));
        assert!(said(&mut bitmaps, QUERY, &shows(1024)).is_some(), "it has failed");
        assert_eq!(said(&mut bitmaps, QUERY, &shows(1536)), None);
    }
}
