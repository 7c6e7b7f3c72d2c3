//! A bug that shows in one order of 756,756: every schedule finds it for certain, and chance does not.
//!
//!     cargo run --release --example one_order -- 600
//!
//! Three guests write a sector each. A write passes a gate five times, and between two passes reads its sector: the first
//! guest's three times, the others' once. Who passes in one certain order, of the 15! / (5! 5! 5!) that there are, loses
//! the last write. In that order the slow guest is ahead of the others again and again, which hardly ever happens by chance.
//! The number is the seconds that chance gets.

use midstream::campaign::{Plan, Seeds};
use midstream::check::{Effort, Explored};
use midstream::coverage::Totals;
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
/// How many reads of its own each guest does before it passes.
const READS: [usize; 3] = [3, 1, 1];
/// The order that loses a write.
const LOSES: [u64; 3 * PASSES] = [0, 1, 0, 0, 2, 1, 0, 2, 1, 0, 2, 2, 1, 1, 2];
/// What the gate knows once somebody has passed in another order.
const OTHERWISE: u64 = u64::MAX;

/// The layer, with the bug or without.
#[derive(Debug)]
pub struct Gated {
    /// Whether it has the bug.
    pub loses: bool,
}

/// An open image, and how many have passed in the order that loses a write.
#[derive(Debug)]
pub struct Passing {
    disk: Arc<dyn Disk>,
    loses: bool,
    in_order: Mutex<u64>,
    noted: Object,
}

impl BlockLayer for Gated {
    type Device = Passing;
    const NOTES_WHAT_IT_SHARES: bool = true;

    async fn open(&self, host: Arc<dyn Host>, images: &[Image]) -> IoResult<Vec<Passing>> {
        let mut devices = Vec::new();
        for image in images {
            let disk = host.open(&image.path, OpenMode::ReadWrite).await?;
            let (in_order, noted) = (Mutex::default(), Object::new());
            devices.push(Passing { disk, loses: self.loses, in_order, noted });
        }
        Ok(devices)
    }
}

impl Passing {
    /// Whether the order so far is the whole of the one that loses a write.
    fn pass(&self, who: u64) -> bool {
        self.noted.touch(Access::Read);
        let mut in_order = self.in_order.lock().expect("nobody panics holding it");
        let is_next = usize::try_from(*in_order).is_ok_and(|next| LOSES.get(next) == Some(&who));
        *in_order = if is_next { *in_order + 1 } else { OTHERWISE };
        self.noted.set(0, *in_order);
        *in_order == LOSES.len() as u64
    }
}

impl Device for Passing {
    async fn read(&self, offset: u64, len: u64) -> IoResult<Vec<u8>> {
        self.disk.read(offset, vec![0; len as usize]).await
    }

    async fn write(&self, offset: u64, data: Vec<u8>) -> IoResult<()> {
        let who = offset / SECTOR;
        let mut is_lost = false;
        for _ in 0..PASSES {
            for _ in 0..READS[who as usize] {
                self.read(offset, SECTOR).await?;
            }
            is_lost = self.pass(who) && self.loses;
        }
        if is_lost { Ok(()) } else { self.disk.write(offset, data).await }
    }

    async fn flush(&self) -> IoResult<()> {
        self.disk.flush().await
    }
}

fn scenario() -> Scenario {
    (0..3).fold(Scenario::chain(["disk ..."]), |scenario, sector| scenario.guest("disk", [write(sector, 1)]))
}

/// Takes every order.
pub fn explored(loses: bool) -> Explored {
    explore(Gated { loses }, scenario(), &Bounds::default(), &Effort::default()).expect("it can be judged")
}

/// Leaves the order to chance, for so long.
pub fn by_chance(seconds: u64) -> Totals {
    let plan = Plan {
        seeds: Seeds::From(1),
        runs: u64::MAX,
        time: Some(Duration::from_secs(seconds)),
        jobs: 1,
        until_failure: true,
        ending_laws: Vec::new(),
        history: None,
    };
    survey(Gated { loses: true }, scenario(), &plan).expect("it can be judged")
}

fn main() {
    for loses in [true, false] {
        let began = Instant::now();
        let Explored { end, counts, .. } = explored(loses);
        println!(
            "every schedule, {} the bug: {end:?} after {} schedules, {} pruned, {} states, in {:.1} s",
            if loses { "with" } else { "without" },
            counts.schedules,
            counts.pruned,
            counts.states,
            began.elapsed().as_secs_f64()
        );
    }
    let seconds = env::args().nth(1).map_or(10, |seconds| seconds.parse().expect("a number of seconds"));
    let totals = by_chance(seconds);
    let found = if totals.failures() == 0 { "missed" } else { "found" };
    println!("chance, with the bug: {found} in {} runs, {seconds} s", totals.runs);
}
