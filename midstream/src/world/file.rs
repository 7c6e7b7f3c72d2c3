//! One file of the simulated disk: what readers see, what is durable, and what a power cut may take back.
//!
//! Changes that were not flushed stand in a list, in the order they landed. As long as every flush keeps what it promised, the
//! durable content is what readers see with that list taken back. Once a flush has failed for good, part of what
//! readers see will never be durable, and what the medium has is kept beside it.

use crate::world::crash::{Fate, survivors};

/// What a change puts into a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many zeroes.
    Zeroes(u64),
    /// An end at this length; `offset` is not used.
    Length(u64),
}

impl Change {
    /// How many bytes of the file it overwrites, a change of length aside.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Change::Bytes(bytes) => bytes.len() as u64,
            Change::Zeroes(len) => *len,
            Change::Length(_) => 0,
        }
    }
}

/// A change that readers see and a power cut may take back.
#[derive(Debug)]
pub struct Landed {
    /// The request's number, for names.
    pub number: u32,
    /// How many changes of this file landed before it.
    pub serial: u64,
    /// Where.
    pub offset: u64,
    /// What.
    pub change: Change,
    /// What was there before: as much of it as the file had.
    pub(crate) before: Vec<u8>,
    /// The file's length before.
    pub(crate) len_before: u64,
}

/// One file.
#[derive(Debug, Default)]
pub struct File {
    /// Its name in the world.
    pub path: String,
    /// What readers see.
    pub bytes: Vec<u8>,
    /// Changes since the last flush, in the order they landed.
    pub unflushed: Vec<Landed>,
    /// How many changes have landed.
    pub(crate) landed: u64,
    /// How many requests were asked of it.
    pub(crate) requests: u32,
    /// What the medium has beside readers' view, once a flush has failed for good: all that was flushed since is in it.
    medium: Option<Vec<u8>>,
    /// What was lost with a close the next flush reports.
    pub(crate) is_loss_unreported: bool,
    /// How often it is open for writing.
    pub(crate) writers: u32,
    /// Until when it is busy with what was asked before, in virtual time.
    busy_until: u64,
}

impl File {
    /// A file with durable content.
    pub fn new(path: &str, bytes: Vec<u8>) -> Self {
        File { path: path.to_owned(), bytes, ..File::default() }
    }

    /// Whether anybody has it open for writing.
    pub fn is_open_for_writing(&self) -> bool {
        self.writers > 0
    }

    /// Somebody who had it open for writing, or not, has it open like this now.
    pub(crate) fn turns(&mut self, before: bool, now: bool) {
        self.writers = self.writers + u32::from(now) - u32::from(before);
    }

    pub(crate) fn read(&self, offset: u64, mut buffer: Vec<u8>) -> Vec<u8> {
        let start = (offset as usize).min(self.bytes.len());
        let there = (self.bytes.len() - start).min(buffer.len());
        buffer[..there].copy_from_slice(&self.bytes[start..start + there]);
        buffer[there..].fill(0);
        buffer
    }

    pub(crate) fn land(&mut self, number: u32, offset: u64, change: Change) {
        let len_before = self.bytes.len() as u64;
        let from = match &change {
            Change::Length(len) => *len,
            _ => offset,
        };
        let to = match &change {
            Change::Length(_) => len_before,
            other => offset + other.len_bytes(),
        };
        let before = self.bytes
            [from.min(len_before) as usize..to.clamp(from.min(len_before), len_before) as usize]
            .to_vec();
        apply(&mut self.bytes, offset, &change);
        let serial = self.landed;
        self.landed += 1;
        self.unflushed.push(Landed { number, serial, offset, change, before, len_before });
    }

    /// How long a request waits until the ones before are done and it is too, if it keeps the file busy for so long: from
    /// now on, in nanoseconds.
    pub(crate) fn queue(&mut self, now: u64, busy: u64) -> u64 {
        self.busy_until = self.busy_until.max(now).saturating_add(busy);
        self.busy_until - now
    }

    /// Makes the changes durable that landed before so many others had.
    pub(crate) fn flush(&mut self, landed: u64) {
        let covered = self.covered(landed);
        let flushed = self.unflushed.drain(..covered);
        let Some(medium) = &mut self.medium else { return };
        flushed.into_iter().for_each(|landed| apply(medium, landed.offset, &landed.change));
    }

    /// A flush of the same changes fails for good: whatever `fate` leaves of them is on the medium, the rest never will be,
    /// although readers go on seeing it. Whoever writes a sector anew makes that one as good as any.
    pub(crate) fn forget(&mut self, landed: u64, fate: Fate, sector_bytes: u64) {
        let mut medium = self.durable();
        let covered = self.covered(landed);
        for Landed { offset, change, .. } in self.unflushed.drain(..covered) {
            let parts = survivors(offset, &change, fate, sector_bytes);
            parts.iter().for_each(|(at, part)| apply(&mut medium, *at, part));
        }
        self.medium = Some(medium);
    }

    /// A bit flips, on the medium and for readers; nothing, past the end.
    pub(crate) fn rot(&mut self, offset: usize, bit: u32) {
        for bytes in [Some(&mut self.bytes), self.medium.as_mut()].into_iter().flatten() {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= 1 << (bit % 8);
            }
        }
    }

    /// Whether readers see what will never be durable.
    pub fn has_forgotten(&self) -> bool {
        self.medium.is_some()
    }

    fn covered(&self, landed: u64) -> usize {
        self.unflushed.iter().take_while(|change| change.serial < landed).count()
    }

    /// The durable content: every unflushed change taken back, the youngest first.
    pub fn durable(&self) -> Vec<u8> {
        if let Some(medium) = &self.medium {
            return medium.clone();
        }
        let mut bytes = self.bytes.clone();
        for landed in self.unflushed.iter().rev() {
            bytes.resize(landed.len_before as usize, 0);
            let from = match landed.change {
                Change::Length(len) => len,
                _ => landed.offset,
            };
            let from = from.min(landed.len_before) as usize;
            bytes[from..from + landed.before.len()].copy_from_slice(&landed.before);
        }
        bytes
    }
}

/// Puts a change into `bytes`, growing them as needed.
pub fn apply(bytes: &mut Vec<u8>, offset: u64, change: &Change) {
    if let Change::Length(len) = change {
        bytes.resize(*len as usize, 0);
        return;
    }
    let (from, to) = (offset as usize, (offset + change.len_bytes()) as usize);
    if bytes.len() < to {
        bytes.resize(to, 0);
    }
    match change {
        Change::Bytes(data) => bytes[from..to].copy_from_slice(data),
        _ => bytes[from..to].fill(0),
    }
}
