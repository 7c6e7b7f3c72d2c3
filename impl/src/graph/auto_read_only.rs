//! A file with `auto-read-only`: open for writing while somebody writes to it, and read-only otherwise.

use super::write_threshold::WatchedDisk;
use crate::sync::range_lock::{Mode, RangeLock};
use crate::sync::shim::Mutex;
use seam::{Disk, IoResult};
use std::sync::Arc;

/// How a file is open at present, and who waits to change that.
#[derive(Debug, Default)]
pub(crate) struct AutoReadOnly {
    /// Held by whoever opens the file anew: the last of two must not be overtaken by the first.
    turn: RangeLock,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    is_writable: bool,
    /// Writers that are not in the graph yet.
    coming: usize,
}

impl AutoReadOnly {
    /// The file was opened anew.
    pub(crate) fn is_now(&self, is_writable: bool) {
        self.now.lock().is_writable = is_writable;
    }
}

/// Somebody who is about to write to a file: until this is dropped it stays open for writing.
#[derive(Debug)]
pub(crate) struct ComingWriter(Arc<WatchedDisk>);

impl Drop for ComingWriter {
    fn drop(&mut self) {
        self.0.auto().now.lock().coming -= 1;
    }
}

impl WatchedDisk {
    /// Opens the file for a writer that comes into the graph before the answer is dropped.
    pub(crate) async fn open_for_writer(self: &Arc<Self>) -> IoResult<ComingWriter> {
        self.auto().now.lock().coming += 1;
        let coming = ComingWriter(Arc::clone(self));
        let _turn = self.auto().turn.acquire(0, 1, Mode::Exclusive).await;
        self.reopen(true).await?;
        Ok(coming)
    }

    /// Whether it was opened for a writer, and nobody comes.
    pub(crate) fn may_be_closed_to_writers(&self) -> bool {
        let now = self.auto().now.lock_to_look();
        now.is_writable && now.coming == 0
    }

    /// Opens the file read-only again, unless somebody writes to it or is about to. If that fails it stays as it is, and
    /// nobody asked for it.
    pub(crate) async fn close_to_writers(&self, has_writer: impl FnOnce() -> bool) {
        let _turn = self.auto().turn.acquire(0, 1, Mode::Exclusive).await;
        if self.may_be_closed_to_writers() && !has_writer() {
            let _stays_writable = self.reopen(false).await;
        }
    }
}
