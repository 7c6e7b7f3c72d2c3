//! Draws what disks do badly: which kinds of faults there are in a simulated world, and before a live daemon.

use super::image::{Format, Image};
use super::tables::{Table, places};
use midstream::choice::Draw;
use midstream::world::fault::{Effect, Fault, Kind};
use midstream::world::repertoire::{self, Repertoire, Turn};

/// What faults of headers strike.
const HEADER: (u64, u64) = (0, 512);
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

/// Where writes fail, other than wherever they come.
const AIMS: [Option<Table>; 8] = [
    None,
    None,
    None,
    None,
    Some(Table::L1),
    Some(Table::L2),
    Some(Table::Refcounts),
    Some(Table::RefcountTable),
];

/// Lets one in two of the writes that fail be of a table, as it lies at first: few of those that a disk sees are.
fn aim(draw: &mut Draw<'_>, slot: u32, fault: &mut Fault, image: &Image) {
    if (fault.kind, fault.effect) != (Kind::Write, Effect::Fails) || image.format == Format::Raw {
        return;
    }
    let Some(table) = draw.entry("fault # aim", [slot, 0, 0], &AIMS) else { return };
    let file = image.build(None);
    let (first, last) = (places(&file, table).min(), places(&file, table).max());
    if let (Some(first), Some(last)) = (first, last) {
        fault.range = Some((first as u64, last as u64 + 8));
        // Tables are written much less often than data.
        fault.after = fault.after.min(3) / 2;
    }
}

/// Where two overlays stand on one image, a header that cannot be written is the second one's: a job that renames what both
/// stand on has changed the first by then.
fn aim_at_the_second(faults: &mut [Fault], images: &[Image]) {
    let stands_beside = |index: &usize| {
        let backing = images[*index].backing;
        let is_layer = images[*index].path.starts_with("/n");
        is_layer && backing.is_some() && images[..*index].iter().any(|other| other.backing == backing)
    };
    let Some(second) = (0..images.len()).find(stands_beside) else { return };
    for fault in faults.iter_mut().filter(|fault| fault.kind == Kind::Write && fault.range == Some(HEADER)) {
        fault.file = second as u32;
    }
}

/// Draws the faults of a run.
pub fn draw(draw: &mut Draw<'_>, images: &[Image], disks: &Repertoire) -> Vec<Fault> {
    // Two runs in three have healthy disks: an error ends most of what could otherwise go wrong.
    if draw.below("profile faults", [0; 3], 3) != 1 {
        return Vec::new();
    }
    let mut faults = repertoire::draw(draw, images.len() as u32, FAULTS, disks);
    // Only a file whose bytes are the guest's has another length once it is resized.
    let raw = images.iter().rposition(|image| image.format == Format::Raw);
    if disks.turns.len() > 1 {
        aim_at_the_second(&mut faults, images);
        faults
            .iter_mut()
            .zip(0..)
            .for_each(|(fault, slot)| aim(draw, slot, fault, &images[fault.file as usize]));
    }
    let of_length = faults.iter_mut().filter(|fault| fault.kind == Kind::Resize);
    of_length.for_each(|fault| fault.file = raw.map_or(fault.file, |raw| raw as u32));
    faults
}
