//! What a command that nobody listed has done when it succeeds, as far as the model is concerned.

use super::action::Action;
use super::judge::Broken;
use super::schema_command::{PLAIN_EXPORT, read};
use super::sequence::Live;
use super::timeout::Timeout;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Beginnings of the names of commands that change nothing that readers of a node, an image or a job see.
const HARMLESS: [&str; 8] = [
    "query-",
    "x-query-",
    "x-debug-",
    "qom-get",
    "qom-list",
    "block-set-write-threshold",
    "block-dirty-bitmap-",
    "blockdev-snapshot-internal-sync",
];

/// Asks for all nodes.
const NODES: &str = r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#;

/// What a command has done, as far as the model is concerned.
pub(super) enum Effect {
    Nothing,
    /// The same as this command, which the model knows.
    Listed(Value),
    Unknown,
}

/// What was there before a command.
pub(super) struct Before {
    /// Whether the node that it serves to writers was read-only.
    was_read_only: Option<bool>,
    /// The names of all nodes, where it may leave some behind.
    nodes: Option<BTreeSet<String>>,
}

impl Live<'_> {
    /// What is there now that says later what a command has done.
    pub(super) fn before(&mut self, command: &Value, events: &mut Vec<String>) -> Result<Before, Broken> {
        let was_read_only = self.is_read_only(served_to_write(command), events)?;
        Ok(Before { was_read_only, nodes: self.node_names(command, events)? })
    }

    /// The names of all nodes, if a command makes an image and may leave some behind.
    fn node_names(
        &mut self,
        command: &Value,
        events: &mut Vec<String>,
    ) -> Result<Option<BTreeSet<String>>, Broken> {
        if command["execute"] != "blockdev-create" {
            return Ok(None);
        }
        let reply = self.ask_schema_command(NODES, events)?;
        let nodes = reply["return"].as_array().into_iter().flatten();
        Ok(Some(nodes.filter_map(|node| node["node-name"].as_str().map(str::to_owned)).collect()))
    }

    /// What a command that has succeeded has done. What nobody goes on from is undone first.
    pub(super) fn effect(
        &mut self,
        command: &Value,
        before: &Before,
        events: &mut Vec<String>,
    ) -> Result<Effect, Broken> {
        let arguments = &command["arguments"];
        let is_nothing = match command["execute"].as_str() {
            Some("blockdev-create") => {
                let has_failed = self.ends_in_nothing(&arguments["job-id"], events)?;
                let is_nothing = has_failed || arguments["options"]["driver"] == "file";
                // QEMU may leave nodes behind that it opened for it.
                is_nothing && self.node_names(command, events)? == before.nodes
            }
            // What jobs do to nodes that have become inactive under them is worth to be seen.
            Some("blockdev-set-active") if arguments["active"] == false => {
                self.jobs.is_empty() && self.activate(command, events)?
            }
            _ => is_harmless(command),
        };
        if is_nothing {
            return Ok(Effect::Nothing);
        }
        // Of a read-only node it makes a read-only export, whatever it was asked for.
        if let Some(device) = served_to_write(command) {
            let is_read_only = self.is_read_only(Some(device), events)?;
            return Ok(match before.was_read_only.filter(|before| Some(*before) == is_read_only) {
                Some(read_only) => Effect::Listed(served(arguments, device, !read_only)),
                None => Effect::Unknown,
            });
        }
        Ok(listed(command).map_or(Effect::Unknown, Effect::Listed))
    }

    /// Activates again what a command has made inactive. Answers whether that went well.
    fn activate(&mut self, command: &Value, events: &mut Vec<String>) -> Result<bool, Broken> {
        let mut command = command.clone();
        command["arguments"]["active"] = json!(true);
        let text = command.to_string();
        self.did(Action::Command(text.clone()));
        let reply = self.ask_schema_command(&text, events)?;
        Ok(reply.get("error").is_none())
    }

    /// Whether a node is read-only just now, if one is asked for and there.
    fn is_read_only(&mut self, node: Option<&str>, events: &mut Vec<String>) -> Result<Option<bool>, Broken> {
        let Some(name) = node else { return Ok(None) };
        let reply = self.ask_schema_command(NODES, events)?;
        let mut nodes = reply["return"].as_array().into_iter().flatten();
        Ok(nodes.find(|node| node["node-name"] == *name).and_then(|node| node["ro"].as_bool()))
    }

    /// Waits for the end of a job that makes an image, and dismisses it, so that nobody meets it. Answers whether it has
    /// failed and so done nothing.
    fn ends_in_nothing(&mut self, id: &Value, events: &mut Vec<String>) -> Result<bool, Broken> {
        let mut timeout = Timeout::begin();
        while !has_status(events, id, "concluded") {
            events.push(self.message(&mut timeout, "blockdev-create")?.0);
        }
        let jobs = self.ask_schema_command(r#"{"execute":"query-jobs"}"#, events)?;
        let jobs = jobs["return"].as_array().into_iter().flatten();
        let has_failed = jobs.into_iter().any(|job| job["id"] == *id && job["error"].is_string());
        let dismiss = json!({"execute": "job-dismiss", "arguments": {"id": id}});
        self.ask_schema_command(&dismiss.to_string(), events)?;
        let mut timeout = Timeout::begin();
        while !has_status(events, id, "null") {
            events.push(self.message(&mut timeout, "job-dismiss")?.0);
        }
        Ok(has_failed)
    }
}

/// The node that `nbd-server-add` is to serve to writers.
fn served_to_write(command: &Value) -> Option<&str> {
    let arguments = &command["arguments"];
    let is_to_write = command["execute"] == "nbd-server-add" && arguments["writable"] == true;
    arguments["device"].as_str().filter(|_| is_to_write)
}

/// The command of today that does the same as `nbd-server-add`.
fn served(arguments: &Value, device: &str, writable: bool) -> Value {
    let id = arguments["name"].as_str().unwrap_or(device);
    let plain = json!({"type": "nbd", "id": id, "node-name": device, "writable": writable});
    json!({"execute": "block-export-add", "arguments": plain})
}

/// The command that the model knows and that does the same, where the given one succeeds: an export's name, description
/// and thread change nothing that the model shows.
fn listed(command: &Value) -> Option<Value> {
    let arguments = command["arguments"].as_object()?;
    match command["execute"].as_str()? {
        "block-export-add" if arguments.get("type")? == "nbd" && !arguments.contains_key("bitmaps") => {
            let is_plain = |(key, _): &(&String, &Value)| PLAIN_EXPORT.contains(&key.as_str());
            let plain: Map<String, Value> =
                arguments.iter().filter(is_plain).map(|(key, value)| (key.clone(), value.clone())).collect();
            Some(json!({"execute": "block-export-add", "arguments": plain}))
        }
        "nbd-server-add" => Some(served(&command["arguments"], arguments.get("device")?.as_str()?, false)),
        _ => None,
    }
}

/// Whether a job of that id comes to this status in these events.
pub(super) fn has_status(events: &[String], id: &Value, status: &str) -> bool {
    events
        .iter()
        .map(|line| read(line))
        .any(|event| event["data"]["status"] == status && event["data"]["id"] == *id)
}

/// Whether the success of a command changes nothing that the model shows.
pub(super) fn is_harmless(command: &Value) -> bool {
    let Some(name) = command["execute"].as_str() else { return false };
    let arguments = &command["arguments"];
    match name {
        // Nobody refers to an object that nobody listed.
        "object-add" => true,
        // They are where they go, or go to where others of the sequence are.
        "x-blockdev-set-iothread" => arguments["iothread"].as_str().is_none_or(|name| name.starts_with("io")),
        "transaction" => arguments["actions"].as_array().is_some_and(Vec::is_empty),
        // Nothing but a mirror can be changed, and what says that it is something else changes nothing.
        "block-job-change" => arguments["type"] != "mirror",
        "blockdev-set-active" => arguments["active"] == true,
        _ => HARMLESS.iter().any(|harmless| name.starts_with(harmless)),
    }
}
