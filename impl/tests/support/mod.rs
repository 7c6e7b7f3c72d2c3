//! What the tests of the image formats share: a disk in memory, two executors, an engine in memory, a generator, QEMU's tools.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod crash;
pub mod executor;
pub mod layer;
pub mod memory;
pub mod memory_disk;
pub mod qemu;
pub mod random;
pub mod recorded;
pub mod world;
