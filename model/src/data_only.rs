//! What must be true of any device that keeps data: a specification of reads, writes, flushes and crashes alone.
//!
//! It needs no QMP and knows of no chain: every image is a device of its own, called by its file's name. What each
//! sector may read as is `sector`'s; this file follows the requests. The promises:
//!
//! - A read returns a value that was there at some moment between its beginning and its end. Where writes overlap in
//!   time any of them may be last; a write that fails may have changed each of its sectors, or not.
//! - A discard leaves each sector as it was or zeroes, until it is written.
//! - A flush that ends without an error makes every write durable that ended before it began; a write with force unit
//!   access is durable when it ends.
//! - A kill loses nothing that ended, where the format keeps nothing back (raw); a power cut, and a kill of what serves
//!   a format with metadata of its own (qcow2), may lose of each sector what no flush made durable. What was under way
//!   may have happened or not, sector by sector.
//! - What is read after a crash is what is there from then on.
//!
//! ```
//! use model::data_only::{DataOnly, Law};
//! use model::{CrashKind, Format, GuestOp, ImageSetup, Observation};
//!
//! let disk = ImageSetup {
//!     file: "disk".into(),
//!     format: Format::Raw,
//!     size_bytes: 8 * 512,
//!     cluster_bytes: 512,
//!     bitmaps: false,
//!     subclusters: false,
//!     backing: None,
//!     own: vec![],
//! };
//! let mut device = DataOnly::new(&[disk], false);
//! device.observe(&Observation::GuestAttached { guest: 1, node: "disk", writable: true }).unwrap();
//! let op = GuestOp::Write { sector: 0, values: &[7], fua: false };
//! device.observe(&Observation::GuestBegan { request: 1, guest: 1, op }).unwrap();
//! device.observe(&Observation::GuestEnded { request: 1, result: Ok(&[]) }).unwrap();
//! device.observe(&Observation::Crash { kind: CrashKind::Kill }).unwrap();
//! let values = [0, 0, 0, 0, 0, 0, 0, 0];
//! let found = Observation::Recovered { file: "disk", values: &values, chain: &["disk"], check_corruptions: 0 };
//! assert_eq!(device.observe(&found).unwrap_err().law, Law::KillKeeps);
//! ```

mod sector;

use crate::observation::{CrashKind, Format, GuestOp, ImageSetup, Observation};
use sector::{Device, How, Written};
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// More requests are not followed at once.
pub const REQUESTS_MAX: usize = 4096;
/// More sectors are not kept apart from what they were at the start, on all devices together.
pub const SECTORS_MAX: usize = 1 << 20;
/// More values that one sector may have are not kept.
pub const VERSIONS_MAX: usize = 64;
/// More values of all sectors together are not kept.
const ALL_VERSIONS_MAX: usize = 1 << 22;
/// More sectors are not written at once.
pub const IN_FLIGHT_MAX: u64 = 1 << 21;

const SECTOR_BYTES: u64 = 512;

/// A law of this specification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Law {
    /// Of reads in a running system.
    Reads,
    /// Of what a killed process had ended.
    KillKeeps,
    /// Of what was flushed.
    FlushedStays,
    /// Of devices that were closed.
    CleanEnd,
}

/// Every law, in the order of [`DataOnly::checks`].
pub const LAWS: [Law; 4] = [Law::Reads, Law::KillKeeps, Law::FlushedStays, Law::CleanEnd];

impl Law {
    /// The law as a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Law::Reads => "a read returns what was written",
            Law::KillKeeps => "what was written survives a kill",
            Law::FlushedStays => "what was flushed survives a power cut",
            Law::CleanEnd => "a clean end keeps everything",
        }
    }
}

/// The law that an observation broke, with the values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub law: Law,
    /// Expected and found, where.
    pub detail: String,
}

/// The specification, following one run.
#[derive(Clone, Debug)]
pub struct DataOnly {
    devices: BTreeMap<String, Device>,
    /// Where each guest is.
    guests: BTreeMap<u32, String>,
    requests: BTreeMap<u64, Request>,
    /// Sectors that are being written.
    in_flight: u64,
    /// A read beside a write may return a sector of neither.
    tears: bool,
    now: u64,
    checks: [u64; LAWS.len()],
    inconclusive: Option<Inconclusive>,
}

/// Why a run cannot be judged to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inconclusive {
    /// More than [`REQUESTS_MAX`] requests, or writes of [`IN_FLIGHT_MAX`] sectors, at once.
    Requests,
    /// More than [`SECTORS_MAX`] sectors, or four times as many values of them, are kept.
    Sectors,
    /// A sector had more than [`VERSIONS_MAX`] possible values, and what was found is none of those that were kept.
    Versions,
}

impl Inconclusive {
    /// In words.
    pub fn text(self) -> String {
        match self {
            Inconclusive::Requests => {
                format!("more than {REQUESTS_MAX} requests, or writes of {IN_FLIGHT_MAX} sectors, at once")
            }
            Inconclusive::Sectors => format!("more than {SECTORS_MAX} different sectors were written"),
            Inconclusive::Versions => format!("a sector had more than {VERSIONS_MAX} possible values"),
        }
    }
}

#[derive(Clone, Debug)]
struct Request {
    device: String,
    began: u64,
    sector: u64,
    count: u64,
    change: Change,
}

#[derive(Clone, PartialEq, Debug)]
enum Change {
    Read,
    Flush,
    Write { values: Vec<u64>, fua: bool },
    Zeroes,
    Discard,
}

impl DataOnly {
    /// A run that starts with these devices. `tears`: a read beside a write may return neither the old nor the new
    /// sector, as a file on a host may.
    pub fn new(devices: &[ImageSetup], tears: bool) -> DataOnly {
        let device = |image: &ImageSetup| {
            let keeps_back = image.format != Format::Raw;
            (image.file.clone(), Device::new(image.size_bytes / SECTOR_BYTES, keeps_back, &image.own))
        };
        DataOnly {
            devices: devices.iter().map(device).collect(),
            guests: BTreeMap::new(),
            requests: BTreeMap::new(),
            in_flight: 0,
            tears,
            now: 0,
            checks: [0; LAWS.len()],
            inconclusive: None,
        }
    }

    /// Whether there is a device of that name.
    pub fn knows(&self, device: &str) -> bool {
        self.devices.contains_key(device)
    }

    /// Writes all that decides what is accepted from now on: two that write the same accept the same. It is for programs
    /// that compare it, not for people.
    pub fn write_states(&self, out: &mut dyn Write) -> fmt::Result {
        let DataOnly { devices, guests, requests, in_flight, tears, now, checks: _, inconclusive } = self;
        write!(out, "{devices:?}{guests:?}{requests:?}{in_flight}{tears}{now}{inconclusive:?}")
    }

    /// How many sectors were compared for each law.
    pub fn checks(&self) -> [u64; LAWS.len()] {
        self.checks
    }

    /// Why not everything could be judged, if something could not.
    pub fn inconclusive(&self) -> Option<Inconclusive> {
        self.inconclusive
    }

    /// Takes the next observation, or says which law it breaks. What is no observation of data counts for nothing.
    pub fn observe(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        self.now += 1;
        if matches!(self.inconclusive, Some(Inconclusive::Requests | Inconclusive::Sectors)) {
            return Ok(());
        }
        match *observation {
            Observation::GuestAttached { guest, node, .. } => self.attached(guest, node),
            Observation::GuestConnected { guest, export } => self.attached(guest, export),
            Observation::GuestDetached { guest } => {
                self.guests.remove(&guest);
            }
            Observation::GuestBegan { request, guest, op } => self.began(request, guest, op),
            Observation::GuestEnded { request, result } => return self.ended(request, result.ok()),
            Observation::View { node, values } => return self.look(node, values, None),
            Observation::Crash { kind } => self.crashed(kind),
            Observation::Recovered { file, values, .. } => return self.look(file, values, None),
            Observation::Closed { file, values, .. } => return self.look(file, values, Some(Law::CleanEnd)),
            _ => {}
        }
        Ok(())
    }

    fn attached(&mut self, guest: u32, device: &str) {
        self.guests.insert(guest, device.to_owned());
    }

    fn began(&mut self, number: u64, guest: u32, op: GuestOp<'_>) {
        let Some(name) = self.guests.get(&guest).cloned() else { return };
        let Some(device) = self.devices.get_mut(&name) else { return };
        let (sector, count, change) = match op {
            GuestOp::Read { sector, count } => (sector, count, Change::Read),
            GuestOp::Write { sector, values, fua } => {
                (sector, values.len() as u64, Change::Write { values: values.to_vec(), fua })
            }
            GuestOp::WriteZeroes { sector, count } => (sector, count, Change::Zeroes),
            GuestOp::Discard { sector, count } => (sector, count, Change::Discard),
            GuestOp::Flush => (0, 0, Change::Flush),
        };
        // What lies past the end is not judged: such a request must fail, and may.
        let sector = sector.min(device.sectors);
        let count = count.min(device.sectors - sector);
        let request = Request { device: name, began: self.now, sector, count, change };
        if request.is_change() {
            device.changing(sector, count);
            self.in_flight += count;
        }
        self.requests.insert(number, request);
        let is_too_much = self.requests.len() > REQUESTS_MAX || self.in_flight > IN_FLIGHT_MAX;
        self.inconclusive_if(is_too_much, Inconclusive::Requests);
    }

    fn ended(&mut self, number: u64, result: Option<&[u64]>) -> Result<(), Broken> {
        let Some(request) = self.requests.remove(&number) else { return Ok(()) };
        match (&request.change, result) {
            (Change::Read, Some(values)) => return self.read(&request, values),
            (Change::Flush, Some(_)) => {
                let oldest = self.oldest_read();
                self.device(&request.device).flushed(request.began, oldest);
            }
            (Change::Read | Change::Flush, None) => {}
            (_, result) => self.change(&request, result.is_some()),
        }
        Ok(())
    }

    fn device(&mut self, name: &str) -> &mut Device {
        self.devices.get_mut(name).expect("requests are made to devices that are there")
    }

    /// A change has ended, well or not; or will never, when everything stops.
    fn change(&mut self, request: &Request, is_done: bool) {
        let (now, oldest) = (self.now, self.oldest_read());
        self.in_flight -= request.count;
        let how = match (&request.change, is_done) {
            (Change::Discard, _) => How::Discarded,
            (Change::Write { fua: true, .. }, true) => How::Durable,
            (_, true) => How::Replaced,
            (_, false) => How::Failed,
        };
        let device = self.device(&request.device);
        for at in 0..request.count {
            let written = Written { value: request.value(at), began: request.began, ended: now, how };
            device.write(request.sector + at, written, oldest);
        }
        let kept = self.devices.values().map(Device::kept);
        let (sectors, versions) = kept.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        self.inconclusive_if(sectors > SECTORS_MAX || versions > ALL_VERSIONS_MAX, Inconclusive::Sectors);
    }

    /// When the oldest read without an end began: what was replaced before then, nobody can read any more.
    fn oldest_read(&self) -> u64 {
        let reads = self.requests.values().filter(|request| request.change == Change::Read);
        reads.map(|request| request.began).min().unwrap_or(u64::MAX)
    }

    fn read(&mut self, request: &Request, values: &[u64]) -> Result<(), Broken> {
        if (values.len() as u64) < request.count {
            let (law, asked, got) = (Law::Reads, request.count, values.len());
            let detail = format!("{}: {asked} sectors were asked for and {got} read", request.device);
            return Err(Broken { law, detail });
        }
        let values = &values[..request.count as usize];
        self.compare(&request.device, request.sector, values, request.began, None)
    }

    /// The whole of a device, read in one go. `law`: what it breaks if something else is there, unless a crash is to blame.
    fn look(&mut self, name: &str, values: &[u64], law: Option<Law>) -> Result<(), Broken> {
        let Some(device) = self.devices.get(name) else { return Ok(()) };
        if (values.len() as u64) < device.sectors {
            let detail = format!("{name} has {} sectors and showed {}", device.sectors, values.len());
            return Err(Broken { law: law.unwrap_or(Law::Reads), detail });
        }
        let values = &values[..device.sectors as usize];
        self.compare(name, 0, values, self.now, law)
    }

    fn compare(
        &mut self,
        name: &str,
        first: u64,
        values: &[u64],
        began: u64,
        law: Option<Law>,
    ) -> Result<(), Broken> {
        let end = first + values.len() as u64;
        let overlaps = |request: &&Request| {
            let is_there = request.device == name && request.is_change();
            is_there && request.sector < end && request.sector + request.count > first
        };
        let under_way: Vec<&Request> = self.requests.values().filter(overlaps).collect();
        let device = self.devices.get_mut(name).expect("its sectors were counted");
        for (sector, value) in (first..).zip(values.iter().copied()) {
            let here: Vec<u64> = under_way
                .iter()
                .filter(|request| sector >= request.sector && sector - request.sector < request.count)
                .map(|request| request.value(sector - request.sector))
                .collect();
            let broken = device.crash_law(sector).or(law).unwrap_or(Law::Reads);
            self.checks[broken as usize] += 1;
            let is_beside_a_write = !here.is_empty() || device.is_written_since(sector, began);
            if device.may_read(sector, value, began)
                || here.contains(&value)
                || self.tears && is_beside_a_write
            {
                if here.is_empty() {
                    device.settle(sector, value, began, self.now);
                }
                continue;
            }
            if device.has_forgotten(sector, began) {
                self.inconclusive = self.inconclusive.or(Some(Inconclusive::Versions));
                continue;
            }
            let mut expected = device.readable(sector, began);
            expected.extend(here);
            let detail = format!("sector {sector} of {name}: expected {}, read {value:#x}", text(&expected));
            return Err(Broken { law: broken, detail });
        }
        Ok(())
    }

    fn crashed(&mut self, kind: CrashKind) {
        // Whatever was under way may have happened or not.
        let requests = std::mem::take(&mut self.requests);
        for request in requests.values().filter(|request| request.is_change()) {
            self.change(request, false);
        }
        self.guests.clear();
        for device in self.devices.values_mut() {
            device.crashed(kind == CrashKind::PowerCut);
        }
    }

    fn inconclusive_if(&mut self, is_so: bool, inconclusive: Inconclusive) {
        if is_so {
            self.inconclusive = Some(inconclusive);
        }
    }
}

impl Request {
    fn is_change(&self) -> bool {
        !matches!(self.change, Change::Read | Change::Flush)
    }

    /// What it leaves in the sector that is so far from its first.
    fn value(&self, at: u64) -> u64 {
        match &self.change {
            Change::Write { values, .. } => values[at as usize],
            _ => 0,
        }
    }
}

fn text(values: &[u64]) -> String {
    let words: Vec<String> = values.iter().map(|value| format!("{value:#x}")).collect();
    words.join(" or ")
}
