//! How far a node may be written before that is reported: once, then the mark is gone.
//!
//! Formats write to files without asking the graph, so a file's disk does the looking itself, and knows whether the
//! file takes discards; of every other node the request that passes it does.

use crate::graph::auto_read_only::AutoReadOnly;
use crate::graph::failed_flush::FlushMemory;
use crate::sync::shim::Mutex;
use seam::debug_event::DebugEvent;
use seam::{Disk, DiskRun, FileIdentity, IoResult, Pending};
use std::fmt;
use std::sync::Arc;

/// Called with how many bytes lie past the mark.
pub(crate) type OnPassed = Box<dyn FnOnce(u64) + Send>;

/// The mark of one node.
#[derive(Default)]
pub struct WriteThreshold {
    armed: Mutex<Option<(u64, OnPassed)>>,
    /// The end of the highest write so far.
    highest: Mutex<u64>,
}

impl fmt::Debug for WriteThreshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteThreshold({})", self.bytes())
    }
}

impl WriteThreshold {
    /// Sets the mark in the place of the one before; 0 is none.
    pub fn set(&self, bytes: u64, on_passed: OnPassed) {
        *self.armed.lock() = (bytes > 0).then_some((bytes, on_passed));
    }

    /// Where the mark is; 0 is nowhere.
    pub fn bytes(&self) -> u64 {
        self.armed.lock().as_ref().map_or(0, |(bytes, _)| *bytes)
    }

    /// The end of the highest write so far.
    pub(crate) fn highest(&self) -> u64 {
        *self.highest.lock()
    }

    /// A write up to `end` begins.
    pub fn passes(&self, end: u64) {
        {
            let mut highest = self.highest.lock();
            *highest = end.max(*highest);
        }
        let passed = {
            let mut armed = self.armed.lock();
            if armed.as_ref().is_some_and(|(bytes, _)| end > *bytes) { armed.take() } else { None }
        };
        if let Some((bytes, on_passed)) = passed {
            on_passed(end - bytes);
        }
    }
}

/// What became of the discards of a file that takes them.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct DiscardStats {
    /// `discard-nb-ok`.
    pub done: u64,
    /// `discard-nb-failed`.
    pub failed: u64,
    /// `discard-bytes-ok`.
    pub done_bytes: u64,
}

/// A file's disk that looks how far it is written, and remembers whether a flush has failed.
#[derive(Debug)]
pub struct WatchedDisk {
    disk: Arc<dyn Disk>,
    threshold: Arc<WriteThreshold>,
    flushes: FlushMemory,
    /// Whether they do something.
    is_durable: Arc<Mutex<bool>>,
    /// `discard: unmap`.
    unmap: Mutex<bool>,
    auto: Arc<AutoReadOnly>,
    discards: Arc<Mutex<DiscardStats>>,
}

impl WatchedDisk {
    /// Watches `disk` for `threshold`.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        threshold: Arc<WriteThreshold>,
        flushes: FlushMemory,
        is_durable: bool,
    ) -> Arc<WatchedDisk> {
        let is_durable = Arc::new(Mutex::new(is_durable));
        let (unmap, auto, discards) = (Mutex::new(false), Arc::default(), Arc::default());
        Arc::new(WatchedDisk { disk, threshold, flushes, is_durable, unmap, auto, discards })
    }

    /// Whether space is given back from now on.
    pub(crate) fn set_unmap(&self, unmap: bool) {
        *self.unmap.lock() = unmap;
    }

    /// What became of the discards that it took.
    pub(crate) fn discards(&self) -> DiscardStats {
        *self.discards.lock()
    }

    /// Of a file with `auto-read-only`: how it is open.
    pub(crate) fn auto(&self) -> &AutoReadOnly {
        &self.auto
    }
}

impl Disk for WatchedDisk {
    fn len_bytes(&self) -> IoResult<u64> {
        self.disk.len_bytes()
    }

    fn read(&self, offset: u64, buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        self.disk.read(offset, buffer)
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        self.threshold.passes(offset + data.len() as u64);
        self.disk.write(offset, data)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.threshold.passes(offset + len);
        self.disk.write_zeroes(offset, len)
    }

    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.threshold.passes(offset + len);
        if *self.unmap.lock() { self.disk.unmap(offset, len) } else { self.disk.write_zeroes(offset, len) }
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        if !*self.unmap.lock() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (discarded, stats) = (self.disk.discard(offset, len), Arc::clone(&self.discards));
        Box::pin(async move {
            let discarded = discarded.await;
            let mut stats = stats.lock();
            match discarded {
                Ok(()) => (stats.done, stats.done_bytes) = (stats.done + 1, stats.done_bytes + len),
                Err(_) => stats.failed += 1,
            }
            discarded
        })
    }

    fn next_run(&self, offset: u64, len: u64) -> Pending<'static, IoResult<DiskRun>> {
        self.disk.next_run(offset, len)
    }

    fn identity(&self) -> Option<FileIdentity> {
        self.disk.identity()
    }

    fn allocated_bytes(&self) -> IoResult<u64> {
        self.disk.allocated_bytes()
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        if *self.is_durable.lock() { self.flushes.flush(&*self.disk) } else { self.disk.flush() }
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.disk.resize(len_bytes)
    }

    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>> {
        let (reopened, auto) = (self.disk.reopen(writable), Arc::clone(&self.auto));
        Box::pin(async move {
            reopened.await?;
            auto.is_now(writable);
            Ok(())
        })
    }

    fn set_cache(&self, direct: bool, flushes: bool) -> Pending<'static, IoResult<()>> {
        let (set, is_durable) = (self.disk.set_cache(direct, flushes), Arc::clone(&self.is_durable));
        Box::pin(async move {
            set.await?;
            *is_durable.lock() = flushes;
            Ok(())
        })
    }

    fn claim(&self) -> Pending<'static, IoResult<()>> {
        self.disk.claim()
    }

    fn unclaim(&self) {
        self.disk.unclaim();
    }

    fn debug_event(&self, event: DebugEvent) {
        self.disk.debug_event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_mark_reports_once_the_first_write_that_passes_it() {
        let threshold = WriteThreshold::default();
        let (sender, reports) = channel();
        threshold.set(1000, Box::new(move |exceeded| sender.send(exceeded).unwrap()));
        threshold.passes(1000);
        assert_eq!(threshold.bytes(), 1000);
        threshold.passes(1512);
        threshold.passes(4096);
        assert_eq!(threshold.bytes(), 0);
        assert_eq!(reports.iter().collect::<Vec<_>>(), [512]);
    }

    #[test]
    fn a_mark_at_zero_is_none() {
        let threshold = WriteThreshold::default();
        threshold.set(0, Box::new(|exceeded| panic!("{exceeded} is reported")));
        threshold.passes(u64::MAX);
    }
}
