//! The numbers an image is built on, and the conversions between bytes, clusters and table entries.
//!
//! Set once when the image is opened; `cluster_bits` and `refcount_order` are in their legal ranges.

use std::ops::Range;

/// The smallest unit a disk writes whole.
pub(super) const SECTOR: u64 = 512;
/// Smallest and largest `cluster_bits`: 512 bytes and 2 MiB.
pub(super) const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;
/// Subclusters of a cluster, where the L2 entries are extended.
pub(super) const SUBCLUSTERS: u64 = 32;
/// Smallest `cluster_bits` with extended L2 entries: a subcluster is a sector at least.
pub(super) const MIN_EXTENDED_L2_CLUSTER_BITS: u32 = 14;
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
    /// L2 entries of 16 bytes, which say for each of 32 subclusters who decides it.
    pub extended_l2: bool,
    /// Guest data lies in a file of its own, and nothing there is counted.
    pub data_file: bool,
}

impl Geometry {
    /// Bytes of a cluster.
    pub(super) fn cluster_bytes(self) -> u64 {
        1 << self.cluster_bits
    }

    /// Bytes of an L2 entry.
    pub(super) fn l2_entry_bytes(self) -> u64 {
        if self.extended_l2 { 16 } else { 8 }
    }

    /// Entries of an L2 table.
    pub(super) fn l2_entries(self) -> u64 {
        self.cluster_bytes() / self.l2_entry_bytes()
    }

    /// Entries of an L2 table that QEMU has at hand at a time: those of 64 KiB at most.
    pub(super) fn l2_piece_entries(self) -> u64 {
        self.cluster_bytes().min(64 << 10) / self.l2_entry_bytes()
    }

    /// 64-bit pointers in a cluster of the L1 or the refcount table.
    pub(super) fn pointers_per_cluster(self) -> u64 {
        self.cluster_bytes() / 8
    }

    /// The smallest part of a guest cluster that is mapped on its own: a subcluster, or the cluster.
    pub(super) fn unit_bytes(self) -> u64 {
        if self.extended_l2 { self.cluster_bytes() / SUBCLUSTERS } else { self.cluster_bytes() }
    }

    /// Counters of a refcount block: clusters of one area.
    pub(super) fn area_clusters(self) -> u64 {
        (self.cluster_bytes() * 8) >> self.refcount_order
    }

    /// Guest bytes that one L2 table maps.
    pub(super) fn l2_span(self) -> u64 {
        self.cluster_bytes() * self.l2_entries()
    }

    /// The cluster a byte lies in.
    pub(super) fn cluster_of(self, offset: u64) -> u64 {
        offset >> self.cluster_bits
    }

    /// Where a cluster begins.
    pub(super) fn offset_of(self, cluster: u64) -> u64 {
        cluster << self.cluster_bits
    }

    /// Clusters needed for `bytes`.
    pub(super) fn clusters_for(self, bytes: u64) -> u64 {
        bytes.div_ceil(self.cluster_bytes())
    }

    /// Every cluster that `len` bytes from `offset` touch.
    pub(super) fn touched(self, offset: u64, len: u64) -> Range<u64> {
        self.cluster_of(offset)..self.clusters_for(offset + len)
    }

    /// `offset` within its cluster.
    pub(super) fn within(self, offset: u64) -> u64 {
        offset & (self.cluster_bytes() - 1)
    }

    /// The units that `range` touches, whole.
    pub(super) fn whole_units(self, range: Range<u64>) -> Range<u64> {
        let unit = self.unit_bytes();
        range.start / unit * unit..range.end.next_multiple_of(unit)
    }

    /// Whether `offset` begins a cluster.
    pub(super) fn is_aligned(self, offset: u64) -> bool {
        self.within(offset) == 0
    }

    /// L1 entries an image of `len_bytes` needs.
    pub(super) fn l1_entries_for(self, len_bytes: u64) -> u64 {
        len_bytes.div_ceil(self.l2_span())
    }
}
