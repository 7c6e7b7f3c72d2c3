//! What becomes of the space of host clusters that lose their last reference: it may go back to the host.
//!
//! It goes while the cluster still counts as taken, and after its pointer is durably gone: whoever writes there next has
//! to take the cluster first, and whoever finds the file after a crash finds nobody that points there.

use super::Qcow2;
use super::metadata::Metadata;
use super::trouble::Trouble;
use seam::IoResult;
use std::ops::Range;

/// Which of them go back to the host.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Discards {
    /// Those that a guest discarded, or zeroed and does not need (`pass-discard-request`).
    pub request: bool,
    /// Those of a snapshot that was deleted (`pass-discard-snapshot`).
    pub snapshot: bool,
    /// Those of tables that moved (`pass-discard-other`).
    pub other: bool,
    /// Guest clusters keep their place in the file when they are discarded (`discard-no-unref`).
    pub no_unref: bool,
}

impl Default for Discards {
    fn default() -> Self {
        Discards { request: false, snapshot: true, other: false, no_unref: false }
    }
}

/// Why a host cluster loses a reference.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// Its content was written anew elsewhere, and soon something else will be in its place.
    Rewritten,
    /// It lay past the new end of the image, or belonged to a bitmap.
    Dropped,
    /// A guest does not need it.
    Request,
    /// A table moved.
    Other,
}

impl Discards {
    pub(super) fn passes(self, why: Why) -> bool {
        match why {
            Why::Rewritten => false,
            Why::Dropped => true,
            Why::Request => self.request,
            Why::Other => self.other,
        }
    }
}

/// Host bytes that lost a pointer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Freed {
    pub bytes: Range<u64>,
    /// Whether their space goes back to the host.
    pub discard: bool,
}

impl Qcow2 {
    /// Sets what goes back to the host from now on.
    pub(crate) fn set_discards(&self, discards: Discards) {
        self.metadata.lock().discards = discards;
    }

    /// Takes a reference from every cluster that some bytes lie in.
    pub(super) async fn release(&self, freed: &Freed) -> IoResult<()> {
        assert!(!freed.bytes.is_empty(), "nothing is freed at {:#x}", freed.bytes.start);
        let clusters = self.geometry.touched(freed.bytes.start, freed.bytes.end - freed.bytes.start);
        if freed.discard {
            for run in self.last_references(clusters.clone()).await? {
                let (start, end) = (self.geometry.offset_of(run.start), self.geometry.offset_of(run.end));
                // Only a wish.
                let _granted_or_not = self.disk.discard(start, end - start).await;
            }
        }
        for cluster in clusters {
            self.step(|m| m.release(cluster)).await?;
        }
        Ok(())
    }
}

impl Qcow2 {
    /// Those of some clusters that have one reference left, in runs. Nothing is put into them any more.
    ///
    /// Each is looked at by itself: they may be counted in more blocks than the cache holds at a time. Meanwhile they stay
    /// counted, and so nobody takes them.
    async fn last_references(&self, clusters: Range<u64>) -> IoResult<Vec<Range<u64>>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for cluster in clusters {
            if !self.step(|m| m.is_last_reference(cluster)).await? {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == cluster => run.end += 1,
                _ => runs.push(cluster..cluster + 1),
            }
        }
        Ok(runs)
    }
}

impl Metadata {
    /// Whether a cluster has one reference left. If so, nothing is put into it any more.
    fn is_last_reference(&mut self, cluster: u64) -> Result<bool, Trouble> {
        let at = self.geometry.offset_of(cluster);
        if self.refcount(cluster)? != 1 || self.holds_metadata(at, self.geometry.cluster_bytes()) {
            return Ok(false);
        }
        if self.packed_end.is_some_and(|end| self.geometry.cluster_of(end) == cluster) {
            self.packed_end = None;
        }
        Ok(true)
    }
}
