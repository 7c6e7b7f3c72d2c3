//! What the devices hold, and the life of a request: submitted, held back for a while, completed, answered.
//!
//! A request is completed when so many others have come after it as was decided for it, or when nothing comes any more.

use super::log::{Log, Step};
use block::nbd::reply::{Answer, Extent, Ticket};
use block::nbd::request::{Command, Request};
use midstream::choice::{Choices, Point};
use midstream::world::disk::{Ask, Change, Disks, File};
use midstream::world::fault::Fault;
use seam::Errno;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

/// How many other requests may overtake one.
const OVERTAKERS: u32 = 4;

/// One device as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Device {
    /// The name of its export, without a slash.
    pub name: String,
    /// What is on it in the beginning; its length is the device's.
    pub bytes: Vec<u8>,
}

/// How often what was asked, and what went wrong.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Writes of zeroes.
    pub zeroes: u64,
    /// Ranges given up.
    pub trims: u64,
    /// Flushes, those that a single request asked for included.
    pub flushes: u64,
    /// Requests that were overtaken by others.
    pub overtaken: u64,
}

/// A request that waits for its turn.
#[derive(Debug)]
struct Held {
    client: u64,
    ticket: Ticket,
    id: u64,
    /// It is completed when so many requests have come.
    due: u64,
    reply: Reply,
    is_logged: bool,
    /// The device is flushed before the reply.
    flushes: Option<u32>,
}

/// What the client gets when all goes well.
#[derive(Copy, Clone, Debug)]
enum Reply {
    Done,
    Data,
}

/// What the server shares with whoever made it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) disks: Disks,
    pub(super) log: Log,
    pub(super) counts: Counts,
    held: Vec<Held>,
    come: u64,
    numbers: Vec<u32>,
    /// Who decides about the order; nobody: they are done as they come.
    pub(super) choices: Option<Arc<Mutex<Choices>>>,
}

/// What became of a request at once.
pub(super) enum Taken {
    /// It is answered already.
    Answer(Ticket, Answer),
    /// It is answered later.
    Later,
}

impl State {
    pub(super) fn new(devices: Vec<Device>) -> State {
        let named: Vec<(String, Vec<u8>)> =
            devices.into_iter().map(|device| (device.name, device.bytes)).collect();
        let files = named.iter().map(|(name, bytes)| File::new(name, bytes.clone())).collect();
        State {
            disks: Disks::new(files),
            numbers: vec![0; named.len()],
            log: Log { devices: named, ..Log::default() },
            counts: Counts::default(),
            held: Vec::new(),
            come: 0,
            choices: None,
        }
    }

    /// Takes a request of a client of one device. `said_bytes`: how much whoever is watched had said by then.
    pub(super) fn submit(
        &mut self,
        client: u64,
        device: u32,
        ticket: Ticket,
        request: Request,
        said_bytes: u64,
    ) -> Taken {
        let offset = request.offset;
        let (ask, flushes) = match request.command {
            Command::Cache { .. } => return Taken::Answer(ticket, Answer::Done),
            Command::BlockStatus { len, .. } => {
                let extent = Extent { len, allocation: 0, depth: 0 };
                return Taken::Answer(ticket, Answer::Extents(vec![extent]));
            }
            Command::Read { len, .. } => {
                self.counts.reads += 1;
                (Ask::Read(offset, vec![0; len as usize]), false)
            }
            Command::Write { data, fua } => {
                self.counts.writes += 1;
                (Ask::Write(offset, Change::Bytes(data)), fua)
            }
            Command::WriteZeroes { len, fua, .. } => {
                self.counts.zeroes += 1;
                (Ask::Write(offset, Change::Zeroes(len)), fua)
            }
            // What was given up reads as zeroes; a power cut may bring it back like any other change.
            Command::Trim { len, fua } => {
                self.counts.trims += 1;
                (Ask::Write(offset, Change::Zeroes(len)), fua)
            }
            Command::Flush => {
                self.counts.flushes += 1;
                (Ask::Flush, false)
            }
        };
        let reply = if matches!(ask, Ask::Read(..)) { Reply::Data } else { Reply::Done };
        let step = step_of(device, &ask);
        let is_logged = step.is_some();
        self.note(step, said_bytes);
        let id = self.disks.submit(device, ask);
        self.come += 1;
        let due = self.come + u64::from(self.overtakers(device));
        let flushes = flushes.then_some(device);
        self.held.push(Held { client, ticket, id, due, reply, is_logged, flushes });
        Taken::Later
    }

    /// From now on these go wrong.
    pub(super) fn arm(&mut self, faults: &[Fault], said_bytes: u64) {
        for fault in faults {
            self.note(Some(Step::Armed(fault.clone())), said_bytes);
            self.disks.faults.arm(fault.clone());
        }
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm(&mut self, said_bytes: u64) {
        self.note(Some(Step::Calm), said_bytes);
        self.disks.faults.stop();
    }

    fn note(&mut self, step: Option<Step>, said_bytes: u64) {
        if let Some(step) = step {
            self.log.steps.push(step);
            // Who is watched never unsays anything; a reader that falls behind must not make it look so.
            let before = self.log.said_bytes.last().copied().unwrap_or(0);
            self.log.said_bytes.push(said_bytes.max(before));
        }
    }

    /// How many requests may overtake the one that comes now.
    fn overtakers(&mut self, device: u32) -> u32 {
        let number = self.numbers[device as usize];
        self.numbers[device as usize] += 1;
        let Some(choices) = &self.choices else { return 0 };
        let mut choices = choices.lock().unwrap_or_else(PoisonError::into_inner);
        // Most are done at once.
        let drawn = choices.choose(Point::new("disk # request # waits", [device, number, 0]), 2 * OVERTAKERS);
        drawn.saturating_sub(OVERTAKERS)
    }

    /// Whether anything waits that only time can complete.
    pub(super) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Completes the next request that is due; any, if nothing more comes. Gives the client, and its answer.
    pub(super) fn complete(&mut self, is_idle: bool, said_bytes: u64) -> Option<(u64, Ticket, Answer)> {
        let is_due = |held: &Held| is_idle || held.due <= self.come;
        let next = self.held.iter().enumerate().filter(|(_, held)| is_due(held));
        let (index, _) = next.min_by_key(|(_, held)| held.due)?;
        self.counts.overtaken += u64::from(index > 0);
        let in_log = self.held[..index].iter().filter(|held| held.is_logged).count();
        let held = self.held.remove(index);
        self.note(held.is_logged.then_some(Step::Completed { index: in_log }), said_bytes);
        let mut result = self.finish(index, held.id);
        if let (Some(device), Ok(_)) = (held.flushes, &result) {
            self.counts.flushes += 1;
            self.note(Some(Step::Flush { device }), said_bytes);
            let id = self.disks.submit(device, Ask::Flush);
            let (last, last_in_log) =
                (self.held.len(), self.held.iter().filter(|held| held.is_logged).count());
            self.note(Some(Step::Completed { index: last_in_log }), said_bytes);
            result = self.finish(last, id);
        }
        let answer = match (result, held.reply) {
            (Err(errno), _) => Answer::Failed(errno),
            (Ok(_), Reply::Done) => Answer::Done,
            (Ok(bytes), Reply::Data) => {
                let mut buffer = vec![0; held.ticket.headroom];
                buffer.extend(bytes);
                Answer::Data(buffer)
            }
        };
        Some((held.client, held.ticket, answer))
    }

    fn finish(&mut self, index: usize, id: u64) -> Result<Vec<u8>, Errno> {
        let _nobody = self.disks.complete(index);
        self.disks.answer(id, Waker::noop()).expect("a request that was completed has its answer")
    }
}

fn step_of(device: u32, ask: &Ask) -> Option<Step> {
    match ask {
        Ask::Write(offset, change) => Some(Step::Change { device, offset: *offset, change: change.clone() }),
        Ask::Flush => Some(Step::Flush { device }),
        Ask::Read(..) | Ask::Open | Ask::Reopen => None,
    }
}
