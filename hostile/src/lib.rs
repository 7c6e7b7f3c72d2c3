//! Hostile input: one mutator for each kind, used by tests for a bounded count and by `midstream attack` for minutes.
//!
//! A seed decides everything. Nothing here knows the engine, the daemon or the model: what is made is bytes and JSON,
//! and whoever sends them judges what happens.

#![warn(unreachable_pub)]

pub mod image;
pub mod lines;
pub mod nbd;
pub mod nbd_reply;
pub mod qmp_command;
pub mod qmp_text;
pub mod random;
pub mod schema;
