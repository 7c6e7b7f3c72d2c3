//! Draws what disks do badly: which kinds of faults there are in a simulated world, and before a live daemon.

use super::image::{Format, Image, Vouching};
use super::tables::{Table, places};
use midstream::choice::Draw;
use midstream::world::crash::Fate;
use midstream::world::fault::{Effect, Fault, Kind, Often};
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
    Some(Table::Header),
    Some(Table::L1),
    Some(Table::L2),
    Some(Table::Refcounts),
    Some(Table::RefcountTable),
];

/// Lets more than one in two of the writes that fail be of the header or a table, as it lies at first: few of those that a disk sees are.
fn aim(draw: &mut Draw<'_>, slot: u32, fault: &mut Fault, image: &Image) {
    if (fault.kind, fault.effect) != (Kind::Write, Effect::Fails) || image.format == Format::Raw {
        return;
    }
    let Some(table) = draw.entry("fault # aim", [slot, 0, 0], &AIMS) else { return };
    if table == Table::Header {
        fault.range = Some(HEADER);
        return;
    }
    let file = image.build(None);
    let (first, last) = (places(&file, table).min(), places(&file, table).max());
    if let (Some(first), Some(last)) = (first, last) {
        fault.range = Some((first as u64, last as u64 + 8));
        // Tables are written much less often than data.
        fault.after = fault.after.min(3) / 2;
    }
}

/// Whether a fault strikes a header.
fn is_of_header(fault: &Fault) -> bool {
    fault.kind == Kind::Write && fault.range == Some(HEADER)
}

/// The second of two overlays that stand on one image: a job that renames what both stand on has changed the header of the
/// first by the time it comes to this one.
fn second_overlay(images: &[Image]) -> Option<usize> {
    let stands_beside = |index: &usize| {
        let backing = images[*index].backing;
        let is_layer = images[*index].path.starts_with("/n");
        is_layer && backing.is_some() && images[..*index].iter().any(|other| other.backing == backing)
    };
    (0..images.len()).find(stands_beside)
}

/// What two overlays stand on, where the header of the second cannot be written.
pub(super) fn half_renamed(faults: &[Fault], images: &[Image]) -> Option<usize> {
    let second = second_overlay(images)?;
    let is_struck = faults.iter().any(|fault| is_of_header(fault) && fault.file as usize == second);
    is_struck.then(|| images[second].backing).flatten()
}

/// Lets a header that cannot be written be one that somebody writes: of two overlays on one image the second one's, or that
/// of an image which says more there than where its tables are, mostly one that nothing stands on. One in two is on the disk
/// all the same, and one in two cannot be written later either.
fn aim_at_header(draw: &mut Draw<'_>, slot: u32, fault: &mut Fault, images: &[Image]) {
    // Headers are written very seldom.
    fault.after = u32::from(fault.after > 3);
    let how = draw.below("fault # header", [slot, 0, 0], 8);
    if how & 1 != 0 {
        fault.leaves = Fate::Whole;
    }
    if how & 4 != 0 {
        fault.often = Often::Always;
    }
    let says_more = |index: &usize| {
        let image = &images[*index];
        image.vouching != Vouching::Nothing || image.features.snapshot
    };
    let stands_on = |index: usize| images.iter().any(|other| other.backing == Some(index));
    let mut more: Vec<usize> = (0..images.len()).filter(says_more).collect();
    let tops: Vec<usize> = more.iter().copied().filter(|index| !stands_on(*index)).collect();
    more.extend(tops);
    let second = second_overlay(images);
    let file = match more.get(fault.file as usize % more.len().max(1)) {
        Some(more) if how & 2 != 0 || second.is_none() => Some(*more),
        _ => second,
    };
    fault.file = file.map_or(fault.file, |file| file as u32);
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
        for (fault, slot) in faults.iter_mut().zip(0..) {
            aim(draw, slot, fault, &images[fault.file as usize]);
            if is_of_header(fault) {
                aim_at_header(draw, slot, fault, images);
            }
        }
    }
    let of_length = faults.iter_mut().filter(|fault| fault.kind == Kind::Resize);
    of_length.for_each(|fault| fault.file = raw.map_or(fault.file, |raw| raw as u32));
    faults
}
