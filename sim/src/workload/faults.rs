//! Draws what disks do badly: which kinds of faults there are in a simulated world, and before a live daemon.

use super::image::{Format, Image};
use midstream::choice::Draw;
use midstream::world::fault::{Fault, Kind};
use midstream::world::repertoire::{self, Repertoire, Turn};

/// Slots of a run; what is drawn into most of them may be nothing.
const FAULTS: u32 = 3;

/// None of these turn out otherwise.
pub const OF_LIVE: Repertoire = Repertoire { opens: true, turns: &[None] };

/// Nearly half of the faults stay as they were drawn.
pub const OF_ENGINE: Repertoire = Repertoire {
    opens: true,
    turns: &[
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        Some(Turn::Forgets),
        Some(Turn::Forgets),
        Some(Turn::Reopen),
        Some(Turn::Lock),
        Some(Turn::Resize),
        Some(Turn::Resize),
        Some(Turn::Resize),
        Some(Turn::Close),
        Some(Turn::Close),
        Some(Turn::Late),
        Some(Turn::Late),
        Some(Turn::Full),
        Some(Turn::Full),
        Some(Turn::Reopen),
        Some(Turn::Reopen),
    ],
};

/// Draws the faults of a run.
pub fn draw(draw: &mut Draw<'_>, images: &[Image], disks: &Repertoire) -> Vec<Fault> {
    // Two runs in three have healthy disks: an error ends most of what could otherwise go wrong.
    if draw.below("profile faults", [0; 3], 3) != 1 {
        return Vec::new();
    }
    let mut faults = repertoire::draw(draw, images.len() as u32, FAULTS, disks);
    // Only a file whose bytes are the guest's has another length once it is resized.
    let raw = images.iter().rposition(|image| image.format == Format::Raw);
    let of_length = faults.iter_mut().filter(|fault| fault.kind == Kind::Resize);
    of_length.for_each(|fault| fault.file = raw.map_or(fault.file, |raw| raw as u32));
    faults
}
