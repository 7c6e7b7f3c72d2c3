//! Requests of guests: they begin, are done unseen, and end.

use super::{NEVER, SECTORS, World};
use crate::generator::Tape;

/// A guest's request.
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) chain: usize,
    pub(super) sector: usize,
    pub(super) count: usize,
    pub(super) kind: Kind,
    /// What it has read, once it was done.
    pub(super) done: Option<Vec<u64>>,
    /// The end of every write that it makes durable.
    pub(super) covers: usize,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Read,
    Write(u64),
    Discard,
    Flush,
}

/// What one sector of a top was and is: the values since the last that is durable.
#[derive(Clone)]
pub(super) struct Sector {
    /// With the moment in which its request ended.
    pub(super) values: Vec<(u64, usize)>,
    /// The last that cannot come back.
    pub(super) before: Option<u64>,
}

impl Sector {
    pub(super) fn present(&self) -> u64 {
        self.values.last().expect("a sector has a value").0
    }

    /// A flush that began then has ended: of what had ended before, the last stays.
    pub(super) fn flushed(&mut self, began: usize) {
        let last = self.values.iter().rposition(|(_, ended)| *ended < began);
        self.before =
            self.values.drain(..last.unwrap_or(0)).next_back().map(|(value, _)| value).or(self.before);
    }
}

impl World {
    pub(super) fn begin(&mut self, chain: usize, tape: &mut Tape) {
        let number = self.next_request;
        self.next_request += 1;
        let sector = tape.below(SECTORS);
        let count = 1 + tape.below(2).min(SECTORS - 1 - sector);
        let kind = match tape.below(8) {
            0..2 => Kind::Read,
            2..5 => Kind::Write(1000 + number),
            5 | 6 => Kind::Flush,
            _ => Kind::Discard,
        };
        let busy = |other: &Request| {
            other.chain == chain && other.sector < sector + count && sector < other.sector + other.count
        };
        // Of two writes that meet, the disk of this world would have to know which came first.
        let meets = self.requests.iter().any(|other| other.kind != Kind::Read && busy(other));
        if meets && matches!(kind, Kind::Write(_) | Kind::Discard) {
            return;
        }
        let guest = 7 + chain;
        self.emit(match kind {
            Kind::Read => format!("read r{number} {guest} {sector} {count}"),
            Kind::Write(value) => {
                format!("write r{number} {guest} {sector}{}", format!(" w{value}").repeat(count))
            }
            Kind::Discard => format!("discard r{number} {guest} {sector} {count}"),
            Kind::Flush => format!("flush r{number} {guest}"),
        });
        let (sector, count) = if kind == Kind::Flush { (0, 0) } else { (sector, count) };
        let covers = self.lines.len();
        self.requests.push(Request { number, chain, sector, count, kind, done: None, covers });
    }

    /// It takes effect; nobody sees that.
    pub(super) fn request_is_done(&mut self, tape: &mut Tape) {
        if self.requests.is_empty() {
            return;
        }
        let index = tape.below(self.requests.len());
        let request = &mut self.requests[index];
        if request.done.is_some() {
            return;
        }
        let sectors = &mut self.disks[request.chain][request.sector..request.sector + request.count];
        let mut read = Vec::new();
        for sector in sectors {
            let present = sector.values.last().expect("a sector has a value").0;
            match request.kind {
                Kind::Read => read.push(present),
                Kind::Write(value) => sector.values.push((value, NEVER)),
                // It may do nothing.
                Kind::Discard if tape.below(2) == 0 => sector.values.push((present, NEVER)),
                Kind::Discard => sector.values.push((0, NEVER)),
                Kind::Flush => {}
            }
        }
        request.done = Some(read);
    }

    pub(super) fn request_ends(&mut self, tape: &mut Tape) {
        if self.requests.is_empty() {
            return;
        }
        let index = tape.below(self.requests.len());
        if self.requests[index].done.is_none() {
            return;
        }
        let Request { number, chain, sector, count, kind, done, covers } = self.requests.remove(index);
        let read: String = done.unwrap_or_default().iter().map(|value| format!(" w{value}")).collect();
        let now = self.lines.len();
        self.emit(format!("end r{number}{read}"));
        match kind {
            Kind::Read => {}
            Kind::Flush => self.disks[chain].iter_mut().for_each(|sector| sector.flushed(covers)),
            _ => {
                let written = self.disks[chain][sector..sector + count].iter_mut();
                written.for_each(|sector| sector.values.last_mut().expect("it was written").1 = now);
            }
        }
    }
}
