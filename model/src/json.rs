//! JSON text as a borrowed tree: parsed once, copied never (except strings with escapes).
//!
//! Members keep their order, and a member given twice is an error, as it is in QMP.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value that borrows from the text it was read from.
#[derive(Clone, PartialEq, Debug)]
pub enum Json<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number that is written as an integer and fits 64 bits with sign.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// `[...]`
    List(Vec<Json<'a>>),
    /// `{...}`, members in the order of the text.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl fmt::Display for Json<'_> {
    /// The text again, as QMP writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Integer(number) => write!(f, "{number}"),
            Json::Float(number) => write!(f, "{number}"),
            Json::Text(text) => f.write_str(&quoted(text)),
            Json::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Json::Object(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{}: {value}", if index == 0 { "" } else { ", " }, quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}

impl<'a> Json<'a> {
    /// Reads one value; `None` if the text is not JSON.
    pub fn parse(text: &'a str) -> Option<Json<'a>> {
        serde_json::from_str(text).ok()
    }

    /// A member of an object.
    pub fn get(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A string's text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Json::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// A truth value.
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Json::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// A list's items.
    pub fn list(&self) -> Option<&[Json<'a>]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    /// A member that is a string.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// A member that is a whole number.
    pub fn integer_of(&self, name: &str) -> Option<i64> {
        self.get(name)?.integer()
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(number).map_or(Json::Float(number as f64), Json::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Json<'de>)> = Vec::with_capacity(8);
        // Most names have a mark of their own; only one whose mark was seen before is compared with all others.
        let mut marks = 0;
        while let Some(Name(name)) = entries.next_key()? {
            let mark = mark_of(&name);
            if marks & mark != 0 && members.iter().any(|(n, _)| *n == name) {
                return Err(A::Error::custom("duplicate key"));
            }
            marks |= mark;
            members.push((name, entries.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// One bit of 64, the same for the same name.
fn mark_of(name: &str) -> u64 {
    let (first, last) = (name.as_bytes().first(), name.as_bytes().last());
    let sum = name.len() + 5 * usize::from(*first.unwrap_or(&0)) + 11 * usize::from(*last.unwrap_or(&0));
    1 << (sum % 64)
}

/// The name of a member, borrowed where the text allows.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor).map(Name)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_strings_are_borrowed_and_escaped_ones_are_not_lost() {
        let tree = Json::parse(r#"{"a":"plain","b":"tab\t","c":[1,-2,1.0,null,true]}"#).unwrap();
        assert!(matches!(tree.get("a"), Some(Json::Text(Cow::Borrowed("plain")))));
        assert_eq!(tree.text_of("b"), Some("tab\t"));
        let expected = [Json::Integer(1), Json::Integer(-2), Json::Float(1.0), Json::Null, Json::Bool(true)];
        assert_eq!(tree.get("c").unwrap().list().unwrap(), expected);
    }

    #[test]
    fn a_member_given_twice_is_not_json_to_qmp() {
        assert_eq!(Json::parse(r#"{"device":"x","device":"y"}"#), None);
        assert_eq!(Json::parse("nonsense"), None);
    }

    #[test]
    fn an_integer_beyond_63_bits_is_no_integer() {
        assert_eq!(Json::parse("9223372036854775807"), Some(Json::Integer(i64::MAX)));
        assert!(matches!(Json::parse("9223372036854775808"), Some(Json::Float(_))));
    }

    #[test]
    fn deep_nesting_is_refused_instead_of_overflowing_the_stack() {
        assert_eq!(Json::parse(&"[".repeat(100_000)), None);
    }
}
