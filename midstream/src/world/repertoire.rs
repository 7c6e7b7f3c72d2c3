//! Which faults a world can have, and how they are drawn.

use crate::choice::Draw;
use crate::world::crash::Fate;
use crate::world::fault::{Effect, Fault, Kind, Often};
use seam::Errno;

/// What else may become of a fault that was drawn as one of reads, writes or flushes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// A flush that forgets.
    Forgets,
    /// What cannot be reopened.
    Reopen,
    /// A lock that somebody else has.
    Lock,
    /// A length that cannot be changed.
    Resize,
    /// What is lost when a file is closed.
    Close,
    /// Requests that come late.
    Late,
    /// A full disk.
    Full,
}

/// Which faults a world can have.
#[derive(Copy, Clone, Debug)]
pub struct Repertoire {
    /// Whether opening and reopening may be struck.
    pub opens: bool,
    /// What a fault may become; the first entry is to stay as it was drawn.
    pub turns: &'static [Option<Turn>],
}

/// A device that is there from the beginning and always.
pub const OF_DEVICE: Repertoire = Repertoire { opens: false, turns: &[None] };

/// Draws faults for so many files, in at most so many slots.
pub fn draw(draw: &mut Draw<'_>, files: u32, slots: u32, of_world: &Repertoire) -> Vec<Fault> {
    (0..slots).filter_map(|slot| draw_one(draw, files, slot, of_world)).collect()
}

fn draw_one(draw: &mut Draw<'_>, files: u32, slot: u32, of_world: &Repertoire) -> Option<Fault> {
    let of = [slot, 0, 0];
    let kinds = [None, Some(Kind::Read), Some(Kind::Write), Some(Kind::Flush)];
    let kind = draw.entry("fault #", of, &kinds)?;
    let errno = match kind {
        Kind::Write => draw.entry("fault # errno", of, &[Errno::EIO, Errno::ENOSPC]),
        _ => Errno::EIO,
    };
    let file = draw.below("fault # file", of, files);
    let after = draw.entry("fault # after", of, &[0, 1, 2, 3, 5, 8, 13, 21]);
    let often = draw.entry("fault # often", of, &[Often::Once, Often::Once, Often::Always]);
    // A range of the file beyond its metadata, so that a guest's data is struck and not the tables.
    let range = draw.below("fault # range", of, 4);
    // A flush has no range: one number in its place says that opening and reopening are struck.
    let kind = if of_world.opens && kind == Kind::Flush && range == 3 { Kind::Open } else { kind };
    let range = match range {
        1 => Some((0, 512)),
        2 => Some((8192, 16384)),
        _ => None,
    };
    let leaves = match draw.below("fault # leaves", of, 8) {
        1 | 2 => Fate::Whole,
        3 => Fate::Torn(draw.below("fault # tear", of, 16)),
        _ => Fate::Lost,
    };
    let fault = Fault { file, kind, errno, after, often, range, leaves, effect: Effect::Fails };
    let turn = draw.entry("fault # turn", of, of_world.turns);
    Some(turn.map_or(fault.clone(), |turn| turned(draw, of, fault, turn)))
}

/// A fault, turned into another one.
fn turned(draw: &mut Draw<'_>, of: [u32; 3], fault: Fault, turn: Turn) -> Fault {
    let range = None;
    // Few files are opened, reopened or closed more than once or twice.
    let after = u32::from((1..4).contains(&fault.after));
    let rare = Fault { range, after, errno: Errno::EIO, ..fault.clone() };
    match turn {
        Turn::Forgets => {
            let (kind, effect) = (Kind::Flush, Effect::Forgets);
            Fault { kind, effect, range, errno: Errno::EIO, ..fault }
        }
        Turn::Reopen => Fault { kind: Kind::Reopen, ..rare },
        Turn::Lock => Fault { kind: Kind::Lock, errno: Errno::EAGAIN, ..rare },
        Turn::Resize => Fault { kind: Kind::Resize, ..rare },
        Turn::Close => Fault { kind: Kind::Close, effect: Effect::Forgets, ..rare },
        Turn::Late => {
            let nanos = draw.entry("fault # late", of, &[1_000_000, 1_000_000_000, 30_000_000_000]);
            Fault { effect: Effect::Late(nanos), ..fault }
        }
        Turn::Full => {
            let free_bytes = draw.entry("fault # free", of, &[0, 512, 1024, 4096, 4608, 16384]);
            let steps = draw.entry("fault # steps", of, &[64, 256, 1024, u64::MAX]);
            let (kind, effect) = (Kind::Write, Effect::Full { free_bytes, steps });
            Fault { kind, effect, range, errno: Errno::ENOSPC, after: 0, ..fault }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::of_seed;
    use std::collections::BTreeSet;

    #[test]
    fn a_world_has_no_faults_beyond_its_repertoire() {
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let mut choices = of_seed(seed);
            for fault in draw(&mut Draw::new(&mut choices), 2, 3, &OF_DEVICE) {
                assert_eq!(fault.effect, Effect::Fails);
                seen.insert(fault.kind);
            }
        }
        assert_eq!(seen, BTreeSet::from([Kind::Read, Kind::Write, Kind::Flush]));
    }
}
