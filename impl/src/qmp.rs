//! QMP: the engine's language. Text in, text out; replies, refusals and events read as QEMU 10.0's do.
//!
//! [`crate::qapi`] reads what was said, `dispatch` does it, `text` writes what comes back, `monitor` is one client of all
//! this. The daemon and the simulator talk to [`monitor::Monitor`]; nothing else in the engine knows of JSON.

pub mod dispatch;
#[cfg(test)]
mod drivers;
mod edits;
pub mod export_options;
mod introspect;
#[cfg(test)]
mod missing;
mod monitor;
mod outbox;
#[cfg(test)]
mod recorded;
mod report;
mod stats;
mod text;
mod transaction;

pub use monitor::Monitor;
pub use text::event_text;
