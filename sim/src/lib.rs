//! The world around the engine, and the judge: midstream itself.

pub mod attack;
pub mod campaign;
pub mod choice;
pub mod clock;
pub mod command;
pub mod conform;
pub mod coverage;
pub mod crash;
pub mod device;
pub mod disk;
pub mod fault;
pub mod fence;
pub mod history;
pub mod host;
pub mod judge;
pub mod live;
pub mod minimise;
pub mod mutants;
pub mod oracle;
pub mod panics;
pub mod recovery;
pub mod report;
pub mod scheduler;
pub mod socket;
pub mod strategy;
pub mod subject;
pub mod terminal;
pub mod trace;
pub mod verdict;
pub mod workload;
pub mod world;

#[cfg(test)]
mod toy;
