//! QMP: the engine's language. Text in, text out; replies, refusals and events read as QEMU 10.0's do.
//!
//! `json` cuts a stream of bytes into messages, `schema` is the one table of what may be said, `check` holds a
//! message against it, `dispatch` does it, `text` writes what comes back, `monitor` is one client of all this.
//! The daemon and the simulator talk to [`monitor::Monitor`]; nothing else in the engine knows of JSON.

pub mod check;
pub mod dispatch;
#[cfg(test)]
mod drivers;
pub mod edits;
pub mod export_options;
pub mod file_name;
pub mod introspect;
pub mod json;
pub mod keyval;
mod lexer;
pub mod monitor;
mod node_options;
pub mod options;
mod outbox;
#[cfg(test)]
mod recorded;
pub mod report;
pub mod schema;
pub mod text;
mod transaction;
pub mod types;

pub use monitor::Monitor;
pub use text::event_text;
