//! A layer below: bytes, and zeroes past their end.

use block::format::Below;
use seam::{IoResult, Pending};

/// What lies below, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Layer(pub Option<Vec<u8>>);

impl Layer {
    /// What a reader sees from `offset` on.
    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let all = self.0.as_deref().unwrap_or(&[]);
        let start = (offset as usize).min(all.len());
        let mut bytes = all[start..(start + len).min(all.len())].to_vec();
        bytes.resize(len, 0);
        bytes
    }
}

impl Below for Layer {
    fn exists(&self) -> bool {
        self.0.is_some()
    }

    fn read<'a>(&'a self, offset: u64, buffer: &'a mut [u8]) -> Pending<'a, IoResult<()>> {
        buffer.copy_from_slice(&self.bytes(offset, buffer.len()));
        Box::pin(std::future::ready(Ok(())))
    }
}
