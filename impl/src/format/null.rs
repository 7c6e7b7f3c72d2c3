//! A disk of nothing: every read gives zeroes, after a while if need be, and no write is kept.

use crate::sync::either;
use crate::sync::ending::Ending;
use seam::{Host, Nanos};
use std::sync::Arc;

/// QEMU's size, when the operator does not say: 1 GiB.
pub(crate) const NULL_BYTES_DEFAULT: u64 = 1 << 30;

/// `null-co`.
#[derive(Clone, Debug)]
pub struct Null {
    /// The size, in bytes.
    pub len_bytes: u64,
    /// How long each request takes.
    pub latency: Nanos,
    /// Whether readers are promised zeroes (they get them anyway).
    pub read_zeroes: bool,
    /// The world, for its clock.
    pub host: Arc<dyn Host>,
    /// From then on no request takes any time.
    pub ending: Ending,
}

impl Null {
    /// Takes as long as a request is to take.
    pub(crate) async fn linger(&self) {
        if self.latency > Nanos(0) {
            let over = self.host.sleep_until(self.host.now().plus(self.latency));
            either(over, self.ending.begun()).await;
        }
    }
}
