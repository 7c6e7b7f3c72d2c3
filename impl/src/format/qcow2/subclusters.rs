//! A guest cluster of an image with extended L2 entries: 32 subclusters, each data, zeroes, or left to the layer below.

use super::entry::{Malformed, Mapping};
use super::geometry::{Geometry, SUBCLUSTERS};
use super::mapping::Place;
use std::ops::Range;

/// What an extended entry says. Bit `n` of a mask is subcluster `n`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Subclusters {
    /// The host cluster, if there is one.
    pub host: Option<u64>,
    pub copied: bool,
    /// Subclusters whose data lies in the host cluster.
    pub data: u32,
    /// Subclusters that read as zeroes.
    pub zero: u32,
}

impl Subclusters {
    /// The mapping that says this.
    pub(super) fn mapping(self) -> Result<Mapping, Malformed> {
        let Subclusters { host, copied, data, zero } = self;
        if data & zero != 0 || (data != 0 && host.is_none()) {
            return Err(Malformed);
        }
        Ok(match (host, data, zero) {
            (None, 0, 0) => Mapping::Unallocated,
            (None, _, u32::MAX) => Mapping::Zero,
            (Some(host), _, u32::MAX) => Mapping::ZeroKept { host, copied },
            (Some(host), u32::MAX, _) => Mapping::Data { host, copied },
            (None, ..) => Mapping::Mixed(Subclusters { copied: false, ..self }),
            _ => Mapping::Mixed(self),
        })
    }

    /// The same with the subclusters of `mask` as data at `host`.
    pub(super) fn with_data(self, host: u64, mask: u32) -> Mapping {
        let data = if self.host == Some(host) { self.data } else { 0 };
        let now = Subclusters { host: Some(host), copied: true, data: data | mask, zero: self.zero & !mask };
        now.mapping().expect("data in a host cluster, and the zeroes are elsewhere")
    }

    /// The same with the subclusters of `mask` as zeroes.
    pub(super) fn with_zeroes(self, mask: u32) -> Mapping {
        let now = Subclusters { data: self.data & !mask, zero: self.zero | mask, ..self };
        now.mapping().expect("the data is elsewhere than the zeroes")
    }

    /// Who decides the byte at `within` of the cluster, and for how many bytes of the cluster.
    pub(super) fn part(self, within: u64, geometry: Geometry) -> (Place, u64) {
        let first = (within / geometry.unit_bytes()) as u32;
        let place = match self.kind(first) {
            Kind::Below => Place::Below,
            Kind::Zero => Place::Zero,
            Kind::Data => Place::Host { host: self.host.expect("data lies in a host cluster") + within },
        };
        (place, self.run_bytes(within, geometry))
    }

    /// Whether the subcluster at `within` is data.
    pub(super) fn is_data(self, within: u64, geometry: Geometry) -> bool {
        self.kind((within / geometry.unit_bytes()) as u32) == Kind::Data
    }

    /// Bytes from `within` on for which the subclusters are data, or for which they are not.
    pub(super) fn data_run_bytes(self, within: u64, geometry: Geometry) -> u64 {
        let first = (within / geometry.unit_bytes()) as u32;
        let is_data = |n: u32| self.kind(n) == Kind::Data;
        self.until(within, geometry, |n| is_data(n) != is_data(first))
    }

    fn run_bytes(self, within: u64, geometry: Geometry) -> u64 {
        let first = (within / geometry.unit_bytes()) as u32;
        self.until(within, geometry, |n| self.kind(n) != self.kind(first))
    }

    /// Bytes from `within` to the first later subcluster that is another one, or to the cluster's end.
    fn until(self, within: u64, geometry: Geometry, other: impl Fn(u32) -> bool) -> u64 {
        let unit = geometry.unit_bytes();
        let first = (within / unit) as u32;
        let all = SUBCLUSTERS as u32;
        let end = (first + 1..all).find(|n| other(*n)).unwrap_or(all);
        u64::from(end) * unit - within
    }

    fn kind(self, n: u32) -> Kind {
        match (self.data >> n & 1, self.zero >> n & 1) {
            (1, _) => Kind::Data,
            (_, 1) => Kind::Zero,
            _ => Kind::Below,
        }
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Kind {
    Below,
    Zero,
    Data,
}

/// The subclusters that the bytes `range` of a cluster cover; both ends are at subclusters.
pub(super) fn mask_of(range: Range<u64>, geometry: Geometry) -> u32 {
    let unit = geometry.unit_bytes();
    assert_eq!(range.start % unit, 0, "{range:?} begins at a subcluster of {unit}");
    assert_eq!(range.end % unit, 0, "{range:?} ends at a subcluster of {unit}");
    let up_to = |bytes: u64| ((1u64 << (bytes / unit)) - 1) as u32;
    up_to(range.end) & !up_to(range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry() -> Geometry {
        Geometry {
            version: 3,
            cluster_bits: 14,
            refcount_order: 4,
            compression_type: 0,
            extended_l2: true,
            data_file: false,
        }
    }

    #[test]
    fn masks_are_of_whole_subclusters() {
        assert_eq!(mask_of(0..16384, geometry()), u32::MAX);
        assert_eq!(mask_of(512..1536, geometry()), 0b110);
        assert_eq!(mask_of(512..512, geometry()), 0);
    }

    #[test]
    fn parts_go_on_as_long_as_one_decides() {
        let some = Subclusters { host: Some(0x8000), copied: true, data: 0b110, zero: 0b1000 };
        assert_eq!(some.part(100, geometry()), (Place::Below, 412));
        assert_eq!(some.part(600, geometry()), (Place::Host { host: 0x8000 + 600 }, 936));
        assert_eq!(some.part(1536, geometry()), (Place::Zero, 512));
        assert_eq!(some.part(2048, geometry()), (Place::Below, 16384 - 2048));
        assert_eq!(some.data_run_bytes(1536, geometry()), 16384 - 1536);
    }

    #[test]
    fn a_cluster_that_is_all_one_is_no_mixture() {
        let none = Subclusters { host: None, copied: false, data: 0, zero: 0 };
        assert_eq!(none.with_data(0x8000, u32::MAX), Mapping::Data { host: 0x8000, copied: true });
        assert_eq!(none.with_zeroes(u32::MAX), Mapping::Zero);
    }
}
