//! The sum of a bitmap's bits, as QEMU makes it: of words of 64 bits, the lowest granule first.

use super::Bitmap;
use crate::error::Refused;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// More words than this are not summed: it would keep everybody waiting.
const WORDS_MAX: u64 = 1 << 24;

impl Bitmap {
    /// The SHA-256 of what is dirty in a node of so many bytes, in hexadecimal digits.
    pub(crate) fn sum(&self, len_bytes: u64) -> Result<String, Refused> {
        let granules = len_bytes.div_ceil(u64::from(self.granularity));
        let words = granules.div_ceil(64).max(1);
        if words > WORDS_MAX {
            return Err(Refused::BitmapTooLargeToSum(self.name.to_string()));
        }
        let mut bits = vec![0u64; words as usize];
        for (start, end) in &self.dirty.lock().map {
            let (mut granule, end) = (*start, (*end).min(granules));
            while granule < end {
                let count = (64 - granule % 64).min(end - granule);
                bits[(granule / 64) as usize] |= (u64::MAX >> (64 - count)) << (granule % 64);
                granule += count;
            }
        }
        let mut sum = Sha256::new();
        bits.iter().for_each(|word| sum.update(word.to_le_bytes()));
        let mut digits = String::new();
        for byte in sum.finalize() {
            write!(digits, "{byte:02x}").expect("a text takes what is written");
        }
        Ok(digits)
    }
}
