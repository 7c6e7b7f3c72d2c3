//! What `blockdev-add` and `blockdev-reopen` say of nodes.

use crate::filter::blkdebug::{InjectError, SetState};
use crate::format::qcow2::Discards;
use crate::graph::options::{DetectZeroes, Plain};
use crate::permission::Set;
use crate::remote::Server;

/// `blockdev-add`: one node and, inline, its children.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockdevOptions {
    /// The node's name; required for the outermost node, generated (`#blockNNN`) for inline children without one.
    pub node_name: Option<String>,
    /// What kind of node.
    pub driver: DriverOptions,
    /// `read-only`; inherited by inline children that do not say.
    pub read_only: Option<bool>,
    /// `auto-read-only`: fall back to (and stay at) read-only until a writer comes.
    pub auto_read_only: Option<bool>,
    /// The options that any node has.
    pub settings: NodeSettings,
}

/// The options of any node beside its name and access.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeSettings {
    /// `detect-zeroes`.
    pub detect_zeroes: DetectZeroes,
    /// `discard: unmap`; inherited by the file below a format.
    pub unmap: Option<bool>,
    /// `cache.direct`; inherited.
    pub direct: Option<bool>,
    /// `cache.no-flush`; inherited.
    pub no_flush: Option<bool>,
    /// `force-share`; inherited.
    pub force_share: Option<bool>,
    /// Every option as the operator gave it, flat, without children; those that make the node what it is come first.
    pub given: Vec<(Box<str>, Plain)>,
}

/// The driver and what it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DriverOptions {
    /// A file of the host.
    File {
        /// Its path as the operator gave it.
        filename: String,
        /// `locking`: whether others are kept from it; they are, unless it is said.
        locks: Option<bool>,
    },
    /// Guest bytes as they are.
    Raw {
        /// Where they lie.
        file: ChildOptions,
        /// `offset`: where in the file they begin.
        offset: i64,
        /// `size`: how many there are, if not all.
        size: Option<i64>,
    },
    /// A disk of nothing.
    NullCo {
        /// `size`.
        size: Option<i64>,
        /// `latency-ns`.
        latency: Option<i64>,
        /// `read-zeroes`.
        read_zeroes: bool,
    },
    /// A disk behind an NBD server.
    Nbd {
        /// The server, and what is wanted of it.
        server: Server,
        /// `tls-creds`: the credentials to be shown.
        tls_creds: Option<String>,
    },
    /// A qcow2 image.
    Qcow2 {
        /// Where it lies.
        file: ChildOptions,
        /// What lies below it.
        backing: BackingOptions,
        /// Where its guest data lies, if not there; not said: in what the header names, if it does.
        data_file: Option<ChildOptions>,
        /// What happens to space that is not needed any more.
        discards: DiscardOptions,
    },
    /// What passes on what its one child keeps.
    Filter {
        /// What it filters.
        child: ChildOptions,
        /// What it does.
        filter: FilterOptions,
    },
}

/// What an operator's filter does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilterOptions {
    /// It fails requests on demand.
    Blkdebug {
        /// `config`: a file with rules.
        config: Option<String>,
        /// `align`.
        align: Option<i64>,
        /// `inject-error`.
        errors: Vec<InjectError>,
        /// `set-state`.
        changes: Vec<SetState>,
        /// `take-child-perms`.
        taken: Set,
        /// `unshare-child-perms`.
        unshared: Set,
    },
    /// It makes requests wait.
    Throttle {
        /// `throttle-group`: whose limits.
        group: String,
    },
    /// It compresses what is written.
    Compress,
    /// It copies up what is read.
    CopyOnRead {
        /// `bottom`: the last layer whose data is copied.
        bottom: Option<String>,
    },
}

impl DriverOptions {
    /// The driver's name as QMP shows it.
    pub fn name(&self) -> &'static str {
        match self {
            DriverOptions::File { .. } => "file",
            DriverOptions::Raw { .. } => "raw",
            DriverOptions::Filter { filter: FilterOptions::Blkdebug { .. }, .. } => "blkdebug",
            DriverOptions::Filter { filter: FilterOptions::Throttle { .. }, .. } => "throttle",
            DriverOptions::Filter { filter: FilterOptions::Compress, .. } => "compress",
            DriverOptions::Filter { filter: FilterOptions::CopyOnRead { .. }, .. } => "copy-on-read",
            DriverOptions::NullCo { .. } => "null-co",
            DriverOptions::Nbd { .. } => "nbd",
            DriverOptions::Qcow2 { .. } => "qcow2",
        }
    }

    /// A qcow2 image of which nothing else is said.
    pub fn qcow2(file: ChildOptions, backing: BackingOptions) -> DriverOptions {
        DriverOptions::Qcow2 { file, backing, data_file: None, discards: DiscardOptions::default() }
    }
}

/// What an operator says of the space in an image that is not needed any more.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct DiscardOptions {
    /// `pass-discard-request`: a guest's discards reach the file; if nobody says, as the node takes discards.
    pub request: Option<bool>,
    /// `pass-discard-snapshot`: so does what a snapshot had; it does, unless it is said.
    pub snapshot: Option<bool>,
    /// `pass-discard-other`: so does what the image's own tables had.
    pub other: Option<bool>,
    /// `discard-no-unref`: discarded clusters keep their place in the file.
    pub no_unref: bool,
}

impl DiscardOptions {
    /// What that makes of an image on a node that takes discards, or does not.
    pub fn settle(self, unmap: bool) -> Discards {
        Discards {
            request: self.request.unwrap_or(unmap),
            snapshot: self.snapshot.unwrap_or(true),
            other: self.other.unwrap_or(false),
            no_unref: self.no_unref,
        }
    }
}

/// A child: an existing node by name, or one to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ChildOptions {
    /// An existing node.
    Reference(String),
    /// A new node, owned by its parent.
    Inline(Box<BlockdevOptions>),
}

impl BlockdevOptions {
    /// A node of which nothing is said but its driver.
    pub fn unnamed(driver: DriverOptions) -> BlockdevOptions {
        let settings = NodeSettings::default();
        BlockdevOptions { node_name: None, driver, read_only: None, auto_read_only: None, settings }
    }
}

impl ChildOptions {
    /// A new node for the file of this name.
    pub fn named_file(filename: String) -> ChildOptions {
        let driver = DriverOptions::File { filename, locks: None };
        ChildOptions::Inline(Box::new(BlockdevOptions::unnamed(driver)))
    }
}

/// The backing child of an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BackingOptions {
    /// Not said: what the image's header names is opened.
    FromHeader,
    /// `null`: none, whatever the header names.
    None,
    /// Said.
    Child(ChildOptions),
}
