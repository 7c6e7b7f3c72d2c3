//! The world around the engine, and the judge: midstream itself.

pub mod choice;
pub mod clock;
pub mod crash;
pub mod disk;
pub mod fault;
pub mod host;
pub mod scheduler;
pub mod verdict;
pub mod workload;
