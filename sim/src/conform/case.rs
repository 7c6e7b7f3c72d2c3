//! A recorded case, taken apart: images, nodes, steps. The format is described in `tests/conformance/README.md`.
//!
//! Whatever is not understood is an error: a case that is played in part proves nothing.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A case.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name, which starts with its category.
    pub name: String,
    /// What it is about.
    pub category: String,
    /// Added to the daemon's command line.
    #[serde(default, rename = "qsd_args")]
    pub daemon_arguments: Vec<String>,
    /// Whether to wait for rest before looking.
    #[serde(default = "yes")]
    pub settle: bool,
    /// Made in this order.
    pub images: Vec<Image>,
    /// Arguments of `blockdev-add`, sent before the first step.
    pub blockdevs: Vec<Value>,
    /// What is done then.
    pub steps: Vec<Step>,
    /// How it is brought to its end.
    #[serde(default, rename = "final")]
    pub ending: Ending,
}

/// An image file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name in the folder of the case.
    pub file: String,
    /// qcow2 or raw.
    #[serde(default = "qcow2", rename = "fmt")]
    pub format: String,
    /// The guest's size in bytes.
    pub size: u64,
    /// The file below.
    pub backing: Option<String>,
    /// Its format.
    #[serde(rename = "backing_fmt")]
    pub backing_format: Option<String>,
    /// Bytes of a cluster, if not the default.
    pub cluster_size: Option<u64>,
    /// Other options of the creation, as the image tool takes them.
    #[serde(default, rename = "opts")]
    pub options: BTreeMap<String, Value>,
    /// Written into it, in this order.
    #[serde(default)]
    pub writes: Vec<Write>,
}

/// What is written into a new image.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// write, zero or discard.
    #[serde(default)]
    pub op: WriteOp,
    /// Where, in bytes.
    pub offset: u64,
    /// How much, in bytes.
    pub len: u64,
    /// The byte that is repeated.
    #[serde(default)]
    pub pattern: u8,
    /// Whether the clusters are compressed.
    #[serde(default)]
    pub compressed: bool,
    /// Whether zeroes give their space back.
    #[serde(default)]
    pub unmap: bool,
}

/// How a new image is changed.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WriteOp {
    /// Bytes.
    #[default]
    Write,
    /// Zeroes.
    Zero,
    /// Not needed any more.
    Discard,
}

/// One step.
#[derive(Clone, Debug, Deserialize)]
pub struct Step {
    /// Whether nobody looks at jobs and graph after it.
    #[serde(default)]
    pub nosnap: bool,
    /// What it does.
    #[serde(flatten)]
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Sends a command, or with a member `raw` a text.
    Qmp(Value),
    /// A request of a client.
    Io(Io),
    /// Waits for an event.
    WaitEvent(WaitEvent),
    /// Waits for a job's status.
    WaitJob(WaitJob),
    /// Brings every job to its end.
    Finish(bool),
    /// Lets so many seconds pass.
    Sleep(f64),
    /// Looks a command up in the introspection.
    Schema(String),
    /// Runs a program beside the daemon.
    Host(Vec<String>),
}

/// A request of a client, through an export.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Io {
    /// The export; without it, a temporary one is made on `node`.
    pub export: Option<String>,
    /// The node of a temporary export.
    pub node: Option<String>,
    /// What.
    pub op: IoOp,
    /// Where, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// How much, in bytes.
    #[serde(default)]
    pub len: u32,
    /// The byte that is repeated.
    #[serde(default)]
    pub pattern: u8,
    /// Whether zeroes must keep their space.
    #[serde(default)]
    pub nohole: bool,
    /// Whether a temporary export may write, if `op` does not say it.
    pub writable: Option<bool>,
    /// Whether the connection is closed afterwards.
    #[serde(default)]
    pub close: bool,
}

/// What a client asks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoOp {
    /// Bytes of the disk.
    Read,
    /// Bytes onto the disk.
    Write,
    /// Zeroes onto the disk.
    Zero,
    /// Not needed any more.
    Discard,
    /// Make everything durable.
    Flush,
    /// Size and hash of the whole disk.
    Hash,
}

/// Waits for an event.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitEvent {
    /// Its name.
    pub event: String,
    /// What its data must hold.
    #[serde(default, rename = "match")]
    pub matching: BTreeMap<String, Value>,
    /// Seconds until it is given up.
    #[serde(default = "ten")]
    pub timeout: f64,
}

/// Waits for a job's status.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitJob {
    /// The job.
    pub id: String,
    /// Any of these; `gone` is that of a job that is not there.
    pub status: Statuses,
    /// Seconds until it is given up.
    #[serde(default = "ten")]
    pub timeout: f64,
}

/// One status or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Statuses {
    /// This one.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

impl Statuses {
    /// Whether a status is wanted.
    pub fn hold(&self, status: &str) -> bool {
        match self {
            Statuses::One(one) => one == status,
            Statuses::Any(any) => any.iter().any(|one| one == status),
        }
    }
}

/// How a case is brought to its end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// Jobs are left as they are.
    #[serde(default)]
    pub leave_jobs: bool,
    /// Nodes are not read.
    #[serde(default)]
    pub nohash: bool,
    /// Only these nodes are read.
    pub hash: Option<Vec<String>>,
    /// Images are not looked at.
    #[serde(default)]
    pub nooffline: bool,
}

fn yes() -> bool {
    true
}

fn qcow2() -> String {
    "qcow2".to_owned()
}

fn ten() -> f64 {
    10.0
}
