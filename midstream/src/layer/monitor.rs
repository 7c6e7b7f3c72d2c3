//! The door of a layer that is commanded in QEMU's language: commands in, replies and events out.

use seam::{IoResult, Pending};
use std::sync::Arc;

/// Where a layer says what nobody asked: an event is a line of JSON, given at the moment at which it happens.
pub type Events = Arc<dyn Fn(String) + Send + Sync>;

/// A layer at work as a daemon. Nothing is open at first: `blockdev-add` opens nodes, of the driver `qcow2` on `file`.
///
/// What it is asked is what qemu-storage-daemon 10.0.2 is asked, and it is judged by what that would answer. Several
/// clients may command it at the same time, each one command after the other.
pub trait Monitor<D>: Send + Sync {
    /// Does a command, a line of JSON, and gives its reply, a line of JSON. Nothing is waited for between the command's
    /// effect and the reply.
    fn execute(&self, command: String) -> Pending<'_, String>;

    /// Puts a guest's device on a node. When the device is dropped the guest has left.
    fn attach(&self, node: String, writable: bool) -> Pending<'_, IoResult<D>>;
}
