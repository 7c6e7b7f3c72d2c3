//! What several tests need: a daemon with its clients, and images made by qemu-img.

pub mod daemon;
pub mod images;
pub mod nbd;
pub mod proxy;
pub mod tools;
