//! What a backup's filter knows: which parts of its source are not saved yet. The filter and the job's task share it.
//!
//! ```text
//! before  source <- overlay
//! after   source <- filter <- overlay     filter -> target
//! ```

use super::Graph;
use super::node::Filter;
use crate::dirty::DirtyMap;
use crate::error::Refused;
use crate::id::NodeId;
use crate::sync::range_lock::RangeLock;
use crate::sync::shim::Mutex;
use std::sync::Arc;

/// The state of one backup's filter.
#[derive(Debug)]
pub struct CopyBeforeWrite {
    /// Only what source itself decides is saved; what it leaves to the layers below is not.
    pub top_only: bool,
    /// Whether what was saved is written compressed.
    pub compress: bool,
    /// Whether source gives up what was saved.
    pub discard_source: bool,
    /// Ranges that are being saved. Who saves is alone on its chunks, and decides there what is left to save.
    pub copies: RangeLock,
    unsaved: Mutex<DirtyMap>,
}

impl CopyBeforeWrite {
    /// Of `unsaved`, nothing is saved yet.
    pub fn new(unsaved: DirtyMap, top_only: bool, compress: bool, discard_source: bool) -> CopyBeforeWrite {
        let (copies, unsaved) = (RangeLock::new(), Mutex::new(unsaved));
        CopyBeforeWrite { top_only, compress, discard_source, copies, unsaved }
    }

    /// The size of a chunk, which is saved whole or not at all.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.unsaved.lock().chunk_bytes()
    }

    /// The first range of whole chunks in or around `start..end` that is not saved.
    pub(crate) fn unsaved_in(&self, start: u64, end: u64) -> Option<(u64, u64)> {
        self.unsaved.lock().first_marked(start, end)
    }

    /// How many bytes are not saved.
    pub(crate) fn unsaved_bytes(&self) -> u64 {
        self.unsaved.lock().bytes()
    }

    /// What is not saved, in order.
    pub(crate) fn unsaved_ranges(&self) -> Vec<(u64, u64)> {
        let unsaved = self.unsaved.lock();
        let next = |from: u64| unsaved.first_marked(from, u64::MAX);
        // The last chunk may end where source does.
        let chunk = unsaved.chunk_bytes();
        std::iter::successors(next(0), |(_, end)| next(end.next_multiple_of(chunk))).collect()
    }

    /// These whole chunks are saved, or need not be.
    pub fn saved(&self, start: u64, end: u64) {
        let mut unsaved = self.unsaved.lock();
        // A chunk of which a part is saved is not.
        assert_eq!(start % unsaved.chunk_bytes(), 0, "what is saved begins within a chunk, at {start}");
        unsaved.forget(start, end);
    }

    /// The whole chunks around a range.
    pub(crate) fn whole_chunks(&self, start: u64, end: u64) -> (u64, u64) {
        let chunk = self.chunk_bytes();
        (start / chunk * chunk, end.next_multiple_of(chunk))
    }
}

impl Graph {
    /// Puts a copy-before-write filter above `source`. Answers it.
    pub(crate) fn put_copy_before_write(
        &mut self,
        source: NodeId,
        target: NodeId,
        name: Option<&str>,
        state: Arc<CopyBeforeWrite>,
    ) -> Result<NodeId, Refused> {
        let not_created = |refused| Refused::FilterNotCreated(Box::new(refused));
        if let Some(name) = name {
            self.admit_name(name).map_err(not_created)?;
        }
        let mut place = self.new_filter(source, name, Filter::CopyBeforeWrite(state));
        let filter = place.node.id;
        (place.file, place.side) = (Some(source), Some(target));
        self.insert(filter, place);
        let created = self.admit_permissions_and_writers(&|_| false);
        created.map_err(not_created)?;
        // A target may stand on source: it goes on doing so.
        self.replace(source, filter);
        let replaced = self.admit_permissions_and_writers(&|_| false);
        replaced.map_err(|refused| Refused::NodeNotReplaced(Box::new(refused)))?;
        Ok(filter)
    }

    /// Takes the filter out: who used it uses what it stands on, whatever that is by now.
    pub(crate) fn drop_copy_before_write(&mut self, filter: NodeId) {
        let source = self.place(filter).file.expect("a copy-before-write stands on its source");
        self.move_parents(filter, source, filter);
    }
}
