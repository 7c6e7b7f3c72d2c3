//! A bug that shows in one order of 756,756, and in few schedules: `explore` finds it for certain; how long chance looks
//! for it in vain is up to whoever asks.
//!
//! ```console
//! $ cargo run --release -p midstream-check --example one_order -- 600
//! ```

use midstream::campaign::{Plan, Seeds};
use midstream::check::{Effort, End};
use midstream::scenario::{Bounds, Scenario, write};
use midstream::seam::footprint::{Access, Object};
use midstream::seam::{Disk, Host, IoResult, OpenMode};
use midstream::{BlockLayer, Device, Image, explore, survey};
use std::env;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECTOR: u64 = 512;
/// How often a write passes the gate.
const PASSES: usize = 5;
/// How many reads of its own each guest does before it passes: the first is slow, the others are not.
const READS: [usize; 3] = [3, 1, 1];
/// Who passes in this order loses the last write: the slow guest is in front of the others again and again.
const LOSES: [u64; 3 * PASSES] = [0, 1, 0, 0, 2, 1, 0, 2, 1, 0, 2, 2, 1, 1, 2];

/// Each write of sector n passes a gate.
struct Gated;

/// An open image, and who has passed.
struct Passing {
    disk: Arc<dyn Disk>,
    passed: Mutex<Vec<u64>>,
    noted: Object,
}

impl BlockLayer for Gated {
    type Device = Passing;
    const NOTES_WHAT_IT_SHARES: bool = true;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Passing>> {
        let mut devices = Vec::new();
        for image in images {
            let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
            devices.push(Passing { disk, passed: Mutex::default(), noted: Object::new() });
        }
        Ok(devices)
    }
}

impl Device for Passing {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.disk.read(offset, vec![0; len as usize]).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let who = offset / SECTOR;
        let mut loses = false;
        for _ in 0..PASSES {
            for _ in 0..READS[who as usize] {
                self.read(offset, SECTOR).await?;
            }
            self.noted.touch(Access::Write);
            let mut passed = self.passed.lock().expect("nobody panics holding it");
            passed.push(who);
            loses = *passed == LOSES;
        }
        if loses { Ok(()) } else { self.disk.write(offset, data).await }
    }

    async fn flush(&self) -> IoResult<()> {
        self.disk.flush().await
    }
}

fn scenario() -> Scenario {
    (0..3).fold(Scenario::chain(["disk ..."]), |scenario, sector| scenario.guest("disk", [write(sector, 1)]))
}

fn main() {
    let seconds = env::args().nth(1).map_or(10, |seconds| seconds.parse().expect("a number of seconds"));
    let began = Instant::now();
    let bounds = Bounds { runs_max: u64::MAX, ..Bounds::default() };
    let found = explore(Gated, scenario(), &bounds, &Effort::default()).expect("it can be judged");
    let counts = &found.counts;
    println!(
        "explore: {} after {} schedules, {} pruned, {} states, in {:.1} s",
        if found.end == End::Broken { "found" } else { "MISSED" },
        counts.schedules,
        counts.pruned,
        counts.states,
        began.elapsed().as_secs_f64()
    );
    let plan = Plan {
        seeds: Seeds::From(1),
        runs: u64::MAX,
        time: Some(Duration::from_secs(seconds)),
        jobs: 1,
        until_failure: true,
        ending_laws: Vec::new(),
        history: None,
    };
    let began = Instant::now();
    let totals = survey(Gated, scenario(), &plan).expect("it can be judged");
    println!(
        "chance: {} in {} runs, {:.0} s",
        if totals.failures() == 0 { "missed" } else { "found" },
        totals.runs,
        began.elapsed().as_secs_f64()
    );
}
