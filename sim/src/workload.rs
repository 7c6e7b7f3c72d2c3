//! What a world is built from and what is done to it: images and nodes, guest requests, operator commands.
//!
//! Everything is drawn up front, each slot at its own named choice with 0 for the default, so that a run gets
//! shorter by zeroing choices and nothing shifts.

pub mod client;
pub mod edits;
pub mod faults;
pub mod guest;
pub mod image;
pub mod images;
pub mod increments;
pub mod jobs;
pub mod lies;
pub mod patient;
pub mod scenario;
pub mod tables;
pub mod threads;
