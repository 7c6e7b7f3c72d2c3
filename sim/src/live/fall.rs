//! How a daemon, a job or an image failed where no model is needed to see it, as data: what buckets are compared with.

use model::command::plan::JobType;
use model::job::Status;
use serde::Deserialize;
use serde_json::Value;

/// A failure that needs no model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fall {
    /// What happened.
    pub kind: Fell,
    /// How the process ended: `signal 11`; nothing, if it did not.
    pub how: String,
    /// What it said on its standard error, or what is wrong, in the words of who found it.
    pub said: String,
    /// The command in flight, or the one answered last.
    pub command: String,
    /// The types of its actions, if it is a transaction.
    pub actions: Vec<String>,
    /// A guest had connected a moment ago.
    pub connecting: bool,
    /// A command has put a node or an export into a thread of its own.
    pub threaded: bool,
    /// The commands of the last moments, the latest first.
    pub lately: Vec<String>,
    /// The jobs, as far as events have reported.
    pub jobs: Vec<Standing>,
    /// The functions on its stacks, innermost first.
    pub stacks: Vec<Vec<String>>,
}

/// What happened.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fell {
    /// The process ended by itself.
    Crash,
    /// It does not answer.
    Hang,
    /// It does not answer and is busy.
    Spin,
    /// Its events never end.
    Flood,
    /// A job does not go on.
    Stuck,
    /// An export does not go.
    ExportStays,
    /// A guest is not served.
    Unserved,
    /// Another program does not read an image as ours does.
    ReadersDiffer,
}

/// How a job stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What it does.
    pub job_type: JobType,
    /// Its status.
    pub status: Status,
    /// It is to ignore errors.
    pub ignores: bool,
    /// It has nothing to copy.
    pub idle: bool,
}

impl Fall {
    /// A failure, by what was in flight or came last.
    pub fn new(kind: Fell, said: String, command: &str, jobs: Vec<Standing>) -> Fall {
        let read: Value = serde_json::from_str(command).unwrap_or_default();
        let name = read["execute"].as_str().unwrap_or_default().to_owned();
        let types = read["arguments"]["actions"].as_array().into_iter().flatten();
        let actions = types.filter_map(|action| action["type"].as_str().map(str::to_owned)).collect();
        Fall {
            kind,
            how: String::new(),
            said,
            command: name,
            actions,
            connecting: false,
            threaded: false,
            lately: Vec::new(),
            jobs,
            stacks: Vec::new(),
        }
    }
}
