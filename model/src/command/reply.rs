//! The answers a command may get, and the text of every refusal.
//!
//! Refusals are kept as values and become text only to be compared with a reply, or to be shown.

use crate::command::record::Job;
use crate::graph::blocker::Reason;
use crate::graph::{GENERATED, Graph, JobId, NodeId};
use crate::job::{Status, Verb};
use crate::json::Json;
use crate::release::Release;
use crate::shared::Shared;
use std::fmt;

/// One answer that is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// `{"return": {}}`
    Done,
    /// The answer of a query; judged apart.
    Report,
    /// This refusal.
    Refused(Refusal),
    /// Any error: the model has no opinion on the text.
    AnyError,
    /// Success, of which the model knows no more than that no data may change.
    Unknown,
    /// Any error whose text contains this.
    ErrorAbout(&'static str),
    /// Any error that names an armed fault.
    Fault,
}

impl Answer {
    /// Whether it says that the command was carried out.
    pub fn is_success(&self) -> bool {
        matches!(self, Answer::Done | Answer::Report | Answer::Unknown)
    }
}

/// A command not accepted, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Before `qmp_capabilities`.
    NotNegotiated,
    /// `qmp_capabilities` a second time.
    AlreadyNegotiated,
    /// Not JSON.
    NotJson,
    /// JSON, but no object.
    NotAnObject,
    /// No `execute`.
    NoExecute,
    /// `execute` is no string.
    BadExecute,
    /// `arguments` is no object.
    BadArguments,
    /// Members beside `execute`, `arguments` and `id`: any of these is named.
    UnexpectedMember(Vec<String>),
    /// There is no such command.
    UnknownCommand(String),
    /// A member is missing.
    Missing(String),
    /// Members that are not in the schema: any of these is named.
    Unexpected(Vec<String>),
    /// A member of the wrong type.
    BadType(String, &'static str),
    /// A word that is not in the enumeration.
    BadWord(String, String),
    /// Two members that exclude each other.
    Both(&'static str, &'static str),
    /// Neither device nor node: the device asked for and the node asked for.
    NoSuchNode(String, String),
    /// Neither device nor node, asked by `block-commit`.
    NoSuchDevice(String),
    /// The same words in the general class of errors.
    NoDeviceToWatch(String),
    /// `base` matches no image below the target.
    NoSuchBase(String),
    /// `base-node` is not below the device.
    NotBacking(String, String),
    /// `bottom` is a filter.
    BottomIsFilter(String),
    /// `bottom` is not in the device's chain.
    BottomElsewhere(String, String),
    /// `base` is only reachable as a filter of the target.
    NotInChain(String, String),
    /// A blocker stands on the node.
    Busy(NodeId, Reason),
    /// `backing-file` without a base.
    BackingFileWithoutBase,
    /// A link that a job relies on, by its two ends.
    FrozenLink(NodeId, NodeId),
    /// A link to a commit's filter cannot be frozen.
    CannotFreeze(NodeId),
    /// The target cannot be reopened for writing.
    ReadOnly,
    /// The node name cannot be given.
    Name(NameRefusal, &'static str),
    /// The job id is not well formed.
    BadJobId(String),
    /// The job id is taken.
    JobIdInUse(String),
    /// A negative speed.
    NegativeSpeed,
    /// Two users of a node cannot live together: any of these texts says which, for each pair of them.
    Conflict(Vec<String>),
    /// A text without names that the model must know.
    Plain(&'static str),
    /// A text about a name.
    Named(&'static str, String, &'static str),
    /// A text about two names.
    Paired([&'static str; 3], String, String),
    /// No such job, asked by a `block-job-` command or a `job-` command.
    NoJob(String, bool),
    /// The verb is not for this status.
    WrongStatus(JobId, Status, Verb),
    /// Paused twice.
    AlreadyPaused,
    /// Resumed without a pause.
    NotPaused,
    /// Cancelled softly while paused.
    CurrentlyPaused(JobId),
    /// This type of job has nothing to change.
    NothingToChange,
    /// `blockdev-del` of an unknown node.
    NothingToDelete(String),
    /// A guest or a job's device stands on the node.
    InUse(NodeId),
    /// The node was not added by an operator.
    NotOwned(NodeId),
    /// Another node reads this one.
    DeviceInUse(NodeId),
    /// `blockdev-add` without `node-name`.
    NameNeeded,
    /// An image cannot be opened.
    NoSuchFile(String),
    /// Not the format that was asked for.
    NotQcow2,
    /// The same, while the backing of a node was opened.
    Backing(Box<Refusal>),
}

/// Why a node name cannot be given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NameRefusal {
    /// Taken.
    Duplicate(String),
    /// Not well formed.
    Invalid(String),
    /// More than 31 bytes.
    TooLong,
}

/// What a refusal's text needs to know about the state.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The nodes.
    pub graph: &'a Graph,
    /// Every job, by [`JobId`].
    pub jobs: &'a [Shared<Job>],
}

impl Names<'_> {
    pub(super) fn job(&self, id: JobId) -> &str {
        &self.jobs[usize::from(id.0)].id
    }
}

impl Refusal {
    /// The error class of QMP.
    pub fn class(&self) -> &'static str {
        match self {
            Refusal::NoJob(_, true) => "DeviceNotActive",
            Refusal::NoSuchDevice(_) => "DeviceNotFound",
            Refusal::NotNegotiated | Refusal::AlreadyNegotiated | Refusal::UnknownCommand(_) => {
                "CommandNotFound"
            }
            _ => "GenericError",
        }
    }

    /// Whether an error with this text is this refusal.
    pub fn is_worded_as(&self, text: &str, names: Names<'_>, release: Release) -> bool {
        match self {
            Refusal::NotJson if release.places_json_errors() => is_placed(text, "JSON parse error"),
            Refusal::NotJson => text.starts_with("JSON parse error"),
            Refusal::Unexpected(any) => any.iter().any(|m| text == format!("Parameter '{m}' is unexpected")),
            Refusal::UnexpectedMember(any) => {
                any.iter().any(|m| text == format!("QMP input member '{m}' is unexpected"))
            }
            // Which of several overlays is named hangs on the order of lists that a refused change alters as well.
            Refusal::Busy(id, Reason::BackingOf(first)) => {
                names.graph.overlays(*id).chain([*first]).any(|overlay| {
                    let named = Refusal::Busy(*id, Reason::BackingOf(overlay));
                    matches_generated(&named.text(names), text)
                })
            }
            Refusal::Conflict(any) => any.iter().any(|pattern| matches_generated(pattern, text)),
            _ => matches_generated(&self.text(names), text),
        }
    }
}

/// Whether a text begins with a line and a column, and then so: `2:25: JSON parse error, expecting key`.
fn is_placed(text: &str, start: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.splitn(3, ':');
    let (line, column) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let rest = parts.next().and_then(|rest| rest.strip_prefix(' ')).unwrap_or_default();
    is_number(line) && is_number(column) && rest.starts_with(start)
}

impl NameRefusal {
    pub(super) fn text(&self) -> String {
        match self {
            NameRefusal::Duplicate(name) => format!("Duplicate nodes with node-name='{name}'"),
            NameRefusal::Invalid(name) => format!("Invalid node-name: '{name}'"),
            NameRefusal::TooLong => "Node name too long".into(),
        }
    }
}

/// Whether `text` is `pattern` with each [`GENERATED`] replaced by a generated name.
pub fn matches_generated(pattern: &str, text: &str) -> bool {
    if let Some((before, after)) = pattern.split_once(ANYTHING) {
        // What stands for anything stands between two texts that are known.
        let ends = |rest: &str| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches_generated(after, &rest[at..]))
        };
        return before_fits(before, text).is_some_and(ends);
    }
    let Some((before, after)) = pattern.split_once(GENERATED) else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    match generated_name(rest) {
        Some(name) => matches_generated(after, &rest[name.len()..]),
        None => false,
    }
}

/// What follows in `text` after `pattern`, if it starts with it.
fn before_fits<'a>(pattern: &str, text: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once(GENERATED) else { return text.strip_prefix(pattern) };
    let rest = text.strip_prefix(before)?;
    let name = generated_name(rest)?;
    before_fits(after, &rest[name.len()..])
}

/// Stands in a text for what the model does not know.
pub const ANYTHING: &str = "\u{1}";

/// The generated node name that `text` starts with.
pub fn generated_name(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("#block")?;
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    (count > 0).then(|| &text[.."#block".len() + count])
}

/// A reply, read.
#[derive(Debug)]
pub enum Reply<'a> {
    /// What the command returned.
    Return(&'a Json<'a>),
    /// Class and description of the error.
    Error(&'a str, &'a str),
}

impl fmt::Display for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Return(value) => write!(f, "{value}"),
            Reply::Error(class, description) => write!(f, "{class}: {description}"),
        }
    }
}

impl<'a> Reply<'a> {
    /// Reads a reply; `None` if it is not one.
    pub fn read(json: &'a Json<'a>) -> Option<Reply<'a>> {
        match (json.get("return"), json.get("error")) {
            (Some(value), None) => Some(Reply::Return(value)),
            (None, Some(error)) => Some(Reply::Error(error.text_of("class")?, error.text_of("desc")?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_matches_any_digits_and_nothing_else() {
        let pattern = format!("Node '{GENERATED}' is busy: {GENERATED}");
        assert!(matches_generated(&pattern, "Node '#block123' is busy: #block4"));
        assert!(!matches_generated(&pattern, "Node 'top' is busy: #block4"));
        assert!(!matches_generated(&pattern, "Node '#block' is busy: #block4"));
        assert_eq!(generated_name("#block17' is"), Some("#block17"));
    }
}
