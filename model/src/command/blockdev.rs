//! `blockdev-add` and `blockdev-del`: nodes come and go.
//!
//! Drivers `file`, `raw`, `qcow2`, `null-co` and the filters are known, with children named or written in place; for any
//! other driver the model has no opinion.

use crate::command::Command;
use crate::command::arguments::{Member, Type, check, optional, required};
use crate::command::reply::{Answer, Refusal};
use crate::graph::blocker::{Operation, Reason};
use crate::graph::{Driver, Graph};
use crate::json::Json;

/// A node to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSpec {
    /// `node-name`
    pub name: Option<String>,
    /// `driver`
    pub driver: Driver,
    /// `filename`, of a protocol node.
    pub filename: Option<String>,
    /// `file` of a format node or filter, `image` of a blkdebug.
    pub file: Option<Child>,
    /// `backing`, of a qcow2 node.
    pub backing: Backing,
    /// `read-only`
    pub read_only: Option<bool>,
    /// `auto-read-only`
    pub auto_read_only: bool,
    /// `throttle-group`
    pub throttle_group: Option<String>,
    /// `size` of a null-co.
    pub size: Option<i64>,
    /// Has options whose effect the model does not know.
    pub unmodelled: bool,
}

/// A child: a node that exists, or one to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Child {
    /// By name.
    Named(String),
    /// Written in place.
    Inline(Box<NodeSpec>),
}

/// What a qcow2 node shall read where it has nothing allocated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backing {
    /// What its header names.
    Header,
    /// Nothing.
    Nothing,
    /// This.
    Given(Child),
}

/// An image as the model knows it: how a node over it opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageFacts {
    /// Its file name.
    pub file: String,
    /// Whether its bytes are qcow2.
    pub qcow2: bool,
    /// The backing file its header may name now: more than one while a header is being rewritten.
    pub headers: Vec<Option<String>>,
    /// Its virtual size.
    pub size_bytes: u64,
    /// Whether it keeps bitmaps, or had some once.
    pub bitmaps: bool,
    /// Whether its clusters are allocated in 32 parts.
    pub subclusters: bool,
}

impl ImageFacts {
    /// Into how many parts of a cluster it allocates.
    pub fn parts(&self) -> u32 {
        if self.subclusters { 32 } else { 1 }
    }
}

const COMMON: [Member; 9] = [
    required("driver", Type::Text),
    optional("node-name", Type::Text),
    optional("discard", Type::Word(&["ignore", "unmap"])),
    optional("cache", Type::Any),
    optional("active", Type::Boolean),
    optional("read-only", Type::Boolean),
    optional("auto-read-only", Type::Boolean),
    optional("force-share", Type::Boolean),
    optional("detect-zeroes", Type::Word(&["off", "on", "unmap"])),
];

const FILE: [Member; 7] = [
    required("filename", Type::Text),
    optional("pr-manager", Type::Text),
    optional("locking", Type::Any),
    optional("aio", Type::Word(&["threads", "native", "io_uring"])),
    optional("aio-max-batch", Type::Integer),
    optional("drop-cache", Type::Boolean),
    optional("x-check-cache-dropped", Type::Boolean),
];

const RAW: [Member; 3] =
    [required("file", Type::Node), optional("offset", Type::Integer), optional("size", Type::Integer)];

const QCOW2: [Member; 15] = [
    required("file", Type::Node),
    optional("backing", Type::NodeOrNull),
    optional("lazy-refcounts", Type::Boolean),
    optional("pass-discard-request", Type::Boolean),
    optional("pass-discard-snapshot", Type::Boolean),
    optional("pass-discard-other", Type::Boolean),
    optional("discard-no-unref", Type::Boolean),
    optional("overlap-check", Type::Any),
    optional("cache-size", Type::Integer),
    optional("l2-cache-size", Type::Integer),
    optional("l2-cache-entry-size", Type::Integer),
    optional("refcount-cache-size", Type::Integer),
    optional("cache-clean-interval", Type::Integer),
    optional("encrypt", Type::Any),
    optional("data-file", Type::Any),
];

const NULL: [Member; 3] = [
    optional("size", Type::Integer),
    optional("latency-ns", Type::Integer),
    optional("read-zeroes", Type::Boolean),
];

const COPY_ON_READ: [Member; 2] = [required("file", Type::Node), optional("bottom", Type::Text)];

const THROTTLE: [Member; 2] = [required("throttle-group", Type::Text), required("file", Type::Node)];

const COMPRESS: [Member; 1] = [required("file", Type::Node)];

const BLKDEBUG: [Member; 12] = [
    required("image", Type::Node),
    optional("config", Type::Text),
    optional("align", Type::Integer),
    optional("max-transfer", Type::Integer),
    optional("opt-write-zero", Type::Integer),
    optional("max-write-zero", Type::Integer),
    optional("opt-discard", Type::Integer),
    optional("max-discard", Type::Integer),
    optional("inject-error", Type::Any),
    optional("set-state", Type::Any),
    optional("take-child-perms", Type::Any),
    optional("unshare-child-perms", Type::Any),
];

/// Options that change nothing an operator or a guest can see here.
const HARMLESS: [&str; 20] = [
    "image",
    "throttle-group",
    "inject-error",
    "set-state",
    "read-zeroes",
    "align",
    "driver",
    "node-name",
    "discard",
    "cache",
    "read-only",
    "auto-read-only",
    "detect-zeroes",
    "filename",
    "aio",
    "locking",
    "file",
    "backing",
    "lazy-refcounts",
    "l2-cache-size",
];

/// Nodes written inside nodes: deeper than this is no chain anybody meant.
const DEPTH_MAX: usize = 64;

impl NodeSpec {
    /// Reads the arguments of `blockdev-add`.
    pub fn read(arguments: &Json<'_>) -> Result<Command, Refusal> {
        Ok(match Self::read_below(arguments, "")? {
            Some(spec) => Command::Add(Box::new(spec)),
            None => Command::beyond("blockdev-add"),
        })
    }

    fn read_below(arguments: &Json<'_>, prefix: &str) -> Result<Option<NodeSpec>, Refusal> {
        let driver = match arguments.get("driver") {
            None => return Err(Refusal::Missing(format!("{prefix}driver"))),
            Some(Json::Text(word)) => word,
            Some(_) => return Err(Refusal::BadType(format!("{prefix}driver"), "string")),
        };
        let (driver, own): (Driver, &[Member]) = match &**driver {
            "file" => (Driver::File, &FILE),
            "raw" => (Driver::Raw, &RAW),
            "qcow2" => (Driver::Qcow2, &QCOW2),
            "null-co" => (Driver::NullCo, &NULL),
            "copy-on-read" => (Driver::CopyOnRead, &COPY_ON_READ),
            "throttle" => (Driver::Throttle, &THROTTLE),
            "compress" => (Driver::Compress, &COMPRESS),
            "blkdebug" => (Driver::Blkdebug, &BLKDEBUG),
            other if is_beyond(other) => return Ok(None),
            other => return Err(Refusal::BadWord(format!("{prefix}driver"), other.to_owned())),
        };
        check(&[&COMMON, own], prefix, arguments)?;
        let file_member = if driver == Driver::Blkdebug { "image" } else { "file" };
        let Some(file) = Child::read(arguments, file_member, prefix)? else { return Ok(None) };
        let backing = match arguments.get("backing") {
            None => Backing::Header,
            Some(Json::Null) => Backing::Nothing,
            Some(_) => match Child::read(arguments, "backing", prefix)? {
                Some(child) => child.map_or(Backing::Header, Backing::Given),
                None => return Ok(None),
            },
        };
        let Json::Object(given) = arguments else { return Ok(None) };
        Ok(Some(NodeSpec {
            name: arguments.text_of("node-name").map(str::to_owned),
            driver,
            filename: arguments.text_of("filename").map(str::to_owned),
            file,
            backing,
            read_only: arguments.get("read-only").and_then(Json::boolean),
            auto_read_only: arguments.get("auto-read-only").and_then(Json::boolean).unwrap_or(false),
            throttle_group: arguments.text_of("throttle-group").map(str::to_owned),
            size: arguments.integer_of("size").filter(|_| driver == Driver::NullCo),
            unmodelled: given.iter().any(|(name, _)| !HARMLESS.contains(&&**name)),
        }))
    }

    /// Whether it, or a node written inside it, has options whose effect the model does not know.
    pub fn is_unmodelled(&self) -> bool {
        let below = |child: &Child| matches!(child, Child::Inline(spec) if spec.is_unmodelled());
        let backing = matches!(&self.backing, Backing::Given(child) if below(child));
        self.unmodelled || backing || self.file.as_ref().is_some_and(below)
    }
}

impl Child {
    /// Reads a child. `Ok(None)` if the model has no opinion on it, `Ok(Some(None))` if it is not given.
    fn read(arguments: &Json<'_>, member: &str, prefix: &str) -> Result<Option<Option<Child>>, Refusal> {
        let depth = prefix.bytes().filter(|byte| *byte == b'.').count();
        match arguments.get(member) {
            Some(Json::Text(name)) => Ok(Some(Some(Child::Named(name.to_string())))),
            Some(inline @ Json::Object(_)) if depth < DEPTH_MAX => {
                let spec = NodeSpec::read_below(inline, &format!("{prefix}{member}."))?;
                Ok(spec.map(|spec| Some(Child::Inline(Box::new(spec)))))
            }
            Some(Json::Object(_)) => Ok(None),
            _ => Ok(Some(None)),
        }
    }
}

/// Drivers that QEMU knows and this model does not.
fn is_beyond(driver: &str) -> bool {
    const DRIVERS: [&str; 39] = [
        "blklogwrites",
        "blkreplay",
        "blkverify",
        "bochs",
        "cloop",
        "copy-before-write",
        "dmg",
        "ftp",
        "ftps",
        "gluster",
        "host_cdrom",
        "host_device",
        "http",
        "https",
        "io_uring",
        "iscsi",
        "luks",
        "nbd",
        "nfs",
        "null-aio",
        "nvme",
        "nvme-io_uring",
        "parallels",
        "preallocate",
        "qcow",
        "qed",
        "quorum",
        "rbd",
        "replication",
        "snapshot-access",
        "ssh",
        "vdi",
        "vhdx",
        "virtio-blk-vfio-pci",
        "virtio-blk-vhost-user",
        "virtio-blk-vhost-vdpa",
        "vmdk",
        "vpc",
        "vvfat",
    ];
    DRIVERS.contains(&driver)
}

/// The answers a `blockdev-del` may get: one.
pub fn deletion(graph: &Graph, name: &str) -> Answer {
    let Some(id) = graph.find(name) else {
        return Answer::Refused(Refusal::NothingToDelete(name.to_owned()));
    };
    let guests = graph.users.iter().any(|user| user.node == id && user.behind.is_none());
    let is_device = |reason: &Reason| matches!(reason, Reason::Job(_, role) if role.is_device());
    let job_device = graph.blockers.iter().any(|b| b.node == id && is_device(&b.reason));
    Answer::Refused(if guests || job_device {
        Refusal::InUse(id)
    } else if let Some(reason) = graph.blocked(Operation::Delete, id) {
        Refusal::Busy(id, reason)
    } else if !graph.node(id).by_monitor {
        Refusal::NotOwned(id)
    } else if graph.is_used(id) {
        Refusal::DeviceInUse(id)
    } else {
        return Answer::Done;
    })
}

/// Whether a refusal is about a name: a goal of campaigns.
pub fn is_about_a_name(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Name(..) | Refusal::BadJobId(_) | Refusal::JobIdInUse(_))
}
