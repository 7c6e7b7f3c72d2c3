//! Commands that nobody listed: any of those a daemon says it understands, with any arguments of the types it names.
//!
//! Refused, such a command must have done nothing. If it succeeds, the model knows only that guests' data must hold, but
//! for those that it knows well anyway.
//!
//! Nothing leaves the sequence's own folder: files are named without a folder, and what would open a host's device, a
//! network or another process is not drawn. Sizes are small, so that nothing fills a disk.

use super::action::Action;
use super::effect::{Effect, has_status, is_harmless};
use super::judge::Broken;
use super::schema::{Member, Schema, Type};
use super::sequence::{Live, OPERATOR};
use super::timeout::Timeout;
use crate::workload::scenario::Scenario;
use midstream::choice::{Choices, Point};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Commands that end the monitor, speak to the outside, or take away what the sequence itself stands on.
const NEVER: [&str; 9] = [
    "chardev-add",
    "chardev-change",
    "chardev-remove",
    "chardev-send-break",
    "nbd-server-start",
    "nbd-server-stop",
    "qmp_capabilities",
    "query-qmp-schema",
    "quit",
];

/// Drivers that have to do with other nodes, with memory, or with a file that they are given.
const DRIVERS: [&str; 27] = [
    "blkdebug",
    "blklogwrites",
    "blkverify",
    "bochs",
    "cloop",
    "compress",
    "copy-before-write",
    "copy-on-read",
    "dmg",
    "file",
    "luks",
    "null-aio",
    "null-co",
    "parallels",
    "preallocate",
    "qcow",
    "qcow2",
    "qed",
    "quorum",
    "raw",
    "replication",
    "snapshot-access",
    "throttle",
    "vdi",
    "vhdx",
    "vmdk",
    "vpc",
];

/// Objects that open nothing.
const OBJECTS: [&str; 2] = ["iothread", "throttle-group"];

/// Beginnings of the names of commands that the model judges whatever their arguments are.
const JUDGED: [&str; 4] = ["blockdev-del", "block-export-del", "job-", "block-job-"];

/// What an export has whose command is judged.
pub(super) const PLAIN_EXPORT: [&str; 6] =
    ["type", "id", "node-name", "writable", "writethrough", "allow-inactive"];

/// Deeper than this only what must be there is drawn.
const DEPTH_MAX: u32 = 4;

/// One such command of a client, as a text; `None` if the daemon said nothing of itself.
pub(super) fn draw(
    choices: &mut Choices,
    of: [u32; 2],
    schema: &Schema,
    scenario: &Scenario,
) -> Option<String> {
    let offered: Vec<&(String, String)> =
        schema.commands.iter().filter(|(name, _)| !NEVER.contains(&name.as_str())).collect();
    if offered.is_empty() {
        return None;
    }
    let mut drawing = Drawing { choices, of, drawn: 0, schema, scenario, command: "" };
    let (name, arguments) = offered[drawing.number(offered.len() as u32) as usize];
    drawing.command = name;
    let arguments = drawing.value(arguments, "", 0)?;
    Some(format!(r#"{{"execute":"{name}","arguments":{arguments}}}"#))
}

/// Whether a command gives a file another length below the image in it, which nobody may have open: what is left of that is
/// the operator's own doing.
fn makes_a_file_shorter(command: &Value, scenario: &Scenario) -> bool {
    let named = &command["arguments"]["node-name"];
    let is_image = (0..scenario.images.len()).any(|image| *named == scenario.node(image));
    command["execute"] == "block_resize" && !is_image
}

impl Live<'_> {
    /// Sends a command that the model is not shown. Refused, it must have done nothing; if it succeeds and nothing is known
    /// of it, the model knows only that guests' data must hold.
    pub(super) fn try_schema_command(&mut self, text: &str) -> Result<(), Broken> {
        let command = read(text);
        if is_judged(&command) {
            return self.command(OPERATOR, text).map(drop);
        }
        self.did(Action::Command(text.to_owned()));
        self.receive(None, text)?;
        let mut events = Vec::new();
        let before = self.before(&command, &mut events)?;
        let reply = self.ask_schema_command(text, &mut events)?;
        let is_refused = reply.get("error").is_some();
        let effect = match is_refused {
            true => {
                self.judge.schema_command_refused(text)?;
                // What it had done when its disk failed, nobody knows, unless it never does what anybody sees.
                if is_of_disk(&reply) && !is_harmless(&command) { Effect::Unknown } else { Effect::Nothing }
            }
            false => self.effect(&command, &before, &mut events)?,
        };
        // Jobs that were created and then refused came and went.
        let has_no_job =
            is_refused || command["execute"] == "blockdev-create" && matches!(effect, Effect::Nothing);
        match effect {
            Effect::Nothing => {}
            Effect::Listed(listed) => {
                self.judge.sent(OPERATOR, &listed.to_string())?;
                self.judge.reply(OPERATOR, r#"{"return": {}}"#)?;
            }
            Effect::Unknown => {
                self.judge.schema_command(command["execute"].as_str().unwrap_or_default())?;
                if makes_a_file_shorter(&command, self.scenario) {
                    self.judge.files_may_be_damaged();
                }
            }
        }
        let is_gone = |event: &Value| has_no_job && created(&events, &event["data"]["id"]);
        let kept: Vec<&String> = events.iter().filter(|line| !is_gone(&read(line))).collect();
        kept.into_iter().try_for_each(|line| self.received(line))
    }

    /// Asks something that the model is not shown. Events that come first are put to the others.
    pub(super) fn ask_schema_command(
        &mut self,
        text: &str,
        events: &mut Vec<String>,
    ) -> Result<Value, Broken> {
        self.judge.note(format!("schema    -> {text}"));
        self.send(text)?;
        let mut timeout = Timeout::begin();
        loop {
            let (line, message) = self.message(&mut timeout, text)?;
            if message.get("event").is_none() {
                self.judge.note(format!("schema    <- {line}"));
                return Ok(message);
            }
            events.push(line);
        }
    }
}

/// Whether a refusal is an error of a disk.
fn is_of_disk(reply: &Value) -> bool {
    let text = reply["error"]["desc"].as_str().unwrap_or_default();
    ["Input/output error", "No space left on device"].iter().any(|error| text.ends_with(error))
}

/// Whether a job of that id is created in these events.
fn created(events: &[String], id: &Value) -> bool {
    has_status(events, id, "created")
}

/// A line as JSON; nothing, if it is none.
pub(super) fn read(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_default()
}

/// Whether the model knows all about a command.
fn is_judged(command: &Value) -> bool {
    let Some(name) = command["execute"].as_str() else { return false };
    let arguments = &command["arguments"];
    match name {
        "block-job-change" => false,
        // Others may be refused for what an export has beside its node.
        "block-export-add" => {
            let is_plain = |key: &String| PLAIN_EXPORT.contains(&key.as_str());
            arguments["type"] == "nbd" && arguments.as_object().is_some_and(|all| all.keys().all(is_plain))
        }
        _ => JUDGED.iter().any(|judged| name.starts_with(judged)),
    }
}

struct Drawing<'a> {
    choices: &'a mut Choices,
    of: [u32; 2],
    drawn: u32,
    schema: &'a Schema,
    scenario: &'a Scenario,
    command: &'a str,
}

impl Drawing<'_> {
    fn number(&mut self, below: u32) -> u32 {
        let at = Point::new("client # command # unlisted #", [self.of[0], self.of[1], self.drawn]);
        self.drawn += 1;
        self.choices.choose(at, below)
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.number(all.len() as u32) as usize].clone()) }
    }

    /// A value of a type for the member `key`; `None` if every one of them would reach outside.
    fn value(&mut self, of: &str, key: &str, depth: u32) -> Option<Value> {
        let schema = self.schema;
        match schema.get(of)? {
            Type::Object { members, variants } => self.object(members, variants.as_ref(), depth),
            Type::Array(of) => {
                let count = [1, 2, 0][self.number(3) as usize];
                (0..count).map(|_| self.value(of, key, depth + 1)).collect()
            }
            Type::Enum(words) => self.word(words, key).map(Value::from),
            Type::Alternate(types) => {
                let plain = |of: &&String| !matches!(schema.get(of), Some(Type::Object { .. }) | None);
                let types: Vec<String> = match depth < DEPTH_MAX {
                    true => types.clone(),
                    false => types.iter().filter(plain).cloned().collect(),
                };
                let of = self.one_of(&types)?;
                self.value(&of, key, depth + 1)
            }
            Type::Plain(of) => Some(self.plain(of, key)),
        }
    }

    fn object(
        &mut self,
        members: &[Member],
        variants: Option<&(String, BTreeMap<String, String>)>,
        depth: u32,
    ) -> Option<Value> {
        let mut object = Map::new();
        self.members(members, depth, &mut object)?;
        if let Some((tag, cases)) = variants {
            let case = object.get(tag).and_then(Value::as_str).and_then(|tag| cases.get(tag));
            if let Some(Type::Object { members, .. }) = case.and_then(|of| self.schema.get(of)) {
                self.members(members, depth, &mut object)?;
            }
        }
        Some(object.into())
    }

    fn members(&mut self, members: &[Member], depth: u32, object: &mut Map<String, Value>) -> Option<()> {
        for member in members {
            // Most of what may be left out is.
            let is_left_out = member.is_optional && (depth >= DEPTH_MAX || self.number(5) != 4);
            if is_left_out || object.contains_key(&member.name) {
                continue;
            }
            match self.value(&member.of, &member.name, depth + 1) {
                Some(value) => object.insert(member.name.clone(), value),
                None if member.is_optional => None,
                None => return None,
            };
        }
        Some(())
    }

    fn word(&mut self, words: &[String], key: &str) -> Option<String> {
        let is_inside = |word: &&String| match key {
            "driver" => DRIVERS.contains(&word.as_str()),
            "qom-type" => OBJECTS.contains(&word.as_str()),
            "type" if self.command == "block-export-add" => *word == "nbd",
            _ => true,
        };
        let words: Vec<String> = words.iter().filter(is_inside).cloned().collect();
        self.one_of(&words)
    }

    fn plain(&mut self, of: &str, key: &str) -> Value {
        match of {
            "int" => [0, 1, 512, 4096, 65536, 1 << 20, 1000, -1][self.number(8) as usize].into(),
            "number" => [0.0, 0.5, 1000.0, -1.0][self.number(4) as usize].into(),
            "boolean" => (self.number(2) == 1).into(),
            "string" => self.text(key).into(),
            "null" => Value::Null,
            _ => {
                [Value::Null, json!(true), json!(1), json!("x0"), json!({})][self.number(5) as usize].clone()
            }
        }
    }

    /// A name of something that may be there, by what the member is called.
    fn text(&mut self, key: &str) -> String {
        let is_file = key == "filename" || key == "snapshot-file" || key.ends_with("-file");
        let fixed: &[&str] = match key {
            _ if is_file => &["x0", "x1", ""],
            // An image is made where nobody's data is.
            "file" if self.command == "blockdev-create" => &["x0", "x1"],
            "target" if self.command.starts_with("drive-") => &["x0", "x1"],
            "format" => &["qcow2", "raw", "x"],
            "job-id" => &["x0", "x1", "j0"],
            "id" | "export" => &["x0", "x1", "j0", "j1", "j2"],
            "name" | "bitmap" | "bitmaps" => &["b0", "b1", ""],
            "iothread" => &["x0", "x1"],
            "path" => &["objects", "objects/x0", "", "machine"],
            "property" => &["type", "limits", "aio-max-batch", "x-bps-total"],
            _ => &[],
        };
        if !fixed.is_empty() {
            return fixed[self.number(fixed.len() as u32) as usize].to_owned();
        }
        let images = 0..self.scenario.images.len();
        let mut names: Vec<String> = images.clone().map(|image| self.scenario.node(image)).collect();
        names.extend(images.map(|image| format!("f{image}")));
        names.extend(["x0", "x1", "j0", "j1", ""].map(str::to_owned));
        names.swap_remove(self.number(names.len() as u32) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use midstream::strategy::random::Random;

    fn schema() -> Schema {
        let member = |name: &str, of: &str| json!({ "name": name, "type": of });
        let list = json!([
            { "name": "str", "meta-type": "builtin", "json-type": "string" },
            { "name": "1", "meta-type": "enum", "values": ["file", "nvme", "raw"] },
            { "name": "2", "meta-type": "object", "members": [member("filename", "str")] },
            { "name": "3", "meta-type": "object", "members": [member("file", "4")] },
            { "name": "4", "meta-type": "alternate", "members": [{ "type": "5" }, { "type": "str" }] },
            { "name": "5", "meta-type": "object", "members": [member("driver", "1")], "tag": "driver",
              "variants": [{ "case": "file", "type": "2" }, { "case": "raw", "type": "3" }] },
            { "name": "6", "meta-type": "enum", "values": ["vnc"] },
            { "name": "7", "meta-type": "object", "members": [member("driver", "6")] },
            { "name": "blockdev-add", "meta-type": "command", "arg-type": "5", "ret-type": "0" },
            { "name": "quit", "meta-type": "command", "arg-type": "0", "ret-type": "0" },
            { "name": "watch", "meta-type": "command", "arg-type": "7", "ret-type": "0" },
        ]);
        Schema::read(list.as_array().expect("a list"))
    }

    #[test]
    fn commands_are_drawn_from_the_schema_and_reach_nothing_outside() {
        let (schema, scenario) = (schema(), Scenario::chain(&["d.", ".d"]));
        let mut drawn = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let mut choices = Choices::new(Box::new(Random::new(seed)));
            drawn.extend(draw(&mut choices, [0, 0], &schema, &scenario));
        }
        assert!(
            drawn.contains(r#"{"execute":"blockdev-add","arguments":{"driver":"file","filename":"x0"}}"#)
        );
        assert!(drawn.iter().any(|text| text.contains(r#""driver":"raw","file":"n1""#)), "{drawn:#?}");
        assert!(drawn.iter().any(|text| text.contains(r#""file":{"driver":"raw""#)), "{drawn:#?}");
        let outside = |text: &&String| ["nvme", "vnc", "quit", "\"/"].iter().any(|word| text.contains(word));
        assert_eq!(drawn.iter().find(outside), None);
    }
}
