//! What `blockdev-create` is to make.

use super::ChildOptions;
use crate::format::qcow2::BackingName;

/// A new image, or a new file for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewImage {
    /// A file of the host.
    File(NewFile),
    /// A qcow2 image on a node that is there, or on one that is opened for it.
    Qcow2(Box<NewQcow2>),
}

/// A file to be made, or to be emptied if it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewFile {
    /// `filename`.
    pub filename: String,
    /// `size`, in bytes.
    pub size: i64,
    /// `preallocation`.
    pub preallocation: Preallocation,
    /// `extent-size-hint`, in bytes: no file system is asked for it here.
    pub extent_size_hint: Option<i64>,
}

/// An image to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewQcow2 {
    /// `file`: where its bytes go.
    pub file: ChildOptions,
    /// `data-file`: where its guest's bytes go, if not there.
    pub data_file: Option<ChildOptions>,
    /// `data-file-raw`.
    pub data_file_raw: bool,
    /// `extended-l2`.
    pub extended_l2: bool,
    /// `size`, in bytes.
    pub size: i64,
    /// `version`: 2 or 3.
    pub version: u32,
    /// `backing-file` with `backing-fmt`.
    pub backing: Option<BackingName>,
    /// `backing-fmt` was given without a file that has it.
    pub format_alone: bool,
    /// `cluster-size`, in bytes.
    pub cluster_size: i64,
    /// `lazy-refcounts`.
    pub lazy_refcounts: bool,
    /// `refcount-bits`.
    pub refcount_bits: i64,
    /// `compression-type` is `zstd`.
    pub zstd: bool,
}

/// How much of the space is taken before there is anything to keep in it.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum Preallocation {
    /// None.
    #[default]
    Off,
    /// What leads to the data.
    Metadata,
    /// All, as the file system does it at once.
    Falloc,
    /// All, by writing zeroes.
    Full,
}
