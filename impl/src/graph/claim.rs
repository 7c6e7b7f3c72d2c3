//! The user of a file: as long as a node that relies on the file is there, nobody else may write it.

use super::write_threshold::WatchedDisk;
use seam::{Disk, IoResult};
use std::sync::Arc;

/// A file is claimed until this is dropped.
#[derive(Debug)]
pub struct Claim(Arc<WatchedDisk>);

impl Claim {
    /// Claims a file.
    pub(crate) async fn new(disk: Arc<WatchedDisk>) -> IoResult<Claim> {
        disk.claim().await?;
        Ok(Claim(disk))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.unclaim();
    }
}
