//! A scenario of one's own, played in every order that its requests can take.
//!
//!     cargo run --example custom_scenario
//!
//! A guest writes and flushes, twice over the same sector, while another one reads it; the power is cut at any step. So every
//! run is about one question: does the second flush, cut short, take with it what the first had made durable? In the log
//! of `own_block_layer` it does; in the mended one it does not.

#[path = "own_block_layer.rs"]
#[allow(dead_code)]
mod own_block_layer;

use midstream::scenario::{Scenario, flush, power_cut, read, write};
use midstream::{Failure, find};
use own_block_layer::Log;

/// What happens; in which order is left to chance.
pub fn overwritten() -> Scenario {
    Scenario::chain(["disk ........"])
        .guest("disk", [write(0, 1), flush(), write(0, 1), flush()])
        .guest("disk", [read(0, 1)])
        .crash(power_cut())
}

/// Plays it so many times on the log, mended or not: what breaks, if something does.
pub fn played(flushes_data_first: bool, runs: u64) -> Option<Box<Failure>> {
    find(Log { flushes_data_first }, overwritten(), runs).err()
}

fn main() {
    println!(
        "mended: {}",
        played(true, 1_000).map_or("nothing breaks".to_owned(), |found| found.to_string())
    );
    println!(
        "as it was: {}",
        played(false, 1_000).map_or("nothing breaks".to_owned(), |found| found.to_string())
    );
}
