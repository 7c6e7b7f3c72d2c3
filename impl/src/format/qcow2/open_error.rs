//! Why an image cannot be opened: one variant a cause, with the value that was found, in QEMU's words where it
//! has some.

use crate::budget::OverBudget;
use seam::Errno;
use thiserror::Error;

/// An image that was not opened. Nothing was written to it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{file}: {cause}")]
pub struct OpenError {
    /// The file, as its opener named it.
    pub file: String,
    /// What is wrong with it; its text alone is what QEMU says.
    pub cause: OpenCause,
}

/// What is wrong with an image.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum OpenCause {
    /// The disk failed.
    #[error("Could not read {what}: {errno}")]
    Unreadable {
        /// The part that was being read.
        what: &'static str,
        /// How it failed.
        errno: Errno,
    },
    /// The magic number is another one.
    #[error("Image is not in qcow2 format")]
    NotQcow2,
    /// A version other than 2 and 3.
    #[error("Unsupported qcow2 version {0}")]
    Version(u32),
    /// `cluster_bits` outside 9 to 21.
    #[error("Unsupported cluster size: 2^{0}")]
    ClusterBits(u32),
    /// `header_length` below 104.
    #[error("qcow2 header too short")]
    HeaderTooShort(u32),
    /// `header_length` beyond the first cluster.
    #[error("qcow2 header exceeds cluster size")]
    HeaderTooLong(u32),
    /// `backing_file_offset` outside the first cluster.
    #[error("Invalid backing file offset")]
    BackingOffset(u64),
    /// `backing_file_size` over 1023, or beyond the first cluster.
    #[error("Backing file name too long")]
    BackingNameTooLong(u32),
    /// A backing file or format name that is not UTF-8.
    #[error("Backing file name is not valid UTF-8")]
    BackingNameNotText,
    /// A header extension that does not end where it may.
    #[error("Header extension too large")]
    ExtensionTooLarge {
        /// Its type.
        kind: u32,
        /// Its length field.
        len: u32,
    },
    /// A backing format name over 15 bytes.
    #[error("ERROR: ext_backing_format: len={0} too large (>=16)")]
    BackingFormatTooLong(u32),
    /// Incompatible features this driver does not know or does not support.
    #[error("Unsupported qcow2 feature(s): {names}")]
    Features {
        /// The names, from the image's own table where it has them.
        names: String,
        /// The offending bits.
        bits: u64,
    },
    /// The corrupt bit is set, and the image was to be written.
    #[error("qcow2: Image is corrupt; cannot be opened read/write")]
    Corrupt,
    /// The dirty bit is set, the image was to be written, and its tables are damaged.
    #[error("Could not repair dirty image: {found}")]
    Unrepairable {
        /// The first damage found.
        found: String,
    },
    /// The dirty bit is set, the image was to be written, and the repair failed.
    #[error("Could not repair dirty image: {errno}")]
    NotRepaired {
        /// How it failed.
        errno: Errno,
    },
    /// A bitmaps extension or directory that is impossible.
    #[error("bitmaps_ext: {0}")]
    Bitmaps(&'static str),
    /// `refcount_order` above 6.
    #[error("Reference count entry width too large; may not exceed 64 bits")]
    RefcountOrder(u32),
    /// `crypt_method` other than 0.
    #[error("Unsupported encryption method {0}")]
    Encrypted(u32),
    /// Extended L2 entries with clusters so small that a subcluster is less than a sector.
    #[error("Unsupported subcluster size: {0}")]
    SubclusterSize(u64),
    /// The guest data lies in a file of its own, and none was given.
    #[error("'data-file' is required for this image")]
    DataFileMissing {
        /// Its name, as the header has it; empty if it has none.
        file: String,
    },
    /// A data file was given to an image that has its data in itself.
    #[error("'data-file' can only be set for images with an external data file")]
    DataFileUnasked,
    /// A compression type other than deflate and zstd.
    #[error("qcow2: unknown compression type: {0}")]
    CompressionType(u8),
    /// A compression type without its incompatible bit.
    #[error("qcow2: Compression type incompatible feature bit must be set")]
    CompressionBitMissing,
    /// The compression bit with the default type.
    #[error("qcow2: Compression type incompatible feature bit must not be set")]
    CompressionBitIdle,
    /// A table over the limit QEMU sets.
    #[error("{table} too large")]
    TableTooLarge {
        /// The table.
        table: &'static str,
        /// Its entries or clusters, as the header counts them.
        size: u64,
    },
    /// A table that does not begin at a cluster, or at an impossible one.
    #[error("{table} offset invalid")]
    TableOffset {
        /// The table.
        table: &'static str,
        /// Where the header puts it.
        offset: u64,
    },
    /// A table that ends past the end of the file.
    #[error("{table} at offset {offset:#x} ends at {end:#x}, past the end of the file at {file_len:#x}")]
    TablePastEnd {
        /// The table.
        table: &'static str,
        /// Where the header puts it.
        offset: u64,
        /// Where it would end.
        end: u64,
        /// The length of the file.
        file_len: u64,
    },
    /// Two of header, L1 table and refcount table share a cluster.
    #[error("{table} at offset {offset:#x} overlaps other metadata")]
    Overlap {
        /// The table.
        table: &'static str,
        /// Where the header puts it.
        offset: u64,
    },
    /// `refcount_table_clusters` is 0.
    #[error("Image does not contain a reference count table")]
    NoRefcountTable,
    /// A size that no L1 table can map.
    #[error("Image is too big")]
    TooBig(u64),
    /// An L1 table that does not map the whole image.
    #[error("L1 table is too small")]
    L1TooSmall(u32),
    /// It needs more memory than there is for images.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// A file too large to be checked in bounded memory.
    #[error("File of {0} bytes is too large to check")]
    TooLargeToCheck(u64),
}

impl OpenCause {
    /// This cause, for the file called `file`.
    pub fn of(self, file: &str) -> OpenError {
        OpenError { file: file.to_owned(), cause: self }
    }

    /// How the disk failed, if it did.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            OpenCause::Unreadable { errno, .. } | OpenCause::NotRepaired { errno } => Some(*errno),
            _ => None,
        }
    }
}
