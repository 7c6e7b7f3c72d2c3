//! The fingerprint of a history: what two runs of the same choices must agree on, as one number.

use super::observed::Observed;
use super::{Entry, History, Recorder, What};
use model::CrashKind;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The fingerprint of what happens in a world, as it happens: nothing needs to be kept for it.
#[derive(Default)]
#[allow(missing_debug_implementations)]
pub struct Fingerprint {
    hash: Xxh3,
    /// Room for one entry in the compact form.
    bytes: Vec<u8>,
}

impl Fingerprint {
    /// One more thing has happened.
    pub fn add(&mut self, entry: &Entry) {
        self.bytes.clear();
        entry.write(&mut self.bytes);
        self.hash.update(&self.bytes);
    }

    /// Of all that has happened so far.
    pub fn value(&self) -> u64 {
        self.hash.digest()
    }
}

impl History {
    /// Of everything that happened in a world, in a compact form; of what a daemon did, as its lines show it.
    pub fn fingerprint(&self) -> u64 {
        if self.recorder == Recorder::Live {
            return xxh3_64(self.text().as_bytes());
        }
        let mut fingerprint = Fingerprint::default();
        self.entries.iter().for_each(|entry| fingerprint.add(entry));
        fingerprint.value()
    }
}

impl Entry {
    /// When, which kind of thing, its numbers, its text.
    fn write(&self, bytes: &mut Vec<u8>) {
        let mut put = |numbers: &[u64], values: &[u64], text: &str| {
            bytes.extend_from_slice(&self.at.to_le_bytes());
            let start = bytes.len();
            bytes.resize(start + 8 * (numbers.len() + values.len()), 0);
            let places = bytes[start..].as_chunks_mut::<8>().0;
            places
                .iter_mut()
                .zip(numbers.iter().chain(values))
                .for_each(|(place, n)| *place = n.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0xff);
        };
        let observed = match &self.what {
            What::Observed(observed) => observed,
            What::Armed(fault, file) => {
                let (kind, errno) = (fault.kind as u64, fault.errno.0 as u64);
                return put(&[9, fault.file.into(), kind, errno, fault.after.into()], &[], file);
            }
            What::FaultsStopped => return put(&[10], &[], ""),
            What::Note(text) => return put(&[], &[], text),
        };
        match observed {
            Observed::Event { text } => put(&[1], &[], text),
            Observed::Sent { client, text } => put(&[2, (*client).into()], &[], text),
            Observed::Reply { client, text } => put(&[3, (*client).into()], &[], text),
            Observed::Attached { guest, node, writable } => {
                put(&[4, (*guest).into(), (*writable).into()], &[], node);
            }
            Observed::Refused { guest, writable, why, .. } => {
                put(&[5, (*guest).into(), (*writable).into()], &[], why);
            }
            Observed::Detached { guest } => put(&[6, (*guest).into()], &[], ""),
            Observed::Began { request, asked, .. } => {
                let what = asked.operation as u64 | u64::from(asked.fua) << 8;
                put(&[7, *request, what, asked.sector, asked.count], &[], "");
            }
            Observed::Ended { request, result: Ok(values) } => put(&[8, *request, 0], values, ""),
            Observed::Ended { request, result: Err(failure) } => {
                put(&[8, *request, failure.errno as u64], &[], "");
            }
            Observed::View { node, values } => put(&[11], values, node),
            Observed::Crash { kind: CrashKind::PowerCut } => put(&[12, 1], &[], ""),
            Observed::Crash { .. } => put(&[12, 0], &[], ""),
            Observed::Recovered(found) => put(&[14], &found.values, &found.file),
            Observed::End => put(&[15], &[], ""),
            Observed::Closed(found) => put(&[16], &found.values, &found.file),
            Observed::Unreadable { file, .. } => put(&[17], &[], file),
            Observed::Connected { guest, export } => put(&[18, (*guest).into()], &[], export),
            // What is armed is shown by a note of its own; worlds have no schema commands.
            Observed::FaultStruck { .. }
            | Observed::FaultArmed { .. }
            | Observed::SchemaCommand
            | Observed::SchemaCommandRefused { .. } => {}
        }
    }
}
