//! Commands, as the model understands them: QMP text in, a typed command or its refusal out.

pub mod arguments;
pub mod backup;
pub mod blockdev;
pub mod commit;
pub mod editing;
pub mod exporting;
pub mod mirror;
pub mod opening;
pub mod plan;
pub mod record;
pub mod reply;
pub mod starting;
pub mod stream;
mod wording;

use crate::command::arguments::{Member, Type, check, optional, required};
use crate::command::blockdev::NodeSpec;
use crate::command::editing::Editing;
use crate::command::exporting::Exporting;
use crate::command::reply::Refusal;
use crate::command::starting::Start;
use crate::job::{Kind, Verb};
use crate::json::Json;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `qmp_capabilities`
    Capabilities,
    /// `blockdev-add`
    Add(Box<NodeSpec>),
    /// `blockdev-del`, with the node's name.
    Delete(String),
    /// `block-stream`, `block-commit`, `blockdev-mirror`, `blockdev-backup`
    Start(Box<Start>),
    /// `transaction`: jobs that start together, and whether they end together.
    Transaction(Vec<Start>, bool),
    /// Something that edits the graph or an image.
    Edit(Box<Editing>),
    /// Something about exports.
    Export(Box<Exporting>),
    /// `object-add` of a throttle group, with its id.
    ThrottleGroup(String),
    /// A verb on a job.
    Verb(VerbArguments),
    /// `query-jobs`
    QueryJobs,
    /// `query-block-jobs`
    QueryBlockJobs,
    /// `query-named-block-nodes`
    QueryNodes,
    /// `query-qmp-schema`
    QuerySchema,
    /// `x-debug-query-block-graph`
    QueryGraph,
    /// `query-block-exports`
    QueryExports,
    /// `quit`
    Quit,
    /// Something the model has no opinion on. If it succeeds, its effect is unknown, and data must hold.
    Other {
        /// Its name.
        name: String,
        /// The job it starts, if it does.
        job: Option<String>,
    },
}

/// A verb, and the job it is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerbArguments {
    /// What is asked.
    pub verb: Verb,
    /// The job's id.
    pub job: String,
    /// Whether the command is one of the `block-job-` family, whose texts differ.
    pub block_job: bool,
    /// `force` of `block-job-cancel`; `job-cancel` always forces.
    pub force: bool,
    /// `speed` of `block-job-set-speed`.
    pub speed: i64,
}

const CHANGE: &[Member] = &[
    required("id", Type::Text),
    required("type", Type::Word(&JOB_TYPES)),
    optional("copy-mode", Type::Word(&["background", "write-blocking"])),
];

const JOB_TYPES: [&str; 9] = [
    "commit",
    "stream",
    "mirror",
    "backup",
    "create",
    "amend",
    "snapshot-load",
    "snapshot-save",
    "snapshot-delete",
];

/// Commands of QEMU that exist but are beyond this model.
const BEYOND: [&str; 23] = [
    "block-dirty-bitmap-merge",
    "blockdev-snapshot-internal-sync",
    "blockdev-snapshot-delete-internal-sync",
    "blockdev-create",
    "blockdev-set-active",
    "block-latency-histogram-set",
    "device_add",
    "drive-backup",
    "drive-mirror",
    "nbd-server-add",
    "nbd-server-remove",
    "object-add",
    "object-del",
    "query-block",
    "query-blockstats",
    "query-commands",
    "query-named-block-nodes",
    "query-version",
    "x-blockdev-amend",
    "x-debug-block-dirty-bitmap-sha256",
    "x-blockdev-change",
    "x-blockdev-set-iothread",
    "block-set-io-throttle",
];

/// Which shape a command's arguments have.
enum Shape {
    Plain(Command, &'static [Member]),
    Start(Kind),
    Transaction,
    Edit(editing::Reader),
    Export(exporting::Reader),
    Object,
    Add,
    Delete,
    Verb(Verb, bool, &'static [Member]),
}

const NOTHING: &[Member] = &[];
const JOB_BY_ID: &[Member] = &[required("id", Type::Text)];
const JOB_BY_DEVICE: &[Member] = &[required("device", Type::Text)];
const CANCEL: &[Member] = &[required("device", Type::Text), optional("force", Type::Boolean)];
const SET_SPEED: &[Member] = &[required("device", Type::Text), required("speed", Type::Integer)];
const NODES: &[Member] = &[optional("flat", Type::Boolean)];
const CAPABILITIES: &[Member] = &[optional("enable", Type::Any)];
const DELETE: &[Member] = &[required("node-name", Type::Text)];

fn shape(name: &str) -> Option<Shape> {
    Some(match name {
        "qmp_capabilities" => Shape::Plain(Command::Capabilities, CAPABILITIES),
        "blockdev-add" => Shape::Add,
        "blockdev-del" => Shape::Delete,
        "block-stream" => Shape::Start(Kind::Stream),
        "block-commit" => Shape::Start(Kind::Commit),
        "blockdev-mirror" => Shape::Start(Kind::Mirror),
        "blockdev-backup" => Shape::Start(Kind::Backup),
        "transaction" => Shape::Transaction,
        "object-add" => Shape::Object,
        "query-block-exports" => Shape::Plain(Command::QueryExports, NOTHING),
        "x-debug-query-block-graph" => Shape::Plain(Command::QueryGraph, NOTHING),
        "block-job-pause" => Shape::Verb(Verb::Pause, true, JOB_BY_DEVICE),
        "block-job-resume" => Shape::Verb(Verb::Resume, true, JOB_BY_DEVICE),
        "block-job-cancel" => Shape::Verb(Verb::Cancel, true, CANCEL),
        "block-job-set-speed" => Shape::Verb(Verb::SetSpeed, true, SET_SPEED),
        "block-job-complete" => Shape::Verb(Verb::Complete, true, JOB_BY_DEVICE),
        "block-job-finalize" => Shape::Verb(Verb::Finalize, true, JOB_BY_ID),
        "block-job-dismiss" => Shape::Verb(Verb::Dismiss, true, JOB_BY_ID),
        "block-job-change" => Shape::Verb(Verb::Change, true, CHANGE),
        "job-pause" => Shape::Verb(Verb::Pause, false, JOB_BY_ID),
        "job-resume" => Shape::Verb(Verb::Resume, false, JOB_BY_ID),
        "job-cancel" => Shape::Verb(Verb::Cancel, false, JOB_BY_ID),
        "job-complete" => Shape::Verb(Verb::Complete, false, JOB_BY_ID),
        "job-finalize" => Shape::Verb(Verb::Finalize, false, JOB_BY_ID),
        "job-dismiss" => Shape::Verb(Verb::Dismiss, false, JOB_BY_ID),
        "query-jobs" => Shape::Plain(Command::QueryJobs, NOTHING),
        "query-block-jobs" => Shape::Plain(Command::QueryBlockJobs, NOTHING),
        "query-named-block-nodes" => Shape::Plain(Command::QueryNodes, NODES),
        "query-qmp-schema" => Shape::Plain(Command::QuerySchema, NOTHING),
        "quit" => Shape::Plain(Command::Quit, NOTHING),
        name => match (editing::reader(name), exporting::reader(name)) {
            (Some(reader), _) => Shape::Edit(reader),
            (None, Some(reader)) => Shape::Export(reader),
            (None, None) => return None,
        },
    })
}

impl Command {
    /// Reads a command from its text, and the `id` that its reply must echo, as text.
    pub fn read(text: &str) -> (Result<Command, Refusal>, Option<String>) {
        let Some(request) = Json::parse(text) else { return (Err(Refusal::NotJson), None) };
        let id = request.get("id").map(ToString::to_string);
        (Self::from_json(&request), id)
    }

    /// Reads a command from its text.
    pub fn parse(text: &str) -> Result<Command, Refusal> {
        Self::read(text).0
    }

    fn from_json(request: &Json<'_>) -> Result<Command, Refusal> {
        let (name, arguments) = envelope(request)?;
        let empty = Json::Object(Vec::new());
        let arguments = arguments.unwrap_or(&empty);
        match shape(name) {
            None if BEYOND.contains(&name) => {
                Ok(Command::Other { name: name.to_owned(), job: owned(arguments, "job-id") })
            }
            None => Err(Refusal::UnknownCommand(name.to_owned())),
            Some(Shape::Plain(command, members)) => check(&[members], "", arguments).map(|()| command),
            Some(Shape::Start(kind)) => Ok(Command::Start(Box::new(Start::read(kind, arguments)?))),
            Some(Shape::Transaction) => transaction(arguments),
            Some(Shape::Edit(read)) => Ok(Command::Edit(Box::new(read(arguments)?))),
            Some(Shape::Export(read)) => Ok(Command::Export(Box::new(read(arguments)?))),
            Some(Shape::Object) => Ok(match arguments.text_of("qom-type") {
                Some("throttle-group") => Command::ThrottleGroup(owned(arguments, "id").unwrap_or_default()),
                _ => Command::beyond("object-add"),
            }),
            Some(Shape::Add) => NodeSpec::read(arguments),
            Some(Shape::Delete) => {
                check(&[DELETE], "", arguments)?;
                Ok(Command::Delete(owned(arguments, "node-name").unwrap_or_default()))
            }
            Some(Shape::Verb(verb, block_job, members)) => {
                check(&[members], "", arguments)?;
                Ok(Command::Verb(verb_arguments(verb, block_job, members[0].name, arguments)))
            }
        }
    }

    /// Whether its success changes something before it is answered: a job that it starts reports so itself.
    pub fn changes(&self) -> bool {
        match self {
            Command::Add(_)
            | Command::Delete(_)
            | Command::Edit(_)
            | Command::Export(_)
            | Command::ThrottleGroup(_)
            | Command::Verb(_)
            | Command::Quit => true,
            Command::Capabilities
            | Command::Start(_)
            | Command::Transaction(..)
            | Command::QueryJobs
            | Command::QueryBlockJobs
            | Command::QueryNodes
            | Command::QuerySchema
            | Command::QueryGraph
            | Command::QueryExports
            | Command::Other { .. } => false,
        }
    }

    /// Whether it asks for an iothread.
    pub fn is_threaded(&self) -> bool {
        matches!(self, Command::Export(exporting) if matches!(**exporting, Exporting::Add { threaded: true, .. }))
    }

    /// Whether it asks what the graph or the jobs are.
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Command::QueryJobs
                | Command::QueryBlockJobs
                | Command::QueryNodes
                | Command::QueryGraph
                | Command::QueryExports
        )
    }

    /// A command that the model does not look into.
    pub fn beyond(name: &str) -> Command {
        Command::Other { name: name.to_owned(), job: None }
    }

    /// The job a command is about, if it is about one.
    pub fn job(&self) -> Option<&str> {
        match self {
            Command::Start(start) => Some(&start.job_id),
            Command::Verb(arguments) => Some(&arguments.job),
            _ => None,
        }
    }
}

/// The parts of a request: the command's name and its arguments.
fn envelope<'a>(request: &'a Json<'a>) -> Result<(&'a str, Option<&'a Json<'a>>), Refusal> {
    let Json::Object(members) = request else { return Err(Refusal::NotAnObject) };
    let unexpected = members.iter().filter(|(name, _)| !["execute", "arguments", "id"].contains(&&**name));
    let unexpected: Vec<String> = unexpected.map(|(name, _)| name.to_string()).collect();
    if !unexpected.is_empty() {
        return Err(Refusal::UnexpectedMember(unexpected));
    }
    let name = match request.get("execute") {
        None => return Err(Refusal::NoExecute),
        Some(name) => name.text().ok_or(Refusal::BadExecute)?,
    };
    match request.get("arguments") {
        Some(Json::Object(_)) | None => Ok((name, request.get("arguments"))),
        Some(_) => Err(Refusal::BadArguments),
    }
}

fn owned(arguments: &Json<'_>, name: &str) -> Option<String> {
    arguments.text_of(name).map(str::to_owned)
}

fn boolean(arguments: &Json<'_>, name: &str, default: bool) -> bool {
    arguments.get(name).and_then(Json::boolean).unwrap_or(default)
}

const TRANSACTION: &[Member] = &[required("actions", Type::Any), optional("properties", Type::Any)];

/// A transaction of backups is understood; one with any other action is beyond the model.
fn transaction(arguments: &Json<'_>) -> Result<Command, Refusal> {
    check(&[TRANSACTION], "", arguments)?;
    let actions = arguments.get("actions").and_then(Json::list).unwrap_or_default();
    let mode = arguments.get("properties").and_then(|properties| properties.text_of("completion-mode"));
    let mut starts = Vec::new();
    for action in actions {
        let (Some("blockdev-backup"), Some(data)) = (action.text_of("type"), action.get("data")) else {
            return Ok(Command::beyond("transaction"));
        };
        starts.push(Start::read(Kind::Backup, data)?);
    }
    Ok(Command::Transaction(starts, mode == Some("grouped")))
}

fn verb_arguments(verb: Verb, block_job: bool, key: &str, arguments: &Json<'_>) -> VerbArguments {
    VerbArguments {
        verb,
        job: owned(arguments, key).unwrap_or_default(),
        block_job,
        force: !block_job || boolean(arguments, "force", false),
        speed: arguments.integer_of("speed").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refusal {
        Command::parse(text).unwrap_err()
    }

    fn stream_refused(arguments: &str) -> Refusal {
        refused(&format!(r#"{{"execute":"block-stream","arguments":{arguments}}}"#))
    }

    #[test]
    fn the_envelope_is_read_strictly() {
        assert_eq!(refused("nonsense"), Refusal::NotJson);
        assert_eq!(refused("[1]"), Refusal::NotAnObject);
        assert_eq!(refused("{}"), Refusal::NoExecute);
        assert_eq!(refused(r#"{"execute":3}"#), Refusal::BadExecute);
        assert_eq!(refused(r#"{"execute":"quit","arguments":null}"#), Refusal::BadArguments);
        assert_eq!(refused(r#"{"execute":"quit","x":1}"#), Refusal::UnexpectedMember(vec!["x".into()]));
        assert_eq!(refused(r#"{"execute":"foo"}"#), Refusal::UnknownCommand("foo".into()));
    }

    #[test]
    fn the_first_bad_member_in_schema_order_speaks_and_unknown_ones_come_last() {
        let cases = [
            (r#"{"device":true,"speed":"x"}"#, Refusal::BadType("device".into(), "string")),
            (r#"{"top":"n1"}"#, Refusal::Missing("device".into())),
            (r#"{"device":"d","top":"n1"}"#, Refusal::Unexpected(vec!["top".into()])),
            (r#"{"device":"d","speed":1.0}"#, Refusal::BadType("speed".into(), "integer")),
            (r#"{"device":"d","on-error":""}"#, Refusal::BadWord("on-error".into(), String::new())),
            (r#"{"device":"d","on-error":null}"#, Refusal::BadType("on-error".into(), "string")),
        ];
        for (arguments, expected) in cases {
            assert_eq!(stream_refused(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn a_command_beyond_the_model_is_no_unknown_command() {
        let command = Command::parse(r#"{"execute":"blockdev-create","arguments":{"job-id":"c"}}"#);
        let job = Some("c".into());
        assert_eq!(command, Ok(Command::Other { name: "blockdev-create".into(), job }));
    }

    #[test]
    fn job_cancel_forces_and_block_job_cancel_must_be_asked_to() {
        let force = |text: &str| match Command::parse(text).unwrap() {
            Command::Verb(verb) => verb.force,
            other => panic!("{other:?}"),
        };
        assert!(force(r#"{"execute":"job-cancel","arguments":{"id":"j"}}"#));
        assert!(!force(r#"{"execute":"block-job-cancel","arguments":{"device":"j"}}"#));
        assert!(force(r#"{"execute":"block-job-cancel","arguments":{"device":"j","force":true}}"#));
    }
}
