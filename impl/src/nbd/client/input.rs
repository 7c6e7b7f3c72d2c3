//! Bytes that have come and were not used yet.

/// The bytes.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    used: usize,
}

impl Input {
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// All that is there.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// The first `len` of them are used.
    pub(super) fn skip(&mut self, len: usize) {
        assert!(len <= self.rest().len(), "{len} bytes are used of {}", self.rest().len());
        self.used += len;
    }

    /// The next `N` bytes, once they are all there.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.rest().first_chunk()?;
        self.used += N;
        Some(taken)
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}
