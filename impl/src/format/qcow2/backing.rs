//! Rewriting cluster 0: the backing file's name, and the features this driver does not keep up.

use super::Qcow2;
use super::header::{BackingName, MAX_BACKING_NAME};
use crate::sync::range_lock::Mode;
use seam::{Errno, IoResult};

impl Qcow2 {
    /// Records another file below, or none. One write, of one sector where that is possible at all; nothing is
    /// flushed, neither before nor after. EINVAL for a name that is empty or over 1023 bytes, ENOSPC if the header
    /// would not fit in its cluster.
    pub async fn change_backing(&self, backing: Option<BackingName>) -> IoResult<()> {
        self.assert_writable();
        if backing.as_ref().is_some_and(|b| b.file.is_empty() || b.file.len() > MAX_BACKING_NAME) {
            return Err(Errno::EINVAL);
        }
        if backing.as_ref().and_then(|b| b.format.as_ref()).is_some_and(|f| f.is_empty() || f.len() > 15) {
            return Err(Errno::EINVAL);
        }
        self.clear_autoclear().await?;
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        let mut header = self.metadata.lock().header.clone();
        header.backing = backing;
        self.write_header(&header).await
    }

    /// Clears the autoclear bits before the first change: each says that something this driver does not maintain
    /// agrees with the data.
    pub(super) async fn clear_autoclear(&self) -> IoResult<()> {
        if self.metadata.lock().header.stale_autoclear() == 0 {
            return Ok(());
        }
        let _turn = self.flushing.acquire(0, 1, Mode::Exclusive).await;
        let mut header = self.metadata.lock().header.clone();
        let stale = header.stale_autoclear();
        if stale == 0 {
            return Ok(());
        }
        header.autoclear &= !stale;
        self.write_header(&header).await?;
        // Until that is durable, and if it is perhaps lost, whoever else changes the image waits to say it anew.
        self.metadata.lock().header.autoclear |= stale;
        self.flush_disk().await?;
        self.metadata.lock().header.autoclear &= !stale;
        Ok(())
    }
}
