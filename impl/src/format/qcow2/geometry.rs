//! The numbers an image is built on, and the conversions between bytes, clusters and table entries.
//!
//! Set once when the image is opened; `cluster_bits` and `refcount_order` are in their legal ranges.

use std::ops::Range;

/// The smallest unit a disk writes whole.
pub(super) const SECTOR: u64 = 512;
/// Smallest and largest `cluster_bits`: 512 bytes and 2 MiB.
pub(super) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Largest `refcount_order`: 64-bit counters.
pub(super) const MAX_REFCOUNT_ORDER: u32 = 6;
/// QEMU's limit on the L1 table.
pub(super) const MAX_L1_BYTES: u64 = 32 << 20;
/// QEMU's limit on the refcount table.
pub(super) const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;
/// Host offsets have 56 bits.
pub(super) const MAX_HOST_OFFSET: u64 = 1 << 56;

/// Cluster and counter sizes of one image.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Geometry {
    pub version: u32,
    pub cluster_bits: u32,
    pub refcount_order: u32,
    pub compression_type: u8,
}

impl Geometry {
    /// Bytes of a cluster.
    pub fn cluster_bytes(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table.
    pub fn l2_entries(self) -> u64 {
        self.cluster_bytes() / 8
    }

    /// Counters of a refcount block: clusters of one area.
    pub fn area_clusters(self) -> u64 {
        (self.cluster_bytes() * 8) >> self.refcount_order
    }

    /// Guest bytes that one L2 table maps.
    pub fn l2_span(self) -> u64 {
        self.cluster_bytes() << (self.cluster_bits - 3)
    }

    /// The cluster a byte lies in.
    pub fn cluster_of(self, offset: u64) -> u64 {
        offset >> self.cluster_bits
    }

    /// Where a cluster begins.
    pub fn offset_of(self, cluster: u64) -> u64 {
        cluster << self.cluster_bits
    }

    /// Clusters needed for `bytes`.
    pub fn clusters_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_bytes())
    }

    /// Every cluster that `len` bytes from `offset` touch.
    pub fn touched(self, offset: u64, len: u64) -> Range<u64> {
        self.cluster_of(offset)..self.clusters_for(offset + len)
    }

    /// `offset` within its cluster.
    pub fn within(self, offset: u64) -> u64 {
        offset & (self.cluster_bytes() - 1)
    }

    /// Whether `offset` begins a cluster.
    pub fn is_aligned(self, offset: u64) -> bool {
        self.within(offset) == 0
    }

    /// L1 entries an image of `len_bytes` needs.
    pub fn l1_entries_for(self, len_bytes: u64) -> u64 {
        len_bytes.div_ceil(self.l2_span())
    }
}
