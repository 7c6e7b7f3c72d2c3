//! From a message to what it does: the envelope, the command, its arguments, the engine.

use super::{edits, export_options, introspect, report, stats, text, transaction};
use crate::command::{Family, Verb};
use crate::engine::Engine;
use crate::engine::open::OpenedNode;
use crate::error::Refused;
use crate::qapi::options::{self, Arguments};
use crate::qapi::refusal::Refusal;
use crate::qapi::types::{Action, Command, JobVerb};
use crate::qapi::{check, schema};
use crate::qapi::{create_options, node_options};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

/// A command taken out of its message.
#[derive(Debug)]
pub struct Request {
    /// Its name as it came.
    pub name: String,
    /// Its arguments, unchecked.
    pub arguments: Arguments,
}

/// Takes the envelope off: `execute`, `arguments`, and an `id` that goes back with the reply, whatever it is.
pub fn open(message: Value) -> (Result<Request, Refusal>, Option<Value>) {
    let Value::Object(mut members) = message else {
        return (Err(Refusal::generic("QMP input must be a JSON object")), None);
    };
    let id = members.remove("id");
    (open_members(members), id)
}

fn open_members(members: Arguments) -> Result<Request, Refusal> {
    let mut name = None;
    let mut arguments = Arguments::new();
    for (member, value) in members {
        match (member.as_str(), value) {
            ("execute", Value::String(command)) => name = Some(command),
            ("execute", _) => return Err(Refusal::generic("QMP input member 'execute' must be a string")),
            ("arguments", Value::Object(found)) => arguments = found,
            ("arguments", _) => {
                return Err(Refusal::generic("QMP input member 'arguments' must be an object"));
            }
            _ => return Err(Refusal::generic(format!("QMP input member '{member}' is unexpected"))),
        }
    }
    let name = name.ok_or_else(|| Refusal::generic("QMP input lacks member 'execute'"))?;
    Ok(Request { name, arguments })
}

/// Finds the command and checks its arguments.
pub fn admit(request: &Request) -> Result<&'static Command, Refusal> {
    let command = schema::command(&request.name)
        .ok_or_else(|| Refusal::not_found(format!("The command {} has not been found", request.name)))?;
    check::check(&request.arguments, command.arguments)?;
    Ok(command)
}

/// What can be done of a command before its turn comes, because it changes nothing and may take long.
#[derive(Debug)]
pub enum Begun<'e> {
    /// Nothing.
    Nothing,
    /// The node of `blockdev-add` is open.
    Opened(Box<OpenedNode<'e>>),
}

/// Begins an admitted command, beside others.
pub async fn begin<'e>(
    engine: &'e Arc<Engine>,
    command: &Command,
    arguments: &Arguments,
) -> Result<Begun<'e>, Refusal> {
    match command.action {
        Action::BlockdevAdd if engine.has_ended() => Err(Refused::Ended.into()),
        Action::BlockdevAdd => {
            let opened = engine.open_node(&node_options::blockdev(arguments)?).await?;
            Ok(Begun::Opened(Box::new(opened)))
        }
        _ => Ok(Begun::Nothing),
    }
}

/// Whether a command only shows what is: then it need not wait for those that work.
pub(crate) fn only_asks(command: &Command) -> bool {
    use Action::{
        QueryBlock, QueryBlockExports, QueryBlockGraph, QueryBlockJobs, QueryBlockstats, QueryCommands,
        QueryJobs, QueryMemory, QueryNamedBlockNodes, QueryQmpSchema, QueryVersion,
    };
    matches!(
        command.action,
        QueryBlock
            | QueryBlockExports
            | QueryBlockGraph
            | QueryBlockJobs
            | QueryBlockstats
            | QueryCommands
            | QueryJobs
            | QueryMemory
            | QueryNamedBlockNodes
            | QueryQmpSchema
            | QueryVersion
    )
}

/// The longest answer. One that would be longer is refused, and not made to its end.
pub(crate) const REPLY_BYTES_MAX: usize = 32 << 20;

/// The answer of a command that has nothing to show.
const NOTHING: Cow<'static, str> = Cow::Borrowed("{}");

/// Does an admitted command; the answer is JSON text. Only one that changes anything may run at a time.
pub async fn run(
    engine: &Arc<Engine>,
    command: &Command,
    arguments: &Arguments,
    begun: Begun<'_>,
) -> Result<Cow<'static, str>, Refusal> {
    let answer = answer(engine, command, arguments, begun).await?;
    if answer.len() > REPLY_BYTES_MAX {
        return Err(Refusal::generic(format!("The reply would be longer than {REPLY_BYTES_MAX} bytes")));
    }
    Ok(answer)
}

/// Whether what a command shows depends on jobs that are about to commit.
pub(crate) fn asks_of_jobs(command: &Command) -> bool {
    let asks =
        [Action::QueryBlockJobs, Action::QueryJobs, Action::QueryNamedBlockNodes, Action::QueryBlockGraph];
    asks.contains(&command.action)
}

async fn answer(
    engine: &Arc<Engine>,
    command: &Command,
    arguments: &Arguments,
    begun: Begun<'_>,
) -> Result<Cow<'static, str>, Refusal> {
    match command.action {
        Action::BlockStream => engine.block_stream(&options::stream(arguments)).await?,
        Action::BlockCommit => engine.block_commit(&options::commit(arguments)).await?,
        Action::BlockdevBackup => engine.blockdev_backup(transaction::backup(arguments)).await?,
        Action::Transaction => engine.transaction(transaction::transaction(arguments)).await?,
        Action::BlockdevMirror => engine.blockdev_mirror(&options::mirror(arguments)?).await?,
        Action::BlockdevAdd => match begun {
            Begun::Opened(opened) => engine.add_node(*opened).await?,
            Begun::Nothing => engine.blockdev_add(&node_options::blockdev(arguments)?).await?,
        },
        Action::BlockdevCreate => {
            let image = create_options::image(arguments)?;
            engine.blockdev_create(options::text(arguments, "job-id"), image)?;
        }
        Action::BlockdevDel => engine.blockdev_del(options::text(arguments, "node-name")).await?,
        Action::Job(family, verb) => {
            let id = options::text(arguments, job_member(command));
            engine.job_verb(family, id, job_verb(family, verb, arguments)).await?;
        }
        Action::NbdServerStart => engine.nbd_server_start(&export_options::server(arguments)?)?,
        Action::NbdServerStop => engine.nbd_server_stop().await?,
        Action::NbdServerAdd => engine.nbd_server_add(export_options::served(arguments)).await?,
        Action::NbdServerRemove => {
            let hard = arguments.get("mode").is_some_and(|mode| mode == "hard");
            engine.block_export_del(options::text(arguments, "name"), hard).await?;
        }
        Action::BlockExportAdd => engine.block_export_add(&export_options::export(arguments)).await?,
        Action::BlockExportDel => {
            let hard = arguments.get("mode").is_some_and(|mode| mode == "hard");
            engine.block_export_del(options::text(arguments, "id"), hard).await?;
        }
        Action::ObjectAdd => engine.objects().add(export_options::object(arguments)?)?,
        Action::Edit(edit) => return edits::run(engine, edit, arguments).await,
        Action::SetWriteThreshold => {
            // Negative marks are read as unsigned ones and are never reached.
            let bytes = options::size(arguments, "write-threshold").expect("it is required") as u64;
            engine.set_write_threshold(options::text(arguments, "node-name"), bytes)?;
        }
        Action::BlockdevAmend => {
            let (job, node) = (options::text(arguments, "job-id"), options::text(arguments, "node-name"));
            let options = arguments["options"].as_object().expect("options are required");
            engine.blockdev_amend(job, node, options::text(options, "driver"))?;
        }
        Action::ObjectDel => engine.objects().remove(options::text(arguments, "id"))?,
        asks => return Ok(shown(engine, asks, arguments)),
    }
    Ok(NOTHING)
}

/// The answer of a command that only asks.
fn shown(engine: &Arc<Engine>, asks: Action, arguments: &Arguments) -> Cow<'static, str> {
    match asks {
        // No guest's devices are here to be shown.
        Action::QueryBlock => Cow::Borrowed("[]"),
        Action::QueryBlockExports => report::exports(&engine.query_block_exports()).into(),
        Action::QueryBlockJobs => report::block_jobs(&engine.query_block_jobs()).into(),
        Action::QueryJobs => report::jobs(&engine.query_jobs()).into(),
        Action::QueryNamedBlockNodes => {
            let flat = options::truth(arguments, "flat").unwrap_or(false);
            report::nodes(&engine.query_named_block_nodes(), flat).into()
        }
        Action::QueryBlockGraph => report::block_graph(&engine.query_block_graph()).into(),
        Action::QueryMemory => report::memory(engine.budget()).into(),
        // Devices of guests would come first, and none is here.
        Action::QueryBlockstats => {
            let nodes = options::truth(arguments, "query-nodes").unwrap_or(false);
            let all = if nodes { engine.query_node_stats() } else { Vec::new() };
            stats::node_stats(&all).into()
        }
        Action::QueryVersion => text::version_text().into(),
        Action::QueryCommands => command_names().into(),
        Action::QueryQmpSchema => introspect::schema_text().into(),
        // What these do concerns the monitor, not the engine.
        Action::QmpCapabilities | Action::Quit => NOTHING,
        other => panic!("{other:?} does not only ask"),
    }
}

/// Checks and does a command given by name, as a daemon does with its command line.
pub async fn run_named(
    engine: &Arc<Engine>,
    name: &str,
    arguments: Arguments,
) -> Result<Cow<'static, str>, Refusal> {
    let request = Request { name: name.to_owned(), arguments };
    let command = admit(&request)?;
    let begun = begin(engine, command, &request.arguments).await?;
    let _alone = engine.commands().drain().await;
    run(engine, command, &request.arguments, begun).await
}

/// Which member names the job: `device` for the older half of `block-job-*`, `id` for all others.
fn job_member(command: &Command) -> &'static str {
    command.arguments.members.first().expect("a job command names its job first").name
}

fn job_verb(family: Family, verb: JobVerb, arguments: &Arguments) -> Verb {
    match verb {
        JobVerb::Cancel => {
            // job-cancel has no `force` and always means it.
            let force = options::truth(arguments, "force").unwrap_or(family == Family::Job);
            Verb::Cancel { force }
        }
        JobVerb::Pause => Verb::Pause,
        JobVerb::Resume => Verb::Resume,
        JobVerb::SetSpeed => Verb::SetSpeed(options::integer(arguments, "speed").expect("speed is required")),
        JobVerb::Complete => Verb::Complete,
        JobVerb::Finalize => Verb::Finalize,
        JobVerb::Dismiss => Verb::Dismiss,
        JobVerb::Change => Verb::Change(options::copy_mode(arguments)),
    }
}

fn command_names() -> String {
    let mut out = String::new();
    text::push_list(&mut out, schema::COMMANDS, |out, command| {
        let mut entry = text::ObjectText::open(out);
        entry.text("name", command.name);
        entry.close();
    });
    out
}
