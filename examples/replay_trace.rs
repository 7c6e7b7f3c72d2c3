//! A failure is kept as a file, and played again from it: the same law breaks, by the same steps.
//!
//!     cargo run --example replay_trace
//!
//! A trace names every decision of a run: the requests, their order, the moment of the crash and what it left. It does not
//! need the seed, the thousands of runs before it, or the machine it was found on. Kept beside the code, it is the test
//! that the bug stays mended; `MIDSTREAM_TRACE=FILE cargo test` plays one in any test that calls `check`.

#[path = "own_block_layer.rs"]
#[allow(dead_code)]
mod own_block_layer;

use midstream::trace::Trace;
use midstream::{Failure, Profile, find, replay};
use own_block_layer::Log;
use std::path::Path;

/// The log with its bug.
const LOG: Log = Log { flushes_data_first: false };

/// Searches for the bug, and leaves the shortest run that was found in a file.
pub fn found() -> Box<Failure> {
    find(LOG, Profile::default(), 2_000).expect_err("the log has a bug")
}

/// Plays the run in a file.
pub fn played(path: &Path) -> Box<Failure> {
    let trace = Trace::read(path).expect("it was just written");
    replay(LOG, Profile::default(), &trace).expect_err("the bug is still there")
}

fn main() {
    let found = found();
    let path = found.trace.as_deref().expect("its trace was left");
    let again = played(path);
    assert_eq!((&again.law, &again.steps), (&found.law, &found.steps));
    println!("{again}");
}
