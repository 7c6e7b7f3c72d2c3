//! Why a backup, or a transaction of several, is refused.

use thiserror::Error;

/// A backup that cannot be made of these arguments.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // The text above each variant says what its fields are.
pub enum BackupRefused {
    #[error("must provide a valid bitmap name for '{0}' sync mode")]
    BitmapMissing(&'static str),
    #[error("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'")]
    IncrementalMode,
    #[error("Bitmap '{0}' could not be found")]
    NoSuchBitmap(String),
    #[error("Bitmap sync mode must be given when providing a bitmap")]
    BitmapModeMissing,
    #[error("sync mode 'none' does not produce meaningful bitmap outputs")]
    BitmapOfNothing,
    #[error("Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '{0}'")]
    BitmapUnused(&'static str),
    #[error("Cannot specify bitmap sync mode without a bitmap")]
    BitmapModeAlone,
    #[error("Source and target cannot be the same")]
    IntoItself,
    #[error("Compression is not supported for this drive ")]
    CannotCompress,
    #[error("max-workers must be between 1 and 2147483647")]
    Workers,
    #[error("max-chunk must be zero (which means no limit) or positive")]
    Chunk,
    #[error("Source and target image have different sizes")]
    DifferentSizes,
    #[error("min-cluster-size too large: {0} > {1}")]
    ClusterTooLarge(u64, u64),
    #[error(
        "Could not create node: Cannot create block-copy-state: min-cluster-size needs to be a power of 2"
    )]
    ClusterNoPowerOfTwo,
    #[error("Required max-chunk ({chunk}) is less than backup cluster size ({cluster})")]
    ChunkBelowCluster { chunk: u64, cluster: u64 },
}

/// A transaction none of whose actions was done.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // The text above each variant says what its fields are.
pub enum TransactionRefused {
    #[error("Transaction aborted using Abort action")]
    Aborted,
    #[error("Action '{0}' does not support transaction property completion-mode = grouped")]
    NotGrouped(&'static str),
}
