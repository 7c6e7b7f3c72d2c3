//! Why no image is made.

use seam::Errno;
use thiserror::Error;

/// An image that cannot be made of these arguments, or was not.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // The text above each variant says what its fields are.
pub enum CreateRefused {
    #[error("Driver does not support blockdev-create")]
    Driver,
    #[error("Extent size hint is too large")]
    ExtentSizeHint,
    #[error("Unsupported preallocation mode: {0}")]
    Preallocation(&'static str),
    #[error("Could not resize file: {0}")]
    FileSize(Errno),
    #[error("Could not preallocate data for the new file: {0}")]
    NotPreallocated(Errno),
    #[error("Could not write zeros for preallocation: {0}")]
    NotFilled(Errno),
    #[error("Image size must be a multiple of 512 bytes")]
    SizeNotInSectors,
    #[error("Cluster size must be a power of two between 512 and 2048k")]
    ClusterSize,
    #[error("Extended L2 entries are only supported with cluster sizes of at least {0} bytes")]
    ClusterSizeOfExtendedL2(u64),
    #[error("{0} only supported with compatibility level 1.1 and above (use version=v3 or greater)")]
    NeedsVersion3(&'static str),
    #[error(
        "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)"
    )]
    RefcountBitsOfVersion2,
    #[error("Refcount width must be a power of two and may not exceed 64 bits")]
    RefcountBits,
    #[error("Backing format cannot be used without backing file")]
    FormatWithoutBacking,
    #[error("data-file-raw requires data-file")]
    RawWithoutDataFile,
    #[error("Backing file and data-file-raw cannot be used at the same time")]
    RawOverBacking,
    #[error("Could not resize image: {0}")]
    Size(Box<super::Refused>),
    #[error("Could not resize image: Image size cannot be negative")]
    SizeNegative,
    #[error("Could not assign backing file '{file}' with format '{format}': {errno}")]
    Backing { file: String, format: String, errno: Errno },
    #[error("Could not write refcount table: {0}")]
    NotWritten(Errno),
}
