//! A guest at work: its lanes run beside each other, and the oracle sees each request begin and end.

use crate::oracle::Oracle;
use crate::oracle::bounded::Seen;
use crate::oracle::space::Change;
use crate::oracle::write::Write;
use crate::workload::guest::{GuestPlan, Place, REQUESTS, Request};
use crate::world::door::{Door, How, Visitor};
use block::engine::Engine;
use block::qmp::Monitor;
use midstream::content::{SECTOR_BYTES, sectors_of, tag_of_request, tags};
use midstream::history::observed::Asked;
use midstream::request::{Operation, RequestId};
use midstream::world::host::SimHost;
use seam::Host;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Writes of a guest that never rests, at most; and how often it looks in vain for a job before it leaves.
const RESTLESS_WRITES_MAX: u32 = 100;
const RESTLESS_LOOKS_MAX: u32 = 8;

/// A guest at work: its plan, and its place at the node once it has one.
#[derive(Debug)]
pub struct Seat {
    /// What it does.
    pub plan: GuestPlan,
    /// Name of its node.
    pub node: String,
    state: Mutex<State>,
}

/// Whom guests meet.
#[derive(Clone, Debug)]
pub struct House {
    /// Whose nodes they use.
    pub engine: Arc<Engine>,
    /// By whom exports are made.
    pub monitor: Arc<Monitor>,
    /// Who judges.
    pub oracle: Arc<Oracle>,
    /// Where all of it happens.
    pub host: SimHost,
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
    By(Arc<Door>),
}

impl Seat {
    /// A guest that has not come yet.
    pub fn new(plan: GuestPlan, node: String) -> Self {
        Seat { plan, node, state: Mutex::default() }
    }

    /// Runs one lane: the first one attaches the guest, the last one detaches it.
    pub async fn run_lane(self: Arc<Self>, lane: usize, house: House) {
        let House { engine, oracle, host, .. } = &house;
        if lane == 0 {
            host.think(self.plan.think).await;
            self.attach(&house).await;
        }
        let Some(guest) = self.guest().await else {
            return;
        };
        for (slot, request) in self.plan.lanes[lane].iter().enumerate() {
            host.think(request.think).await;
            let id = RequestId { guest: self.plan.guest, lane: lane as u32, slot: slot as u32 };
            perform(id, request, &guest, engine, oracle).await;
        }
        if lane == 0
            && let Some(sectors) = self.plan.restless
        {
            self.go_on(sectors, &guest, engine, oracle, host).await;
        }
        drop(guest);
        self.leave(&house).await;
    }

    /// Writes on and on while a job works, and sees whether that keeps the job from getting in step.
    async fn go_on(&self, sectors: u64, guest: &Door, engine: &Engine, oracle: &Oracle, host: &SimHost) {
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
            let operation = Operation::Write;
            let request = Request { think: 0, operation, place, sectors: 1, tag, fua: false, unmaps: false };
            let began = host.now();
            perform(id, &request, guest, engine, oracle).await;
            oracle.waited(id, host.now().since(began), sectors * SECTOR_BYTES as u64);
        }
    }

    async fn attach(&self, house: &House) {
        let House { engine, monitor, oracle, host } = house;
        let visitor = Visitor { guest: self.plan.guest, node: &self.node, writable: self.plan.writable };
        let door = if self.plan.by_nbd {
            Door::export(visitor, monitor, oracle, host).await
        } else {
            // Guests come by command, and commands take turns.
            let _alone = engine.commands().drain().await;
            Door::device(visitor, engine, oracle)
        };
        let taken = door.map_or(Taken::Refused, |door| Taken::By(Arc::new(door)));
        let mut state = self.state.lock().expect("nobody panics holding it");
        state.taken = taken;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    async fn guest(&self) -> Option<Arc<Door>> {
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

    async fn leave(&self, house: &House) {
        let taken = {
            let mut state = self.state.lock().expect("nobody panics holding it");
            state.lanes_ended += 1;
            if state.lanes_ended < self.plan.lanes.len() {
                return;
            }
            std::mem::replace(&mut state.taken, Taken::Refused)
        };
        let Taken::By(door) = taken else { return };
        let door = Arc::into_inner(door).expect("every lane has released it");
        let House { engine, monitor, oracle, .. } = house;
        door.leave(self.plan.guest, engine, monitor, oracle).await;
    }
}

/// Does one request, from the oracle's seeing it begin to its seeing it end.
pub async fn perform(id: RequestId, request: &Request, guest: &Door, engine: &Engine, oracle: &Oracle) {
    let size = guest.len_bytes() / SECTOR_BYTES as u64;
    if size == 0 {
        return;
    }
    let sector = request.place.sector(size, job_sector(engine, request.place));
    let sectors = request.sectors.min(size - sector);
    let (offset, len) = (sector * SECTOR_BYTES as u64, sectors * SECTOR_BYTES as u64);
    if let Some(change) = change_of(request.operation, sector..sector + sectors, guest, engine, oracle) {
        oracle.changes(id, change);
    }
    let is_change = !matches!(request.operation, Operation::Read | Operation::Flush);
    let layer = if is_change { layer_of(guest, engine) } else { None };
    if let Some(node) = layer.clone() {
        oracle.writes(id, &Write { node, operation: request.operation, bytes: offset..offset + len });
    }
    oracle.began(id, asked(request, sector, sectors), request.tag);
    match request.operation {
        Operation::Read => {
            let read = guest.read(offset, len).await;
            oracle.ended(id, read.map(|bytes| Some(tags(&bytes))));
        }
        change => {
            let data = match change {
                Operation::Write => sectors_of(request.tag, sector, sectors),
                _ => Vec::new(),
            };
            let how = How { fua: request.fua, unmaps: request.unmaps };
            let made = guest.change(change, offset, len, data, how).await;
            if is_change && layer_of(guest, engine) != layer {
                oracle.writes_somewhere(id);
            }
            oracle.ended(id, made.map(|()| None));
        }
    }
}

/// What a request asks for. Zeroes that are to be durable are a write of them to whoever judges.
fn asked(request: &Request, sector: u64, sectors: u64) -> Asked {
    match request.operation {
        Operation::WriteZeroes if request.fua => {
            let written = Asked::new(Operation::Write, sector, sectors, request.tag);
            Asked { values: vec![0; sectors as usize], fua: true, ..written }
        }
        operation => Asked { fua: request.fua, ..Asked::new(operation, sector, sectors, request.tag) },
    }
}

/// The name of the node that keeps a guest's bytes.
fn layer_of(guest: &Door, engine: &Engine) -> Option<String> {
    let graph = engine.graph();
    Some(graph.name(graph.unfiltered(graph.find(&guest.node_name(engine)?)?)).to_owned())
}

/// What a request changes, in clusters of the image that its guest writes.
fn change_of(
    operation: Operation,
    sectors: Range<u64>,
    guest: &Door,
    engine: &Engine,
    oracle: &Oracle,
) -> Option<Change> {
    if matches!(operation, Operation::Read | Operation::Flush) {
        return None;
    }
    let graph = engine.graph();
    let file = &graph.node(graph.unfiltered(graph.find(&guest.node_name(engine)?)?)).filename;
    let per_cluster = oracle.cluster_sectors(file)?;
    let touched = sectors.start / per_cluster..sectors.end.div_ceil(per_cluster);
    let covered = sectors.start.div_ceil(per_cluster)..sectors.end / per_cluster;
    let is_quiet = operation == Operation::Discard && engine.query_block_jobs().is_empty();
    Some(Change { file: file.clone(), operation, touched, covered, is_quiet })
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
