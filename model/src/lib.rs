//! What must be true: the reference model of streams on image chains.

pub mod arguments;
pub mod blockdev;
pub mod blocker;
pub mod chain;
pub mod command;
pub mod content;
pub mod divergence;
pub mod event;
pub mod history;
pub mod job;
pub mod json;
pub mod law;
pub mod record;
pub mod reply;
pub mod stream;

pub use history::{CrashKind, FaultKind, Format, GuestOp, ImageSetup, Model, Observation};
pub use law::{Broken, Kind, LAW_COUNT, LAWS, LawId, Tally};
