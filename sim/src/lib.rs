//! The world around the engine, and the judge: midstream itself.

pub mod choice;
pub mod strategy;
pub mod verdict;

#[cfg(test)]
mod toy;
