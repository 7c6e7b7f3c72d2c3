//! Holds arguments against their type, strictly: nothing missing, nothing ill-typed, nothing unexpected.
//!
//! Members are looked at in the table's order and the first fault is the one reported, as QEMU does it: an object's
//! missing and ill-typed members first, each inner object whole, then what is left over.

use super::types::{Alternate, Member, Object, Type};
use crate::error::TooDeep;
use crate::graph::depth::DEPTH_MAX;
use serde_json::{Map, Value};
use std::fmt;
use thiserror::Error;

/// Children are described inside their parents; each may hold one more object, and lists, that are no children.
const NESTING_MAX: u32 = DEPTH_MAX + 8;

/// What is wrong with the arguments.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Fault {
    /// A required member is absent.
    #[error("Parameter '{0}' is missing")]
    Missing(String),
    /// A member nobody asked for.
    #[error("Parameter '{0}' is unexpected")]
    Unexpected(String),
    /// A value of the wrong JSON type.
    #[error("Invalid parameter type for '{name}', expected: {expected}")]
    IllTyped {
        /// The member, with the objects around it.
        name: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// Not a size.
    #[error("Parameter '{0}' expects uint64")]
    NoSize(String),
    /// Objects inside objects, deeper than any node may stand.
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
    /// A word that is not one of the enum's.
    #[error("Parameter '{name}' does not accept value '{value}'")]
    NotAccepted {
        /// The member alone; `null` in a list.
        name: String,
        /// The word.
        value: String,
    },
}

/// Checks the arguments of a command.
pub fn check(arguments: &Map<String, Value>, expected: &'static Object) -> Result<(), Fault> {
    check_object(arguments, expected, &Place::Root)
}

/// Checks any value, for example a reply.
#[cfg(test)]
pub(crate) fn check_value(value: &Value, expected: &Type) -> Result<(), Fault> {
    check_type(value, expected, &Place::Root)
}

/// Where a value stands: a chain on the stack, put into words only when something is wrong.
enum Place<'a> {
    Root,
    Member(&'a Place<'a>, &'a str),
    Element(&'a Place<'a>, usize),
}

impl Place<'_> {
    /// How many objects and lists are around it.
    fn depth(&self) -> u32 {
        let outer = |place: &&Self| match **place {
            Place::Root => None,
            Place::Member(outer, _) | Place::Element(outer, _) => Some(outer),
        };
        std::iter::successors(outer(&self), outer).zip(1..).last().map_or(0, |(_, depth)| depth)
    }

    /// The name without the objects around it.
    fn last(&self) -> String {
        match self {
            Place::Member(_, name) => (*name).to_owned(),
            Place::Root | Place::Element(..) => "null".to_owned(),
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Member(Place::Root, name) => f.write_str(name),
            Place::Member(outer, name) => write!(f, "{outer}.{name}"),
            Place::Element(outer, index) => write!(f, "{outer}[{index}]"),
        }
    }
}

fn check_object(found: &Map<String, Value>, expected: &Object, place: &Place<'_>) -> Result<(), Fault> {
    // What is inside is looked at by calls within calls, and is made into nodes in the same way.
    if place.depth() > NESTING_MAX {
        return Err(TooDeep(DEPTH_MAX).into());
    }
    let mut known = check_members(found, expected.members, place, 0)?;
    let tag_value = expected.variants.as_ref().and_then(|v| found.get(v.tag)?.as_str());
    let variant = tag_value.and_then(|value| expected.variant(value));
    if let Some(variant) = variant {
        known = check_members(found, variant.members, place, known)?;
    }
    if known == found.len() {
        return Ok(());
    }
    let is_member = |name: &str, members: &[Member]| members.iter().any(|m| m.name == name);
    let is_known =
        |name: &str| is_member(name, expected.members) || variant.is_some_and(|v| is_member(name, v.members));
    let left = found.keys().find(|name| !is_known(name)).expect("more members than known ones");
    Err(Fault::Unexpected(Place::Member(place, left).to_string()))
}

/// Checks those members that are there. So many are `known`: says how many are afterwards.
fn check_members(
    found: &Map<String, Value>,
    members: &[Member],
    place: &Place<'_>,
    mut known: usize,
) -> Result<usize, Fault> {
    for member in members {
        let place = Place::Member(place, member.name);
        // Once all are known, none need be looked for.
        let value = if known < found.len() { found.get(member.name) } else { None };
        match value {
            Some(value) => {
                check_type(value, &member.kind, &place)?;
                known += 1;
            }
            None if member.optional => {}
            None => return Err(Fault::Missing(place.to_string())),
        }
    }
    Ok(known)
}

fn check_type(value: &Value, expected: &Type, place: &Place<'_>) -> Result<(), Fault> {
    let ill_typed = |expected| Err(Fault::IllTyped { name: place.to_string(), expected });
    match (expected, value) {
        (Type::Any, _) => Ok(()),
        (Type::Str, Value::String(_)) => Ok(()),
        (Type::Int, Value::Number(n)) if n.is_i64() => Ok(()),
        (Type::Size, Value::Number(n)) if n.is_i64() || n.is_u64() => Ok(()),
        (Type::Bool, Value::Bool(_)) => Ok(()),
        (Type::Null, Value::Null) => Ok(()),
        (Type::Enum(words), Value::String(word)) if words.values.contains(&word.as_str()) => Ok(()),
        (Type::Enum(_), Value::String(word)) => {
            Err(Fault::NotAccepted { name: place.last(), value: word.clone() })
        }
        (Type::Object(object), Value::Object(found)) => check_object(found, object, place),
        (Type::List(kind), Value::Array(elements)) => {
            let mut elements = elements.iter().enumerate();
            elements.try_for_each(|(i, e)| check_type(e, kind, &Place::Element(place, i)))
        }
        (Type::Alternate(alternate), value) => match case(alternate, value) {
            Some(kind) => check_type(value, kind, place),
            // Unlike others, it is named without what is around it.
            None => Err(Fault::IllTyped { name: place.last(), expected: alternate.name }),
        },
        (Type::Str | Type::Enum(_), _) => ill_typed("string"),
        (Type::Int, _) => ill_typed("integer"),
        (Type::Size, _) => Err(Fault::NoSize(place.to_string())),
        (Type::Bool, _) => ill_typed("boolean"),
        (Type::Null, _) => ill_typed("null"),
        (Type::Object(_), _) => ill_typed("object"),
        (Type::List(_), _) => ill_typed("array"),
    }
}

/// The one case of an alternate whose JSON type is the value's.
fn case(alternate: &Alternate, value: &Value) -> Option<&'static Type> {
    alternate.cases.iter().find(|kind| {
        matches!(
            (kind, value),
            (Type::Object(_), Value::Object(_))
                | (Type::Str | Type::Enum(_), Value::String(_))
                | (Type::Null, Value::Null)
        )
    })
}
