//! What a fuzzer tries: any bytes, each kind of input by its own target, and what must hold whatever the bytes are.
//!
//! A check returns, or panics. It says nothing of bytes that make no sense, but that they are refused as such.

pub mod choices;
pub mod history;
pub mod nbd;
pub mod qcow2;
pub mod qmp;
mod world;

/// A target: its name, which is that of its corpus too, and its check.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("choices", choices::check),
    ("qmp", qmp::check),
    ("nbd", nbd::check),
    ("qcow2", qcow2::check),
    ("history", history::check),
];
