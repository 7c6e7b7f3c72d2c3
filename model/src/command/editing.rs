//! The commands that edit the graph or an image beside jobs: their arguments, and the order of their refusals.

use crate::command::arguments::{Member, Type, check, optional, required};
use crate::command::commit::must_be_root;
use crate::command::plan::admit_change;
use crate::command::reply::Refusal;
use crate::command::stream::{admit, find_device, find_node};
use crate::graph::blocker::Operation;
use crate::graph::{Driver, Graph, NodeId};
use crate::json::Json;

/// A command that edits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Editing {
    /// `change-backing-file`: the image's header names another file; the graph stays.
    ChangeBackingFile {
        /// The root of the chain.
        device: String,
        /// The image.
        image: String,
        /// What its header shall name.
        file: String,
    },
    /// `blockdev-snapshot`: an overlay is put above a node.
    Snapshot {
        /// The node.
        node: String,
        /// The overlay, open and without backing.
        overlay: String,
    },
    /// `blockdev-snapshot-sync`: a new image is made and put above a node.
    SnapshotSync {
        /// The node.
        node: String,
        /// The file to be made.
        file: String,
        /// The name of the new node; generated if it was left out.
        name: Option<String>,
    },
    /// `block_resize`
    Resize {
        /// The node.
        node: String,
        /// Whether it was asked for as a device.
        by_device: bool,
        /// Its new length.
        bytes: i64,
    },
    /// `blockdev-reopen`
    Reopen(Vec<Reopen>),
    /// `block-dirty-bitmap-add`, `-remove`, `-clear`, `-enable`, `-disable`
    Bitmap {
        /// Which of them, after `block-dirty-bitmap-`.
        verb: &'static str,
        /// The node.
        node: String,
        /// The bitmap.
        name: String,
        /// `disabled`: it records nothing.
        is_disabled: bool,
    },
    /// `block-set-write-threshold`
    Threshold {
        /// The node.
        node: String,
    },
}

/// The new options of one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reopen {
    /// Its name.
    pub name: String,
    /// Its driver, as given.
    pub driver: String,
    /// `read-only`
    pub read_only: bool,
    /// Whether it was given.
    pub is_mode_given: bool,
    /// `auto-read-only`
    pub auto_read_only: bool,
    /// `backing`: left out, taken away, or this node.
    pub backing: Option<Option<String>>,
    /// `file`, if it names a node.
    pub file: Option<String>,
}

/// What a command's arguments are read by.
pub type Reader = fn(&Json<'_>) -> Result<Editing, Refusal>;

/// The reader of the command of that name, if it edits.
pub fn reader(name: &str) -> Option<Reader> {
    Some(match name {
        "change-backing-file" => change_backing_file,
        "blockdev-snapshot" => snapshot,
        "blockdev-snapshot-sync" => snapshot_sync,
        "block_resize" => resize,
        "blockdev-reopen" => reopen,
        "block-set-write-threshold" => threshold,
        "block-dirty-bitmap-add" => |arguments| bitmap("add", arguments),
        "block-dirty-bitmap-remove" => |arguments| bitmap("remove", arguments),
        "block-dirty-bitmap-clear" => |arguments| bitmap("clear", arguments),
        "block-dirty-bitmap-enable" => |arguments| bitmap("enable", arguments),
        "block-dirty-bitmap-disable" => |arguments| bitmap("disable", arguments),
        _ => return None,
    })
}

const CHANGE_BACKING: &[Member] = &[
    required("device", Type::Text),
    required("image-node-name", Type::Text),
    required("backing-file", Type::Text),
];
const SNAPSHOT: &[Member] = &[required("node", Type::Text), required("overlay", Type::Text)];
const SNAPSHOT_SYNC: &[Member] = &[
    optional("device", Type::Text),
    optional("node-name", Type::Text),
    required("snapshot-file", Type::Text),
    optional("snapshot-node-name", Type::Text),
    optional("format", Type::Text),
    optional("mode", Type::Word(&["existing", "absolute-paths"])),
];
const RESIZE: &[Member] =
    &[optional("device", Type::Text), optional("node-name", Type::Text), required("size", Type::Integer)];
const REOPEN: &[Member] = &[required("options", Type::Any)];
const BITMAP: &[Member] = &[
    required("node", Type::Text),
    required("name", Type::Text),
    optional("granularity", Type::Integer),
    optional("persistent", Type::Boolean),
    optional("disabled", Type::Boolean),
];

const THRESHOLD: &[Member] = &[required("node-name", Type::Text), required("write-threshold", Type::Integer)];

fn text(arguments: &Json<'_>, name: &str) -> String {
    arguments.text_of(name).unwrap_or_default().to_owned()
}

fn change_backing_file(arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[CHANGE_BACKING], "", arguments)?;
    let (device, image) = (text(arguments, "device"), text(arguments, "image-node-name"));
    Ok(Editing::ChangeBackingFile { device, image, file: text(arguments, "backing-file") })
}

fn snapshot(arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[SNAPSHOT], "", arguments)?;
    Ok(Editing::Snapshot { node: text(arguments, "node"), overlay: text(arguments, "overlay") })
}

fn snapshot_sync(arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[SNAPSHOT_SYNC], "", arguments)?;
    let node = arguments.text_of("node-name").or_else(|| arguments.text_of("device")).unwrap_or_default();
    let name = arguments.text_of("snapshot-node-name").map(str::to_owned);
    Ok(Editing::SnapshotSync { node: node.to_owned(), file: text(arguments, "snapshot-file"), name })
}

fn resize(arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[RESIZE], "", arguments)?;
    let name = arguments.text_of("node-name").or_else(|| arguments.text_of("device"));
    let bytes = arguments.integer_of("size").unwrap_or(0);
    let by_device = arguments.get("node-name").is_none();
    Ok(Editing::Resize { node: name.unwrap_or_default().to_owned(), by_device, bytes })
}

fn bitmap(verb: &'static str, arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[BITMAP], "", arguments)?;
    let is_disabled = arguments.get("disabled").and_then(Json::boolean).unwrap_or(false);
    Ok(Editing::Bitmap { verb, node: text(arguments, "node"), name: text(arguments, "name"), is_disabled })
}

fn threshold(arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[THRESHOLD], "", arguments)?;
    Ok(Editing::Threshold { node: text(arguments, "node-name") })
}

fn reopen(arguments: &Json<'_>) -> Result<Editing, Refusal> {
    check(&[REOPEN], "", arguments)?;
    let list = arguments.get("options").and_then(Json::list);
    let list = list.ok_or_else(|| Refusal::BadType("options".into(), "array"))?;
    let boolean = |entry: &Json<'_>, name: &str| entry.get(name).and_then(Json::boolean).unwrap_or(false);
    let one = |entry: &Json<'_>| Reopen {
        name: text(entry, "node-name"),
        driver: text(entry, "driver"),
        read_only: boolean(entry, "read-only"),
        is_mode_given: entry.get("read-only").is_some(),
        auto_read_only: boolean(entry, "auto-read-only"),
        backing: entry.get("backing").map(|backing| backing.text().map(str::to_owned)),
        file: entry.text_of("file").map(str::to_owned),
    };
    Ok(Editing::Reopen(list.iter().map(one).collect()))
}

/// What an edit will do, once it is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// A header names something else.
    Header(NodeId, String),
    /// An overlay comes between a node and all that stands on it.
    Overlay(NodeId, NodeId),
    /// A new image comes between a node and all that stands on it: its file and the name of its node.
    NewOverlay(NodeId, String, Option<String>),
    /// A node has another length.
    Length(NodeId, u64),
    /// Nodes have other options; whether all of them are known.
    Options(Vec<(NodeId, Reopen)>),
    /// A bitmap comes or goes; no reader sees it.
    Bitmap,
    /// A node reports a write from now on; no reader sees that.
    Threshold,
}

impl Editing {
    /// Judges the command in the state of `graph`: what it will do, and whether the model is sure that it may.
    pub fn judge(&self, graph: &Graph) -> Result<Edit, Refusal> {
        match self {
            Editing::ChangeBackingFile { device, image, file } => judge_header(graph, device, image, file),
            Editing::Snapshot { node, overlay } => judge_snapshot(graph, node, overlay),
            Editing::SnapshotSync { node, file, name } => {
                let below = find_device(graph, node)?;
                admit(graph, Operation::Delete, below)?;
                Ok(Edit::NewOverlay(below, file.clone(), name.clone()))
            }
            Editing::Resize { node, by_device, bytes } => judge_resize(graph, node, *by_device, *bytes),
            Editing::Reopen(list) => judge_reopen(graph, list),
            Editing::Bitmap { node, .. } => {
                find_device(graph, node)?;
                Ok(Edit::Bitmap)
            }
            Editing::Threshold { node } => match graph.find(node) {
                Some(_) => Ok(Edit::Threshold),
                None => Err(Refusal::NoDeviceToWatch(node.clone())),
            },
        }
    }
}

fn judge_header(graph: &Graph, device: &str, image: &str, file: &str) -> Result<Edit, Refusal> {
    let root = find_device(graph, device)?;
    must_be_root(graph, root)?;
    let layer = find_node(graph, image)?;
    if graph.node(layer).backing.is_none() {
        return Err(Refusal::Plain("not allowing backing file change on an image without a backing file"));
    }
    admit(graph, Operation::Stream, root)?;
    if !graph.downwards(root).any(|node| node == layer) {
        return Err(Refusal::Named("'", device.to_owned(), "' and image file are not in the same chain"));
    }
    Ok(Edit::Header(layer, file.to_owned()))
}

fn judge_snapshot(graph: &Graph, node: &str, overlay: &str) -> Result<Edit, Refusal> {
    let below = find_device(graph, node)?;
    admit(graph, Operation::Delete, below)?;
    let missing = || Refusal::NoSuchNode(overlay.to_owned(), overlay.to_owned());
    let above = graph.find(overlay).ok_or_else(missing)?;
    if graph.is_read(above) {
        return Err(Refusal::Plain("The overlay is already in use"));
    }
    if graph.node(above).backing.is_some() {
        return Err(Refusal::Plain("The overlay already has a backing image"));
    }
    if graph.node(above).driver != Driver::Qcow2 {
        return Err(Refusal::Plain("The overlay does not support backing images"));
    }
    if graph.reached(below).contains(&above) {
        let text = ["Making '", "' a backing child of '", "' would create a cycle"];
        return Err(Refusal::Paired(text, graph.name(below).to_owned(), graph.name(above).to_owned()));
    }
    let mut after = graph.clone();
    after.put_above(above, below);
    admit_change(graph, &after, "")?;
    // Whoever wrote to the node writes to the overlay now.
    if after.unwritable() == Some(above) {
        return Err(Refusal::ReadOnly);
    }
    Ok(Edit::Overlay(above, below))
}

fn judge_resize(graph: &Graph, node: &str, by_device: bool, bytes: i64) -> Result<Edit, Refusal> {
    let (device, name) = if by_device { (node, "") } else { ("", node) };
    let missing = || Refusal::NoSuchNode(device.to_owned(), name.to_owned());
    let id = graph.find(node).ok_or_else(missing)?;
    let Ok(length) = u64::try_from(bytes) else {
        return Err(Refusal::Plain("Parameter 'size' expects a >0 size"));
    };
    admit(graph, Operation::Delete, id)?;
    Ok(Edit::Length(id, length))
}

fn judge_reopen(graph: &Graph, list: &[Reopen]) -> Result<Edit, Refusal> {
    // The nodes are all looked up before any of what is wanted of them is (qmp_blockdev_reopen in QEMU 10.0).
    let mut edits = Vec::new();
    for options in list {
        if options.name.is_empty() {
            return Err(Refusal::Plain("node-name not specified"));
        }
        let id = graph.find(&options.name).ok_or_else(|| {
            Refusal::Named("Failed to find node with node-name='", options.name.clone(), "'")
        })?;
        edits.push((id, options.clone()));
    }
    // Each finds the links that the ones before it have changed (bdrv_set_file_or_backing_noperm).
    let mut changed = graph.clone();
    for (id, options) in &edits {
        changed = judge_backing(changed, *id, options)?;
    }
    // What each needs of the others is looked at when all have been prepared (bdrv_reopen_multiple).
    admit_change(graph, &changed, "")?;
    Ok(Edit::Options(edits))
}

/// What the graph is with another backing for a node, if it may have that.
fn judge_backing(graph: Graph, id: NodeId, options: &Reopen) -> Result<Graph, Refusal> {
    let node = graph.node(id);
    if node.driver.is_filter() && options.file.is_some() {
        let text = ["Block format '", "' used by node '", "' does not support reopening files"];
        return Err(Refusal::Paired(text, node.driver.word().to_owned(), options.name.clone()));
    }
    if node.driver == Driver::File && options.driver != node.driver.word() {
        // What was given and is left out is looked at first (bdrv_reset_options_allowed).
        return Err(Refusal::Named("Option '", "filename".into(), "' cannot be reset to its default value"));
    }
    if !node.driver.is_filter() && options.driver != node.driver.word() {
        return Err(Refusal::Named("Cannot change the option '", "driver".into(), "'"));
    }
    let Some(wanted) = &options.backing else { return Ok(graph) };
    let wanted = match wanted {
        None => None,
        Some(name) => Some(
            find_node(&graph, name)
                .map_err(|_| Refusal::Named("Cannot find device='' nor node-name='", name.clone(), "'"))?,
        ),
    };
    if wanted == node.backing || is_unchanged(&graph, id, wanted) {
        return Ok(graph);
    }
    if let Some(new) = wanted
        && graph.reached(new).contains(&id)
    {
        let text = ["Making '", "' a backing child of '", "' would create a cycle"];
        return Err(Refusal::Paired(text, graph.name(new).to_owned(), options.name.clone()));
    }
    if let Some(old) = node.backing {
        if is_implicit(&graph, old) {
            return Err(Refusal::Named(
                "Cannot replace implicit backing child of ",
                options.name.clone(),
                "",
            ));
        }
        // QEMU 10.0 dies where a commit's named filter is taken from under its overlay.
        if graph.is_frozen(id) || graph.node(old).driver == Driver::CommitTop {
            return Err(Refusal::FrozenLink(id, old));
        }
    }
    let mut after = graph.clone();
    after.set_backing(id, wanted);
    Ok(after)
}

/// Whether the backing that is asked for is the one a client sees already.
pub fn is_unchanged(graph: &Graph, id: NodeId, wanted: Option<NodeId>) -> bool {
    let Some(present) = graph.node(id).backing else { return wanted.is_none() };
    wanted.is_some() && graph.downwards(present).find(|node| !is_implicit(graph, *node)) == wanted
}

/// Whether a node is a job's filter that nobody gave a name. A backup's always shows.
fn is_implicit(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    node.driver.is_filter()
        && node.driver != Driver::CopyBeforeWrite
        && !node.by_monitor
        && node.name.as_deref().is_none_or(|name| name.starts_with('#'))
}
