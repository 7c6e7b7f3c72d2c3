//! A message as programs write it, read in one go: an object of plain JSON.
//!
//! What it reads, it reads as [`super::json`] does, which is left with everything else: with what is wrong, and with what
//! QEMU's parser understands otherwise than JSON's (quotes, escapes, doubles, members given twice).

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// So long a message breaks none of the limits of [`super::json`], whatever is in it.
const BYTES_MAX: usize = 64 << 10;

/// The message, if it is plain.
pub(super) fn read(text: &str) -> Option<Value> {
    let is_plain = text.starts_with('{') && text.len() <= BYTES_MAX && text.is_ascii();
    if !is_plain || text.as_bytes().contains(&b'\\') {
        return None;
    }
    serde_json::from_str(text).ok().map(|Plain(value)| value)
}

/// A value that has no doubles in it, and no member twice in one object.
struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without doubles")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain(Value::Null))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Plain, E> {
        Ok(Plain(Value::Bool(truth)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Plain, E> {
        Ok(Plain(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Plain, E> {
        Ok(Plain(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
        Ok(Plain(Value::String(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut list = Vec::new();
        while let Some(Plain(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Plain(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Plain, A::Error> {
        let mut members = Map::new();
        while let Some((name, Plain(value))) = entries.next_entry::<String, Plain>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate key"));
            }
        }
        Ok(Plain(Value::Object(members)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::{JsonError, Reader};
    use super::*;

    /// As it is read byte by byte.
    fn slowly(text: &str) -> Option<Result<Value, JsonError>> {
        let mut found = None;
        let mut keep_first = |message| {
            found.get_or_insert(message);
        };
        let mut reader = Reader::new();
        reader.feed(text.as_bytes(), &mut keep_first);
        reader.finish(&mut keep_first);
        found
    }

    #[test]
    fn what_is_plain_is_read_as_byte_by_byte() {
        for text in [
            r#"{"execute":"query-jobs"}"#,
            r#" {"execute": "x"}"#,
            "{\"a\": {\"b\": [1, -2, 18446744073709551615, -9223372036854775808, true, null, []]}, \"c\": \"\x7f\"}\n",
            "{}",
        ] {
            let read = read(text);
            assert_eq!(read.is_some(), text.starts_with('{'), "{text}");
            assert!(read.is_none_or(|value| slowly(text) == Some(Ok(value))), "{text}");
        }
    }

    #[test]
    fn what_qemu_reads_otherwise_is_left_to_the_reader() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":-0}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{'a':1}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"é"}"#,
            r#"{"a":1} {"b":2}"#,
            r#"{"a":1"#,
            "{\"a\":\"\t\"}",
            "7",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
