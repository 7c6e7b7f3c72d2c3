//! The strict reading of a command's arguments: which members there are, of which type, and the text of each refusal.
//!
//! Members are read in the order of the schema, so the first bad one speaks; unexpected ones are named last.

use crate::command::reply::Refusal;
use crate::json::Json;

/// The type of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// A string.
    Text,
    /// A whole number of 64 bits with sign.
    Integer,
    /// A truth value.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A node name or a node to be opened.
    Node,
    /// The same, or `null`.
    NodeOrNull,
    /// Something the model does not look into.
    Any,
}

/// One member of a command's arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// Whether it must be given.
    pub required: bool,
}

/// A member that must be given.
pub const fn required(name: &'static str, kind: Type) -> Member {
    Member { name, kind, required: true }
}

/// A member that may be left out.
pub const fn optional(name: &'static str, kind: Type) -> Member {
    Member { name, kind, required: false }
}

/// Reads an object against its schema, given in parts. `prefix` is the path to it: empty, or like `file.`.
pub fn check(schema: &[&[Member]], prefix: &str, arguments: &Json<'_>) -> Result<(), Refusal> {
    let members = || schema.iter().copied().flatten();
    let mut known = 0;
    for member in members() {
        match arguments.get(member.name) {
            None if member.required => return Err(Refusal::Missing(format!("{prefix}{}", member.name))),
            None => {}
            Some(value) => {
                known += 1;
                member.kind.check(value, prefix, member.name)?;
            }
        }
    }
    let Json::Object(given) = arguments else { return Ok(()) };
    if known == given.len() {
        return Ok(());
    }
    let unexpected = given.iter().filter(|(name, _)| members().all(|m| m.name != name));
    Err(Refusal::Unexpected(unexpected.map(|(name, _)| format!("{prefix}{name}")).collect()))
}

impl Type {
    fn check(self, value: &Json<'_>, prefix: &str, name: &str) -> Result<(), Refusal> {
        let (fits, expected) = match self {
            Type::Any => return Ok(()),
            Type::Text => (matches!(value, Json::Text(_)), "string"),
            Type::Integer => (matches!(value, Json::Integer(_)), "integer"),
            Type::Boolean => (matches!(value, Json::Bool(_)), "boolean"),
            Type::Word(words) => match value.text() {
                Some(word) if !words.contains(&word) => {
                    return Err(Refusal::BadWord(format!("{prefix}{name}"), word.to_owned()));
                }
                text => (text.is_some(), "string"),
            },
            Type::Node => (matches!(value, Json::Text(_) | Json::Object(_)), "BlockdevRef"),
            Type::NodeOrNull => {
                (matches!(value, Json::Text(_) | Json::Object(_) | Json::Null), "BlockdevRefOrNull")
            }
        };
        if fits { Ok(()) } else { Err(Refusal::BadType(format!("{prefix}{name}"), expected)) }
    }
}
