//! A disk of nothing: every read gives zeroes, after a while if need be, and no write is kept.

use crate::host::Nanos;

/// QEMU's size, when the operator does not say: 1 GiB.
pub const NULL_BYTES_DEFAULT: u64 = 1 << 30;

/// `null-co`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Null {
    /// The size, in bytes.
    pub len_bytes: u64,
    /// How long each request takes.
    pub latency: Nanos,
    /// Whether readers are promised zeroes (they get them anyway).
    pub read_zeroes: bool,
}
