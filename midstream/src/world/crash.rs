//! Stops the world without warning and says which bytes are left.
//!
//! A kill leaves what landed, plus any part of what was in flight. A power cut leaves what was flushed, plus any part
//! of the rest. A part is any set of writes, each torn at any of its sectors. A file is as long as its surviving
//! writes make it.

use crate::choice::mix;
use crate::choice::{Choices, Draw, Point};
use crate::world::disk::{Change, Disks, apply};

/// How the world ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The process dies, the machine lives: the kernel keeps what it was given.
    Kill,
    /// The machine dies: the disk keeps what was flushed.
    PowerCut,
}

/// When and how the world ends early.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Crash {
    /// Before this step of the scripts.
    pub step: u64,
    /// How.
    pub ending: Ending,
}

/// A look at a run that goes on, as if the world ended there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WhatIf {
    /// When.
    pub at: Moment,
    /// How the world would end.
    pub ending: Ending,
}

/// A moment of the scripts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Before this step.
    Step(u64),
    /// Right after so many flushes were handed to the disks. All that the last one is to make durable is still not: whatever
    /// should have been flushed before something else is now beside it.
    Flush(u64),
    /// The same, of flushes that are to make durable what a file begins with: few are, and what a header leads to must be
    /// durable before it.
    HeadFlush(u64),
}

/// How often a run that goes on is looked at, at most.
const WHAT_IFS_MAX: u32 = 4;
/// Flushes that are distinguished.
const FLUSHES: u32 = 16;
/// The same of headers.
const HEAD_FLUSHES: u32 = 4;

/// Draws whether the world ends early; most do not.
pub fn draw(draw: &mut Draw<'_>) -> Option<Crash> {
    let ending = match draw.below("crash", [0; 3], 8) {
        1 => Ending::Kill,
        2 => Ending::PowerCut,
        _ => return None,
    };
    // The scale first: most runs are over after some 200 steps, a few take 1,000.
    let scale = draw.entry("crash step scale", [0; 3], &[1, 2, 2, 4, 4, 4, 8, 32]);
    let step = draw.below("crash step", [0; 3], 32) * scale + draw.below("crash step rest", [0; 3], scale);
    Some(Crash { step: u64::from(step), ending })
}

/// Draws at which moments a run is looked at as if the world ended there; it goes on. In every second run there are some.
pub fn draw_what_ifs(draw: &mut Draw<'_>) -> Vec<WhatIf> {
    let mut what_ifs = Vec::new();
    if draw.below("what-ifs", [0; 3], 2) == 1 {
        what_ifs.extend((0..WHAT_IFS_MAX).filter_map(|slot| draw_what_if(draw, [slot, 0, 0])));
    }
    what_ifs
}

fn draw_what_if(draw: &mut Draw<'_>, of: [u32; 3]) -> Option<WhatIf> {
    // A power cut has more to choose from.
    let ending = match draw.below("what-if #", of, 8) {
        0 | 1 => return None,
        2 => Ending::Kill,
        3 | 4 => Ending::PowerCut,
        5 => {
            let flushes = draw.below("what-if # header", of, HEAD_FLUSHES) + 1;
            return Some(WhatIf { at: Moment::HeadFlush(flushes.into()), ending: Ending::PowerCut });
        }
        _ => {
            let flushes = draw.below("what-if # flush", of, FLUSHES) + 1;
            return Some(WhatIf { at: Moment::Flush(flushes.into()), ending: Ending::PowerCut });
        }
    };
    let scale = draw.entry("what-if # step scale", of, &[1, 2, 4, 4, 8, 16]);
    let step = draw.below("what-if # step", of, 32) * scale;
    Some(WhatIf { at: Moment::Step(step.into()), ending })
}

/// One write's fate, when the world ends or when it fails.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Nothing of it is there.
    Lost,
    /// All of it is there.
    Whole,
    /// Each sector on its own, by this number.
    Torn(u32),
}

/// How many ways to tear one write are distinguished, beside losing and keeping it.
pub(crate) const TEARS: u32 = 14;

/// The fates of all writes: none survives, all do, or each is decided by itself.
enum Fates {
    All(Fate),
    Each,
}

impl Fates {
    fn choose(choices: &mut Choices) -> Fates {
        match choices.choose(Point::new("crash survivors", [0; 3]), 4) {
            0 => Fates::All(Fate::Lost),
            1 => Fates::All(Fate::Whole),
            _ => Fates::Each,
        }
    }

    fn of(&self, file: u32, number: u32, choices: &mut Choices) -> Fate {
        let Fates::All(fate) = self else {
            return match choices.choose(Point::new("crash disk # write #", [file, number, 0]), TEARS + 2) {
                0 => Fate::Lost,
                1 => Fate::Whole,
                torn => Fate::Torn(torn),
            };
        };
        *fate
    }
}

/// The bytes each file is left with, by index.
pub fn crash_images(disks: &Disks, ending: Ending, choices: &mut Choices) -> Vec<Vec<u8>> {
    let fates = Fates::choose(choices);
    let mut images = Vec::with_capacity(disks.files.len());
    for (index, file) in disks.files.iter().enumerate() {
        let index = index as u32;
        let mut bytes = match ending {
            Ending::Kill => file.bytes.clone(),
            Ending::PowerCut => {
                let mut bytes = file.durable();
                for landed in &file.unflushed {
                    let fate = fates.of(index, landed.number, choices);
                    survive(&mut bytes, landed.offset, &landed.change, fate, disks.sector_bytes());
                }
                bytes
            }
        };
        for (_, number, offset, change) in disks.changes_in_flight().filter(|c| c.0 == index) {
            let fate = fates.of(index, number, choices);
            survive(&mut bytes, offset, change, fate, disks.sector_bytes());
        }
        images.push(bytes);
    }
    images
}

/// Applies what survives of one change.
fn survive(bytes: &mut Vec<u8>, offset: u64, change: &Change, fate: Fate, sector_bytes: u64) {
    for (at, part) in survivors(offset, change, fate, sector_bytes) {
        apply(bytes, at, &part);
    }
}

/// The parts of one change that reach a disk whose sectors have so many bytes, and where they land.
pub fn survivors(offset: u64, change: &Change, fate: Fate, sector_bytes: u64) -> Vec<(u64, Change)> {
    match (fate, change) {
        (Fate::Lost, _) => Vec::new(),
        (Fate::Whole, _) => vec![(offset, change.clone())],
        // A new length is one number: it is there or it is not.
        (Fate::Torn(by), Change::Length(_)) if !by.is_multiple_of(2) => Vec::new(),
        (Fate::Torn(_), Change::Length(_)) => vec![(offset, change.clone())],
        (Fate::Torn(by), _) => tear(offset, change, by, sector_bytes),
    }
}

fn tear(offset: u64, change: &Change, by: u32, sector_bytes: u64) -> Vec<(u64, Change)> {
    let end = offset + change.len_bytes();
    let mut parts = Vec::new();
    let mut from = offset;
    while from < end {
        let to = end.min((from / sector_bytes + 1) * sector_bytes);
        if keeps(by, from / sector_bytes) {
            let part = match change {
                Change::Bytes(data) => {
                    Change::Bytes(data[(from - offset) as usize..(to - offset) as usize].to_vec())
                }
                _ => Change::Zeroes(to - from),
            };
            parts.push((from, part));
        }
        from = to;
    }
    parts
}

/// Whether tear `by` keeps a sector: one bit of a well mixed number.
fn keeps(by: u32, sector: u64) -> bool {
    mix(u64::from(by) << 32 | sector) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Strategy;
    use crate::world::disk::{Ask, File};
    use crate::world::scheduler::tests::Chance;
    use std::collections::BTreeSet;

    /// Every write decided by itself, by chance.
    struct EachByChance(Chance);

    impl Strategy for EachByChance {
        fn choose(&mut self, at: Point, of: u32) -> u32 {
            if at.name == "crash survivors" { 3 } else { self.0.choose(at, of) }
        }

        fn pick(&mut self, at: Point, options: &[Point]) -> usize {
            self.0.pick(at, options)
        }
    }

    /// A file of zeroes with ones flushed, twos landed, threes in flight: all in the same two sectors.
    fn disks() -> Disks {
        let mut disks = Disks::new(vec![File::new("a", vec![0; 1024])]);
        for byte in 1..=3 {
            disks.submit(0, Ask::Write(0, Change::Bytes(vec![byte; 1024])));
            if byte < 3 {
                disks.complete(0);
            }
            if byte == 1 {
                disks.submit(0, Ask::Flush);
                disks.complete(0);
            }
        }
        disks
    }

    fn left(ending: Ending) -> BTreeSet<(u8, u8)> {
        let mut choices = Choices::new(Box::new(EachByChance(Chance(1))));
        let found = (0..400).map(|_| crash_images(&disks(), ending, &mut choices).remove(0));
        found
            .map(|bytes| {
                assert!(bytes[..512].iter().all(|b| *b == bytes[0]), "a sector is atomic");
                assert!(bytes[512..].iter().all(|b| *b == bytes[512]), "a sector is atomic");
                (bytes[0], bytes[512])
            })
            .collect()
    }

    #[test]
    fn large_sectors_are_as_atomic_as_small_ones() {
        let change = Change::Bytes(vec![1; 8192]);
        for by in 0..TEARS {
            // From the middle of one sector to the middle of another.
            let parts = survivors(2048, &change, Fate::Torn(by), 4096);
            let ends = parts.iter().map(|(at, part)| (*at, part.len_bytes()));
            assert!(ends.into_iter().all(|end| [(2048, 2048), (4096, 4096), (8192, 2048)].contains(&end)));
        }
    }

    #[test]
    fn a_kill_keeps_what_landed_and_any_part_of_what_was_in_flight() {
        assert_eq!(left(Ending::Kill), BTreeSet::from([(2, 2), (2, 3), (3, 2), (3, 3)]));
    }

    #[test]
    fn a_power_cut_keeps_what_was_flushed_and_any_part_of_the_rest() {
        let sectors = [1, 2, 3];
        let every = sectors.iter().flat_map(|a| sectors.iter().map(|b| (*a, *b))).collect();
        assert_eq!(left(Ending::PowerCut), every);
    }
}
