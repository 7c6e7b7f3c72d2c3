//! Raw: the file is the disk. Its size is the file's, in whole sectors; everything in it is data.

use crate::format::{Run, RunKind};
use crate::sync::shim::Mutex;
use seam::{Disk, IoResult};
use std::sync::Arc;

/// An open raw file.
#[derive(Debug)]
pub struct Raw {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
}

#[derive(Copy, Clone, Debug)]
struct State {
    len_bytes: u64,
    writable: bool,
}

impl Raw {
    /// Opens the file on `disk`.
    pub fn open(disk: Arc<dyn Disk>, writable: bool) -> IoResult<Arc<Raw>> {
        let len_bytes = disk.len_bytes()?.next_multiple_of(512);
        Ok(Arc::new(Raw { disk, state: Mutex::new(State { len_bytes, writable }) }))
    }

    /// The guest's disk size.
    pub fn len_bytes(&self) -> u64 {
        self.state.lock().len_bytes
    }

    /// The run that begins at `offset`: data, as far as was asked.
    pub async fn status(&self, offset: u64, len: u64) -> IoResult<Run> {
        self.assert_in_range(offset, len);
        assert!(len > 0, "the status of nothing at {offset}");
        Ok(Run { len, kind: RunKind::Data })
    }

    /// Fills `buffer` from `offset`.
    pub async fn read(&self, offset: u64, buffer: &mut [u8]) -> IoResult<()> {
        self.assert_in_range(offset, buffer.len() as u64);
        let read = self.disk.read(offset, vec![0; buffer.len()]).await?;
        buffer.copy_from_slice(&read);
        Ok(())
    }

    /// Writes `data` at `offset`.
    pub async fn write(&self, offset: u64, data: &[u8]) -> IoResult<()> {
        self.assert_writable(offset, data.len() as u64);
        self.disk.write(offset, data.to_vec()).await
    }

    /// Makes a range read as zeroes.
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> IoResult<()> {
        self.assert_writable(offset, len);
        self.disk.write_zeroes(offset, len).await
    }

    /// As `write_zeroes`, and gives the space back where that is possible.
    pub async fn unmap(&self, offset: u64, len: u64) -> IoResult<()> {
        self.assert_writable(offset, len);
        self.disk.unmap(offset, len).await
    }

    /// Says that a range is not needed any more.
    pub async fn discard(&self, offset: u64, len: u64) -> IoResult<()> {
        self.assert_writable(offset, len);
        self.disk.discard(offset, len).await
    }

    /// Makes everything durable that ended before this call.
    pub async fn flush(&self) -> IoResult<()> {
        if self.state.lock().writable { self.disk.flush().await } else { Ok(()) }
    }

    /// Sets the length of the file, durably, as an image's header does; what is new reads as zeroes. A file that ends inside
    /// a sector reads zeroes behind.
    pub async fn resize(&self, len_bytes: u64) -> IoResult<()> {
        self.assert_writable(0, 0);
        let mut resized = self.disk.resize(len_bytes).await;
        if resized.is_ok() {
            resized = self.disk.flush().await;
        }
        // After an error only the disk knows how long it is.
        let now = if resized.is_ok() { Ok(len_bytes) } else { self.disk.len_bytes() };
        if let Ok(now) = now {
            self.state.lock().len_bytes = now.next_multiple_of(512);
        }
        resized
    }

    /// Changes between read-only and read-write; the disk itself is reopened by the caller.
    pub async fn set_writable(&self, writable: bool) -> IoResult<()> {
        self.flush().await?;
        self.state.lock().writable = writable;
        Ok(())
    }

    /// Makes everything durable.
    pub async fn close(&self) -> IoResult<()> {
        self.flush().await
    }

    fn assert_in_range(&self, offset: u64, len: u64) {
        let size = self.len_bytes();
        assert!(len <= size, "{len} bytes of a file of {size}");
        assert!(offset <= size - len, "{len} bytes at {offset} of a file of {size}");
    }

    fn assert_writable(&self, offset: u64, len: u64) {
        self.assert_in_range(offset, len);
        assert!(self.state.lock().writable, "a write to a read-only file");
    }
}
