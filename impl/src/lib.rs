//! midstream's streaming engine: QEMU's block graph, qcow2, `block-stream` and its job life, for real.
//!
//! It meets the world through [`seam`] alone, so the same code runs on real files (`midstreamd`) and in the
//! simulator. Inside: qmp -> job -> io -> graph, io -> format -> seam; everybody may use sync, id and error.

#![warn(unreachable_pub)]

pub mod budget;
pub mod command;
mod core;
mod dirty;
pub mod engine;
pub mod error;
pub mod event;
mod filter;
pub mod format;
mod graph;
mod id;
mod io;
mod job;
pub mod nbd;
mod object;
#[cfg(feature = "os")]
pub mod os;
mod permission;
pub mod qapi;
pub mod qmp;
pub mod sync;
mod throttle;
mod warning;
