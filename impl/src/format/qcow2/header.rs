//! Cluster 0: the header's fields, its extensions and the backing file's name, to and from bytes.
//!
//! What this driver does not know (later header fields, extensions) is kept and written back as it was found.

mod decode;
mod encode;

use super::geometry::Geometry;
use super::open_error::OpenCause;

pub(super) use decode::cluster_bits;

pub(super) const MAGIC: u32 = 0x5146_49fb;
/// Dirty: refcounts may be stale.
pub(super) const INCOMPATIBLE_DIRTY: u64 = 1 << 0;
/// Corrupt: metadata is known to be damaged.
pub(super) const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
/// Guest data lies in a file of its own.
pub(super) const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
/// The compression type is not deflate.
pub(super) const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
/// L2 entries have bitmaps of subclusters.
pub(super) const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;
const INCOMPATIBLE_SUPPORTED: u64 = INCOMPATIBLE_DIRTY
    | INCOMPATIBLE_CORRUPT
    | INCOMPATIBLE_DATA_FILE
    | INCOMPATIBLE_COMPRESSION
    | INCOMPATIBLE_EXTENDED_L2;
/// Refcounts may be put off while the dirty bit is set.
pub(super) const COMPATIBLE_LAZY_REFCOUNTS: u64 = 1 << 0;
/// Bitmaps are consistent with the data.
pub(super) const AUTOCLEAR_BITMAPS: u64 = 1 << 0;
/// The data file alone, read as a raw image, is what the guest sees.
pub(super) const AUTOCLEAR_RAW_DATA_FILE: u64 = 1 << 1;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xe279_2aca;
pub(super) const EXTENSION_FEATURE_NAMES: u32 = 0x6803_f857;
/// The name of the data file.
pub(super) const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
/// The bitmaps extension.
pub(super) const EXTENSION_BITMAPS: u32 = 0x2385_2875;

/// Incompatible (0), compatible (1) and autoclear (2) features by bit.
const FEATURE_NAMES: [(u8, u8, &str); 8] = [
    (0, 0, "dirty bit"),
    (0, 1, "corrupt bit"),
    (0, 2, "external data file"),
    (0, 3, "compression type"),
    (0, 4, "extended L2 entries"),
    (1, 0, "lazy refcounts"),
    (2, 0, "bitmaps"),
    (2, 1, "raw external data"),
];
const FEATURE_NAME_BYTES: usize = 48;

const V2_BYTES: usize = 72;
const V3_BYTES: usize = 104;
/// Longest backing file name.
pub(super) const MAX_BACKING_NAME: usize = 1023;
/// Longest backing format name.
const MAX_FORMAT_NAME: usize = 15;

/// The file below, as the header names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BackingName {
    /// The file name; at most 1023 bytes.
    pub file: String,
    /// The format, if it is recorded.
    pub format: Option<String>,
}

/// The file that holds an image's guest data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DataFile {
    /// Its name, as the header has it; empty if it has none.
    pub name: String,
    /// Whether that file alone, read as a raw image, is what the guest sees.
    pub raw: bool,
}

/// A header extension this driver passes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Extension {
    pub kind: u32,
    pub data: Vec<u8>,
}

/// Cluster 0, decoded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Header {
    pub version: u32,
    pub cluster_bits: u32,
    pub len_bytes: u64,
    pub crypt_method: u32,
    pub l1_entries: u32,
    pub l1_offset: u64,
    pub refcount_table_offset: u64,
    pub refcount_table_clusters: u32,
    pub snapshots: u32,
    pub snapshots_offset: u64,
    pub incompatible: u64,
    pub compatible: u64,
    pub autoclear: u64,
    pub refcount_order: u32,
    /// Header bytes from 104 on: the compression type, and fields of the future.
    pub rest: Vec<u8>,
    pub extensions: Vec<Extension>,
    pub backing: Option<BackingName>,
}

/// The rebuilt header does not fit in its cluster.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct NoRoom;

/// Reads big-endian numbers; the caller vouches for the bounds.
pub(super) fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Like `be32`, of eight bytes.
pub(super) fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl Header {
    /// The header of an image that has no tables yet.
    pub(super) fn new(
        version: u32,
        cluster_bits: u32,
        refcount_order: u32,
        len_bytes: u64,
        backing: Option<BackingName>,
    ) -> Header {
        // Version 3: the compression type, 0, and padding.
        let rest = if version >= 3 { vec![0; 8] } else { Vec::new() };
        Header { version, cluster_bits, refcount_order, len_bytes, backing, rest, ..Header::default() }
    }

    /// The numbers everything else is computed from.
    pub(super) fn geometry(&self) -> Geometry {
        Geometry {
            version: self.version,
            cluster_bits: self.cluster_bits,
            refcount_order: self.refcount_order,
            compression_type: self.compression_type(),
            extended_l2: self.incompatible & INCOMPATIBLE_EXTENDED_L2 != 0,
            data_file: self.incompatible & INCOMPATIBLE_DATA_FILE != 0,
        }
    }

    /// 0 is deflate, 1 is zstd.
    pub(super) fn compression_type(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    /// The data of the first extension of this kind.
    pub(super) fn extension(&self, kind: u32) -> Option<&[u8]> {
        self.extensions.iter().find(|e| e.kind == kind).map(|e| e.data.as_slice())
    }

    /// The data file, if there is one.
    pub(super) fn data_file(&self) -> Result<Option<DataFile>, OpenCause> {
        if self.incompatible & INCOMPATIBLE_DATA_FILE == 0 {
            return Ok(None);
        }
        let name = text(self.extension(EXTENSION_DATA_FILE).unwrap_or(&[]))?;
        Ok(Some(DataFile { name, raw: self.autoclear & AUTOCLEAR_RAW_DATA_FILE != 0 }))
    }

    /// Autoclear bits that the first change makes untrue: this driver keeps up bitmaps and raw data files, nothing else.
    pub(super) fn stale_autoclear(&self) -> u64 {
        if self.autoclear == 0 {
            return 0;
        }
        let kept = |is_there: bool, bit: u64| if is_there { bit } else { 0 };
        let data_file = kept(self.incompatible & INCOMPATIBLE_DATA_FILE != 0, AUTOCLEAR_RAW_DATA_FILE);
        let bitmaps = kept(self.extension(EXTENSION_BITMAPS).is_some(), AUTOCLEAR_BITMAPS);
        self.autoclear & !data_file & !bitmaps
    }

    /// Says that guest data lies in another file.
    pub(super) fn set_data_file(&mut self, file: &DataFile) {
        self.incompatible |= INCOMPATIBLE_DATA_FILE;
        if file.raw {
            self.autoclear |= AUTOCLEAR_RAW_DATA_FILE;
        }
        self.extensions.push(Extension { kind: EXTENSION_DATA_FILE, data: file.name.clone().into_bytes() });
    }

    /// Turns features on, for an image that has none yet.
    pub(super) fn set_features(&mut self, extended_l2: bool, zstd: bool, lazy_refcounts: bool) {
        let bit = |wanted: bool, bit: u64| if wanted { bit } else { 0 };
        self.incompatible |= bit(extended_l2, INCOMPATIBLE_EXTENDED_L2) | bit(zstd, INCOMPATIBLE_COMPRESSION);
        self.compatible |= bit(lazy_refcounts, COMPATIBLE_LAZY_REFCOUNTS);
        if zstd {
            self.rest[0] = 1;
        }
    }

    /// Adds the table of feature names, for whoever cannot open the image.
    pub(super) fn name_features(&mut self) {
        let mut data = Vec::with_capacity(FEATURE_NAMES.len() * FEATURE_NAME_BYTES);
        for (kind, bit, name) in FEATURE_NAMES {
            data.extend_from_slice(&[kind, bit]);
            data.extend_from_slice(name.as_bytes());
            data.resize(data.len().next_multiple_of(FEATURE_NAME_BYTES), 0);
        }
        self.extensions.push(Extension { kind: EXTENSION_FEATURE_NAMES, data });
    }
}

fn text(bytes: &[u8]) -> Result<String, OpenCause> {
    String::from_utf8(bytes.to_vec()).map_err(|_| OpenCause::BackingNameNotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backing(len: usize) -> Option<BackingName> {
        Some(BackingName { file: "b".repeat(len), format: Some("raw".into()) })
    }

    fn parsed(bytes: &[u8]) -> Header {
        let mut cluster = bytes.to_vec();
        cluster.resize(1 << cluster_bits(bytes).unwrap(), 0);
        Header::parse(&cluster).unwrap().expect("a whole cluster")
    }

    #[test]
    fn what_is_unknown_is_kept() {
        let mut header = Header::new(3, 16, 4, 1 << 20, backing(40));
        header.rest.extend([1, 2, 3, 4, 5, 6, 7, 8]);
        header.compatible = 1 << 40;
        header.autoclear = 1 << 41;
        header.extensions.push(Extension { kind: 0x1234_5678, data: vec![9; 13] });
        assert_eq!(parsed(&header.encode().unwrap()), header);
    }

    #[test]
    fn version_2_has_extensions_too() {
        let mut header = Header::new(2, 9, 4, 1 << 20, backing(10));
        header.extensions.push(Extension { kind: 7, data: vec![1] });
        assert_eq!(parsed(&header.encode().unwrap()), header);
    }

    #[test]
    fn feature_names_go_if_the_header_then_fits_in_one_sector() {
        let mut header = Header::new(3, 16, 4, 1 << 20, backing(100));
        header.extensions.push(Extension { kind: EXTENSION_FEATURE_NAMES, data: vec![0; 8 * 48] });
        let bytes = header.encode().unwrap();
        assert!(bytes.len() <= 512, "{} bytes", bytes.len());
        assert_eq!(parsed(&bytes).extensions, []);
        header.backing = backing(1000);
        assert_eq!(parsed(&header.encode().unwrap()), header, "no use in dropping them");
    }

    #[test]
    fn a_name_that_fits_nowhere_is_no_room() {
        assert_eq!(Header::new(3, 9, 4, 0, backing(400)).encode(), Err(NoRoom));
        assert!(Header::new(3, 9, 4, 0, backing(300)).encode().is_ok());
    }

    #[test]
    fn unsupported_features_are_named_from_the_table() {
        let mut header = Header::new(3, 16, 4, 1 << 20, None);
        header.incompatible = 1 << 5 | 1 << 9;
        let mut names = vec![0; 48];
        names[1] = 5;
        names[2..7].copy_from_slice(b"extra");
        header.extensions.push(Extension { kind: EXTENSION_FEATURE_NAMES, data: names });
        let mut cluster = header.encode_in_full().unwrap();
        cluster.resize(1 << 16, 0);
        let names = "extra, Unknown incompatible feature: 200".to_owned();
        assert_eq!(Header::parse(&cluster), Err(OpenCause::Features { names, bits: 1 << 5 | 1 << 9 }));
    }

    #[test]
    fn a_long_header_asks_for_more_bytes() {
        let mut header = Header::new(3, 16, 4, 1 << 20, backing(900));
        header.extensions.push(Extension { kind: 7, data: vec![1; 4000] });
        let mut bytes = header.encode().unwrap();
        bytes.resize(1 << 16, 0);
        assert_eq!(Header::parse(&bytes[..4096]), Ok(None));
        assert_eq!(Header::parse(&bytes), Ok(Some(header)));
    }
}
