//! The simulated disk: the true bytes of every file, the requests in flight, and what is not durable yet.
//!
//! It promises what a disk promises: 512-byte sectors are atomic, a flush makes the writes that completed before it
//! was submitted durable, and nothing is said about the order of anything else. A request takes effect when the
//! scheduler completes it: a write's bytes land then, a read sees the bytes of then.

mod state;

use crate::choice::Point;
use crate::content::{is_of_a_run, tags, tags_text};
use crate::world::crash::{Fate, survivors};
use crate::world::fault::{Effect, Faults, Kind, Strike};
pub use crate::world::file::{Change, File, Landed, apply};
use crate::world::header;
use crate::world::notes::{Shared, hash};
use crate::world::on_disk::OnDisk;
use crate::world::struck::Sort;
use seam::footprint::{self, Access};
use seam::{Errno, IoResult};
use std::task::Waker;

/// The unit a disk writes entirely or not at all.
pub const SECTOR_BYTES: u64 = 512;

/// That unit of disks with large sectors ("Advanced Format").
pub const LARGE_SECTOR_BYTES: u64 = 4096;

/// No file of a small world grows beyond this; an engine that tries has lost its way.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// What is asked of a disk.
#[derive(Debug)]
pub enum Ask {
    /// Fill the buffer from the offset.
    Read(u64, Vec<u8>),
    /// Change the file at the offset.
    Write(u64, Change),
    /// Make durable what landed before.
    Flush,
    /// Open: nothing to do but to take its time.
    Open,
    /// Reopen: the same.
    Reopen,
}

impl Ask {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Ask::Read(..) => Kind::Read,
            Ask::Write(_, Change::Length(_)) => Kind::Resize,
            Ask::Write(..) => Kind::Write,
            Ask::Flush => Kind::Flush,
            Ask::Open => Kind::Open,
            Ask::Reopen => Kind::Reopen,
        }
    }

    /// How many bytes a disk moves for it.
    pub(crate) fn len_bytes(&self) -> u64 {
        match self {
            Ask::Read(_, buffer) => buffer.len() as u64,
            Ask::Write(_, change) => change.len_bytes(),
            Ask::Flush | Ask::Open | Ask::Reopen => 0,
        }
    }

    pub(crate) fn range(&self) -> (u64, u64) {
        match self {
            Ask::Read(offset, buffer) => (*offset, offset.saturating_add(buffer.len() as u64)),
            Ask::Write(offset, change) => (*offset, offset.saturating_add(change.len_bytes().max(1))),
            Ask::Flush | Ask::Open | Ask::Reopen => (0, u64::MAX),
        }
    }
}

/// What a disk answers: the buffer of a read, an empty one otherwise.
pub type Answer = IoResult<Vec<u8>>;

/// A request from its submission until its answer is taken.
#[derive(Debug)]
struct Request {
    id: u64,
    file: u32,
    number: u32,
    ask: Ask,
    /// How many changes of the file had landed at the submission: what a flush covers.
    landed: u64,
    /// The step at which it was submitted.
    since: u64,
    /// Its name in notes.
    noted: u64,
}

/// A request's place to wait: for the answer, or for the asker.
#[derive(Debug)]
struct Waiting {
    id: u64,
    noted: u64,
    waker: Option<Waker>,
    answer: Option<Answer>,
    /// The asker is gone; the request runs on, its answer is thrown away.
    abandoned: bool,
}

/// All files and all requests of a world.
#[derive(Debug, Default)]
pub struct Disks {
    /// The files, by index.
    pub files: Vec<File>,
    /// What they do badly.
    pub faults: Faults,
    /// Whether their sectors have 4 KiB, so that what is written is torn between those alone. A smaller write is one of its
    /// sector all the same: the disk, or the system above it, reads the rest first.
    pub has_large_sectors: bool,
    /// The step of the world: whoever reads what was under way since when wants it, and a disk that is full for a while.
    pub step: u64,
    in_flight: Vec<Request>,
    names: Vec<Point>,
    waiting: Vec<Waiting>,
    submitted: u64,
    flushes: u64,
    head_flushes: u64,
}

impl Disks {
    /// Disks with these files on them.
    pub fn new(files: Vec<File>) -> Self {
        Disks { files, ..Disks::default() }
    }

    /// What they write entirely or not at all.
    pub(crate) fn sector_bytes(&self) -> u64 {
        if self.has_large_sectors { LARGE_SECTOR_BYTES } else { SECTOR_BYTES }
    }

    /// Index of a file.
    pub fn find(&self, path: &str) -> Option<u32> {
        let found = self.files.iter().position(|f| f.path == path).map(|i| i as u32);
        if footprint::is_on() {
            Shared::Files.touch(Access::Read);
            footprint::learn(found.map_or(0, |file| u64::from(file) + 1));
        }
        found
    }

    /// Index of a file, which is made if there is none.
    pub fn add(&mut self, path: &str) -> u32 {
        self.find(path).unwrap_or_else(|| {
            Shared::Files.touch(Access::Write);
            self.files.push(File::new(path, Vec::new()));
            self.files.len() as u32 - 1
        })
    }

    /// Puts a request under way and says its id.
    pub fn submit(&mut self, file: u32, ask: Ask) -> u64 {
        self.submitted += 1;
        let id = self.submitted;
        let number = self.files[file as usize].requests;
        self.files[file as usize].requests += 1;
        let name = match ask {
            Ask::Read(..) => "disk # read #",
            Ask::Write(..) => "disk # write #",
            Ask::Flush => "disk # flush #",
            Ask::Open | Ask::Reopen => "disk # open #",
        };
        self.names.push(Point::new(name, [file, number, 0]));
        let landed = self.files[file as usize].landed;
        let noted = if footprint::is_on() { footprint::fresh() } else { 0 };
        if matches!(ask, Ask::Flush) {
            Shared::Landed(file).touch(Access::Read);
            self.flushes += 1;
            let is_of_head = self.files[file as usize].unflushed.iter().any(|landed| landed.offset == 0);
            self.head_flushes += u64::from(is_of_head);
        }
        self.in_flight.push(Request { id, file, number, ask, landed, since: self.step, noted });
        self.waiting.push(Waiting { id, noted, waker: None, answer: None, abandoned: false });
        id
    }

    /// How many flushes were put under way so far.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// How many of them were to make durable what a file begins with, among other things: an image's header.
    pub fn head_flushes(&self) -> u64 {
        self.head_flushes
    }

    /// An answer that needs no disk: a refusal.
    pub fn refuse(&mut self, errno: Errno) -> u64 {
        self.submitted += 1;
        let id = self.submitted;
        self.waiting.push(Waiting { id, noted: 0, waker: None, answer: Some(Err(errno)), abandoned: false });
        id
    }

    /// The answer of a request, once; until it is there, `waker` is woken by it.
    pub fn answer(&mut self, id: u64, waker: &Waker) -> Option<Answer> {
        let index =
            self.waiting.iter().position(|w| w.id == id).expect("a request is asked for its answer once");
        Shared::Answer(self.waiting[index].noted).touch(Access::Read);
        if self.waiting[index].answer.is_some() {
            let answer = self.waiting.swap_remove(index).answer;
            if footprint::is_on() {
                footprint::learn(answer.as_ref().map_or(0, hash_of));
            }
            return answer;
        }
        match &mut self.waiting[index].waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        None
    }

    /// The asker is gone. The request runs on.
    pub fn abandon(&mut self, id: u64) {
        let Some(index) = self.waiting.iter().position(|w| w.id == id) else {
            return;
        };
        Shared::Answer(self.waiting[index].noted).touch(Access::Write);
        if self.waiting[index].answer.is_some() {
            self.waiting.swap_remove(index);
        } else {
            self.waiting[index].abandoned = true;
            self.waiting[index].waker = None;
        }
    }

    /// Names of the requests in flight, in the order of submission.
    pub fn names(&self) -> &[Point] {
        &self.names
    }

    /// A request in flight, by its index in `names`, as it would be completed at this step.
    pub fn look(&self, index: usize, step: u64) -> OnDisk {
        let Request { file, ask, since, .. } = &self.in_flight[index];
        let File { path, bytes, .. } = &self.files[*file as usize];
        let (what, range, holds) = match ask {
            Ask::Read(offset, buffer) => {
                let (offset, len) = (*offset, buffer.len() as u64);
                let there = bytes.get(offset as usize..(offset + len) as usize).unwrap_or_default();
                ("read", Some((offset, len)), held(there))
            }
            Ask::Write(offset, Change::Bytes(written)) => {
                let holds = header::changes(bytes, *offset, written).unwrap_or_else(|| held(written));
                ("write", Some((*offset, written.len() as u64)), holds)
            }
            Ask::Write(offset, Change::Zeroes(len)) => ("zero", Some((*offset, *len)), String::new()),
            Ask::Write(_, Change::Length(len)) => ("resize", None, format!("to {len:#x} bytes")),
            Ask::Flush => ("flush", None, String::new()),
            Ask::Open => ("open", None, String::new()),
            Ask::Reopen => ("reopen", None, String::new()),
        };
        OnDisk { step, since: *since, what, file: path.clone(), range, holds, by: String::new() }
    }

    /// The name in notes of a request in flight, by its index in `names`.
    pub(super) fn noted(&self, index: usize) -> u64 {
        self.in_flight[index].noted
    }

    /// Completes one request in flight, by its index in `names`. The caller wakes after it has released its locks.
    pub fn complete(&mut self, index: usize) -> Option<Waker> {
        self.names.remove(index);
        let Request { id, file, number, ask, landed, noted, .. } = self.in_flight.remove(index);
        if footprint::is_on() {
            note_effect(&self.files[file as usize], file, &ask);
            self.faults.note(file, ask.kind());
            Shared::Answer(noted).touch(Access::Write);
        }
        let answer = match self.strike(file, &ask) {
            Some(Strike { errno, leaves, forgets }) => {
                self.fail(file, number, &ask, landed, (leaves, forgets));
                Err(errno)
            }
            None => match self.overflow(file, number, &ask) {
                Some(errno) => Err(errno),
                None => match self.misled(file, ask) {
                    Some(ask) => carry_out(&mut self.files[file as usize], number, ask, landed),
                    None => Ok(Vec::new()),
                },
            },
        };
        let index =
            self.waiting.iter().position(|w| w.id == id).expect("a request in flight has its place to wait");
        if self.waiting[index].abandoned {
            self.waiting.swap_remove(index);
            return None;
        }
        self.waiting[index].answer = Some(answer);
        self.waiting[index].waker.take()
    }

    /// Whether everything that was asked for is done, and durable.
    pub fn are_settled(&self) -> bool {
        self.files.iter().all(|file| file.unflushed.is_empty()) && self.changes_in_flight().next().is_none()
    }

    /// The fault that strikes a request. Who opens a file takes its lock then.
    fn strike(&mut self, file: u32, ask: &Ask) -> Option<Strike> {
        let (kind, (start, end)) = (ask.kind(), ask.range());
        let strike = self.faults.strike(file, kind, start, end);
        let locks = matches!(kind, Kind::Open | Kind::Reopen);
        strike.or_else(|| if locks { self.faults.strike(file, Kind::Lock, start, end) } else { None })
    }

    /// What a request leaves that fails.
    fn fail(&mut self, file: u32, number: u32, ask: &Ask, landed: u64, (leaves, forgets): (Fate, bool)) {
        let (sector_bytes, file) = (self.sector_bytes(), &mut self.files[file as usize]);
        match ask {
            Ask::Write(offset, change) => {
                for (at, part) in survivors(*offset, change, leaves, sector_bytes) {
                    file.land(number, at, part);
                }
            }
            Ask::Flush if forgets => file.forget(landed, leaves, sector_bytes),
            _ => {}
        }
    }

    /// Whether a request has no room on a full disk, or reports what a close has lost. What fits of data lands.
    fn overflow(&mut self, file: u32, number: u32, ask: &Ask) -> Option<Errno> {
        let (index, on) = (file, &mut self.files[file as usize]);
        match ask {
            Ask::Flush => std::mem::take(&mut on.is_loss_unreported).then(|| self.faults.reports_late(index)),
            Ask::Write(offset, change @ (Change::Bytes(_) | Change::Zeroes(_))) => {
                let room = self.faults.room(index, on.bytes.len() as u64, self.step)?;
                if offset.saturating_add(change.len_bytes()) <= room {
                    return None;
                }
                let fits = (room / SECTOR_BYTES * SECTOR_BYTES).saturating_sub(*offset) as usize;
                if let (Change::Bytes(data), 1..) = (change, fits) {
                    on.land(number, *offset, Change::Bytes(data[..fits].to_vec()));
                }
                Some(self.faults.overflows(index))
            }
            _ => None,
        }
    }

    /// What a lying disk does instead of what was asked; nothing, perhaps.
    fn misled(&mut self, file: u32, ask: Ask) -> Option<Ask> {
        let (kind, (start, end)) = (ask.kind(), ask.range());
        match (self.faults.lie(file, kind, start, end), ask) {
            (None, ask) => Some(ask),
            (Some(Effect::Astray(sectors)), Ask::Write(offset, change)) => {
                let offset = offset.saturating_add_signed(sectors * SECTOR_BYTES as i64);
                Some(Ask::Write(offset.min(FILE_BYTES_MAX - change.len_bytes()), change))
            }
            (Some(_), _) => None,
        }
    }

    /// A bit of a file flips.
    pub fn rot(&mut self, file: u32, offset: u64, bit: u32, sort: Sort) {
        self.files[file as usize].rot(offset as usize, bit);
        self.faults.rots(sort);
    }

    /// A file is closed. Whoever did that learns nothing of what may be lost with it.
    pub(crate) fn close(&mut self, file: u32) {
        if let Some(Strike { leaves, .. }) = self.faults.strike(file, Kind::Close, 0, u64::MAX) {
            let (sector_bytes, file) = (self.sector_bytes(), &mut self.files[file as usize]);
            file.forget(file.landed, leaves, sector_bytes);
            file.is_loss_unreported = true;
        }
    }

    /// Changes that were in flight when the world ended: file, number, offset, what.
    pub fn changes_in_flight(&self) -> impl Iterator<Item = (u32, u32, u64, &Change)> {
        self.in_flight.iter().filter_map(|r| match &r.ask {
            // What no file has room for leaves nothing.
            Ask::Write(offset, change) if fits(*offset, change) => Some((r.file, r.number, *offset, change)),
            _ => None,
        })
    }
}

/// Whether a file may be as long as a change makes it.
fn fits(offset: u64, change: &Change) -> bool {
    let end = match change {
        Change::Length(len) => Some(*len),
        other => offset.checked_add(other.len_bytes()),
    };
    end.is_some_and(|end| end <= FILE_BYTES_MAX)
}

/// Which parts of its file a request touches when it completes.
fn note_effect(of: &File, file: u32, ask: &Ask) {
    let len = of.bytes.len() as u64;
    match ask {
        Ask::Read(offset, buffer) => {
            Shared::Length(file).touch(Access::Read);
            let end = offset.saturating_add(buffer.len() as u64);
            Shared::Bytes(file).touch_part(Access::Read, *offset, end);
        }
        Ask::Write(_, Change::Length(_)) => {
            Shared::Length(file).touch(Access::Write);
            Shared::Bytes(file).touch(Access::Write);
            Shared::Landed(file).touch(Access::Add);
        }
        Ask::Write(offset, change) => {
            let end = offset.saturating_add(change.len_bytes());
            Shared::Length(file).touch(if end > len { Access::Write } else { Access::Read });
            Shared::Bytes(file).touch_part(Access::Write, *offset, end);
            Shared::Landed(file).touch(Access::Add);
        }
        // What it covers was decided when it was submitted, and nobody but a crash sees what it has made durable.
        Ask::Flush | Ask::Open | Ask::Reopen => {}
    }
}

/// A number for an answer.
pub(super) fn hash_of(answer: &Answer) -> u64 {
    match answer {
        Ok(bytes) => hash(bytes),
        Err(errno) => !u64::from(errno.0.unsigned_abs()),
    }
}

/// What bytes hold, if they are whole sectors of data: tables hold other things.
fn held(bytes: &[u8]) -> String {
    let tags = tags(bytes);
    let is_data = tags.iter().any(|tag| *tag != 0) && tags.iter().all(|tag| *tag == 0 || is_of_a_run(*tag));
    if is_data { tags_text(&tags) } else { String::new() }
}

fn carry_out(file: &mut File, number: u32, ask: Ask, landed: u64) -> Answer {
    match ask {
        Ask::Read(offset, buffer) => Ok(file.read(offset, buffer)),
        Ask::Write(offset, change) => {
            if !fits(offset, &change) {
                return Err(Errno::EFBIG);
            }
            file.land(number, offset, change);
            Ok(Vec::new())
        }
        Ask::Flush => {
            file.flush(landed);
            Ok(Vec::new())
        }
        Ask::Open | Ask::Reopen => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests;
