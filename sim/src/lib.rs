//! The world around the engine, and the judge: midstream itself.

pub mod choice;
pub mod minimise;
pub mod strategy;
pub mod trace;
pub mod verdict;

#[cfg(test)]
mod toy;
