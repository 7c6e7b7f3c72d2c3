//! What the internal snapshots of a qcow2 image hold: read from the bytes of its file, without the engine.

use crate::workload::tables::number;
use midstream::content::{SECTOR_BYTES, Tag, tag_of};

/// An internal snapshot, as its file has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// By sector: what it holds itself; nothing, where it shows what lies below the image.
    pub content: Vec<Option<Tag>>,
}

/// The bits of a table's entry that are an offset.
const OFFSET: usize = 0x00ff_ffff_ffff_fe00;
/// An L2 entry of zeroes.
const ZERO: usize = 1;
/// An L2 entry of a cluster that is packed: what is in it is not looked at.
const PACKED: usize = 1 << 62;
/// The bit of images whose entries are followed by the bits of subclusters.
const SUBCLUSTERS: usize = 1 << 4;
/// Before the id and the name of a snapshot in its list.
const FIXED_BYTES: usize = 40;
/// More than any image of a small world has.
const SNAPSHOTS_MAX: usize = 16;

/// The snapshots of a file, in the order of their list.
pub fn snapshots(file: &[u8]) -> Vec<Snapshot> {
    let mut at = number(file, 64, 8);
    let mut found = Vec::new();
    for _ in 0..number(file, 60, 4).min(SNAPSHOTS_MAX) {
        let (l1, entries) = (number(file, at, 8), number(file, at + 8, 4));
        let (id_len, name_len) = (number(file, at + 12, 2), number(file, at + 14, 2));
        let name = at + FIXED_BYTES + number(file, at + 36, 4) + id_len;
        let text = file.get(name..name + name_len).unwrap_or_default();
        found.push(Snapshot {
            name: String::from_utf8_lossy(text).into_owned(),
            content: content(file, l1, entries),
        });
        at = (name + name_len).next_multiple_of(8);
    }
    found
}

/// What an image holds itself, by sector.
pub fn held(file: &[u8]) -> Vec<Option<Tag>> {
    content(file, number(file, 40, 8), number(file, 36, 4))
}

fn content(file: &[u8], l1: usize, entries: usize) -> Vec<Option<Tag>> {
    let cluster_bytes = 1usize << number(file, 20, 4);
    let per_cluster = cluster_bytes / SECTOR_BYTES;
    let has_subclusters = number(file, 4, 4) >= 3 && number(file, 72, 8) & SUBCLUSTERS != 0;
    let entry_bytes = if has_subclusters { 16 } else { 8 };
    let slots = cluster_bytes / entry_bytes;
    let tables = entries.min(file.len() / 8);
    // A header may be anything: no more room is made beforehand than an image as large as its file has use for.
    let mut content = Vec::with_capacity((tables * slots * per_cluster).min(file.len() / SECTOR_BYTES));
    for table in 0..tables {
        let l2 = number(file, l1 + table * 8, 8) & OFFSET;
        if l2 == 0 {
            content.extend(std::iter::repeat_n(None, slots * per_cluster));
            continue;
        }
        for slot in 0..slots {
            let at = l2 + slot * entry_bytes;
            let entry = number(file, at, 8);
            if has_subclusters {
                let bits = number(file, at + 8, 8);
                let entry_of = |sector: usize| of_subcluster(entry, bits, sector * 32 / per_cluster);
                content.extend((0..per_cluster).map(|sector| held_by(file, entry_of(sector), sector)));
            } else if entry == 0 {
                content.extend(std::iter::repeat_n(None, per_cluster));
            } else {
                content.extend((0..per_cluster).map(|sector| held_by(file, entry, sector)));
            }
        }
    }
    content
}

/// The entry that a cluster would have that is as one of its subclusters is.
fn of_subcluster(entry: usize, bits: usize, subcluster: usize) -> usize {
    match (bits >> (subcluster + 32) & 1, bits >> subcluster & 1) {
        _ if entry & PACKED != 0 => entry,
        (1, _) => ZERO,
        (_, 1) => entry & !ZERO,
        _ => 0,
    }
}

/// What a sector of the cluster with this L2 entry holds.
fn held_by(file: &[u8], entry: usize, sector: usize) -> Option<Tag> {
    let start = (entry & OFFSET) + sector * SECTOR_BYTES;
    match entry {
        _ if entry & PACKED != 0 => None,
        _ if entry & ZERO != 0 => Some(0),
        _ if entry & OFFSET == 0 => None,
        _ => Some(file.get(start..start + SECTOR_BYTES).map_or(0, tag_of)),
    }
}
