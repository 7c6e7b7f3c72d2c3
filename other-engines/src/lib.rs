//! Engines that others wrote, unmodified, in our world. `ours`, the control, is a file of `sim`'s.

mod confined;
pub mod engine;
pub mod findings;
pub mod imago_layer;
pub mod level;
pub mod memory;
#[path = "../../sim/src/layer.rs"]
pub mod ours;
pub mod page;
pub mod part;
pub mod promises;
pub mod qcow2_rs_layer;
