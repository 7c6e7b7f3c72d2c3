//! A run is the same on every machine, so all that happens in it can be a snapshot, which a reviewer reads.
//!
//!     cargo run --example event_log_snapshot
//!
//! This is the mended log of `own_block_layer` with one guest that writes, flushes and writes again when the power is
//! cut. A change of the layer that asks the disk for more, or in another order, changes these lines: `cargo insta review`
//! shows how.

#[path = "own_block_layer.rs"]
#[allow(dead_code)]
mod own_block_layer;

use midstream::event_log;
use midstream::scenario::{Scenario, flush, power_cut, read, write};
use own_block_layer::Log;

/// Compares the log of one run with what is written here.
pub fn check() {
    let scenario = Scenario::chain(["disk dd......"])
        .guest("disk", [write(1, 2), flush(), read(0, 4), write(2, 1)])
        .crash(power_cut());
    let lines = event_log(Log { flushes_data_first: true }, scenario, 1).expect("a run");
    insta::assert_snapshot!(lines.join("\n"), @r"
    step 0     disk  dd......
    step 4     guest 0   attaches to disk, to write
    step 5     g0.0.0    write of 2 at 1
    step 7     g0.0.0    is done
    step 7     g0.0.1    flush
    step 13    g0.0.1    is done
    step 13    g0.0.2    read of 4 at 0
    step 19    g0.0.2    reads n0 g0.0.0*2 0
    step 19    g0.0.3    write of 1 at 2
    step 21    g0.0.3    is done
    step 21    crash     power cut
    step 21    reopened  disk: n0 g0.0.0*2 0*5
    step 21    end
    ");
}

fn main() {
    check();
    println!("the log is what it was");
}
