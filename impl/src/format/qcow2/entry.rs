//! What an entry of an L1 or L2 table means, and how one is written.
//!
//! Entries come from the image and are not trusted: what breaks the format's rules is `Malformed`.

use super::geometry::{Geometry, SECTOR};

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
}

/// Decodes an L1 entry; `None` if there is no L2 table.
pub(super) fn decode_l1(raw: u64, geometry: Geometry) -> Result<Option<L2At>, Malformed> {
    let host = raw & HOST_OFFSET;
    if raw & L1_RESERVED != 0 || !geometry.is_aligned(host) {
        return Err(Malformed);
    }
    Ok((host != 0).then_some(L2At { host, copied: raw & COPIED != 0 }))
}

/// Decodes an L2 entry.
pub(super) fn decode_l2(raw: u64, geometry: Geometry) -> Result<Mapping, Malformed> {
    if raw & COMPRESSED != 0 {
        let (host, len) = compressed_at(raw, geometry.cluster_bits);
        return Ok(Mapping::Compressed { host, len });
    }
    let host = raw & HOST_OFFSET;
    let copied = raw & COPIED != 0;
    let zero = raw & ZERO != 0;
    if raw & L2_RESERVED != 0 || !geometry.is_aligned(host) || (zero && geometry.version < 3) {
        return Err(Malformed);
    }
    Ok(match (zero, host) {
        (false, 0) => Mapping::Unallocated,
        (true, 0) => Mapping::Zero,
        (false, host) => Mapping::Data { host, copied },
        (true, host) => Mapping::ZeroKept { host, copied },
    })
}

/// The bytes a compressed entry points at: offset in the low bits, then the number of further sectors.
fn compressed_at(raw: u64, cluster_bits: u32) -> (u64, u64) {
    let offset_bits = 62 - (cluster_bits - 8);
    let host = raw & ((1 << offset_bits) - 1);
    let further_sectors = (raw & (COMPRESSED - 1)) >> offset_bits;
    (host, (further_sectors + 1) * SECTOR - host % SECTOR)
}

impl Mapping {
    /// The entry's bits.
    pub fn encode(self) -> u64 {
        let flag = |copied: bool| if copied { COPIED } else { 0 };
        match self {
            Mapping::Unallocated => 0,
            Mapping::Zero => ZERO,
            Mapping::ZeroKept { host, copied } => host | flag(copied) | ZERO,
            Mapping::Data { host, copied } => host | flag(copied),
            Mapping::Compressed { .. } => unreachable!("compressed clusters are never written: {self:?}"),
        }
    }

    /// The host bytes the entry refers to and holds a reference on.
    pub fn holds(self, geometry: Geometry) -> Option<(u64, u64)> {
        match self {
            Mapping::Unallocated | Mapping::Zero => None,
            Mapping::ZeroKept { host, .. } | Mapping::Data { host, .. } => {
                Some((host, geometry.cluster_bytes()))
            }
            Mapping::Compressed { host, len } => Some((host, len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(version: u32, cluster_bits: u32) -> Geometry {
        Geometry { version, cluster_bits, refcount_order: 4, compression_type: 0 }
    }

    #[test]
    fn every_written_entry_reads_back() {
        let host = 0x12_0000;
        for mapping in [
            Mapping::Unallocated,
            Mapping::Zero,
            Mapping::ZeroKept { host, copied: true },
            Mapping::Data { host, copied: true },
            Mapping::Data { host, copied: false },
        ] {
            assert_eq!(decode_l2(mapping.encode(), geometry(3, 16)), Ok(mapping));
        }
    }

    #[test]
    fn reserved_bits_and_unaligned_offsets_are_malformed() {
        let host = 0x12_0000;
        for raw in [host | 2, host | 1 << 56, host | 0x200, 1 << 61] {
            assert_eq!(decode_l2(raw, geometry(3, 16)), Err(Malformed), "{raw:#x}");
        }
        assert_eq!(decode_l2(1, geometry(2, 16)), Err(Malformed), "version 2 has no zero clusters");
        assert_eq!(decode_l1(0x10001, geometry(3, 16)), Err(Malformed));
    }

    #[test]
    fn compressed_length_is_whole_sectors_from_the_first() {
        // 64 KiB clusters: the sector count begins at bit 54.
        let raw = COMPRESSED | 2 << 54 | 0x5_0123;
        let expected = Mapping::Compressed { host: 0x5_0123, len: 3 * 512 - 0x123 };
        assert_eq!(decode_l2(raw, geometry(3, 16)), Ok(expected));
    }
}
