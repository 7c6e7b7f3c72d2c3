//! Why the engine refuses a command. Each variant carries its cause; its text is QEMU 10.0's.

pub(crate) mod backup;
pub(crate) mod create;

use crate::budget::OverBudget;
use backup::{BackupRefused, TransactionRefused};
use create::CreateRefused;
use seam::Errno;
use thiserror::Error;

/// Nodes would stand on each other deeper than this.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Error)]
#[error("Nodes cannot stand more than {0} deep on each other")]
pub struct TooDeep(pub u32);

impl From<TooDeep> for Errno {
    fn from(_: TooDeep) -> Errno {
        Errno::ELOOP
    }
}

/// A command not accepted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[allow(missing_docs)] // The text above each variant says what its fields are.
pub enum Refused {
    #[error("Block job '{0}' not found")]
    BlockJobNotFound(String),
    #[error("Job not found")]
    JobNotFound,
    #[error("Job '{id}' in state '{status}' cannot accept command verb '{verb}'")]
    VerbNotAccepted { id: String, status: &'static str, verb: &'static str },
    #[error("Job is already paused")]
    AlreadyPaused,
    #[error("Can't resume a job that was not paused")]
    NotPaused,
    #[error("The active block job '{0}' cannot be completed")]
    CannotComplete(String),
    #[error("The block job for device '{0}' is currently paused")]
    CancelWhilePaused(String),
    #[error("Parameter 'speed' expects a non-negative value")]
    NegativeSpeed,
    #[error("Job type does not support change")]
    ChangeNotSupported,
    #[error("Change to copy mode '{0}' is not implemented")]
    CopyModeNotImplemented(&'static str),
    #[error("Node name '{0}' not found")]
    ReplacedNodeGone(String),
    #[error("Parameter '{name}' expects {expected}")]
    UnfitValue { name: &'static str, expected: &'static str },
    #[error("Invalid parameter '{0}'")]
    InvalidParameter(&'static str),
    #[error("Can't mirror node into itself")]
    MirrorIntoItself,
    #[error("Sync mode '{0}' not supported")]
    SyncModeNotSupported(&'static str),
    #[error("cannot replace image with a mirror image of different size")]
    ReplacementOfOtherSize,
    #[error(
        "Cannot replace '{replaced}' by a node mirrored from '{source_node}', because it cannot be guaranteed that doing so would not lead to an abrupt change of visible data"
    )]
    CannotReplace { replaced: String, source_node: String },
    #[error("Invalid job ID '{0}'")]
    InvalidJobId(String),
    #[error("Job ID '{0}' already in use")]
    DuplicateJobId(String),

    #[error("Cannot find device='{device}' nor node-name='{node_name}'")]
    NoSuchNode { device: String, node_name: String },
    #[error("'{one}' and '{other}' cannot be specified at the same time")]
    Exclusive { one: &'static str, other: &'static str },
    #[error("Can't find '{0}' in the backing chain")]
    NotInBackingChain(String),
    #[error("Node '{node}' is not a backing image of '{device}'")]
    NotABackingImage { node: String, device: String },
    #[error("Node '{0}' is a filter, use a non-filter node as 'bottom'")]
    BottomIsFilter(String),
    #[error("Node '{node}' is not in a chain starting from '{device}'")]
    NotInChain { node: String, device: String },
    #[error("'{base}' is not in the backing chain of '{top}'")]
    BaseNotInChain { base: String, top: String },
    #[error("Node '{node}' is busy: {reason}")]
    Busy { node: String, reason: String },
    #[error("backing file specified, but streaming the entire chain")]
    BackingFileWithoutBase,
    #[error("Cannot change frozen '{link}' link from '{from}' to '{to}'")]
    LinkFrozen { link: &'static str, from: String, to: String },
    #[error("Cannot freeze '{link}' link to '{to}'")]
    CannotFreeze { link: &'static str, to: String },
    #[error("Device '{0}' not found")]
    DeviceNotFound(String),
    /// The same words in the general class of errors, as QEMU 10.0 has them.
    #[error("Device '{0}' not found")]
    NoDeviceToWatch(String),
    #[error("'top-node' and 'top' are mutually exclusive")]
    TopTwice,
    #[error("'base-node' and 'base' are mutually exclusive")]
    BaseTwice,
    #[error("'{0}' is not in this backing file chain")]
    NotInThisChain(String),
    #[error("Top image file {0} not found")]
    TopNotFound(String),
    #[error("cannot commit an image into itself")]
    CommitIntoItself,
    #[error("Invalid files for merge: top and base are the same")]
    TopIsBase,
    #[error("'backing-file' specified, but 'top' {0}")]
    BackingFileOfActive(&'static str),
    #[error("Need a root block node")]
    NeedRootNode,
    #[error("Block node is read-only")]
    ReadOnly,
    #[error("Could not create node: {0}")]
    FilterNotCreated(Box<Refused>),
    #[error("Could not replace node: {0}")]
    NodeNotReplaced(Box<Refused>),
    #[error(transparent)]
    Backup(BackupRefused),
    #[error(transparent)]
    Transaction(TransactionRefused),
    #[error(transparent)]
    Create(CreateRefused),
    #[error(
        "Permission conflict on node '{node}': permissions '{permissions}' are both required by {taker} and unshared by {keeper}."
    )]
    PermissionConflict { node: String, permissions: String, taker: String, keeper: String },

    #[error("Duplicate nodes with node-name='{0}'")]
    DuplicateNodeName(String),
    #[error("Invalid node-name: '{0}'")]
    InvalidNodeName(String),
    #[error("{0}")]
    NotConnected(String),
    #[error("Could not open image: {0}")]
    ExportUnfit(Errno),
    #[error("{0} name too long to send to server")]
    NameTooLongForServer(&'static str),
    #[error("No TLS credentials with id '{0}'")]
    NoTlsCredentials(String),
    #[error("Cannot grow NBD nodes")]
    RemoteNotGrown,
    #[error("Node name too long")]
    NodeNameTooLong,
    #[error("'node-name' must be specified for the root node")]
    NodeNameMissing,
    #[error("Failed to find node with node-name='{0}'")]
    NodeNotFound(String),
    #[error("Node {0} is in use")]
    NodeInUse(String),
    #[error("Node {0} is not owned by the monitor")]
    NotOwnedByMonitor(String),
    #[error("Block device {0} is in use")]
    DeviceInUse(String),
    #[error("x-blockdev-amend doesn't support changing the block driver")]
    AmendedDriver,
    #[error("Failed to get \"write\" lock")]
    WriterLocked,
    #[error("Failed to get shared \"write\" lock")]
    ReaderLocked,
    #[error("Could not open '{filename}': {errno}")]
    CannotOpen { filename: String, errno: Errno },
    #[error("'file' driver requires '{0}' to be a regular file")]
    NotAFile(String),
    #[error("Could not open '{0}': filesystem does not support O_DIRECT")]
    CacheNotAvoided(String),
    #[error("{0}")]
    MalformedImage(String),
    #[error("Could not open backing file: {0}")]
    BackingNotOpened(Box<Refused>),
    #[error("Backing file '{backing}' of '{image}' cannot be opened: {why}")]
    BackingNotFollowed { image: String, backing: String, why: String },
    #[error("'{0}' is not a file that can hold an image")]
    NotStorage(String),
    #[error("Could not read blkdebug config file: {0}")]
    ConfigNotAllowed(Errno),
    #[error("Cannot meet constraints with align {0}")]
    BadAlign(i64),
    #[error("Throttle group '{0}' does not exist")]
    NoThrottleGroup(String),
    #[error("Bottom node '{0}' not found")]
    BottomNotFound(String),
    #[error("Bottom node '{0}' is a filter")]
    CopyOnReadBottomIsFilter(String),
    #[error("Bottom node '{0}' is not in the chain below")]
    BottomNotBelow(String),
    #[error("Compression is not supported for underlying format: {0}")]
    NoCompression(&'static str),
    #[error("Value '{value}' is out of range for parameter '{name}'")]
    OutOfRange { name: &'static str, value: i64 },
    #[error("discard-no-unref is only supported since qcow2 version 3")]
    DiscardWithoutReference,
    #[error("latency-ns is invalid")]
    BadLatency,
    #[error("Offset ({offset}) cannot be greater than size of the containing file ({len})")]
    WindowPastEnd { offset: u64, len: u64 },
    #[error(
        "The sum of offset ({offset}) and size ({size}) has to be smaller or equal to the  actual size of the containing file ({len})"
    )]
    WindowTooLong { offset: u64, size: u64, len: u64 },
    #[error("Specified size is not multiple of 512")]
    WindowUnaligned,
    #[error("The 'file' block driver requires a file name")]
    FileNameMissing,
    #[error("A child of the new node was deleted meanwhile")]
    ChildGone,
    #[error("NBD server already running")]
    ServerAlreadyRunning,
    #[error("NBD server not running")]
    ServerNotRunning,
    #[error("Failed to bind socket to {path}: {errno}")]
    CannotListen { path: String, errno: Errno },
    #[error("Invalid block export id")]
    InvalidExportId,
    #[error("Block export id '{0}' is already in use")]
    DuplicateExportId(String),
    #[error("iothread \"{0}\" not found")]
    IoThreadNotFound(String),
    #[error("Cannot export read-only node as writable")]
    ReadOnlyExport,
    #[error("export name '{0}' too long")]
    ExportNameTooLong(String),
    #[error("description '{0}' too long")]
    DescriptionTooLong(String),
    #[error("NBD server already has export named '{0}'")]
    DuplicateExportName(String),
    #[error("Export '{0}' is not found")]
    ExportNotFound(String),
    #[error("export '{0}' still in use")]
    ExportInUse(String),
    #[error("{0}")]
    BadLimits(&'static str),
    #[error("Parameter 'id' expects an identifier")]
    InvalidObjectId,
    #[error("attempt to add duplicate property '{0}' to object (type 'container')")]
    DuplicateObjectId(String),
    #[error("object '{0}' not found")]
    ObjectNotFound(String),
    #[error("object '{0}' is in use, can not be deleted")]
    ObjectInUse(String),

    #[error("Node '{0}' not found")]
    NodeUnknown(String),
    #[error("Parameter 'size' expects a >0 size")]
    SizeNegative,
    #[error("offset({size}) exceeds maximum({max})")]
    SizeTooLarge { size: u64, max: u64 },
    #[error("Image is read-only")]
    ImageReadOnly,
    #[error("The new size must be a multiple of 512")]
    SizeNotInSectors,
    #[error("Can't resize a v2 image which has snapshots")]
    SizeOfSnapshots,
    #[error("Could not {what}: {errno}")]
    ResizeFailed { what: &'static str, errno: Errno },
    #[error("Failed to grow the L1 table: {errno}")]
    L1NotGrown { errno: Errno },
    #[error("Image format driver does not support resize")]
    ResizeNotSupported,
    #[error("not allowing backing file change on an image without a backing file")]
    NoBackingToChange,
    #[error("'{0}' and image file are not in the same chain")]
    NotInSameChain(String),
    #[error("Could not change backing file to '{name}': {errno}")]
    BackingNotChanged { name: String, errno: Errno },
    #[error("Making '{child}' a {link} child of '{parent}' would create a cycle")]
    WouldLoop { child: String, link: &'static str, parent: String },
    #[error("The overlay is already in use")]
    OverlayInUse,
    #[error("Filters cannot be used as overlays")]
    OverlayIsFilter,
    #[error("The overlay already has a backing image")]
    OverlayHasBacking,
    #[error("The overlay does not support backing images")]
    OverlayWithoutBacking,
    #[error("Device '{0}' is read only")]
    DeviceReadOnly(String),
    #[error("Block format '{driver}' used by device '{device}' does not support internal snapshots")]
    NoInternalSnapshots { driver: &'static str, device: String },
    #[error("Name is empty")]
    SnapshotNameEmpty,
    #[error("Name or id must be provided")]
    SnapshotNotNamed,
    #[error("Failed to get a snapshot list: {0}")]
    NoSnapshotList(Errno),
    #[error("Snapshot with name '{name}' already exists on device '{device}'")]
    SnapshotExists { name: String, device: String },
    #[error("Snapshot with id '{id}' and name '{name}' does not exist on device '{device}'")]
    SnapshotNotFound { id: String, name: String, device: String },
    #[error("Failed to create snapshot '{name}' on device '{device}': {errno}")]
    SnapshotNotCreated { name: String, device: String, errno: Errno },
    #[error("Cannot find iothread {0}")]
    NoSuchIothread(String),
    #[error(
        "Node {0} is associated with a BlockBackend and could be in use (use force=true to override this check)"
    )]
    NodeHasDevice(String),
    #[error("New overlay node-name missing")]
    OverlayNameMissing,
    #[error("New overlay node-name already in use")]
    OverlayNameInUse,
    #[error("Backing file not supported for file format '{0}'")]
    FormatWithoutBacking(String),
    #[error("Unknown file format '{0}'")]
    UnknownFormat(String),
    #[error("Could not create '{filename}': {errno}")]
    CannotCreate { filename: String, errno: Errno },
    #[error("Read-only block node '{0}' cannot support read-write users")]
    ReadOnlyHasWriters(String),
    #[error("node-name not specified")]
    ReopenNameMissing,
    #[error("Block format '{driver}' used by node '{node}' does not support reopening files")]
    CannotReopen { driver: &'static str, node: String },
    #[error("backing is missing for '{0}'")]
    BackingMissing(String),
    #[error("Cannot replace implicit {link} child of {node}")]
    ImplicitChild { link: &'static str, node: String },
    #[error("Cannot change the option '{0}'")]
    OptionFixed(String),
    #[error("Option '{0}' cannot be reset to its default value")]
    OptionReset(String),
    #[error("Bitmap name cannot be empty")]
    BitmapNameEmpty,
    #[error("Bitmap name too long: {0}")]
    BitmapNameTooLong(String),
    #[error("Bitmap already exists: {0}")]
    DuplicateBitmap(String),
    #[error("Dirty bitmap '{0}' not found")]
    BitmapNotFound(String),
    #[error("Granularity must be power of 2 and at least 512")]
    BadGranularity,
    #[error("Parameter 'granularity' expects uint32_t")]
    GranularityNotAccepted,
    #[error("Can't store persistent bitmaps to {0}: Operation not supported")]
    BitmapNotStorable(String),
    #[error("Can't make bitmap '{name}' persistent in '{node}': {why}")]
    BitmapNotPersistent { name: String, node: String, why: String },
    #[error("Bitmap '{0}' is readonly and cannot be modified")]
    BitmapReadOnly(String),
    #[error(
        "Bitmaps are of different sizes (destination size is {target}, source size is {other}) and can't be merged"
    )]
    BitmapsOfOtherSizes { target: u64, other: u64 },
    #[error("Bitmap '{0}' is not found")]
    BitmapNotExported(String),
    #[error("Enabled bitmap '{0}' incompatible with readonly export")]
    BitmapStillRecording(String),
    #[error("At most {0} bitmaps of one export are supported")]
    TooManyBitmapsExported(usize),
    #[error("Bitmap '{0}' has too many bits for a sum of them")]
    BitmapTooLargeToSum(String),
    #[error("Bitmap '{0}' is currently in use by another operation and cannot be used")]
    BitmapBusy(String),
    #[error("Bitmap '{0}' is inconsistent and cannot be used")]
    BitmapInconsistent(String),
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    #[error("The engine has ended")]
    Ended,
    #[error("Could not {doing} node '{node}': {errno}")]
    Io { doing: &'static str, node: String, errno: Errno },
}

impl Refused {
    /// What was being done to which node when an error came.
    pub fn io(doing: &'static str, node: &str) -> impl FnOnce(Errno) -> Refused {
        move |errno| Refused::Io { doing, node: node.to_owned(), errno }
    }

    /// A file that did not open. If somebody else holds it, the lock that could not be had is named.
    pub(crate) fn cannot_open(filename: &str, errno: Errno, writable: bool) -> Refused {
        match errno {
            Errno::EAGAIN if writable => Refused::WriterLocked,
            Errno::EAGAIN => Refused::ReaderLocked,
            _ => Refused::CannotOpen { filename: filename.to_owned(), errno },
        }
    }

    /// The error of the host that is behind it, if there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Refused::CannotOpen { errno, .. } | Refused::Io { errno, .. } => Some(*errno),
            Refused::WriterLocked | Refused::ReaderLocked => Some(Errno::EAGAIN),
            _ => None,
        }
    }

    /// The QMP error class.
    pub fn class(&self) -> &'static str {
        match self {
            Refused::BlockJobNotFound(_) => "DeviceNotActive",
            Refused::DeviceNotFound(_) => "DeviceNotFound",
            _ => "GenericError",
        }
    }
}

/// Whether an id may name a job or a node: a letter first, then letters, digits, `-`, `.`, `_`.
pub(crate) fn is_well_formed_id(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}
