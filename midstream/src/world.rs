//! The simulated world: who runs next, what time it is, what disks do and what goes wrong with them, and how it all ends.
//!
//! [`host`] is the [`seam::Host`] that the code under test meets; everything in it that could go one way or another is a
//! choice.

pub mod clock;
pub mod crash;
pub mod disk;
pub mod fault;
pub mod file;
mod header;
pub mod host;
pub mod notes;
pub mod on_disk;
pub mod probe;
mod ready;
pub mod repertoire;
pub mod scheduler;
mod shelf;
pub mod socket;
pub mod struck;
mod wait;
pub mod waiting;
pub mod wire;
