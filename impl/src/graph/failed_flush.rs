//! Files of which a flush has failed: from then on all their flushes fail.
//!
//! What the system could not write back it may have forgotten, and then the next flush succeeds without it (Rebello et al.,
//! "Can Applications Recover from fsync Failures?", USENIX ATC 2020). Whoever is answered success would take everything
//! for durable that was written before. So nobody is, as long as this process lives, by whatever name and node they come;
//! QEMU 10.0 does the same for each node (`page_cache_inconsistent` in block/file-posix.c).

use crate::sync::shim::Mutex;
use seam::{Disk, Errno, FileIdentity, Host, IoResult, Pending};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Distinguishes the files of a host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Key {
    Identity(FileIdentity),
    /// Of a host whose files have no identity.
    Name(String),
}

/// The first error of each file.
#[derive(Debug, Default)]
pub(crate) struct FailedFlushes {
    first: Mutex<BTreeMap<Key, Errno>>,
}

/// What is known of one file.
#[derive(Clone, Debug)]
pub(crate) struct FlushMemory {
    all: Arc<FailedFlushes>,
    key: Key,
}

impl FlushMemory {
    /// Of a file that was opened by this name.
    pub(crate) fn new(
        all: &Arc<FailedFlushes>,
        host: &dyn Host,
        filename: &str,
        disk: &dyn Disk,
    ) -> FlushMemory {
        let name = || host.canonical(filename).unwrap_or_else(|| filename.to_owned());
        let key = disk.identity().map_or_else(|| Key::Name(name()), Key::Identity);
        FlushMemory { all: all.clone(), key }
    }

    /// Flushes, unless that has failed before; if it fails now, or another flush has failed meanwhile, that is remembered.
    pub(crate) fn flush(&self, disk: &dyn Disk) -> Pending<'static, IoResult<()>> {
        if let Err(errno) = self.known() {
            return Box::pin(std::future::ready(Err(errno)));
        }
        let (flushing, memory) = (disk.flush(), self.clone());
        Box::pin(async move {
            if let Err(errno) = flushing.await {
                memory.all.first.lock().entry(memory.key.clone()).or_insert(errno);
            }
            memory.known()
        })
    }

    fn known(&self) -> IoResult<()> {
        self.all.first.lock().get(&self.key).map_or(Ok(()), |errno| Err(*errno))
    }
}
