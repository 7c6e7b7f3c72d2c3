//! Every way in which the world may end in one state, each followed by what the next process finds, and judged.
//!
//! A crash leaves what is durable and any part of the rest. Of few writes every subset is tried; of more, each lost alone,
//! each kept alone, and every prefix in the order in which they came. Beside that each write that is longer than a sector is
//! torn, with all others lost and with all others there.

use super::Visited;
use crate::check::world::{Prepared, Recovery};
use crate::layer::BlockLayer;
use crate::panics::quietly;
use crate::scenario::Bounds;
use crate::verdict::Verdict;
use crate::witness::Witness;
use crate::world::crash::{Ending, Fate, TEARS, survivors};
use crate::world::disk::{Change, Disks, File, SECTOR_BYTES, apply};
use crate::world::notes::hash;
use crate::world::probe::View;
use seam::footprint::mixed;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A state in which the world was ended in one way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct CrashPoint {
    /// A number for the disks, the writes that may be lost, and what the judge knows.
    pub(super) number: u64,
    /// Two numbers for each way that was tried: for what was left and what the judge knows, and for what was left alone.
    pub(super) left: Vec<(u64, u64)>,
    /// Whether every subset of what may be lost was tried.
    pub(super) is_every: bool,
    /// The way that broke a law: which end, and each write's fate, as choices know it.
    pub(super) broken: Option<(Ending, Vec<u32>)>,
}

/// Ends the world of one run.
pub(super) struct Crashes<L> {
    pub(super) prepared: Arc<Prepared<L>>,
    pub(super) bounds: Bounds,
    pub(super) witness: Arc<Witness>,
    pub(super) visited: Arc<Visited>,
}

/// A write that may be lost: its file, and what it changes.
type Losable<'a> = (usize, u64, &'a Change);

impl<L: BlockLayer> Crashes<L> {
    /// A number for what the judge knows.
    pub(super) fn judge_number(&self) -> u64 {
        self.witness.fingerprint()
    }

    /// Ends the world here, in every way. What was tried in another run before is left out.
    pub(super) fn at(&self, view: &View<'_>, bytes: &[u64], judge: u64) -> Vec<CrashPoint> {
        let core = view.host.core();
        let mut points = Vec::new();
        for ending in &self.prepared.ends {
            let number = mixed(core.disks.crash_state(bytes, *ending), judge);
            if !self.visited.has_crashed(number) {
                points.push(self.end(&core.disks, *ending, number, judge));
            }
        }
        points
    }

    fn end(&self, disks: &Disks, ending: Ending, number: u64, judge: u64) -> CrashPoint {
        let durable = disks.files.iter().map(|file| match ending {
            Ending::Kill => file.bytes.clone(),
            Ending::PowerCut => file.durable(),
        });
        let durable: Vec<Vec<u8>> = durable.collect();
        let losable = losable(disks, ending);
        let (ways, is_every) = ways(&losable, self.bounds.subsets_of);
        let mut point = CrashPoint { number, left: Vec::new(), is_every, broken: None };
        let mut tried = BTreeMap::new();
        for fates in ways {
            let mut left = durable.clone();
            for ((file, offset, change), fate) in losable.iter().zip(&fates) {
                for (at, part) in survivors(*offset, change, fate_of(*fate), SECTOR_BYTES) {
                    apply(&mut left[*file], at, &part);
                }
            }
            let contents = left
                .iter()
                .fold(ending as u64, |all, bytes| mixed(all, mixed(bytes.len() as u64, hash(bytes))));
            let of = mixed(judge, contents);
            if tried.insert(of, contents).is_some() {
                continue;
            }
            if !self.visited.has_left(of) && !self.passes(disks, left, ending) {
                point.broken = Some((ending, fates));
                break;
            }
        }
        point.left = tried.into_iter().collect();
        point
    }

    /// Whether what the next process finds is allowed.
    fn passes(&self, disks: &Disks, left: Vec<Vec<u8>>, ending: Ending) -> bool {
        let witness = self.witness.fork(disks);
        witness.crashed(ending);
        let files = disks.files.iter().zip(left);
        let files = files.map(|(file, bytes)| File::new(&file.path, bytes)).collect();
        let Prepared { layer, scenario, .. } = &*self.prepared;
        let recovery = Recovery { layer, scenario, witness: &witness };
        let looked = quietly(|| recovery.look_after_crash(files));
        looked.unwrap_or(false) && witness.verdict() == Verdict::Passed
    }
}

/// The writes that such an end may lose, in the order in which choices decide them.
fn losable(disks: &Disks, ending: Ending) -> Vec<Losable<'_>> {
    let mut losable = Vec::new();
    for (index, file) in disks.files.iter().enumerate() {
        if ending == Ending::PowerCut {
            losable.extend(file.unflushed.iter().map(|landed| (index, landed.offset, &landed.change)));
        }
        let in_flight = disks.changes_in_flight().filter(|change| change.0 as usize == index);
        losable.extend(in_flight.map(|(_, _, offset, change)| (index, offset, change)));
    }
    losable
}

const LOST: u32 = 0;
const WHOLE: u32 = 1;

fn fate_of(choice: u32) -> Fate {
    match choice {
        LOST => Fate::Lost,
        WHOLE => Fate::Whole,
        torn => Fate::Torn(torn),
    }
}

/// The fates of all losable writes that are tried, and whether every subset is among them.
fn ways(losable: &[Losable<'_>], subsets_of: usize) -> (Vec<Vec<u32>>, bool) {
    let count = losable.len();
    let mut ways: Vec<Vec<u32>> = Vec::new();
    let is_every = count <= subsets_of;
    if is_every {
        ways.extend((0..1_u32 << count).map(|set| (0..count).map(|at| set >> at & 1).collect()));
    } else {
        ways.extend((0..=count).map(|kept| (0..count).map(|at| u32::from(at < kept)).collect()));
        for one in 0..count {
            ways.extend([LOST, WHOLE].map(|fate| {
                (0..count).map(|at| if at == one { fate } else { WHOLE - fate }).collect::<Vec<u32>>()
            }));
        }
    }
    for (one, (_, offset, change)) in losable.iter().enumerate() {
        for tear in tears(*offset, change) {
            ways.extend([LOST, WHOLE].map(|others| {
                (0..count).map(|at| if at == one { tear } else { others }).collect::<Vec<u32>>()
            }));
        }
    }
    (ways, is_every)
}

/// Two ways to tear a write that keep different parts of it; none for one that cannot be torn.
fn tears(offset: u64, change: &Change) -> Vec<u32> {
    if change.len_bytes() <= SECTOR_BYTES {
        return Vec::new();
    }
    let sectors = |tear: u32| survivors(offset, change, Fate::Torn(tear), SECTOR_BYTES).len() as u64;
    let all = (offset + change.len_bytes()).div_ceil(SECTOR_BYTES) - offset / SECTOR_BYTES;
    let proper = |tear: &u32| (1..all).contains(&sectors(*tear));
    (2..TEARS + 2).filter(proper).take(2).collect()
}
