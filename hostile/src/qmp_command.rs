//! QMP commands from a daemon's own schema: any command, any arguments of the types it names, at the ends of what the types
//! allow.

use crate::random::Random;
use crate::schema::{Member, Schema, Type};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Values at the ends of things.
const NUMBERS: [i64; 18] = [
    0,
    1,
    -1,
    2,
    511,
    512,
    513,
    4096,
    65536,
    1 << 31,
    (1 << 31) - 1,
    1 << 32,
    1 << 62,
    i64::MAX,
    i64::MIN,
    i64::MAX - 511,
    1 << 20,
    1 << 25,
];

/// Names that mean nothing to anybody.
const STRANGE: [&str; 6] = ["", "/nowhere", "a b", "#block001", "x", "json:{}"];

/// Deeper than this only what must be there is drawn.
const DEPTH_MAX: u32 = 6;

/// Who makes the commands.
#[derive(Clone, Copy, Debug)]
pub struct Commands<'a> {
    /// What the daemon understands.
    pub schema: &'a Schema,
    /// Names of nodes, jobs, exports and bitmaps that are or may be there.
    pub names: &'a [&'a str],
    /// Names of files that are or may be there.
    pub files: &'a [&'a str],
}

impl Commands<'_> {
    /// Any command but the one that ends everything; now and then one that describes children inside children.
    pub fn draw(&self, random: &mut Random) -> Value {
        if random.one_in(60) {
            return nested(random);
        }
        let (name, of) = random.pick(&self.schema.commands);
        let (name, of) = if name == "quit" { ("query-version", "") } else { (name.as_str(), of.as_str()) };
        let mut drawing = Drawing { commands: *self, random };
        let mut arguments = drawing.value(of, "", 0);
        if drawing.random.below(8) > 0 {
            strip_latencies(&mut arguments);
        }
        json!({"execute": name, "arguments": if arguments.is_object() { arguments } else { json!({}) }})
    }
}

/// Nodes on nodes on nodes, in one command.
fn nested(random: &mut Random) -> Value {
    let (driver, deep) = (*random.pick(&["raw", "copy-on-read", "qcow2"]), 1 + random.below(400));
    let leaf = json!({"driver": "null-co", "size": 4096});
    let mut nested = (0..deep).fold(leaf, |below, _| json!({"driver": driver, "file": below}));
    nested["node-name"] = json!(format!("deep{}", random.below(1000)));
    json!({"execute": "blockdev-add", "arguments": nested})
}

/// Most commands are to be answered soon: what takes as long as it was asked to shows little.
fn strip_latencies(value: &mut Value) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                members.remove("latency-ns");
                open.extend(members.values_mut());
            }
            Value::Array(values) => open.extend(values),
            _ => {}
        }
    }
}

struct Drawing<'a, 'r> {
    commands: Commands<'a>,
    random: &'r mut Random,
}

impl Drawing<'_, '_> {
    fn value(&mut self, of: &str, key: &str, depth: u32) -> Value {
        let schema = self.commands.schema;
        match schema.get(of) {
            Some(Type::Object { members, variants }) => self.object(members, variants.as_ref(), depth),
            Some(Type::Array(of)) => {
                (0..self.random.below(4)).map(|_| self.value(of, key, depth + 1)).collect()
            }
            Some(Type::Enum(words)) if !words.is_empty() => json!(self.random.pick(words)),
            Some(Type::Alternate(types)) if !types.is_empty() => {
                let is_plain = |of: &&String| matches!(schema.get(of), Some(Type::Plain(_)));
                let plain = types.iter().find(is_plain).filter(|_| depth > DEPTH_MAX);
                let of = plain.unwrap_or_else(|| self.random.pick(types));
                self.value(of, key, depth + 1)
            }
            Some(Type::Plain(of)) => self.plain(of, key),
            _ => Value::Null,
        }
    }

    fn object(
        &mut self,
        members: &[Member],
        variants: Option<&(String, BTreeMap<String, String>)>,
        depth: u32,
    ) -> Value {
        let mut object = Map::new();
        self.members(members, depth, &mut object);
        if let Some((tag, cases)) = variants {
            let case = object.get(tag).and_then(Value::as_str).and_then(|tag| cases.get(tag));
            if let Some(Type::Object { members, .. }) = case.and_then(|of| self.commands.schema.get(of)) {
                self.members(members, depth, &mut object);
            }
        }
        object.into()
    }

    fn members(&mut self, members: &[Member], depth: u32, object: &mut Map<String, Value>) {
        for member in members {
            let is_there = match member.is_optional {
                true => depth <= DEPTH_MAX && self.random.one_in(4),
                false => !self.random.one_in(60),
            };
            if is_there && !object.contains_key(&member.name) {
                let value = self.value(&member.of, &member.name, depth + 1);
                object.insert(member.name.clone(), value);
            }
        }
    }

    fn plain(&mut self, of: &str, key: &str) -> Value {
        match of {
            "int" => json!(self.random.pick(&NUMBERS)),
            "number" => json!(self.random.pick(&[0.0, 0.5, -1.0, 1e300])),
            "boolean" => json!(self.random.one_in(2)),
            "string" => json!(self.text(key)),
            _ => Value::Null,
        }
    }

    fn text(&mut self, key: &str) -> String {
        if self.random.one_in(60) {
            return "x".repeat(1 + self.random.index(5000));
        }
        if self.random.one_in(12) {
            return (*self.random.pick(&STRANGE)).to_owned();
        }
        let is_file = ["filename", "backing-file"].contains(&key) || key.starts_with("snapshot-file");
        let names = if is_file { self.commands.files } else { self.commands.names };
        (*self.random.pick(names)).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_followed_and_quit_is_never_drawn() {
        let list = json!([
            { "name": "str", "meta-type": "builtin", "json-type": "string" },
            { "name": "int", "meta-type": "builtin", "json-type": "int" },
            { "name": "0", "meta-type": "object", "members": [] },
            { "name": "1", "meta-type": "object", "members": [
                { "name": "filename", "type": "str" }, { "name": "size", "type": "int", "default": null }] },
            { "name": "add", "meta-type": "command", "arg-type": "1", "ret-type": "0" },
            { "name": "quit", "meta-type": "command", "arg-type": "0", "ret-type": "0" },
        ]);
        let schema = Schema::read(list.as_array().expect("a list"));
        let commands = Commands { schema: &schema, names: &["n0"], files: &["f0"] };
        let mut random = Random::new(1);
        let drawn: Vec<String> = (0..2000).map(|_| commands.draw(&mut random).to_string()).collect();
        let has = |text: &str| drawn.iter().any(|command| command.contains(text));
        assert!(has(r#""filename":"f0""#) && has(r#""size":9223372036854775807"#) && has("deep"));
        assert!(!has(r#""quit""#));
    }
}
