//! The internal snapshots as queries show them: kept beside the image, so that whoever asks waits for no disk.

use super::Qcow2;
use super::snapshot_table::Snapshot;
use crate::budget::Share;
use std::sync::Arc;

/// Memory of one snapshot beside its texts.
const ENTRY_BYTES: u64 = size_of::<Snapshot>() as u64;

/// What is shown, and the memory that it takes.
#[derive(Debug, Default)]
pub(super) struct Shown {
    snapshots: Arc<[Snapshot]>,
    _share: Option<Share>,
}

impl Qcow2 {
    /// The internal snapshots, in the order of the file. Of a list that cannot be read, or that there is no memory for,
    /// nothing is shown.
    pub fn shown_snapshots(&self) -> Arc<[Snapshot]> {
        Arc::clone(&self.shown.lock().snapshots)
    }

    /// Reads the list of an image that was just opened.
    pub(super) async fn learn_snapshots(&self) {
        if self.snapshots() > 0
            && let Ok(snapshots) = self.list_snapshots().await
        {
            self.show_snapshots(&snapshots);
        }
    }

    /// The list is this from now on.
    pub(super) fn show_snapshots(&self, snapshots: &[Snapshot]) {
        let texts = |one: &Snapshot| (one.id.len() + one.name.len() + one.more.len()) as u64;
        let bytes = snapshots.iter().map(|one| ENTRY_BYTES + texts(one)).sum();
        let what = || format!("What is shown of {} snapshots", snapshots.len());
        let shown = match self.allowance.budget.take(bytes, what) {
            Ok(share) => Shown { snapshots: snapshots.into(), _share: Some(share) },
            Err(_reported) => Shown::default(),
        };
        *self.shown.lock() = shown;
    }
}

impl Snapshot {
    /// How many instructions the guest had run, if somebody counted them.
    pub fn instructions(&self) -> Option<u64> {
        let count = self.more.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        count.filter(|count| *count != u64::MAX)
    }
}
