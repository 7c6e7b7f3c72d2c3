//! The answer to `query-qmp-schema`, written from the table of `schema.rs`.
//!
//! As with QEMU, clients see numbers for the names of our types, so that nobody comes to rely on the names.

use super::text::{ObjectText, push_list};
use crate::qapi::schema::{COMMANDS, EVENTS};
use crate::qapi::types::{Alternate, Command, Enum, EventType, Member, Object, Type};
use seam::escape::push_string;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The answer; built at the first call.
pub(super) fn schema_text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| Introspection::default().whole());
    &TEXT
}

#[derive(Default)]
struct Introspection {
    /// The numbers handed out, by our names.
    numbers: BTreeMap<&'static str, usize>,
    /// Types that were named and still need an entry of their own.
    pending: Vec<Type>,
    /// What clients call the types that have been pending once.
    named: BTreeSet<String>,
    entries: Vec<String>,
}

impl Introspection {
    fn whole(mut self) -> String {
        for event in EVENTS {
            self.event(event);
        }
        for command in COMMANDS {
            self.command(command);
        }
        while let Some(kind) = self.pending.pop() {
            self.type_entry(kind);
        }
        let mut out = String::new();
        push_list(&mut out, &self.entries, |out, entry| out.push_str(entry));
        out
    }

    /// What clients call this type; sees to it that it gets an entry.
    fn name(&mut self, kind: Type) -> String {
        let name = match kind {
            Type::Str => "str".to_owned(),
            Type::Int | Type::Size => "int".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Null => "null".to_owned(),
            Type::Any => "any".to_owned(),
            Type::List(element) => format!("[{}]", self.name(*element)),
            Type::Enum(Enum { name, .. }) => self.number(name),
            Type::Object(Object { name, .. }) => self.number(name),
            Type::Alternate(Alternate { name, .. }) => self.number(name),
        };
        if self.named.insert(name.clone()) {
            self.pending.push(kind);
        }
        name
    }

    fn number(&mut self, name: &'static str) -> String {
        let next = self.numbers.len();
        self.numbers.entry(name).or_insert(next).to_string()
    }

    fn entry(&mut self, name: &str, meta_type: &str, write: impl FnOnce(&mut ObjectText<'_>)) {
        let mut out = String::new();
        let mut object = ObjectText::open(&mut out);
        object.text("name", name).text("meta-type", meta_type);
        write(&mut object);
        object.close();
        self.entries.push(out);
    }

    fn event(&mut self, event: &EventType) {
        let data = self.name(Type::Object(event.data));
        self.entry(event.name, "event", |o| {
            o.text("arg-type", &data);
        });
    }

    fn command(&mut self, command: &Command) {
        let arguments = self.name(Type::Object(command.arguments));
        let returns = self.name(command.returns);
        self.entry(command.name, "command", |o| {
            o.text("arg-type", &arguments).text("ret-type", &returns);
            push_features(o, command.features);
        });
    }

    fn type_entry(&mut self, kind: Type) {
        let name = self.name(kind);
        match kind {
            Type::Str => self.builtin(&name, "string"),
            Type::Int | Type::Size => self.builtin(&name, "int"),
            Type::Bool => self.builtin(&name, "boolean"),
            Type::Null => self.builtin(&name, "null"),
            Type::Any => self.builtin(&name, "value"),
            Type::List(element) => {
                let element = self.name(*element);
                self.entry(&name, "array", |o| {
                    o.text("element-type", &element);
                });
            }
            Type::Enum(words) => self.enumeration(&name, words),
            Type::Object(object) => self.object(&name, object),
            Type::Alternate(alternate) => self.alternate(&name, alternate),
        }
    }

    fn builtin(&mut self, name: &str, json_type: &str) {
        self.entry(name, "builtin", |o| {
            o.text("json-type", json_type);
        });
    }

    fn enumeration(&mut self, name: &str, words: &Enum) {
        self.entry(name, "enum", |o| {
            push_list(o.member("members"), words.values, |out, word| {
                let mut member = ObjectText::open(out);
                member.text("name", word);
                member.close();
            });
            push_list(o.member("values"), words.values, |out, word| push_string(out, word));
        });
    }

    fn object(&mut self, name: &str, object: &Object) {
        let members: Vec<(&Member, String)> = object.members.iter().map(|m| (m, self.name(m.kind))).collect();
        let variants = object.variants.as_ref().map(|v| (v.tag, self.cases(object, v.tag)));
        self.entry(name, "object", |o| {
            push_list(o.member("members"), &members, |out, (member, kind)| push_member(out, member, kind));
            if let Some((tag, cases)) = variants {
                o.text("tag", tag);
                push_list(o.member("variants"), &cases, |out, (case, kind)| {
                    let mut variant = ObjectText::open(out);
                    variant.text("case", case).text("type", kind);
                    variant.close();
                });
            }
            push_features(o, object.features);
        });
    }

    /// Every value of the tag with the type of its further members, which may be the empty one.
    fn cases(&mut self, object: &Object, tag: &str) -> Vec<(&'static str, String)> {
        static NO_MEMBERS: Object = crate::qapi::types::object("Empty", &[]);
        let member = object.members.iter().find(|m| m.name == tag).expect("the tag is a member");
        let Type::Enum(words) = member.kind else { panic!("tag {tag} of {} is no enum", object.name) };
        let members_of = |value| object.variant(value).unwrap_or(&NO_MEMBERS);
        words.values.iter().map(|v| (*v, self.name(Type::Object(members_of(v))))).collect()
    }

    fn alternate(&mut self, name: &str, alternate: &Alternate) {
        let cases: Vec<String> = alternate.cases.iter().map(|c| self.name(*c)).collect();
        self.entry(name, "alternate", |o| {
            push_list(o.member("members"), &cases, |out, case| {
                let mut member = ObjectText::open(out);
                member.text("type", case);
                member.close();
            });
        });
    }
}

fn push_features(object: &mut ObjectText<'_>, features: &[&str]) {
    if !features.is_empty() {
        push_list(object.member("features"), features, |out, feature| push_string(out, feature));
    }
}

fn push_member(out: &mut String, member: &Member, kind: &str) {
    let mut object = ObjectText::open(out);
    object.text("name", member.name);
    if member.optional {
        // No default is promised.
        object.plain("default", "null");
    }
    object.text("type", kind);
    push_features(&mut object, member.features);
    object.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn schema() -> Vec<Value> {
        serde_json::from_str(schema_text()).expect("the schema is JSON")
    }

    fn entry(name: &str) -> Value {
        schema().into_iter().find(|e| e["name"] == name).expect("an entry of this name")
    }

    #[test]
    fn base_node_means_that_any_node_may_be_streamed_into() {
        let arguments = entry(entry("block-stream")["arg-type"].as_str().unwrap());
        let members = arguments["members"].as_array().unwrap();
        let names: BTreeSet<&str> = members.iter().map(|m| m["name"].as_str().unwrap()).collect();
        // What QEMU 10.0.2 lists, no more and no less.
        let expected = BTreeSet::from([
            "auto-dismiss",
            "auto-finalize",
            "backing-file",
            "backing-mask-protocol",
            "base",
            "base-node",
            "bottom",
            "device",
            "filter-node-name",
            "job-id",
            "on-error",
            "speed",
        ]);
        assert_eq!(names, expected);
        let optional = members.iter().filter(|m| m.get("default").is_some()).count();
        assert_eq!(optional, members.len() - 1, "only device is required");
    }

    #[test]
    fn every_type_that_is_named_has_exactly_one_entry() {
        let all = schema();
        let mut names: Vec<&str> = all.iter().map(|e| e["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len(), "a name occurs twice");
        for e in &all {
            let mut used: Vec<&Value> =
                ["arg-type", "ret-type", "element-type"].iter().filter_map(|k| e.get(k)).collect();
            let inner = ["members", "variants"].iter().filter_map(|k| e.get(k)?.as_array()).flatten();
            used.extend(inner.filter_map(|m| m.get("type")));
            for name in used {
                assert!(distinct.contains(name.as_str().unwrap()), "{name} of {} has no entry", e["name"]);
            }
        }
    }

    #[test]
    fn the_schema_is_what_the_schema_says_of_it() {
        let command = crate::qapi::schema::command("query-qmp-schema").unwrap();
        let value: Value = serde_json::from_str(schema_text()).unwrap();
        assert_eq!(crate::qapi::check::check_value(&value, &command.returns), Ok(()));
    }
}
