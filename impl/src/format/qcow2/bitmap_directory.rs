//! The directory of persistent bitmaps and the header extension that leads to it, to and from bytes.
//!
//! Source: the qcow2 specification, "Bitmaps extension" and "Bitmap directory"; the limits are QEMU 10.0's.

use super::geometry::Geometry;
use super::header::{AUTOCLEAR_BITMAPS, EXTENSION_BITMAPS, Extension, Header, be32, be64};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most bitmaps of one image.
pub(super) const MAX_BITMAPS: usize = 65535;
/// Longest name, in bytes.
pub(super) const MAX_NAME: usize = 1023;
/// The granularities there are: 512 bytes to 2 GiB.
pub(super) const GRANULARITY_BITS: std::ops::RangeInclusive<u8> = 9..=31;
/// Longest table of one bitmap, in entries, and most bytes of bits that it leads to.
const MAX_TABLE: u64 = 0x800_0000;
const MAX_BITMAP_BYTES: u64 = 0x2000_0000;
/// Longest directory.
const MAX_DIRECTORY: u64 = MAX_BITMAPS as u64 * 1072;

const EXTENSION_BYTES: usize = 24;
const FIXED_BYTES: usize = 24;
/// Not stored since it was last changed: what the image holds of it is not true any more.
const IN_USE: u32 = 1 << 0;
/// Records writes as soon as the image is opened.
const AUTO: u32 = 1 << 1;
/// Dirty tracking: the only type there is.
const TYPE_DIRTY: u8 = 1;

/// One bitmap as the directory has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub table_offset: u64,
    pub table_entries: u32,
    pub is_in_use: bool,
    pub is_auto: bool,
    pub granularity_bits: u8,
    pub name: Arc<str>,
}

/// Where the header says the directory is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub count: u32,
    pub len: u64,
    pub offset: u64,
}

/// Why a directory is not one: QEMU refuses such images as well.
type Broken = &'static str;

/// Where the directory is. `None`: there are no bitmaps, or somebody wrote the image who does not know them.
pub(super) fn place(header: &Header, file_len: u64) -> Result<Option<Place>, Broken> {
    let Some(data) = header.extension(EXTENSION_BITMAPS) else { return Ok(None) };
    if header.autoclear & AUTOCLEAR_BITMAPS == 0 {
        return Ok(None);
    }
    if data.len() != EXTENSION_BYTES {
        return Err("Invalid extension length");
    }
    let place = Place { count: be32(data, 0), len: be64(data, 8), offset: be64(data, 16) };
    let end = place.offset.checked_add(place.len);
    // The last cluster of a file may be cut short.
    let file_end = file_len.checked_next_multiple_of(header.geometry().cluster_bytes()).unwrap_or(u64::MAX);
    match () {
        () if be32(data, 4) != 0 => Err("Reserved field is not zero"),
        () if place.count == 0 => Err("found bitmaps extension with zero bitmaps"),
        () if place.count as usize > MAX_BITMAPS => Err("too many bitmaps"),
        () if place.offset == 0 || !header.geometry().is_aligned(place.offset) => {
            Err("invalid bitmap directory offset")
        }
        () if place.len > MAX_DIRECTORY => Err("bitmap directory too large"),
        () if end.is_none_or(|end| end > file_end) => Err("bitmap directory past the end of the file"),
        () => Ok(Some(place)),
    }
}

impl Header {
    /// Makes the header lead to a directory, or to none.
    pub(super) fn set_bitmaps(&mut self, place: Option<Place>) {
        self.extensions.retain(|extension| extension.kind != EXTENSION_BITMAPS);
        self.autoclear &= !AUTOCLEAR_BITMAPS;
        let Some(Place { count, len, offset }) = place else { return };
        let mut data = Vec::with_capacity(EXTENSION_BYTES);
        data.extend_from_slice(&count.to_be_bytes());
        data.extend_from_slice(&[0; 4]);
        data.extend_from_slice(&len.to_be_bytes());
        data.extend_from_slice(&offset.to_be_bytes());
        self.extensions.push(Extension { kind: EXTENSION_BITMAPS, data });
        self.autoclear |= AUTOCLEAR_BITMAPS;
    }
}

/// Reads the entries of a directory of an image of `len_bytes`.
pub(super) fn decode(
    directory: &[u8],
    count: u32,
    len_bytes: u64,
    geometry: Geometry,
) -> Result<Vec<Entry>, Broken> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0;
    while at < directory.len() {
        let bytes = &directory[at..];
        let (entry, len) = decode_one(bytes).ok_or("Broken bitmap directory entry")?;
        if !is_possible(&entry, len_bytes, geometry) {
            return Err("Impossible bitmap directory entry");
        }
        at += len;
        entries.push(entry);
        if entries.len() > count as usize {
            break;
        }
    }
    if entries.len() != count as usize {
        return Err("Bitmap directory of another length");
    }
    let names: BTreeSet<&str> = entries.iter().map(|entry| &*entry.name).collect();
    if names.len() == entries.len() { Ok(entries) } else { Err("Impossible bitmap directory entry") }
}

fn decode_one(bytes: &[u8]) -> Option<(Entry, usize)> {
    let fixed = bytes.get(..FIXED_BYTES)?;
    let (flags, extra) = (be32(fixed, 12), be32(fixed, 20));
    let name_len = usize::from(u16::from_be_bytes([fixed[18], fixed[19]]));
    // No extra data is known, so there must be none.
    if flags & !(IN_USE | AUTO) != 0 || fixed[16] != TYPE_DIRTY || extra != 0 {
        return None;
    }
    let end = FIXED_BYTES + name_len;
    let name = std::str::from_utf8(bytes.get(FIXED_BYTES..end)?).ok()?.into();
    let whole = end.next_multiple_of(8);
    let entry = Entry {
        table_offset: be64(fixed, 0),
        table_entries: be32(fixed, 8),
        is_in_use: flags & IN_USE != 0,
        is_auto: flags & AUTO != 0,
        granularity_bits: fixed[17],
        name,
    };
    (whole <= bytes.len()).then_some((entry, whole))
}

fn is_possible(entry: &Entry, len_bytes: u64, geometry: Geometry) -> bool {
    let entries = u64::from(entry.table_entries);
    let bits = entries.saturating_mul(geometry.cluster_bytes()).saturating_mul(8);
    // Whatever else is forgiven: everybody shifts by this.
    if !GRANULARITY_BITS.contains(&entry.granularity_bits) {
        return false;
    }
    let is_long_enough = bits >= len_bytes >> entry.granularity_bits;
    let has_name = !entry.name.is_empty() && entry.name.len() <= MAX_NAME;
    let has_table = entries > 0
        && entries <= MAX_TABLE
        && entries.saturating_mul(geometry.cluster_bytes()) <= MAX_BITMAP_BYTES.max(geometry.cluster_bytes())
        && entry.table_offset != 0
        && geometry.is_aligned(entry.table_offset);
    // The size may have changed since a bitmap in use was written.
    has_name && has_table && (is_long_enough || entry.is_in_use)
}

/// The directory as bytes.
pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let flags = if entry.is_in_use { IN_USE } else { 0 } | if entry.is_auto { AUTO } else { 0 };
        bytes.extend_from_slice(&entry.table_offset.to_be_bytes());
        bytes.extend_from_slice(&entry.table_entries.to_be_bytes());
        bytes.extend_from_slice(&flags.to_be_bytes());
        bytes.extend_from_slice(&[TYPE_DIRTY, entry.granularity_bits]);
        bytes.extend_from_slice(&(entry.name.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(entry.name.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
    }
    bytes
}

/// How many table entries a bitmap takes; `None` if that is more than QEMU stores.
pub(super) fn table_entries(len_bytes: u64, granularity_bits: u8, geometry: Geometry) -> Option<u32> {
    let bytes = len_bytes.div_ceil(1 << granularity_bits).div_ceil(8);
    let entries = bytes.div_ceil(geometry.cluster_bytes());
    (bytes <= MAX_BITMAP_BYTES && entries <= MAX_TABLE).then_some(entries as u32)
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::*;

    const LEN: u64 = 4 << 20;

    fn header() -> Header {
        Header::new(3, 16, 4, LEN, None)
    }

    fn two() -> Vec<Entry> {
        let first = Entry {
            table_offset: 0x5_0000,
            table_entries: 1,
            is_in_use: false,
            is_auto: true,
            granularity_bits: 16,
            name: "first".into(),
        };
        vec![first.clone(), Entry { name: "b".into(), is_in_use: true, is_auto: false, ..first }]
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode(&two());
        assert_eq!(decode(&bytes, 2, LEN, header().geometry()), Ok(two()));
        assert_eq!(bytes.len() % 8, 0);
    }

    #[test]
    fn a_directory_that_is_cut_short_or_counted_wrong_is_refused() {
        let bytes = encode(&two());
        let read = |bytes: &[u8], count| decode(bytes, count, LEN, header().geometry());
        for end in (1..bytes.len()).filter(|end| *end != 32) {
            assert!(read(&bytes[..end], 2).is_err(), "{end} bytes");
        }
        assert!(read(&bytes, 1).is_err());
        assert!(read(&bytes, 3).is_err());
    }

    #[test]
    fn an_entry_that_cannot_be_is_refused() {
        let broken: [fn(&mut Entry); 8] = [
            |entry| entry.table_offset = 0,
            |entry| entry.table_offset = 0x5_0200,
            |entry| entry.table_entries = 0,
            |entry| entry.table_entries = u32::MAX,
            |entry| entry.granularity_bits = 8,
            |entry| entry.granularity_bits = 32,
            |entry| entry.name = "".into(),
            |entry| entry.name = "b".into(),
        ];
        for (n, spoil) in broken.iter().enumerate() {
            // What is in use may have another length, and nothing else.
            for is_in_use in [false, true] {
                let mut entries = two();
                entries[0].is_in_use = is_in_use;
                spoil(&mut entries[0]);
                let read = decode(&encode(&entries), 2, LEN, header().geometry());
                assert!(read.is_err(), "spoilt in way {n}: {read:?}");
            }
        }
    }

    #[test]
    fn a_header_leads_to_its_directory_and_to_none() {
        let mut header = header();
        let here = Place { count: 2, len: 64, offset: 0x6_0000 };
        header.set_bitmaps(Some(here));
        assert_eq!(place(&header, 1 << 20), Ok(Some(here)));
        assert!(place(&header, 0x6_0000).is_err(), "past the end");
        let mut stale = header.clone();
        stale.autoclear = 0;
        assert_eq!(place(&stale, 1 << 20), Ok(None), "somebody wrote it who does not know bitmaps");
        header.set_bitmaps(None);
        assert_eq!((place(&header, 1 << 20), header.autoclear), (Ok(None), 0));
    }

    #[test]
    fn a_bitmap_takes_a_bit_for_each_granule() {
        let geometry = header().geometry();
        assert_eq!(table_entries(LEN, 16, geometry), Some(1));
        // One cluster of bits stands for 256 MiB in sectors.
        assert_eq!(table_entries((256 << 20) + 1, 9, geometry), Some(2));
        assert_eq!(table_entries(1 << 50, 9, geometry), None);
    }
}
