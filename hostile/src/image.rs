//! Images, changed: by bytes, by whole table entries, and by structure, where fields that belong together change together.
//!
//! One field alone is refused early; only related ones together reach further in (a granularity beside the flag that
//! makes anybody use it, an offset beside the length it is checked with).

pub mod fields;

use crate::random::Random;
use fields::Field;

/// Entries that say something: copied, compressed, zero, reserved bits, offsets past everything.
const TRICKY: [u64; 12] = [
    0,
    1,
    0x200,
    0x400,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0200,
    0xffff_ffff_ffff_ffff,
    0x00ff_ffff_ffff_fe00,
    0x4000_0000_0000_0400,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0001_0000,
    0x0000_0001_0000_0000,
];
const HEADER_BYTES: u64 = 112;

/// Changes an image of at least a header in a few places, by structure or by bytes.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if random.one_in(3) {
            by_structure(bytes, random);
        } else {
            by_bytes(bytes, random);
        }
    }
}

/// A byte or a bit anywhere or in the header, an entry of some table, or the end cut off.
pub fn by_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let len = bytes.len() as u64;
    match random.below(6) {
        0 => bytes[random.below(HEADER_BYTES) as usize] = random.any() as u8,
        1 => bytes[random.below(HEADER_BYTES) as usize] ^= 1 << random.below(8),
        2 => bytes[random.below(len) as usize] = random.any() as u8,
        3 if len > 4096 && random.one_in(8) => bytes.truncate(512 + random.below(len - 512) as usize),
        _ => {
            let entry = random.below(len / 8) as usize * 8;
            let at = if random.one_in(2) { entry } else { used_entry(bytes, entry) };
            let value: u64 = *random.pick(&TRICKY);
            bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// The fields of one group, each to a value that means something to it or to its neighbours.
pub fn by_structure(bytes: &mut [u8], random: &mut Random) {
    let groups = fields::groups(bytes);
    let kind = random.pick(&groups);
    let group = random.pick(kind);
    let len = bytes.len() as u64;
    for Field { at, width } in group {
        let value = match random.below(8) {
            0 => 0,
            1 => random.below(70),
            2 => 1 << random.below(64),
            3 => (1 << random.below(64)) - 1,
            4 | 5 => (random.below(len / 512 + 2) * 512) | (random.below(2) << 63),
            6 => *random.pick(&TRICKY),
            _ => len.saturating_sub(random.below(1024)),
        };
        if let Some(field) = bytes.get_mut(*at..at + width) {
            field.copy_from_slice(&value.to_be_bytes()[8 - width..]);
        }
    }
}

/// The first entry from `from` on that is not zero: more likely to matter.
fn used_entry(bytes: &[u8], from: usize) -> usize {
    (from..bytes.len() - 7).step_by(8).find(|at| bytes[*at..at + 8] != [0; 8]).unwrap_or(from)
}

/// Noise behind a sound header, some of it like pointers; now and then to be repaired first.
pub fn noise_behind_the_header(bytes: &mut [u8], random: &mut Random) {
    for at in (512..bytes.len() - 7).step_by(8) {
        let entry = match random.below(8) {
            0 => random.any(),
            1 => 1 << 62 | random.any() >> random.below(20),
            2 | 3 => (random.below(bytes.len() as u64) & !511) | (random.below(2) << 63),
            _ => continue,
        };
        bytes[at..at + 8].copy_from_slice(&entry.to_be_bytes());
    }
    if random.one_in(4) {
        bytes[79] |= 1;
    }
}

/// Noise behind a plausible start.
pub fn noise_behind_a_start(random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> =
        (0..2048).map(|_| if random.one_in(3) { random.any() as u8 } else { 0 }).collect();
    bytes[..8].copy_from_slice(&[b'Q', b'F', b'I', 0xfb, 0, 0, 0, 2 + random.below(2) as u8]);
    bytes[20..24].copy_from_slice(&(9 + random.below(13) as u32).to_be_bytes());
    bytes
}
