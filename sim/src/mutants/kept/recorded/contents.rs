//! Contents by their hashes: a recording keeps only those, so what it showed is found among what the model allows.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// What sectors hold, by value: the byte that fills them, or bytes of their own.
#[derive(Default)]
pub struct Contents {
    hashes: BTreeMap<Vec<u64>, String>,
    odd: Vec<Vec<u8>>,
}

/// Sectors that a job copies at once.
const CHUNK: usize = 128;

/// Values from here on stand for sectors that are not filled with one byte.
const ODD: u64 = 1 << 20;

impl Contents {
    /// The value of a sector with these bytes.
    pub fn value(&mut self, bytes: &[u8]) -> u64 {
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return u64::from(bytes[0]);
        }
        let found = self.odd.iter().position(|odd| odd == bytes);
        let index = found.unwrap_or_else(|| {
            self.odd.push(bytes.to_vec());
            self.odd.len() - 1
        });
        ODD + index as u64
    }

    fn bytes(&self, value: u64) -> Vec<u8> {
        match value {
            0..256 => vec![value as u8; 512],
            ODD.. if value < ODD + self.odd.len() as u64 => self.odd[(value - ODD) as usize].clone(),
            _ => b"unknown ".repeat(64),
        }
    }

    fn hash(&mut self, values: &[u64]) -> String {
        if let Some(hash) = self.hashes.get(values) {
            return hash.clone();
        }
        let mut hasher = Sha256::new();
        for run in values.chunk_by(|one, other| one == other) {
            let bytes = self.bytes(run[0]);
            run.iter().for_each(|_| hasher.update(&bytes));
        }
        let text: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.hashes.insert(values.to_vec(), text[..24].to_owned());
        text[..24].to_owned()
    }

    /// The content of that hash, if it is one of those that are allowed; else one that nobody wrote.
    pub fn of_hash(&mut self, sectors: u32, hash: &str, allowed: impl Fn(u32) -> Vec<u64>) -> Vec<u64> {
        let sets: Vec<Vec<u64>> = (0..sectors).map(allowed).collect();
        let (first, last) = (|set: &Vec<u64>| set[0], |set: &Vec<u64>| *set.last().unwrap());
        let middle = |set: &Vec<u64>| set[set.len() / 2];
        // A copy that was stopped has written up to some place, the new values above or below the old ones in the sets.
        let open = sets.iter().any(|set| set.len() > 1);
        let ends = if open { sets.len().div_ceil(CHUNK) } else { 0 };
        for end in (0..=ends).map(|chunk| chunk * CHUNK) {
            let mixed = |new: &dyn Fn(&Vec<u64>) -> u64, old: &dyn Fn(&Vec<u64>) -> u64| -> Vec<u64> {
                sets.iter().enumerate().map(|(at, set)| if at < end { new(set) } else { old(set) }).collect()
            };
            for values in [mixed(&last, &first), mixed(&first, &last), mixed(&middle, &first)] {
                if self.hash(&values) == hash {
                    return values;
                }
            }
        }
        vec![u64::MAX; sectors as usize]
    }
}
