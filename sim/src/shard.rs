//! A campaign that is spread over machines: which seeds each part has, what it leaves behind, and how these are put together.
//!
//! Part `I/N` of a campaign from seed S has the seeds S + I, S + I + N, S + I + 2 N, ...: no two parts share one, and N parts
//! together have those that one process would have. `part` is who it is, `result` the file that it leaves, `merged` the
//! union of such files.

pub mod merged;
pub mod part;
pub mod result;

pub use part::Part;
