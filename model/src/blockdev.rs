//! `blockdev-add` and `blockdev-del`: nodes come and go.
//!
//! Drivers `file`, `raw` and `qcow2` are known, with children named or written in place; for any other driver
//! the model has no opinion.

use crate::arguments::{Member, Type, check, optional, required};
use crate::blocker::Operation;
use crate::chain::{Driver, Graph, ImageId, Node, NodeId};
use crate::command::Command;
use crate::json::Json;
use crate::reply::{Answer, NameRefusal, Refusal};
use crate::stream::{admit_name, same_path};

/// A node to be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeSpec {
    /// `node-name`
    pub name: Option<String>,
    /// `driver`
    pub driver: Driver,
    /// `filename`, of a protocol node.
    pub filename: Option<String>,
    /// `file`, of a format node.
    pub file: Option<Child>,
    /// `backing`, of a qcow2 node.
    pub backing: Backing,
    /// `read-only`
    pub read_only: Option<bool>,
    /// `auto-read-only`
    pub auto_read_only: bool,
    /// Has options whose effect the model does not know.
    pub vague: bool,
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
}

const ANY_DRIVER: &str = "driver";

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

/// Options that change nothing an operator or a guest can see here.
const HARMLESS: [&str; 14] = [
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
            None => Command::Other("blockdev-add".into()),
        })
    }

    fn read_below(arguments: &Json<'_>, prefix: &str) -> Result<Option<NodeSpec>, Refusal> {
        let driver = match arguments.get(ANY_DRIVER) {
            None => return Err(Refusal::Missing(format!("{prefix}driver"))),
            Some(Json::Text(word)) => word,
            Some(_) => return Err(Refusal::BadType(format!("{prefix}driver"), "string")),
        };
        let (driver, own): (Driver, &[Member]) = match &**driver {
            "file" => (Driver::File, &FILE),
            "raw" => (Driver::Raw, &RAW),
            "qcow2" => (Driver::Qcow2, &QCOW2),
            other if is_beyond(other) => return Ok(None),
            other => return Err(Refusal::BadWord(format!("{prefix}driver"), other.to_owned())),
        };
        check(&[&COMMON, own], prefix, arguments)?;
        let Some(file) = Child::read(arguments, "file", prefix)? else { return Ok(None) };
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
            vague: given.iter().any(|(name, _)| !HARMLESS.contains(&&**name)),
        }))
    }

    fn is_vague(&self) -> bool {
        let below = |child: &Child| matches!(child, Child::Inline(spec) if spec.is_vague());
        let backing = matches!(&self.backing, Backing::Given(child) if below(child));
        self.vague || backing || self.file.as_ref().is_some_and(below)
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
    const DRIVERS: [&str; 44] = [
        "blkdebug",
        "blklogwrites",
        "blkreplay",
        "blkverify",
        "bochs",
        "cloop",
        "compress",
        "copy-before-write",
        "copy-on-read",
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
        "null-co",
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
        "throttle",
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

/// Opens nodes on a graph: first to see whether it would be refused, then for real.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The images there are.
    pub images: &'a [ImageFacts],
}

impl Opening<'_> {
    /// The answers a `blockdev-add` may get.
    pub fn answers(&self, graph: &Graph, spec: &NodeSpec, answers: &mut Vec<Answer>) {
        if spec.is_vague() {
            answers.push(Answer::AnyError);
        }
        if spec.name.is_none() {
            return answers.push(Answer::Refused(Refusal::NameNeeded));
        }
        let mut trial = graph.clone();
        match self.open(&mut trial, spec, None) {
            Err(refusal) => answers.push(Answer::Refused(refusal)),
            Ok(_) => {
                // An image that is open twice may be locked by its other user.
                if shares_an_image(graph, &trial) {
                    answers.push(Answer::ErrorAbout("lock"));
                    answers.push(Answer::ErrorAbout("Permission conflict on node"));
                }
                answers.push(Answer::Done);
            }
        }
    }

    /// Opens a node and what it names. `parent_read_only` is given for children that inherit it.
    pub fn open(&self, graph: &mut Graph, spec: &NodeSpec, parent: Option<bool>) -> Result<NodeId, Refusal> {
        let read_only = spec.read_only.or(parent).unwrap_or(false);
        let mut node = Node {
            name: spec.name.clone(),
            driver: spec.driver,
            filename: None,
            header: None,
            image: None,
            file: None,
            backing: None,
            read_only,
            read_only_for_good: false,
            may_have_stayed_writable: false,
            by_monitor: spec.name.is_some(),
            vague: spec.vague,
            alive: true,
        };
        if spec.driver == Driver::File {
            admit_own_name(graph, spec)?;
            let filename = spec.filename.clone().unwrap_or_default();
            node.image = Some(self.find(&filename).ok_or(Refusal::NoSuchFile(filename.clone()))?);
            node.filename = Some(filename);
            // Reopening a format node reopens its protocol node too, unless that was told otherwise.
            node.read_only_for_good = spec.read_only == Some(true);
            return Ok(graph.add(node));
        }
        let file = match spec.file.as_ref().expect("the schema requires `file` of a format node") {
            Child::Named(name) => find_child(graph, name)?,
            Child::Inline(child) => self.open_inline(graph, child, Some(read_only))?,
        };
        admit_own_name(graph, spec)?;
        let (image, filename) = (graph.node(file).image, graph.node(file).filename.clone());
        node.image = image;
        node.filename = filename;
        node.file = Some(file);
        let is_qcow2 = image.is_some_and(|image| self.facts(image).qcow2);
        if spec.driver == Driver::Qcow2 && !is_qcow2 {
            return Err(Refusal::NotQcow2);
        }
        if !read_only && graph.node(file).read_only_for_good {
            return Err(Refusal::ReadOnly);
        }
        if spec.driver == Driver::Qcow2 {
            let backing = self.open_backing(graph, spec, image);
            node.backing = backing.map_err(|refusal| Refusal::Backing(Box::new(refusal)))?;
            node.header = image.and_then(|image| self.facts(image).headers.last()?.clone());
        }
        Ok(graph.add(node))
    }

    /// A node written inside another belongs to it, not to the operator.
    fn open_inline(
        &self,
        graph: &mut Graph,
        spec: &NodeSpec,
        parent: Option<bool>,
    ) -> Result<NodeId, Refusal> {
        let id = self.open(graph, spec, parent)?;
        graph.node_mut(id).by_monitor = false;
        Ok(id)
    }

    fn open_backing(
        &self,
        graph: &mut Graph,
        spec: &NodeSpec,
        image: Option<ImageId>,
    ) -> Result<Option<NodeId>, Refusal> {
        match &spec.backing {
            Backing::Nothing => Ok(None),
            Backing::Given(Child::Named(name)) => find_child(graph, name).map(Some),
            // A backing node is opened read-only unless it says otherwise.
            Backing::Given(Child::Inline(child)) => self.open_inline(graph, child, Some(true)).map(Some),
            Backing::Header => match image.and_then(|image| self.facts(image).headers.last()?.clone()) {
                None => Ok(None),
                Some(header) => self.open_header(graph, image, &header).map(Some),
            },
        }
    }

    /// Opens the image that a header names, and its chain: nameless nodes, read-only.
    fn open_header(
        &self,
        graph: &mut Graph,
        overlay: Option<ImageId>,
        header: &str,
    ) -> Result<NodeId, Refusal> {
        let overlay = overlay.map(|image| self.facts(image).file.as_str());
        let file = resolve(overlay, header);
        let image = self.find(&file).ok_or(Refusal::NoSuchFile(file.clone()))?;
        let depth = graph.alive().count();
        if depth > 4 * self.images.len() + 64 {
            return Err(Refusal::NoSuchFile(file));
        }
        let driver = if self.facts(image).qcow2 { Driver::Qcow2 } else { Driver::Raw };
        let blank = |driver, filename, file| NodeSpec {
            name: None,
            driver,
            filename,
            file,
            backing: Backing::Header,
            read_only: None,
            auto_read_only: true,
            vague: false,
        };
        let protocol = blank(Driver::File, Some(file), None);
        let format = blank(driver, None, Some(Child::Inline(Box::new(protocol))));
        self.open_inline(graph, &format, Some(true))
    }

    fn facts(&self, image: ImageId) -> &ImageFacts {
        &self.images[usize::from(image.0)]
    }

    /// The image of that file name.
    pub fn find(&self, file: &str) -> Option<ImageId> {
        let index = self.images.iter().position(|image| same_path(&image.file, file))?;
        Some(ImageId(index as u16))
    }

    /// The image that the header of `overlay` names by `header`.
    pub fn find_header(&self, overlay: &str, header: &str) -> Option<ImageId> {
        self.find(&resolve(Some(overlay), header))
    }
}

/// A relative backing file name counts from the folder of the image whose header holds it.
pub fn resolve(overlay: Option<&str>, header: &str) -> String {
    match overlay.and_then(|file| file.rsplit_once('/')) {
        Some((folder, _)) if !header.starts_with('/') => format!("{folder}/{header}"),
        _ => header.to_owned(),
    }
}

fn find_child(graph: &Graph, name: &str) -> Result<NodeId, Refusal> {
    graph.find(name).ok_or_else(|| Refusal::NoSuchNode(name.to_owned(), name.to_owned()))
}

fn admit_own_name(graph: &Graph, spec: &NodeSpec) -> Result<(), Refusal> {
    match &spec.name {
        Some(name) => admit_name(graph, name, ""),
        None => Ok(()),
    }
}

fn shares_an_image(before: &Graph, after: &Graph) -> bool {
    let files = |graph: &Graph| -> Vec<Option<ImageId>> {
        graph.alive().filter(|(_, node)| node.driver == Driver::File).map(|(_, node)| node.image).collect()
    };
    let (old, new) = (files(before), files(after));
    let twice =
        new.iter().enumerate().any(|(index, image)| index >= old.len() && new[..index].contains(image));
    let formats =
        |id: NodeId| after.parents(id).filter(|parent| after.node(*parent).file == Some(id)).count();
    twice || after.alive().any(|(id, _)| formats(id) > 1)
}

/// The answers a `blockdev-del` may get: one.
pub fn deletion(graph: &Graph, name: &str) -> Answer {
    let Some(id) = graph.find(name) else {
        return Answer::Refused(Refusal::NothingToDelete(name.to_owned()));
    };
    let guests = graph.users.iter().any(|user| user.node == id);
    let job_device = graph.is_filter(id) && graph.node(id).file.is_some();
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
    match refusal {
        Refusal::Name(NameRefusal::Invalid(_) | NameRefusal::Duplicate(_) | NameRefusal::TooLong, _) => true,
        Refusal::BadJobId(_) | Refusal::JobIdInUse(_) => true,
        _ => false,
    }
}
