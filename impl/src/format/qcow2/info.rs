//! What an image says of itself, for queries.

use super::Qcow2;
use super::bitmaps::BitmapOnDisk;
use super::header::{COMPATIBLE_LAZY_REFCOUNTS, INCOMPATIBLE_CORRUPT, INCOMPATIBLE_DIRTY};

/// What an image says of itself, in the words of QMP's `ImageInfoSpecificQCow2`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// "0.10" or "1.1".
    pub compat: &'static str,
    /// "zlib" or "zstd".
    pub compression_type: &'static str,
    /// Whether it was not closed cleanly.
    pub dirty: bool,
    /// Bits of a refcount.
    pub refcount_bits: u32,
    /// The name of the data file, if there is one.
    pub data_file: Option<String>,
    /// What only version 3 can say.
    pub of_version_3: Option<InfoOfVersion3>,
}

/// The part of `Info` that version 2 lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InfoOfVersion3 {
    /// Whether refcounts may be put off.
    pub lazy_refcounts: bool,
    /// Whether the image is marked as damaged.
    pub corrupt: bool,
    /// Whether clusters have subclusters.
    pub extended_l2: bool,
    /// Whether the data file, if there is one, is what the guest sees.
    pub data_file_raw: Option<bool>,
    /// The persistent bitmaps on the disk.
    pub bitmaps: Vec<BitmapOnDisk>,
}

impl Qcow2 {
    /// What the image says of itself.
    pub fn info(&self) -> Info {
        let bitmaps = self.list_bitmaps();
        let header = &self.metadata.lock().header;
        let data_file = header.data_file().ok().flatten();
        let of_version_3 = (self.geometry.version >= 3).then(|| InfoOfVersion3 {
            lazy_refcounts: header.compatible & COMPATIBLE_LAZY_REFCOUNTS != 0,
            corrupt: header.incompatible & INCOMPATIBLE_CORRUPT != 0,
            extended_l2: self.geometry.extended_l2,
            data_file_raw: data_file.as_ref().map(|file| file.raw),
            bitmaps,
        });
        Info {
            compat: if self.geometry.version >= 3 { "1.1" } else { "0.10" },
            compression_type: if self.is_zstd() { "zstd" } else { "zlib" },
            dirty: header.incompatible & INCOMPATIBLE_DIRTY != 0,
            refcount_bits: self.refcount_bits(),
            data_file: data_file.map(|file| file.name),
            of_version_3,
        }
    }
}
