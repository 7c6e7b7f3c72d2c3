//! The simulated disk for programs that are not ours: block devices of a fixed size behind NBD, on a private socket.
//!
//! The bytes, the requests in flight and what is not durable yet are those of `disk.rs`; what a kill or a power cut
//! leaves is decided by `crash.rs`. Beside them stands a log of every change and flush, so that what one run did can
//! be cut at any of its points afterwards.

pub mod log;
mod server;
mod state;

pub use log::{Log, Past};
pub use server::Devices;
pub use state::{Counts, Device};
