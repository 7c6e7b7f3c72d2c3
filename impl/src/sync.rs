//! The engine's synchronisation: a few small primitives, over a shim that is std or loom.
//!
//! Nothing outside this folder holds a lock across an await.

pub mod shim;
