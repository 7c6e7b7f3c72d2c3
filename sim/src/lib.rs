//! The world around the engine, and the judge: midstream itself.

pub mod campaign;
pub mod choice;
pub mod command;
pub mod coverage;
pub mod minimise;
pub mod mutants;
pub mod panics;
pub mod report;
pub mod strategy;
pub mod trace;
pub mod verdict;

#[cfg(test)]
mod toy;
