//! What is seen of a layer that is commanded in QEMU's language: commands, replies, events, and the chains on disk.

use super::{Inner, Witness};
use crate::Checked;
use crate::choice::Point;
use crate::content::Tag;
use crate::history::Found;
use crate::history::observed::Observed;
use seam::{Errno, IoResult};

/// What a file shows to the next process.
pub(crate) struct Left {
    pub(crate) file: String,
    /// The files from this one down, by their headers.
    pub(crate) chain: Vec<String>,
    /// What readers see, or why they cannot.
    pub(crate) values: Result<Vec<Tag>, String>,
    pub(crate) checked: IoResult<Option<Checked>>,
}

fn client_point(client: u32) -> Point {
    Point::new("client #", [client, 0, 0])
}

impl Witness {
    /// A command is about to be handed in.
    pub(crate) fn sent(&self, client: u32, line: &str) {
        if let Some(sent) = self.observe(Observed::Sent { client, text: line.to_owned() }) {
            self.inner().recording.awaits(client_point(client), sent);
        }
    }

    /// Its reply.
    pub(crate) fn reply(&self, client: u32, line: &str) {
        self.inner().recording.settle(client_point(client));
        self.observe(Observed::Reply { client, text: line.to_owned() });
    }

    /// The layer has emitted this.
    pub(crate) fn event(&self, line: String) {
        self.observe(Observed::Event { text: line });
    }

    /// A guest was not let in.
    pub(crate) fn refused(&self, guest: u32, node: &str, writable: bool, errno: Errno) {
        self.observe(Observed::Refused { guest, node: node.to_owned(), writable, why: errno.text() });
    }

    /// A guest has left.
    pub(crate) fn detached(&self, guest: u32) {
        self.observe(Observed::Detached { guest });
    }

    /// What a file shows when it is reopened, after a crash or a clean end.
    pub(crate) fn left(&self, left: Left, is_clean: bool) {
        let Left { file, chain, values, checked } = left;
        let (corruptions, leaks) = match checked {
            Ok(checked) => checked.map_or((0, 0), |checked| (checked.corruptions, checked.leaks)),
            Err(_not_an_image_any_more) => (1, 0),
        };
        self.observe(match values {
            Err(why) => Observed::Unreadable { file, why },
            Ok(values) => {
                let found = Found { file, values, chain, corruptions, leaks, damage: Vec::new() };
                if is_clean { Observed::Closed(found) } else { Observed::Recovered(found) }
            }
        });
    }

    /// Faults that have struck since the last time: whatever is under way may fail by them.
    pub(super) fn show_strikes(&self, inner: &mut Inner, step: u64, at: u64) {
        let mut core = self.host.core();
        for strike in core.disks.faults.take_strikes() {
            for struck in Observed::of_strike(strike, &core.disks.files[strike.file as usize].path) {
                let struck = inner.recording.observed(step, at, struck);
                let shown = struck.show(|seen| inner.judge.observe(seen));
                assert!(shown.is_ok(), "a fault breaks no law by itself");
            }
        }
    }
}
