//! What a daemon says it understands: the commands of its `query-qmp-schema`, and the types of their arguments.

use serde_json::Value;
use std::collections::BTreeMap;

/// Every command, and every type by the name that the schema gives it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Schema {
    /// Names of commands with the types of their arguments, in the order of the names.
    pub commands: Vec<(String, String)>,
    types: BTreeMap<String, Type>,
}

/// A type of QAPI's introspection.
#[derive(Clone, PartialEq, Debug)]
pub enum Type {
    /// Members, and more of them by the value of one that is the tag.
    Object {
        /// Those it always may have.
        members: Vec<Member>,
        /// The member that decides, and by its value the type with the members to add.
        variants: Option<(String, BTreeMap<String, String>)>,
    },
    /// A list of that type.
    Array(String),
    /// One of these words.
    Enum(Vec<String>),
    /// One of these types.
    Alternate(Vec<String>),
    /// A JSON type: `string`, `int`, `number`, `boolean`, `null` or `value`.
    Plain(String),
}

/// A member of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its type's name.
    pub of: String,
    /// Whether it may be left out.
    pub is_optional: bool,
}

impl Schema {
    /// Reads the list that `query-qmp-schema` returns. What is no entry of it is left out.
    pub fn read(list: &[Value]) -> Schema {
        let mut schema = Schema::default();
        for entry in list {
            let Some(name) = entry["name"].as_str() else { continue };
            if let ("command", Some(of)) = (kind(entry), entry["arg-type"].as_str()) {
                schema.commands.push((name.to_owned(), of.to_owned()));
            } else if let Some(of) = read_type(entry) {
                schema.types.insert(name.to_owned(), of);
            }
        }
        schema.commands.sort();
        schema
    }

    /// The type of that name.
    pub fn get(&self, name: &str) -> Option<&Type> {
        self.types.get(name)
    }
}

fn kind(entry: &Value) -> &str {
    entry["meta-type"].as_str().unwrap_or_default()
}

fn read_type(entry: &Value) -> Option<Type> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |name: &str| entry[name].as_array().cloned().unwrap_or_default();
    Some(match kind(entry) {
        "object" => {
            let member = |member: &Value| {
                let is_optional = member.get("default").is_some();
                Some(Member { name: text(&member["name"])?, of: text(&member["type"])?, is_optional })
            };
            let case = |case: &Value| Some((text(&case["case"])?, text(&case["type"])?));
            let variants =
                text(&entry["tag"]).map(|tag| (tag, list("variants").iter().filter_map(case).collect()));
            Type::Object { members: list("members").iter().filter_map(member).collect(), variants }
        }
        "array" => Type::Array(text(&entry["element-type"])?),
        "enum" => Type::Enum(list("values").iter().filter_map(text).collect()),
        "alternate" => {
            Type::Alternate(list("members").iter().filter_map(|member| text(&member["type"])).collect())
        }
        "builtin" => Type::Plain(text(&entry["json-type"])?),
        _ => return None,
    })
}
