//! Numbers for all that decides what disks do from now on, and for what a crash may leave of them. What looks the same
//! to everybody has the same number: neither the numbers of requests nor the order of writes that do not meet is in it.

use super::{Ask, Change, Disks, File, Landed, hash_of};
use crate::world::crash::Ending;
use crate::world::notes::hash;
use seam::footprint::mixed;

impl Change {
    fn number(&self) -> u64 {
        match self {
            Change::Bytes(bytes) => hash(bytes),
            Change::Zeroes(len) => mixed(1, *len),
            Change::Length(len) => mixed(2, *len),
        }
    }
}

impl Landed {
    /// Whether the order of two may be seen after a crash.
    fn meets(&self, other: &Landed) -> bool {
        let ends = |landed: &Landed| landed.offset + landed.change.len_bytes();
        let changes_length =
            |landed: &Landed| matches!(landed.change, Change::Length(_)) || ends(landed) > landed.len_before;
        let overlap = self.offset < ends(other) && other.offset < ends(self);
        overlap || changes_length(self) || changes_length(other)
    }
}

impl File {
    /// A number for each change that is not durable, made of it and of those before that it meets.
    fn unflushed_numbers(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = Vec::with_capacity(self.unflushed.len());
        for (index, landed) in self.unflushed.iter().enumerate() {
            let before = self.unflushed[..index].iter().zip(&numbers);
            let met = before.filter(|(other, _)| other.meets(landed));
            let met = met.fold(0, |all: u64, (_, number)| all.wrapping_add(*number));
            let own = mixed(mixed(landed.offset, landed.change.number()), hash(&landed.before));
            numbers.push(mixed(mixed(own, landed.len_before), met));
        }
        numbers
    }
}

impl Disks {
    /// All that decides what happens from now on. `bytes` are numbers for what the files show.
    pub fn state(&self, bytes: &[u64]) -> u64 {
        let unflushed: Vec<Vec<u64>> = self.files.iter().map(File::unflushed_numbers).collect();
        let mut state = self.lasting(bytes, &unflushed, Ending::PowerCut);
        for request in &self.in_flight {
            let covered = match request.ask {
                Ask::Flush => {
                    let landed = self.files[request.file as usize].unflushed.iter();
                    let covered = landed.zip(&unflushed[request.file as usize]);
                    let covered = covered.filter(|(landed, _)| landed.serial < request.landed);
                    covered.fold(0, |all: u64, (_, number)| all.wrapping_add(*number))
                }
                _ => 0,
            };
            state = state.wrapping_add(mixed(request.noted, covered));
        }
        for waiting in &self.waiting {
            let answer = waiting.answer.as_ref().map_or(u64::from(waiting.abandoned), hash_of);
            state = state.wrapping_add(mixed(waiting.noted, answer));
        }
        mixed(state, self.faults.number())
    }

    /// All that decides what such an end may leave.
    pub fn crash_state(&self, bytes: &[u64], ending: Ending) -> u64 {
        let unflushed: Vec<Vec<u64>> = match ending {
            Ending::PowerCut => self.files.iter().map(File::unflushed_numbers).collect(),
            Ending::Kill => vec![Vec::new(); self.files.len()],
        };
        self.lasting(bytes, &unflushed, ending)
    }

    fn lasting(&self, bytes: &[u64], unflushed: &[Vec<u64>], ending: Ending) -> u64 {
        let mut state = ending as u64;
        for ((file, bytes), unflushed) in (0..).zip(bytes).zip(unflushed) {
            let lost = unflushed.iter().fold(0, |all: u64, number| all.wrapping_add(*number));
            state = mixed(state, mixed(file, mixed(*bytes, lost)));
        }
        // Requests in flight land in any order, so theirs is none; of those that meet it is by their age.
        let mut in_flight: u64 = 0;
        for (index, request) in self.in_flight.iter().enumerate() {
            let Ask::Write(offset, change) = &request.ask else { continue };
            let older = self.in_flight[..index].iter().filter(|older| {
                let (from, to) = older.ask.range();
                older.file == request.file
                    && matches!(older.ask, Ask::Write(..))
                    && (from < offset + change.len_bytes() && *offset < to
                        || matches!(change, Change::Length(_)))
            });
            let number = |offset: u64, change: &Change| mixed(offset, change.number());
            let older = older.fold(0, |all: u64, older| match &older.ask {
                Ask::Write(offset, change) => all.wrapping_add(number(*offset, change)),
                _ => all,
            });
            let own = mixed(u64::from(request.file), number(*offset, change));
            in_flight = in_flight.wrapping_add(mixed(own, older));
        }
        mixed(state, in_flight)
    }

    /// A number for what each file shows, taken from `known` where nothing has landed since.
    pub fn byte_numbers(&self, known: &mut Vec<(u64, u64)>) -> Vec<u64> {
        known.resize(self.files.len(), (u64::MAX, 0));
        let numbers = self.files.iter().zip(known).map(|(file, known)| {
            if known.0 != file.landed {
                *known = (file.landed, mixed(file.bytes.len() as u64, hash(&file.bytes)));
            }
            known.1
        });
        numbers.collect()
    }
}
