//! A part of a disk as a disk of its own: what `offset` and `size` of a raw node cut out.

use seam::{Disk, Errno, IoResult, Pending};
use std::sync::Arc;

/// Bytes of a disk from an offset on.
#[derive(Debug)]
pub(crate) struct Window {
    /// The whole.
    pub disk: Arc<dyn Disk>,
    /// Where the part begins.
    pub offset: u64,
    /// How long it is; none: to the end of the whole, wherever that is.
    pub len: Option<u64>,
}

impl Window {
    /// Runs a request at its place in the whole, unless it leaves the part.
    fn at<T: Send + 'static>(
        &self,
        offset: u64,
        len: u64,
        request: impl FnOnce(u64) -> Pending<'static, IoResult<T>>,
    ) -> Pending<'static, IoResult<T>> {
        let end = offset.checked_add(len).filter(|end| self.len.is_none_or(|limit| *end <= limit));
        match end.and_then(|end| end.checked_add(self.offset)) {
            Some(_) => request(offset + self.offset),
            None => Box::pin(std::future::ready(Err(Errno::ENOSPC))),
        }
    }
}

impl Disk for Window {
    fn len_bytes(&self) -> IoResult<u64> {
        match self.len {
            Some(len) => Ok(len),
            None => Ok(self.disk.len_bytes()?.saturating_sub(self.offset)),
        }
    }

    fn read(&self, offset: u64, buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        self.at(offset, buffer.len() as u64, |at| self.disk.read(at, buffer))
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        self.at(offset, data.len() as u64, |at| self.disk.write(at, data))
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.at(offset, len, |at| self.disk.write_zeroes(at, len))
    }

    fn unmap(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.at(offset, len, |at| self.disk.unmap(at, len))
    }

    fn discard(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        self.at(offset, len, |at| self.disk.discard(at, len))
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        self.disk.flush()
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        match (self.len, len_bytes.checked_add(self.offset)) {
            (None, Some(end)) => self.disk.resize(end),
            _ => Box::pin(std::future::ready(Err(Errno::ENOTSUP))),
        }
    }

    fn reopen(&self, writable: bool) -> Pending<'static, IoResult<()>> {
        self.disk.reopen(writable)
    }
}
