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
    /// Writers that are not in the graph: yet, or any more.
    outside: usize,
}

impl AutoReadOnly {
    /// The file was opened anew.
    pub(crate) fn is_now(&self, is_writable: bool) {
        self.now.lock().is_writable = is_writable;
    }
}

/// Somebody who writes to a file and is not in the graph: who is about to come, or is gone and has not written everything
/// yet. Until this is dropped the file stays open for writing.
#[derive(Debug)]
pub(crate) struct OutsideWriter(Arc<WatchedDisk>);

impl Drop for OutsideWriter {
    fn drop(&mut self) {
        self.0.auto().now.lock().outside -= 1;
    }
}

impl WatchedDisk {
    /// Keeps the file as it is for a writer that is leaving the graph.
    pub(crate) fn keep_for_writer(self: &Arc<Self>) -> OutsideWriter {
        self.auto().now.lock().outside += 1;
        OutsideWriter(Arc::clone(self))
    }

    /// Opens the file for a writer that comes into the graph before the answer is dropped.
    pub(crate) async fn open_for_writer(self: &Arc<Self>) -> IoResult<OutsideWriter> {
        let coming = self.keep_for_writer();
        let _turn = self.auto().turn.acquire(0, 1, Mode::Exclusive).await;
        self.reopen(true).await?;
        Ok(coming)
    }

    /// Whether it was opened for a writer, and nobody outside of the graph writes to it.
    pub(crate) fn may_be_closed_to_writers(&self) -> bool {
        let now = self.auto().now.lock_to_look();
        now.is_writable && now.outside == 0
    }

    /// Opens the file read-only again, unless somebody writes to it, is about to, or still has to. If that fails it stays as it is, and
    /// nobody asked for it.
    pub(crate) async fn close_to_writers(&self, has_writer: impl FnOnce() -> bool) {
        let _turn = self.auto().turn.acquire(0, 1, Mode::Exclusive).await;
        if self.may_be_closed_to_writers() && !has_writer() {
            let _stays_writable = self.reopen(false).await;
        }
    }
}
