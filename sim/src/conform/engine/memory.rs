//! A file in memory that answers at once: images are made and looked at without a world around them.

use seam::{Disk, IoResult, Pending};
use std::fmt;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// A file in memory.
#[derive(Default)]
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.bytes().len())
    }
}

impl Memory {
    /// A file that holds these bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Memory> {
        Arc::new(Memory { bytes: Mutex::new(bytes) })
    }

    /// Takes the bytes out.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.bytes())
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn range(bytes: &mut Vec<u8>, offset: u64, len: u64) -> &mut [u8] {
        let (from, to) = (offset as usize, (offset + len) as usize);
        if bytes.len() < to {
            bytes.resize(to, 0);
        }
        &mut bytes[from..to]
    }
}

/// Runs what never waits.
pub fn at_once<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("something waits although memory answers at once and nobody else is there"),
    }
}

fn answer<T: Send + 'static>(value: T) -> Pending<'static, IoResult<T>> {
    Box::pin(ready(Ok(value)))
}

impl Disk for Memory {
    fn len_bytes(&self) -> IoResult<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, mut buffer: Vec<u8>) -> Pending<'static, IoResult<Vec<u8>>> {
        let bytes = self.bytes();
        let from = (offset as usize).min(bytes.len());
        let there = (bytes.len() - from).min(buffer.len());
        buffer[..there].copy_from_slice(&bytes[from..from + there]);
        buffer[there..].fill(0);
        answer(buffer)
    }

    fn write(&self, offset: u64, data: Vec<u8>) -> Pending<'static, IoResult<()>> {
        Memory::range(&mut self.bytes(), offset, data.len() as u64).copy_from_slice(&data);
        answer(())
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> Pending<'static, IoResult<()>> {
        Memory::range(&mut self.bytes(), offset, len).fill(0);
        answer(())
    }

    fn discard(&self, _offset: u64, _len: u64) -> Pending<'static, IoResult<()>> {
        answer(())
    }

    fn flush(&self) -> Pending<'static, IoResult<()>> {
        answer(())
    }

    fn resize(&self, len_bytes: u64) -> Pending<'static, IoResult<()>> {
        self.bytes().resize(len_bytes as usize, 0);
        answer(())
    }

    fn reopen(&self, _writable: bool) -> Pending<'static, IoResult<()>> {
        answer(())
    }
}
