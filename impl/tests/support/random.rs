//! The tests' generator: that of all hostile input.

pub use hostile::random::Random;
