//! Draws what guests do: reads, writes, zeroes, discards and flushes, in one or two lanes each.
//!
//! A lane is sequential; lanes of one guest run at the same time, so that requests overlap. Places are biased to
//! the edges of clusters and to where a job is copying. Some guests never rest: when their script is over they go on
//! writing as long as a job works, which must not keep the job from its end.

use super::image::Image;
use super::scenario::{Profile, Scenario};
use crate::oracle::Oracle;
use crate::oracle::bounded::Seen;
use crate::oracle::space::Change;
use block::engine::{Engine, Guest};
use midstream::choice::Draw;
use midstream::content::{SECTOR_BYTES, Tag, sectors_of, tag_of_request, tags};
use midstream::host::SimHost;
use midstream::request::{Operation, RequestId, TABLES};
use seam::IoResult;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Lanes of a guest.
const LANES: u32 = 2;
/// Request slots of a lane.
const REQUESTS: u32 = 6;
/// Writes of a guest that never rests, at most; and how often it looks in vain for a job before it leaves.
const RESTLESS_WRITES_MAX: u32 = 100;
const RESTLESS_LOOKS_MAX: u32 = 8;

/// What a guest does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestPlan {
    /// Its number.
    pub guest: u32,
    /// Index of the image whose node it uses.
    pub image: usize,
    /// Whether it may write.
    pub writable: bool,
    /// Steps to think before it attaches.
    pub think: u32,
    /// Scripts that run at the same time.
    pub lanes: Vec<Vec<Request>>,
    /// Over how many sectors it goes on writing, if it never rests: those of the largest image.
    pub restless: Option<u64>,
}

/// One request.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Steps to think before it.
    pub think: u32,
    /// What.
    pub operation: Operation,
    /// Where.
    pub place: Place,
    /// How many sectors.
    pub sectors: u64,
    /// The tag a write leaves.
    pub tag: Tag,
}

/// Where a request begins.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// At a sector.
    Sector(u64),
    /// So many sectors after (or before) where the oldest job has got to.
    NearJob(i64),
}

/// Draws guest number `guest`; nobody, if all of its slots are empty.
pub fn draw(draw: &mut Draw<'_>, scenario: &Scenario, profile: Profile, guest: u32) -> Option<GuestPlan> {
    // 0 is the topmost node, where a guest belongs; the others read below, and some write there.
    let count = scenario.layers;
    let image = match draw.below("guest # node", [guest, 0, 0], 8) {
        0..=3 => count - 1,
        other => (other as usize) % count,
    };
    // 1 is a writer where none belongs or a reader at the top; 2 is a reader who tries to write; 7 never rests.
    let mode = draw.below("guest # mode", [guest, 0, 0], 8);
    let writable = scenario.is_root(image) != (mode == 1);
    let odd = mode == 2;
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let requests: Vec<Request> =
            (0..REQUESTS)
                .filter_map(|slot| draw_request(draw, scenario, profile, image, [guest, lane, slot]))
                .map(|request| {
                    if writable || odd { request } else { Request { operation: Operation::Read, ..request } }
                })
                .collect();
        if !requests.is_empty() {
            lanes.push(requests);
        }
    }
    let think = draw.entry("guest # think", [guest, 0, 0], &[0, 0, 0, 0, 8, 16, 64]);
    let sectors = scenario.images.iter().map(Image::sectors).max().filter(|_| mode == 7 && writable);
    (!lanes.is_empty()).then_some(GuestPlan { guest, image, writable, think, lanes, restless: sectors })
}

fn draw_request(
    draw: &mut Draw<'_>,
    scenario: &Scenario,
    profile: Profile,
    image: usize,
    of: [u32; 3],
) -> Option<Request> {
    // The second lane is there to overlap with the first; half of it is empty.
    let table = TABLES[profile.operations as usize];
    let operation = draw.entry("guest # lane # request #", of, table)?;
    if of[1] == 1 && draw.below("guest # lane # request # present", of, 2) == 0 {
        return None;
    }
    let size = scenario.images[image].sectors();
    let per_cluster = scenario.images[image].format.cluster_bytes() / 512;
    let sectors = match draw.below("guest # lane # request # length", of, 8) {
        0..=2 => 1,
        3 => 2,
        4 => per_cluster,
        5 => per_cluster + 1,
        6 => 3,
        _ => per_cluster * 2,
    };
    let place = match draw.below("guest # lane # request # place", of, 4) {
        0 | 1 => {
            let cluster = u64::from(draw.below("guest # lane # request # cluster", of, 128))
                % size.div_ceil(per_cluster);
            let edge = draw.entry("guest # lane # request # edge", of, &[0, 0, 1, per_cluster - 1]);
            Place::Sector((cluster * per_cluster + edge).min(size - 1))
        }
        2 => Place::Sector(u64::from(draw.below("guest # lane # request # sector", of, 128)) % size),
        _ => Place::NearJob(draw.entry("guest # lane # request # beside", of, &[0, 1, 2, -1, -2, 4])),
    };
    let think = draw.entry("guest # lane # request # think", of, &[0, 0, 1, 2, 4, 8, 16, 32, 64, 128]);
    let tag = tag_of_request(of[0], of[1], of[2]);
    Some(Request { think, operation, place, sectors, tag })
}

impl Request {
    /// The slot of its lane that it was drawn in.
    pub fn slot(&self) -> u32 {
        (self.tag >> 32 & 0xff) as u32
    }
}

impl Place {
    /// The first sector, in an image of `size` sectors while the oldest job is at `job`.
    pub fn sector(self, size: u64, job: u64) -> u64 {
        match self {
            Place::Sector(sector) => sector.min(size - 1),
            Place::NearJob(beside) => job.saturating_add_signed(beside).min(size - 1),
        }
    }
}

/// A guest at work: its plan, and its place at the node once it has one.
#[derive(Debug)]
pub struct Seat {
    /// What it does.
    pub plan: GuestPlan,
    /// Name of its node.
    pub node: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: Taken,
    waiting: Vec<Waker>,
    lanes_ended: usize,
}

#[derive(Debug, Default)]
enum Taken {
    #[default]
    NotYet,
    Refused,
    By(Arc<Guest>),
}

impl Seat {
    /// A guest that has not come yet.
    pub fn new(plan: GuestPlan, node: String) -> Self {
        Seat { plan, node, state: Mutex::default() }
    }

    /// Runs one lane: the first one attaches the guest, the last one detaches it.
    pub async fn run_lane(
        self: Arc<Self>,
        lane: usize,
        engine: Arc<Engine>,
        oracle: Arc<Oracle>,
        host: SimHost,
    ) {
        if lane == 0 {
            host.think(self.plan.think).await;
            // Guests come by command, and commands take turns.
            let _alone = engine.commands().drain().await;
            self.attach(&engine, &oracle);
        }
        let Some(guest) = self.guest().await else {
            return;
        };
        for (slot, request) in self.plan.lanes[lane].iter().enumerate() {
            host.think(request.think).await;
            let id = RequestId { guest: self.plan.guest, lane: lane as u32, slot: slot as u32 };
            perform(id, request, &guest, &engine, &oracle).await;
        }
        if lane == 0
            && let Some(sectors) = self.plan.restless
        {
            self.go_on(sectors, &guest, &engine, &oracle, &host).await;
        }
        drop(guest);
        self.leave(&oracle);
    }

    /// Writes on and on while a job works, and sees whether that keeps the job from getting in step.
    async fn go_on(&self, sectors: u64, guest: &Guest, engine: &Engine, oracle: &Oracle, host: &SimHost) {
        let mut looks = 0;
        for slot in REQUESTS..REQUESTS + RESTLESS_WRITES_MAX {
            let jobs = engine.query_block_jobs();
            if !jobs.iter().any(|job| ["running", "ready"].contains(&job.status)) {
                looks += 1;
                if looks == RESTLESS_LOOKS_MAX {
                    return;
                }
                host.think(4).await;
                continue;
            }
            for job in &jobs {
                let seen = Seen { id: &job.device, status: job.status, offset: job.offset };
                oracle.job_at(&seen, sectors * SECTOR_BYTES as u64);
            }
            let id = RequestId { guest: self.plan.guest, lane: 0, slot };
            let place = Place::Sector(u64::from(slot) * 13 % sectors);
            let tag = tag_of_request(self.plan.guest, 0, slot);
            let request = Request { think: 0, operation: Operation::Write, place, sectors: 1, tag };
            perform(id, &request, guest, engine, oracle).await;
        }
    }

    fn attach(&self, engine: &Arc<Engine>, oracle: &Oracle) {
        let taken = match engine.open_guest(&self.node, self.plan.writable) {
            Ok(guest) => {
                oracle.attached(self.plan.guest, &self.node, self.plan.writable);
                Taken::By(Arc::new(guest))
            }
            Err(refused) => {
                oracle.turned_away(self.plan.guest, &self.node, self.plan.writable, &refused);
                Taken::Refused
            }
        };
        let mut state = self.state.lock().expect("nobody panics holding it");
        state.taken = taken;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn guest(&self) -> Option<Arc<Guest>> {
        std::future::poll_fn(|context| {
            let mut state = self.state.lock().expect("nobody panics holding it");
            match &state.taken {
                Taken::By(guest) => Poll::Ready(Some(guest.clone())),
                Taken::Refused => Poll::Ready(None),
                Taken::NotYet => {
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn leave(&self, oracle: &Oracle) {
        let mut state = self.state.lock().expect("nobody panics holding it");
        state.lanes_ended += 1;
        if state.lanes_ended < self.plan.lanes.len() {
            return;
        }
        let guest = std::mem::replace(&mut state.taken, Taken::Refused);
        drop(state);
        drop(guest);
        oracle.detached(self.plan.guest);
    }
}

/// Does one request, from the oracle's seeing it begin to its seeing it end.
pub async fn perform(id: RequestId, request: &Request, guest: &Guest, engine: &Engine, oracle: &Oracle) {
    let size = guest.len_bytes().map_or(0, |len| len / SECTOR_BYTES as u64);
    if size == 0 {
        return;
    }
    let sector = request.place.sector(size, job_sector(engine, request.place));
    let sectors = request.sectors.min(size - sector);
    let (offset, len) = (sector * SECTOR_BYTES as u64, sectors * SECTOR_BYTES as u64);
    if let Some(change) = change_of(request.operation, sector..sector + sectors, guest, engine, oracle) {
        oracle.changes(id, change);
    }
    oracle.began(id, request.operation, sector, sectors, request.tag);
    match request.operation {
        Operation::Read => {
            let read = guest.read(offset, len).await;
            oracle.ended(id, read.map(|bytes| Some(tags(&bytes))));
        }
        change => oracle.ended(id, make(change, request.tag, guest, offset, len).await.map(|()| None)),
    }
}

/// What a request changes, in clusters of the image that its guest writes.
fn change_of(
    operation: Operation,
    sectors: Range<u64>,
    guest: &Guest,
    engine: &Engine,
    oracle: &Oracle,
) -> Option<Change> {
    if matches!(operation, Operation::Read | Operation::Flush) {
        return None;
    }
    let graph = engine.graph();
    let file = &graph.node(graph.unfiltered(graph.find(&guest.node_name())?)).filename;
    let per_cluster = oracle.cluster_sectors(file)?;
    let touched = sectors.start / per_cluster..sectors.end.div_ceil(per_cluster);
    let covered = sectors.start.div_ceil(per_cluster)..sectors.end / per_cluster;
    let is_quiet = operation == Operation::Discard && engine.query_block_jobs().is_empty();
    Some(Change { file: file.clone(), operation, touched, covered, is_quiet })
}

async fn make(change: Operation, tag: Tag, guest: &Guest, offset: u64, len: u64) -> IoResult<()> {
    match change {
        Operation::Write => {
            let (first, count) = (offset / SECTOR_BYTES as u64, len / SECTOR_BYTES as u64);
            guest.write(offset, sectors_of(tag, first, count)).await
        }
        Operation::WriteZeroes => guest.write_zeroes(offset, len).await,
        Operation::Discard => guest.discard(offset, len).await,
        Operation::Flush => guest.flush().await,
        Operation::Read => unreachable!("a read changes nothing"),
    }
}

/// Where the oldest job has got to, if anybody wants to know.
fn job_sector(engine: &Engine, place: Place) -> u64 {
    match place {
        Place::Sector(_) => 0,
        Place::NearJob(_) => {
            engine.query_block_jobs().last().map_or(0, |job| job.offset / SECTOR_BYTES as u64)
        }
    }
}
