//! Cluster 0: the header's fields, its extensions and the backing file's name, to and from bytes.
//!
//! What this driver does not know (later header fields, extensions) is kept and written back as it was found.

use super::geometry::{CLUSTER_BITS, Geometry, MAX_REFCOUNT_ORDER, SECTOR};
use super::open_error::OpenCause;

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

/// Finds the cluster size, which says how many bytes `Header::parse` may look at.
pub(super) fn cluster_bits(start: &[u8]) -> Result<u32, OpenCause> {
    if be32(start, 0) != MAGIC {
        return Err(OpenCause::NotQcow2);
    }
    let version = be32(start, 4);
    if !(2..=3).contains(&version) {
        return Err(OpenCause::Version(version));
    }
    let bits = be32(start, 20);
    if !CLUSTER_BITS.contains(&bits) {
        return Err(OpenCause::ClusterBits(bits));
    }
    Ok(bits)
}

impl Header {
    /// The header of an image that has no tables yet.
    pub fn new(
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

    /// Decodes the first cluster, or the part of it that was read. `None`: more of the cluster is needed.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, OpenCause> {
        let bits = cluster_bits(bytes)?;
        let mut header = fixed_fields(bytes, bits);
        let length = header.parse_v3(bytes)?;
        let Some(length) = length else { return Ok(None) };
        let backing_offset = be64(bytes, 8);
        if backing_offset > 1 << bits {
            return Err(OpenCause::BackingOffset(backing_offset));
        }
        let end = if backing_offset != 0 { backing_offset } else { 1 << bits };
        let Some(format) = header.parse_extensions(bytes, length, end as usize)? else { return Ok(None) };
        header.refuse_unsupported()?;
        let name_len = be32(bytes, 16);
        if backing_offset == 0 || name_len == 0 {
            return Ok(Some(header));
        }
        let room = (1u64 << bits) - backing_offset;
        if u64::from(name_len) > room.min(MAX_BACKING_NAME as u64) {
            return Err(OpenCause::BackingNameTooLong(name_len));
        }
        let start = backing_offset as usize;
        let Some(name) = bytes.get(start..start + name_len as usize) else { return Ok(None) };
        let file = text(name)?;
        header.backing = Some(BackingName { file, format });
        Ok(Some(header))
    }

    /// The numbers everything else is computed from.
    pub fn geometry(&self) -> Geometry {
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
    pub fn compression_type(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    /// The data of the first extension of this kind.
    pub fn extension(&self, kind: u32) -> Option<&[u8]> {
        self.extensions.iter().find(|e| e.kind == kind).map(|e| e.data.as_slice())
    }

    /// The data file, if there is one.
    pub fn data_file(&self) -> Result<Option<DataFile>, OpenCause> {
        if self.incompatible & INCOMPATIBLE_DATA_FILE == 0 {
            return Ok(None);
        }
        let name = text(self.extension(EXTENSION_DATA_FILE).unwrap_or(&[]))?;
        Ok(Some(DataFile { name, raw: self.autoclear & AUTOCLEAR_RAW_DATA_FILE != 0 }))
    }

    /// Autoclear bits that the first change makes untrue: this driver keeps up bitmaps and raw data files, nothing else.
    pub fn stale_autoclear(&self) -> u64 {
        if self.autoclear == 0 {
            return 0;
        }
        let kept = |is_there: bool, bit: u64| if is_there { bit } else { 0 };
        let data_file = kept(self.incompatible & INCOMPATIBLE_DATA_FILE != 0, AUTOCLEAR_RAW_DATA_FILE);
        let bitmaps = kept(self.extension(EXTENSION_BITMAPS).is_some(), AUTOCLEAR_BITMAPS);
        self.autoclear & !data_file & !bitmaps
    }

    /// Says that guest data lies in another file.
    pub fn set_data_file(&mut self, file: &DataFile) {
        self.incompatible |= INCOMPATIBLE_DATA_FILE;
        if file.raw {
            self.autoclear |= AUTOCLEAR_RAW_DATA_FILE;
        }
        self.extensions.push(Extension { kind: EXTENSION_DATA_FILE, data: file.name.clone().into_bytes() });
    }

    /// Turns features on, for an image that has none yet.
    pub fn set_features(&mut self, extended_l2: bool, zstd: bool, lazy_refcounts: bool) {
        let bit = |wanted: bool, bit: u64| if wanted { bit } else { 0 };
        self.incompatible |= bit(extended_l2, INCOMPATIBLE_EXTENDED_L2) | bit(zstd, INCOMPATIBLE_COMPRESSION);
        self.compatible |= bit(lazy_refcounts, COMPATIBLE_LAZY_REFCOUNTS);
        if zstd {
            self.rest[0] = 1;
        }
    }

    /// Adds the table of feature names, for whoever cannot open the image.
    pub fn name_features(&mut self) {
        let mut data = Vec::with_capacity(FEATURE_NAMES.len() * FEATURE_NAME_BYTES);
        for (kind, bit, name) in FEATURE_NAMES {
            data.extend_from_slice(&[kind, bit]);
            data.extend_from_slice(name.as_bytes());
            data.resize(data.len().next_multiple_of(FEATURE_NAME_BYTES), 0);
        }
        self.extensions.push(Extension { kind: EXTENSION_FEATURE_NAMES, data });
    }

    fn length(&self) -> usize {
        if self.version == 2 { V2_BYTES } else { V3_BYTES + self.rest.len() }
    }

    /// Decodes what version 3 added and answers the header's length.
    fn parse_v3(&mut self, bytes: &[u8]) -> Result<Option<usize>, OpenCause> {
        if self.version == 2 {
            return Ok(Some(V2_BYTES));
        }
        let length = be32(bytes, 100);
        if (length as usize) < V3_BYTES {
            return Err(OpenCause::HeaderTooShort(length));
        }
        if u64::from(length) > 1 << self.cluster_bits {
            return Err(OpenCause::HeaderTooLong(length));
        }
        let Some(rest) = bytes.get(V3_BYTES..length as usize) else { return Ok(None) };
        self.incompatible = be64(bytes, 72);
        self.compatible = be64(bytes, 80);
        self.autoclear = be64(bytes, 88);
        self.refcount_order = be32(bytes, 96);
        self.rest = rest.to_vec();
        Ok(Some(length as usize))
    }

    /// Collects the extensions and answers the backing format.
    fn parse_extensions(
        &mut self,
        bytes: &[u8],
        from: usize,
        end: usize,
    ) -> Result<Option<Option<String>>, OpenCause> {
        let mut format = None;
        let mut at = from;
        while at + 8 <= end {
            if at + 8 > bytes.len() {
                return Ok(None);
            }
            let (kind, len) = (be32(bytes, at), be32(bytes, at + 4));
            at += 8;
            if kind == EXTENSION_END {
                break;
            }
            if len as usize > end - at {
                return Err(OpenCause::ExtensionTooLarge { kind, len });
            }
            let Some(data) = bytes.get(at..at + len as usize) else { return Ok(None) };
            if kind == EXTENSION_BACKING_FORMAT {
                if data.len() > MAX_FORMAT_NAME {
                    return Err(OpenCause::BackingFormatTooLong(len));
                }
                format = Some(text(data)?);
            } else {
                self.extensions.push(Extension { kind, data: data.to_vec() });
            }
            at += (len as usize).next_multiple_of(8);
        }
        Ok(Some(format))
    }

    fn refuse_unsupported(&self) -> Result<(), OpenCause> {
        let bits = self.incompatible & !INCOMPATIBLE_SUPPORTED;
        if bits != 0 {
            return Err(OpenCause::Features { names: self.feature_names(bits), bits });
        }
        if self.refcount_order > MAX_REFCOUNT_ORDER {
            return Err(OpenCause::RefcountOrder(self.refcount_order));
        }
        if self.crypt_method != 0 {
            return Err(OpenCause::Encrypted(self.crypt_method));
        }
        let subcluster = self.geometry().unit_bytes();
        if subcluster < SECTOR {
            return Err(OpenCause::SubclusterSize(subcluster));
        }
        match (self.compression_type(), self.incompatible & INCOMPATIBLE_COMPRESSION != 0) {
            (0, false) | (1, true) => Ok(()),
            (0, true) => Err(OpenCause::CompressionBitIdle),
            (1, false) => Err(OpenCause::CompressionBitMissing),
            (other, _) => Err(OpenCause::CompressionType(other)),
        }
    }

    /// Names incompatible features, as QEMU does: from the image's table, then the leftover bits in hex.
    fn feature_names(&self, bits: u64) -> String {
        let mut left = bits;
        let mut names = Vec::new();
        for entry in self.extension(EXTENSION_FEATURE_NAMES).unwrap_or(&[]).chunks_exact(FEATURE_NAME_BYTES) {
            let is_incompatible = entry[0] == 0;
            if is_incompatible && entry[1] < 64 && left & 1 << entry[1] != 0 {
                left &= !(1 << entry[1]);
                let name = entry[2..].split(|b| *b == 0).next().unwrap_or(&[]);
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        if left != 0 {
            names.push(format!("Unknown incompatible feature: {left:x}"));
        }
        names.join(", ")
    }

    /// Cluster 0 as bytes, without the zeroes behind it.
    ///
    /// A disk writes one sector whole, so a header of one sector changes entirely or not at all: for that, and
    /// if nothing else helps against lack of room, the table of feature names (which only decorates error
    /// messages) is left out.
    pub fn encode(&self) -> Result<Vec<u8>, NoRoom> {
        let whole = self.encode_with(true);
        if whole.len() as u64 <= SECTOR {
            return Ok(whole);
        }
        let bare = self.encode_with(false);
        let cluster = 1usize << self.cluster_bits;
        match () {
            () if bare.len() as u64 <= SECTOR => Ok(bare),
            () if whole.len() <= cluster => Ok(whole),
            () if bare.len() <= cluster => Ok(bare),
            () => Err(NoRoom),
        }
    }

    /// Cluster 0 with the feature names, however many sectors that takes.
    pub fn encode_in_full(&self) -> Result<Vec<u8>, NoRoom> {
        let whole = self.encode_with(true);
        if whole.len() <= 1 << self.cluster_bits { Ok(whole) } else { Err(NoRoom) }
    }

    fn encode_with(&self, feature_names: bool) -> Vec<u8> {
        let mut bytes = self.encode_fields();
        if let Some(format) = self.backing.as_ref().and_then(|b| b.format.as_ref()) {
            push_extension(&mut bytes, EXTENSION_BACKING_FORMAT, format.as_bytes());
        }
        for extension in &self.extensions {
            if feature_names || extension.kind != EXTENSION_FEATURE_NAMES {
                push_extension(&mut bytes, extension.kind, &extension.data);
            }
        }
        push_extension(&mut bytes, EXTENSION_END, &[]);
        if let Some(backing) = &self.backing {
            let at = bytes.len() as u64;
            bytes[8..16].copy_from_slice(&at.to_be_bytes());
            bytes[16..20].copy_from_slice(&(backing.file.len() as u32).to_be_bytes());
            bytes.extend_from_slice(backing.file.as_bytes());
        }
        bytes
    }

    fn encode_fields(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SECTOR as usize);
        let put32 = |bytes: &mut Vec<u8>, value: u32| bytes.extend_from_slice(&value.to_be_bytes());
        let put64 = |bytes: &mut Vec<u8>, value: u64| bytes.extend_from_slice(&value.to_be_bytes());
        put32(&mut bytes, MAGIC);
        put32(&mut bytes, self.version);
        // Offset and length of the backing file's name, filled in once they are known.
        put64(&mut bytes, 0);
        put32(&mut bytes, 0);
        put32(&mut bytes, self.cluster_bits);
        put64(&mut bytes, self.len_bytes);
        put32(&mut bytes, self.crypt_method);
        put32(&mut bytes, self.l1_entries);
        put64(&mut bytes, self.l1_offset);
        put64(&mut bytes, self.refcount_table_offset);
        put32(&mut bytes, self.refcount_table_clusters);
        put32(&mut bytes, self.snapshots);
        put64(&mut bytes, self.snapshots_offset);
        if self.version >= 3 {
            put64(&mut bytes, self.incompatible);
            put64(&mut bytes, self.compatible);
            put64(&mut bytes, self.autoclear);
            put32(&mut bytes, self.refcount_order);
            put32(&mut bytes, self.length() as u32);
            bytes.extend_from_slice(&self.rest);
        }
        assert_eq!(bytes.len(), self.length(), "the header's fields fill its length");
        bytes
    }
}

fn fixed_fields(bytes: &[u8], cluster_bits: u32) -> Header {
    Header {
        version: be32(bytes, 4),
        cluster_bits,
        len_bytes: be64(bytes, 24),
        crypt_method: be32(bytes, 32),
        l1_entries: be32(bytes, 36),
        l1_offset: be64(bytes, 40),
        refcount_table_offset: be64(bytes, 48),
        refcount_table_clusters: be32(bytes, 56),
        snapshots: be32(bytes, 60),
        snapshots_offset: be64(bytes, 64),
        refcount_order: 4,
        ..Header::default()
    }
}

fn push_extension(bytes: &mut Vec<u8>, kind: u32, data: &[u8]) {
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
    bytes.extend_from_slice(data);
    // The padding counts from the data's start: a header of an odd length stays legible.
    bytes.resize(bytes.len() + data.len().next_multiple_of(8) - data.len(), 0);
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
        let mut cluster = header.encode_with(true);
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
