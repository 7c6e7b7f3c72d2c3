//! Exports, and the server that serves them: a user of a node that clients of the network sit behind.

use crate::command::arguments::{Member, Type, check, optional, required};
use crate::command::plan::conflict_text;
use crate::command::reply::Refusal;
use crate::command::stream::find_node;
use crate::graph::Graph;
use crate::json::Json;

/// A command about exports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exporting {
    /// `block-export-add`
    Add {
        /// Its id.
        id: String,
        /// The node.
        node: String,
        /// Whether clients may write.
        writable: bool,
        /// Whether it asks for an iothread.
        threaded: bool,
        /// Whether it shows bitmaps, which have to be there and free.
        has_bitmaps: bool,
    },
    /// `block-export-del`
    Delete {
        /// Its id.
        id: String,
        /// Even if a client is connected.
        hard: bool,
    },
    /// `nbd-server-start`
    ServerStart,
    /// `nbd-server-stop`
    ServerStop,
}

/// What a command's arguments are read by.
pub type Reader = fn(&Json<'_>) -> Result<Exporting, Refusal>;

/// The reader of the command of that name, if it is about exports.
pub fn reader(name: &str) -> Option<Reader> {
    Some(match name {
        "block-export-add" => add,
        "block-export-del" => delete,
        "nbd-server-start" => |_| Ok(Exporting::ServerStart),
        "nbd-server-stop" => |_| Ok(Exporting::ServerStop),
        _ => return None,
    })
}

const ADD: &[Member] = &[
    required("type", Type::Text),
    required("id", Type::Text),
    optional("fixed-iothread", Type::Boolean),
    optional("iothread", Type::Any),
    required("node-name", Type::Text),
    optional("writable", Type::Boolean),
    optional("writethrough", Type::Boolean),
    optional("allow-inactive", Type::Boolean),
    optional("name", Type::Text),
    optional("description", Type::Text),
    optional("bitmaps", Type::Any),
    optional("allocation-depth", Type::Boolean),
];
const DELETE: &[Member] = &[required("id", Type::Text), optional("mode", Type::Word(&["safe", "hard"]))];

fn add(arguments: &Json<'_>) -> Result<Exporting, Refusal> {
    check(&[ADD], "", arguments)?;
    let text = |name| arguments.text_of(name).unwrap_or_default().to_owned();
    let writable = arguments.get("writable").and_then(Json::boolean).unwrap_or(false);
    let threaded = arguments.get("iothread").is_some();
    let has_bitmaps = arguments.get("bitmaps").is_some();
    Ok(Exporting::Add { id: text("id"), node: text("node-name"), writable, threaded, has_bitmaps })
}

fn delete(arguments: &Json<'_>) -> Result<Exporting, Refusal> {
    check(&[DELETE], "", arguments)?;
    let id = arguments.text_of("id").unwrap_or_default().to_owned();
    Ok(Exporting::Delete { id, hard: arguments.text_of("mode") == Some("hard") })
}

impl Exporting {
    /// Judges the command in the state of `graph`. Which server runs the model learns only from success.
    pub fn judge(&self, graph: &Graph) -> Result<(), Refusal> {
        match self {
            Exporting::Add { id, node, writable, .. } => judge_add(graph, id, node, *writable),
            Exporting::Delete { id, hard: false }
                if graph.users.iter().any(|user| user.behind.as_ref() == Some(id)) =>
            {
                Err(Refusal::Named("export '", id.clone(), "' still in use"))
            }
            Exporting::Delete { id, .. } => {
                match graph.users.iter().any(|user| user.export.as_ref() == Some(id)) {
                    true => Ok(()),
                    false => Err(Refusal::Named("Export '", id.clone(), "' is not found")),
                }
            }
            Exporting::ServerStart | Exporting::ServerStop => Ok(()),
        }
    }
}

impl Exporting {
    /// Takes away the exports that are to go, and who sits behind them.
    pub fn take_away(&self, graph: &mut Graph) {
        match self {
            Exporting::Delete { id, .. } => graph.users.retain(|user| !user.is_of_export(id)),
            Exporting::ServerStop => {
                graph.users.retain(|user| user.export.is_none() && user.behind.is_none());
            }
            Exporting::Add { .. } | Exporting::ServerStart => {}
        }
    }

    /// Whether nobody knows whether the node can be written: a fault may have kept it from turning read-only again, or it is a
    /// file that turns writable for whoever writes, and was opened with a read-only node.
    pub fn may_be_read_only(&self, graph: &Graph) -> bool {
        match self {
            Exporting::Add { node, writable: true, .. } => {
                let node = graph.find(node).map(|id| graph.node(id));
                node.is_some_and(|node| {
                    node.may_have_stayed_writable || node.read_only && node.auto_read_only
                })
            }
            _ => false,
        }
    }
}

fn judge_add(graph: &Graph, id: &str, node: &str, writable: bool) -> Result<(), Refusal> {
    if !crate::command::plan::is_well_formed(id) {
        return Err(Refusal::Named("Invalid block export id '", id.to_owned(), "'"));
    }
    if graph.users.iter().any(|user| user.export.as_deref() == Some(id)) {
        return Err(Refusal::Named("Block export id '", id.to_owned(), "' is already in use"));
    }
    let found = find_node(graph, node)?;
    let read_only = graph.node(found).read_only && !graph.node(found).may_have_stayed_writable;
    if writable && read_only && !graph.node(found).auto_read_only {
        return Err(Refusal::Plain("Cannot export read-only node as writable"));
    }
    if writable && graph.unwritable_below(found) {
        return Err(Refusal::ReadOnly);
    }
    let conflicts = graph.new_device(found, writable);
    let texts: Vec<String> =
        conflicts.iter().map(|conflict| conflict_text(graph, conflict, |_| None)).collect();
    if texts.is_empty() { Ok(()) } else { Err(Refusal::Conflict(texts)) }
}
