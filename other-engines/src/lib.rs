//! Engines that others wrote, unmodified, in our world.

mod confined;
pub mod engine;
pub mod findings;
mod image;
pub mod imago_layer;
pub mod level;
pub mod memory;
pub mod ours;
pub mod page;
pub mod part;
pub mod promises;
pub mod qcow2_rs_layer;
