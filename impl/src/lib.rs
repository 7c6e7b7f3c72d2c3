//! midstream's streaming engine: QEMU's block graph, qcow2, `block-stream` and its job life, for real.
//!
//! It meets the world through [`host`] alone, so the same code runs on real files (`midstreamd`) and in the
//! simulator. Inside: qmp -> job -> io -> graph, io -> format -> host; everybody may use sync, id and error.

pub mod budget;
pub mod command;
pub mod debug_event;
pub mod dirty;
pub mod engine;
mod errno;
pub mod error;
pub mod escape;
pub mod event;
pub mod export;
pub mod filter;
pub mod format;
pub mod graph;
pub mod host;
pub mod id;
pub mod io;
pub mod job;
pub mod nbd;
pub mod object;
pub mod os;
pub mod qmp;
pub mod sync;
pub mod throttle;
