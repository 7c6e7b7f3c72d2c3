//! Commands, as the model understands them: QMP text in, a typed command or its refusal out.

use crate::arguments::{Member, Type, check, optional, required};
use crate::blockdev::NodeSpec;
use crate::job::{OnError, Verb};
use crate::json::Json;
use crate::reply::Refusal;

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `qmp_capabilities`
    Capabilities,
    /// `blockdev-add`
    Add(Box<NodeSpec>),
    /// `blockdev-del`, with the node's name.
    Delete(String),
    /// `block-stream`
    Stream(Box<StreamArguments>),
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
    /// `quit`
    Quit,
    /// Something the model has no opinion on: every error is fine, a success is not.
    Other(String),
}

/// The arguments of `block-stream`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamArguments {
    /// `job-id`; empty if it was left out, which no anonymous node allows.
    pub job_id: String,
    /// `device`: the top image.
    pub device: String,
    /// `base`: a file name.
    pub base: Option<String>,
    /// `base-node`
    pub base_node: Option<String>,
    /// `bottom`
    pub bottom: Option<String>,
    /// `backing-file`
    pub backing_file: Option<String>,
    /// `speed`, bytes a second; 0 is no limit.
    pub speed: i64,
    /// `on-error`
    pub on_error: OnError,
    /// `filter-node-name`
    pub filter_node_name: Option<String>,
    /// `auto-finalize`
    pub auto_finalize: bool,
    /// `auto-dismiss`
    pub auto_dismiss: bool,
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

const STREAM: &[Member] = &[
    optional("job-id", Type::Text),
    required("device", Type::Text),
    optional("base", Type::Text),
    optional("base-node", Type::Text),
    optional("backing-file", Type::Text),
    optional("backing-mask-protocol", Type::Boolean),
    optional("bottom", Type::Text),
    optional("speed", Type::Integer),
    optional("on-error", Type::Word(&OnError::WORDS)),
    optional("filter-node-name", Type::Text),
    optional("auto-finalize", Type::Boolean),
    optional("auto-dismiss", Type::Boolean),
];

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
const BEYOND: [&str; 30] = [
    "block-commit",
    "blockdev-mirror",
    "blockdev-backup",
    "blockdev-reopen",
    "blockdev-snapshot",
    "blockdev-snapshot-sync",
    "blockdev-snapshot-internal-sync",
    "blockdev-create",
    "block-export-add",
    "block-export-del",
    "block_resize",
    "block-dirty-bitmap-add",
    "block-set-write-threshold",
    "change-backing-file",
    "transaction",
    "nbd-server-start",
    "nbd-server-add",
    "nbd-server-remove",
    "nbd-server-stop",
    "object-add",
    "object-del",
    "query-block",
    "query-block-exports",
    "query-commands",
    "query-version",
    "query-blockstats",
    "x-blockdev-amend",
    "x-blockdev-change",
    "x-blockdev-set-iothread",
    "x-debug-query-block-graph",
];

/// Which shape a command's arguments have.
enum Shape {
    Plain(Command, &'static [Member]),
    Stream,
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
        "block-stream" => Shape::Stream,
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
        _ => return None,
    })
}

impl Command {
    /// Reads a command from its text, and the `id` that its reply must echo, as text.
    pub fn read(text: &str) -> (Result<Command, Refusal>, Option<String>) {
        let Some(request) = Json::parse(text) else { return (Err(Refusal::NotJson), None) };
        let id = request.get("id").map(|id| format!("{id:?}"));
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
            None if BEYOND.contains(&name) => Ok(Command::Other(name.to_owned())),
            None => Err(Refusal::UnknownCommand(name.to_owned())),
            Some(Shape::Plain(command, members)) => check(&[members], "", arguments).map(|()| command),
            Some(Shape::Stream) => stream(arguments),
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

    /// The job a command is about, if it is about one.
    pub fn job(&self) -> Option<&str> {
        match self {
            Command::Stream(arguments) => Some(&arguments.job_id),
            Command::Verb(arguments) => Some(&arguments.job),
            _ => None,
        }
    }
}

/// The parts of a request: the command's name and its arguments.
fn envelope<'a>(request: &'a Json<'a>) -> Result<(&'a str, Option<&'a Json<'a>>), Refusal> {
    let Json::Object(members) = request else { return Err(Refusal::NotAnObject) };
    let strangers = members.iter().filter(|(name, _)| !["execute", "arguments", "id"].contains(&&**name));
    let strangers: Vec<String> = strangers.map(|(name, _)| name.to_string()).collect();
    if !strangers.is_empty() {
        return Err(Refusal::StrangeMember(strangers));
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

fn stream(arguments: &Json<'_>) -> Result<Command, Refusal> {
    check(&[STREAM], "", arguments)?;
    let text = |name| owned(arguments, name);
    let on_error = arguments.text_of("on-error").and_then(OnError::from_word);
    Ok(Command::Stream(Box::new(StreamArguments {
        job_id: text("job-id").unwrap_or_default(),
        device: text("device").unwrap_or_default(),
        base: text("base"),
        base_node: text("base-node"),
        bottom: text("bottom"),
        backing_file: text("backing-file"),
        speed: arguments.integer_of("speed").unwrap_or(0),
        on_error: on_error.unwrap_or(OnError::Report),
        filter_node_name: text("filter-node-name"),
        auto_finalize: boolean(arguments, "auto-finalize", true),
        auto_dismiss: boolean(arguments, "auto-dismiss", true),
    })))
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
        assert_eq!(refused(r#"{"execute":"quit","x":1}"#), Refusal::StrangeMember(vec!["x".into()]));
        assert_eq!(refused(r#"{"execute":"foo"}"#), Refusal::UnknownCommand("foo".into()));
    }

    #[test]
    fn the_first_bad_member_in_schema_order_speaks_and_strangers_come_last() {
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
        let command = Command::parse(r#"{"execute":"block-commit","arguments":{"device":"top"}}"#);
        assert_eq!(command, Ok(Command::Other("block-commit".into())));
    }

    #[test]
    fn job_cancel_forces_and_block_job_cancel_must_be_told_to() {
        let force = |text: &str| match Command::parse(text).unwrap() {
            Command::Verb(verb) => verb.force,
            other => panic!("{other:?}"),
        };
        assert!(force(r#"{"execute":"job-cancel","arguments":{"id":"j"}}"#));
        assert!(!force(r#"{"execute":"block-job-cancel","arguments":{"device":"j"}}"#));
        assert!(force(r#"{"execute":"block-job-cancel","arguments":{"device":"j","force":true}}"#));
    }
}
