//! Draws what no honest disk does: flushes and writes that are lost, writes that go astray, bits that flip.
//!
//! Few runs have any of it, and those are judged for safety alone (`world/lying`).

use super::image::{Format, Image};
use super::tables::{Table, places};
use midstream::choice::Draw;
use midstream::world::fault::{Effect, Fault, Kind, Often};
use seam::Errno;

/// One run in so many is on lying disks.
const RARE: u32 = 32;
/// Slots of lies.
const LIES: u32 = 2;

/// A bit that flips.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rot {
    /// Index of the image.
    pub image: usize,
    /// Of what.
    pub table: Table,
    /// Which of the words there that are not zero, and which of its bits; either counted round and round.
    pub word: u32,
    /// The bit.
    pub bit: u32,
    /// When: after so many steps of the scripts, or before the image is opened.
    pub after: Option<u32>,
}

impl Rot {
    /// The byte of a file and its bit that flip; nothing, if the file has no such table, or only zeroes in it.
    pub fn place(&self, file: &[u8]) -> Option<(u64, u32)> {
        let words: Vec<usize> = places(file, self.table)
            .filter(|at| file.get(*at..*at + 8).is_some_and(|word| word.iter().any(|byte| *byte != 0)))
            .collect();
        let word = *words.get(self.word as usize % words.len().max(1))?;
        // Bit 0 is the last of a big-endian word.
        Some(((word + 7 - (self.bit / 8) as usize % 8) as u64, self.bit % 8))
    }
}

/// What disks lie about in a run: writes and flushes, and bits.
pub fn draw(draw: &mut Draw<'_>, images: &[Image]) -> (Vec<Fault>, Vec<Rot>) {
    let (mut faults, mut rots) = (Vec::new(), Vec::new());
    if draw.below("profile lies", [0; 3], RARE) != 1 {
        return (faults, rots);
    }
    for slot in 0..LIES {
        let of = [slot, 0, 0];
        let which = draw.below("lie #", of, 12);
        let image = draw.below("lie # image", of, images.len() as u32);
        let table = match which {
            0 => continue,
            1..=3 => {
                faults.push(draw_fault(draw, of, which, image));
                continue;
            }
            4 => Table::Header,
            5 | 6 => Table::L1,
            7 | 8 => Table::L2,
            9 => Table::RefcountTable,
            10 => Table::Refcounts,
            _ => Table::Data,
        };
        let (word, bit) = (draw.below("lie # word", of, 64), draw.below("lie # bit", of, 64));
        let after = draw.entry("lie # after", of, &[None, Some(0), Some(0), Some(16), Some(64), Some(256)]);
        if images[image as usize].format != Format::Raw {
            rots.push(Rot { image: image as usize, table, word, bit, after });
        }
    }
    (faults, rots)
}

fn draw_fault(draw: &mut Draw<'_>, of: [u32; 3], which: u32, file: u32) -> Fault {
    let after = draw.entry("lie # requests", of, &[0, 1, 2, 4, 8]);
    let (kind, effect) = match which {
        1 => (Kind::Flush, Effect::Lies),
        2 => (Kind::Write, Effect::Lies),
        _ => (Kind::Write, Effect::Astray(draw.entry("lie # astray", of, &[1, -1, 2, -2, 16, -8]))),
    };
    Fault { file, kind, effect, after, often: Often::Once, ..Fault::new(Errno::EIO) }
}
