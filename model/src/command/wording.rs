//! How refusals are worded, as the daemon words them.

use super::reply::{Names, Refusal};
use crate::graph::NodeId;
use crate::graph::blocker::Reason;

impl Refusal {
    /// The description, with [`GENERATED`](crate::graph::GENERATED) where a generated node name goes.
    pub fn text(&self, names: Names<'_>) -> String {
        match self {
            Refusal::NotNegotiated
            | Refusal::AlreadyNegotiated
            | Refusal::NotJson
            | Refusal::NotAnObject
            | Refusal::NoExecute
            | Refusal::BadExecute
            | Refusal::BadArguments
            | Refusal::UnexpectedMember(..)
            | Refusal::UnknownCommand(..)
            | Refusal::Missing(..)
            | Refusal::Unexpected(..)
            | Refusal::BadType(..)
            | Refusal::BadWord(..)
            | Refusal::Both(..) => self.text_on_language(),
            Refusal::BadJobId(..)
            | Refusal::JobIdInUse(..)
            | Refusal::NegativeSpeed
            | Refusal::NoJob(..)
            | Refusal::WrongStatus(..)
            | Refusal::AlreadyPaused
            | Refusal::NotPaused
            | Refusal::CurrentlyPaused(..)
            | Refusal::NothingToChange => self.text_on_jobs(names),
            Refusal::ReadOnly
            | Refusal::Name(..)
            | Refusal::NothingToDelete(..)
            | Refusal::InUse(..)
            | Refusal::NotOwned(..)
            | Refusal::DeviceInUse(..)
            | Refusal::NameNeeded
            | Refusal::NoSuchFile(..)
            | Refusal::NotQcow2
            | Refusal::Backing(..) => self.text_on_nodes(names),
            Refusal::NoSuchNode(..)
            | Refusal::NoSuchDevice(..)
            | Refusal::NoDeviceToWatch(..)
            | Refusal::NoSuchBase(..)
            | Refusal::NotBacking(..)
            | Refusal::BottomIsFilter(..)
            | Refusal::BottomElsewhere(..)
            | Refusal::NotInChain(..)
            | Refusal::Busy(..)
            | Refusal::BackingFileWithoutBase
            | Refusal::FrozenLink(..)
            | Refusal::CannotFreeze(..)
            | Refusal::Plain(..)
            | Refusal::Named(..)
            | Refusal::Paired(..)
            | Refusal::Conflict(..) => self.text_on_graph(names),
        }
    }

    /// The description of a command that is none, or whose arguments do not fit the schema.
    fn text_on_language(&self) -> String {
        match self {
            Refusal::NotNegotiated => "Expecting capabilities negotiation with 'qmp_capabilities'".into(),
            Refusal::AlreadyNegotiated => {
                "Capabilities negotiation is already complete, command ignored".into()
            }
            Refusal::NotJson => "JSON parse error".into(),
            Refusal::NotAnObject => "QMP input must be a JSON object".into(),
            Refusal::NoExecute => "QMP input lacks member 'execute'".into(),
            Refusal::BadExecute => "QMP input member 'execute' must be a string".into(),
            Refusal::BadArguments => "QMP input member 'arguments' must be an object".into(),
            Refusal::UnexpectedMember(any) => {
                format!("QMP input member '{}' is unexpected", any.join("' or '"))
            }
            Refusal::UnknownCommand(name) => format!("The command {name} has not been found"),
            Refusal::Missing(member) => format!("Parameter '{member}' is missing"),
            Refusal::Unexpected(any) => format!("Parameter '{}' is unexpected", any.join("' or '")),
            Refusal::BadType(member, kind) => {
                format!("Invalid parameter type for '{member}', expected: {kind}")
            }
            Refusal::BadWord(member, word) => format!("Parameter '{member}' does not accept value '{word}'"),
            Refusal::Both(one, two) => {
                format!("'{one}' and '{two}' cannot be specified at the same time")
            }
            _ => unreachable!("it is not about the language"),
        }
    }

    /// The description of a command that jobs do not allow.
    fn text_on_jobs(&self, names: Names<'_>) -> String {
        match self {
            Refusal::BadJobId(id) => format!("Invalid job ID '{id}'"),
            Refusal::JobIdInUse(id) => format!("Job ID '{id}' already in use"),
            Refusal::NegativeSpeed => "Parameter 'speed' expects a non-negative value".into(),
            Refusal::NoJob(id, true) => format!("Block job '{id}' not found"),
            Refusal::NoJob(_, false) => "Job not found".into(),
            Refusal::WrongStatus(job, status, verb) => format!(
                "Job '{}' in state '{}' cannot accept command verb '{}'",
                names.job(*job),
                status.word(),
                verb.word()
            ),
            Refusal::AlreadyPaused => "Job is already paused".into(),
            Refusal::NotPaused => "Can't resume a job that was not paused".into(),
            Refusal::CurrentlyPaused(job) => {
                format!("The block job for device '{}' is currently paused", names.job(*job))
            }
            Refusal::NothingToChange => "Job type does not support change".into(),
            _ => unreachable!("it is not about jobs"),
        }
    }

    /// The description of a command that opens or deletes a node which cannot be.
    fn text_on_nodes(&self, names: Names<'_>) -> String {
        let node = |id: NodeId| names.graph.name(id);
        match self {
            Refusal::ReadOnly => "Block node is read-only".into(),
            Refusal::Name(why, prefix) => format!("{prefix}{}", why.text()),
            Refusal::NothingToDelete(name) => format!("Failed to find node with node-name='{name}'"),
            Refusal::InUse(id) => format!("Node {} is in use", node(*id)),
            Refusal::NotOwned(id) => format!("Node {} is not owned by the monitor", node(*id)),
            Refusal::DeviceInUse(id) => format!("Block device {} is in use", node(*id)),
            Refusal::NameNeeded => "'node-name' must be specified for the root node".into(),
            Refusal::NoSuchFile(file) => format!("Could not open '{file}': No such file or directory"),
            Refusal::NotQcow2 => "Image is not in qcow2 format".into(),
            Refusal::Backing(why) => format!("Could not open backing file: {}", why.text(names)),
            _ => unreachable!("it is not about nodes that come and go"),
        }
    }

    /// The description of a command that the graph does not allow.
    fn text_on_graph(&self, names: Names<'_>) -> String {
        let node = |id: NodeId| names.graph.name(id);
        match self {
            Refusal::NoSuchNode(device, name) => {
                format!("Cannot find device='{device}' nor node-name='{name}'")
            }
            Refusal::NoSuchDevice(name) | Refusal::NoDeviceToWatch(name) => {
                format!("Device '{name}' not found")
            }
            Refusal::NoSuchBase(file) => format!("Can't find '{file}' in the backing chain"),
            Refusal::NotBacking(base, device) => {
                format!("Node '{base}' is not a backing image of '{device}'")
            }
            Refusal::BottomIsFilter(name) => {
                format!("Node '{name}' is a filter, use a non-filter node as 'bottom'")
            }
            Refusal::BottomElsewhere(name, device) => {
                format!("Node '{name}' is not in a chain starting from '{device}'")
            }
            Refusal::NotInChain(base, target) => {
                format!("'{base}' is not in the backing chain of '{target}'")
            }
            Refusal::Busy(id, Reason::Job(job, _)) => {
                let kind = names.jobs.get(usize::from(job.0)).map_or("", |job| job.plan.kind().word());
                format!("Node '{}' is busy: block device is in use by block job: {kind}", node(*id))
            }
            Refusal::Busy(id, Reason::BackingOf(parent)) => {
                format!("Node '{}' is busy: node is used as backing hd of '{}'", node(*id), node(*parent))
            }
            Refusal::BackingFileWithoutBase => {
                "backing file specified, but streaming the entire chain".into()
            }
            Refusal::FrozenLink(above, below) => {
                format!("Cannot change frozen 'backing' link from '{}' to '{}'", node(*above), node(*below))
            }
            Refusal::CannotFreeze(id) => format!("Cannot freeze 'backing' link to '{}'", node(*id)),
            Refusal::Plain(text) => (*text).to_owned(),
            Refusal::Named(before, name, after) => format!("{before}{name}{after}"),
            Refusal::Paired([before, between, after], one, two) => {
                format!("{before}{one}{between}{two}{after}")
            }
            Refusal::Conflict(any) => any.join("\n      or "),
            _ => unreachable!("it is not about the graph"),
        }
    }
}
