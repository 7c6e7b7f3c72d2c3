//! A second judge that has seen what the first one has, for whoever asks what a crash at this moment would leave.

use super::{Inner, Witness};
use crate::recording::Recording;
use crate::verdict::Detail;
use crate::world::disk::{Disks, File};
use crate::world::host::SimHost;
use std::sync::{Arc, Mutex};

impl Witness {
    /// A judge of its own that knows what this one knows, and sees the strikes of these disks that nobody has seen yet. What
    /// it sees is not recorded.
    pub(crate) fn fork(&self, disks: &Disks) -> Witness {
        let files = disks.files.iter().map(|file| File::new(&file.path, Vec::new())).collect();
        let inner = self.inner();
        let inner = Inner {
            judge: inner.judge.clone(),
            recording: Recording::new(Vec::new(), Arc::default(), Detail::Quiet),
            resized: inner.resized.clone(),
            images_checked: 0,
            images_opened: 0,
            fingerprint: None,
            awaited: None,
        };
        let mut own = Disks::new(files);
        own.faults = disks.faults.clone();
        Witness { host: SimHost::new(own), inner: Mutex::new(inner) }
    }

    /// A number for all that decides what is accepted from now on.
    pub(crate) fn fingerprint(&self) -> u64 {
        let Inner { judge, fingerprint, .. } = &mut *self.inner();
        *fingerprint.get_or_insert_with(|| judge.fingerprint())
    }
}
