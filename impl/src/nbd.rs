//! Both sides of the NBD protocol, without I/O: bytes go in, bytes and requests or what came of them go out.
//!
//! Fixed newstyle as the NBD specification describes it, in QEMU 10.0's choices. Whoever holds a [`session::Session`],
//! which is a server's, or a [`client::Client`] moves the bytes and does the requests; nothing here reads a socket or
//! touches a node.

pub mod client;
pub mod offer;
mod option;
pub mod reply;
pub mod request;
pub mod session;
pub(crate) mod wire;
