//! midstream's streaming engine: QEMU's block graph, qcow2, `block-stream` and its job life, for real.
//!
//! It meets the world through [`seam`] alone, so the same code runs on real files (`midstreamd`) and in the
//! simulator. Inside: qmp -> job -> io -> graph, io -> format -> seam; everybody may use sync, id and error.

pub mod budget;
pub mod command;
pub mod core;
pub mod dirty;
pub mod engine;
pub mod error;
pub mod event;
pub mod filter;
pub mod format;
pub mod graph;
pub mod id;
pub mod io;
pub mod job;
pub mod nbd;
pub mod object;
#[cfg(feature = "os")]
pub mod os;
pub mod permission;
pub mod qapi;
pub mod qmp;
pub mod sync;
pub mod throttle;
mod warning;
