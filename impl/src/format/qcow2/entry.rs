//! What an entry of an L1 or L2 table means, and how one is written.
//!
//! Entries come from the image and are not trusted: what leads nowhere that can be is `Malformed`. Reserved bits lead
//! nowhere: like QEMU, only the checker looks at them, and an entry that is written anew has none. An extended L2 entry
//! has a second number, a bitmap: its low half says which subclusters are data, its high half which are zeroes.

use super::geometry::{Geometry, SECTOR};
use super::header::be64;
use super::subclusters::Subclusters;

/// Bit 63: the target's refcount is exactly 1, so it may be overwritten in place.
pub(super) const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const ZERO: u64 = 1;
/// Bits 9 to 55: the host offset.
pub(super) const HOST_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Bits of an L1 entry that must be clear.
pub(super) const L1_RESERVED: u64 = 0x7f00_0000_0000_01ff;
/// Bits of a standard L2 entry that must be clear.
pub(super) const L2_RESERVED: u64 = 0x3f00_0000_0000_01fe;

/// An entry that breaks the format's rules.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

/// An L2 entry as it lies in its table; a standard one has no bitmap.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct RawEntry {
    pub descriptor: u64,
    pub bitmap: u64,
}

impl RawEntry {
    /// What an entry is that was never written.
    pub(super) const NONE: RawEntry = RawEntry { descriptor: 0, bitmap: 0 };

    /// All entries of a table.
    pub(super) fn all(table: &[u8], geometry: Geometry) -> impl Iterator<Item = RawEntry> {
        let words = if geometry.extended_l2 { 2 } else { 1 };
        let entry = |words: &[[u8; 8]]| RawEntry {
            descriptor: u64::from_be_bytes(words[0]),
            bitmap: words.get(1).map_or(0, |word| u64::from_be_bytes(*word)),
        };
        table.as_chunks::<8>().0.chunks_exact(words).map(entry)
    }

    /// Entry `slot` of a table.
    #[inline]
    pub(super) fn read(table: &[u8], slot: usize, geometry: Geometry) -> RawEntry {
        if geometry.extended_l2 {
            return RawEntry { descriptor: be64(table, slot * 16), bitmap: be64(table, slot * 16 + 8) };
        }
        RawEntry { descriptor: be64(table, slot * 8), bitmap: 0 }
    }

    /// Puts it into a table.
    pub(super) fn write(self, table: &mut [u8], slot: usize, geometry: Geometry) {
        if geometry.extended_l2 {
            table[slot * 16..slot * 16 + 8].copy_from_slice(&self.descriptor.to_be_bytes());
            table[slot * 16 + 8..slot * 16 + 16].copy_from_slice(&self.bitmap.to_be_bytes());
        } else {
            table[slot * 8..slot * 8 + 8].copy_from_slice(&self.descriptor.to_be_bytes());
        }
    }

    /// Whether it says that a cluster is compressed.
    pub(super) fn is_compressed(self) -> bool {
        self.descriptor & COMPRESSED != 0
    }
}

/// Where an L1 entry leads.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct L2At {
    pub host: u64,
    pub copied: bool,
}

/// What an L2 entry says about its guest cluster.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Mapping {
    /// The layer below decides.
    Unallocated,
    /// Reads as zeroes and holds no host cluster.
    Zero,
    /// Reads as zeroes and keeps a host cluster for later.
    ZeroKept { host: u64, copied: bool },
    /// Data in a host cluster.
    Data { host: u64, copied: bool },
    /// Compressed data somewhere in `host..host + len`.
    Compressed { host: u64, len: u64 },
    /// Each subcluster on its own; never one that another variant says too.
    Mixed(Subclusters),
}

/// Decodes an L1 entry; `None` if there is no L2 table.
pub(super) fn decode_l1(raw: u64, geometry: Geometry) -> Result<Option<L2At>, Malformed> {
    let host = raw & HOST_OFFSET;
    if !geometry.is_aligned(host) {
        return Err(Malformed);
    }
    Ok((host != 0).then_some(L2At { host, copied: raw & COPIED != 0 }))
}

/// Decodes an L2 entry.
pub(super) fn decode_l2(raw: RawEntry, geometry: Geometry) -> Result<Mapping, Malformed> {
    let RawEntry { descriptor, bitmap } = raw;
    if raw.is_compressed() {
        if geometry.data_file {
            return Err(Malformed);
        }
        let (host, len) = compressed_at(descriptor, geometry.cluster_bits);
        return Ok(Mapping::Compressed { host, len });
    }
    let at = descriptor & HOST_OFFSET;
    let copied = descriptor & COPIED != 0;
    if !geometry.is_aligned(at) {
        return Err(Malformed);
    }
    // The first cluster of a data file is as good as any other; there, COPIED says that it is used.
    let host = (at != 0 || (geometry.data_file && copied)).then_some(at);
    if geometry.extended_l2 {
        // The zero flag has no meaning here; the bitmap says what it said.
        return Subclusters { host, copied, data: bitmap as u32, zero: (bitmap >> 32) as u32 }.mapping();
    }
    let zero = descriptor & ZERO != 0;
    if zero && geometry.version < 3 {
        return Err(Malformed);
    }
    Ok(match (zero, host) {
        (false, None) => Mapping::Unallocated,
        (true, None) => Mapping::Zero,
        (false, Some(host)) => Mapping::Data { host, copied },
        (true, Some(host)) => Mapping::ZeroKept { host, copied },
    })
}

/// The bytes a compressed entry points at: offset in the low bits, then the number of further sectors.
fn compressed_at(raw: u64, cluster_bits: u32) -> (u64, u64) {
    let offset_bits = compressed_offset_bits(cluster_bits);
    let host = raw & ((1 << offset_bits) - 1);
    let further_sectors = (raw & (COMPRESSED - 1)) >> offset_bits;
    (host, (further_sectors + 1) * SECTOR - host % SECTOR)
}

fn compressed_offset_bits(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}

/// The first host offset that a compressed entry cannot express.
pub(super) fn compressed_offset_limit(geometry: Geometry) -> u64 {
    1 << compressed_offset_bits(geometry.cluster_bits).min(56)
}

impl Mapping {
    /// A compressed cluster of `len` bytes at `host`: the entry counts sectors, to the end of the last.
    pub(super) fn compressed(host: u64, len: u64) -> Mapping {
        Mapping::Compressed { host, len: (host + len).next_multiple_of(SECTOR) - host }
    }

    /// The entry's numbers.
    pub(super) fn encode(self, geometry: Geometry) -> RawEntry {
        let flag = |copied: bool| if copied { COPIED } else { 0 };
        if let Mapping::Compressed { host, len } = self {
            let offset_bits = compressed_offset_bits(geometry.cluster_bits);
            assert!(host < 1 << offset_bits, "compressed data at {host:#x}");
            let further_sectors = (host % SECTOR + len) / SECTOR - 1;
            let descriptor = COMPRESSED | further_sectors << offset_bits | host;
            return RawEntry { descriptor, bitmap: 0 };
        }
        // An entry has room for the offset of a cluster, and for nothing in between.
        let host = self.host().map_or(0, |(host, _)| host);
        assert_eq!(host & !HOST_OFFSET, 0, "{self:?} does not fit into an entry");
        assert!(geometry.is_aligned(host), "{self:?} begins within a cluster");
        if geometry.extended_l2 {
            let Subclusters { host, copied, data, zero } = self.subclusters();
            let descriptor = host.map_or(0, |host| host | flag(copied));
            return RawEntry { descriptor, bitmap: u64::from(zero) << 32 | u64::from(data) };
        }
        let descriptor = match self {
            Mapping::Unallocated => 0,
            Mapping::Zero => ZERO,
            Mapping::ZeroKept { host, copied } => host | flag(copied) | ZERO,
            Mapping::Data { host, copied } => host | flag(copied),
            Mapping::Compressed { .. } => unreachable!("encoded above: {self:?}"),
            Mapping::Mixed(_) => unreachable!("subclusters in an image without them: {self:?}"),
        };
        RawEntry { descriptor, bitmap: 0 }
    }

    /// The host bytes the entry refers to and holds a reference on; those of a data file are not counted.
    pub(super) fn holds(self, geometry: Geometry) -> Option<(u64, u64)> {
        match self {
            _ if geometry.data_file => None,
            Mapping::Compressed { host, len } => Some((host, len)),
            _ => self.host().map(|(host, _)| (host, geometry.cluster_bytes())),
        }
    }

    /// The host cluster of its own, and whether it is this image's alone.
    pub(super) fn host(self) -> Option<(u64, bool)> {
        match self {
            Mapping::Unallocated | Mapping::Zero | Mapping::Compressed { .. } => None,
            Mapping::ZeroKept { host, copied } | Mapping::Data { host, copied } => Some((host, copied)),
            Mapping::Mixed(Subclusters { host, copied, .. }) => host.map(|host| (host, copied)),
        }
    }

    /// Whether any of it lies in the file.
    pub(super) fn has_data(self) -> bool {
        match self {
            Mapping::Unallocated | Mapping::Zero | Mapping::ZeroKept { .. } => false,
            Mapping::Data { .. } | Mapping::Compressed { .. } => true,
            Mapping::Mixed(subclusters) => subclusters.data != 0,
        }
    }

    /// The same, subcluster by subcluster. A compressed cluster has none.
    pub(super) fn subclusters(self) -> Subclusters {
        let all = |host: Option<(u64, bool)>, data, zero| Subclusters {
            host: host.map(|(host, _)| host),
            copied: host.is_some_and(|(_, copied)| copied),
            data,
            zero,
        };
        match self {
            Mapping::Unallocated => all(None, 0, 0),
            Mapping::Zero | Mapping::ZeroKept { .. } => all(self.host(), 0, u32::MAX),
            Mapping::Data { .. } => all(self.host(), u32::MAX, 0),
            Mapping::Mixed(subclusters) => subclusters,
            Mapping::Compressed { .. } => unreachable!("compressed clusters are whole: {self:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(version: u32, cluster_bits: u32) -> Geometry {
        let (extended_l2, data_file) = (false, false);
        Geometry { version, cluster_bits, refcount_order: 4, compression_type: 0, extended_l2, data_file }
    }

    fn plain(descriptor: u64) -> RawEntry {
        RawEntry { descriptor, bitmap: 0 }
    }

    #[test]
    fn every_written_entry_reads_back() {
        let host = 0x12_0000;
        let standard = geometry(3, 16);
        let extended = Geometry { extended_l2: true, ..standard };
        let some = Subclusters { host: Some(host), copied: true, data: 5, zero: 10 };
        for mapping in [
            Mapping::Unallocated,
            Mapping::Zero,
            Mapping::ZeroKept { host, copied: true },
            Mapping::Data { host, copied: true },
            Mapping::Data { host, copied: false },
            Mapping::compressed(0x5_0123, 1000),
            Mapping::compressed(0x5_0000, 512),
            Mapping::compressed(0x5_01ff, 1),
        ] {
            assert_eq!(decode_l2(mapping.encode(standard), standard), Ok(mapping));
            assert_eq!(decode_l2(mapping.encode(extended), extended), Ok(mapping), "extended");
        }
        for mixed in [some, Subclusters { host: None, data: 0, copied: false, ..some }] {
            let mapping = Mapping::Mixed(mixed);
            assert_eq!(decode_l2(mapping.encode(extended), extended), Ok(mapping));
        }
    }

    #[test]
    fn reserved_bits_are_passed_over() {
        let (host, data) = (0x12_0000, Mapping::Data { host: 0x12_0000, copied: false });
        for raw in [host | 2, host | 0x100, host | 1 << 56, host | 1 << 61] {
            assert_eq!(decode_l2(plain(raw), geometry(3, 16)), Ok(data), "{raw:#x}");
            let table = L2At { host, copied: false };
            assert_eq!(decode_l1(raw | 1 | 1 << 62, geometry(3, 16)), Ok(Some(table)), "{raw:#x}");
        }
        assert_eq!(decode_l2(plain(1 << 61), geometry(3, 16)), Ok(Mapping::Unallocated));
        assert_eq!(data.encode(geometry(3, 16)).descriptor, host);
        let extended = Geometry { extended_l2: true, ..geometry(3, 16) };
        let packed = RawEntry { descriptor: COMPRESSED | 0x5_0000, bitmap: 1 };
        assert!(matches!(decode_l2(packed, extended), Ok(Mapping::Compressed { .. })));
    }

    #[test]
    fn unaligned_offsets_and_what_no_version_means_are_malformed() {
        let host = 0x12_0000;
        assert_eq!(decode_l2(plain(host | 0x200), geometry(3, 16)), Err(Malformed));
        assert_eq!(decode_l2(plain(1), geometry(2, 16)), Err(Malformed), "version 2 has no zero clusters");
        assert_eq!(decode_l1(0x10200, geometry(3, 16)), Err(Malformed));
        let extended = Geometry { extended_l2: true, ..geometry(3, 16) };
        assert_eq!(decode_l2(plain(1), extended), Ok(Mapping::Unallocated), "the bitmap says what is zero");
        let both = RawEntry { descriptor: host, bitmap: 1 << 32 | 1 };
        assert_eq!(decode_l2(both, extended), Err(Malformed), "data and zeroes at once");
        assert_eq!(
            decode_l2(RawEntry { descriptor: 0, bitmap: 1 }, extended),
            Err(Malformed),
            "data nowhere"
        );
    }

    #[test]
    fn the_first_cluster_of_a_data_file_is_used_if_copied_says_so() {
        let with_file = Geometry { data_file: true, ..geometry(3, 16) };
        assert_eq!(decode_l2(plain(COPIED), with_file), Ok(Mapping::Data { host: 0, copied: true }));
        assert_eq!(decode_l2(plain(0), with_file), Ok(Mapping::Unallocated));
        assert_eq!(decode_l2(plain(COPIED), geometry(3, 16)), Ok(Mapping::Unallocated));
    }

    #[test]
    fn compressed_length_is_whole_sectors_from_the_first() {
        // 64 KiB clusters: the sector count begins at bit 54.
        let raw = plain(COMPRESSED | 2 << 54 | 0x5_0123);
        let expected = Mapping::Compressed { host: 0x5_0123, len: 3 * 512 - 0x123 };
        assert_eq!(decode_l2(raw, geometry(3, 16)), Ok(expected));
    }
}
