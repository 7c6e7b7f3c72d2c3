//! `key=value,…` of a command line to the object it stands for: dots nest, `,,` is a comma.
//!
//! Values are text at first; the table of `schema.rs` says which of them are numbers or truths.

use super::options::Arguments;
use super::types::{Object, Type};
use crate::error::TooDeep;
use crate::graph::depth::DEPTH_MAX;
use serde_json::{Map, Value};
use thiserror::Error;

/// The most parts of a key: one for each node on the way down, and a few inside the last.
const KEY_PARTS_MAX: usize = DEPTH_MAX as usize + 8;

/// What is wrong with such a text.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum KeyvalError {
    /// A key alone.
    #[error("Expected '=' after parameter '{0}'")]
    NoValue(String),
    /// A key of more parts than any node has nodes below it.
    #[error(transparent)]
    TooDeep(#[from] TooDeep),
    /// A key with an empty part.
    #[error("Invalid parameter '{0}'")]
    InvalidKey(String),
    /// A key that has both a value and parts below it.
    #[error("Parameters '{0}.*' used inconsistently")]
    Inconsistent(String),
    /// Neither yes nor no.
    #[error("Parameter '{0}' expects 'on' or 'off'")]
    NoTruth(String),
    /// Not a number.
    #[error("Parameter '{0}' expects integer")]
    NoInteger(String),
}

/// Reads `text` as an object of type `expected`; a first value without a key belongs to `implied`.
pub fn parse(text: &str, implied: &str, expected: &'static Object) -> Result<Arguments, KeyvalError> {
    let mut object = Map::new();
    for (index, part) in split(text).into_iter().enumerate() {
        match part.split_once('=') {
            Some((key, value)) => insert(&mut object, key, Value::from(value))?,
            None if index == 0 => insert(&mut object, implied, Value::from(part))?,
            None => return Err(KeyvalError::NoValue(part)),
        }
    }
    type_object(&mut object, expected, "")?;
    Ok(object)
}

/// Cuts at commas; two commas are one that does not cut.
pub fn split(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ',' if rest.next_if_eq(&',').is_some() => part.push(','),
            ',' => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Puts a value where the dots of `key` lead. What is nested by dots is gone through by calls within calls.
pub(super) fn insert(object: &mut Arguments, key: &str, value: Value) -> Result<(), KeyvalError> {
    if key.split('.').count() > KEY_PARTS_MAX {
        return Err(TooDeep(DEPTH_MAX).into());
    }
    insert_part(object, key, key, value)
}

/// The same for the rest of a key; `whole` is the key as it was said.
fn insert_part(object: &mut Arguments, whole: &str, key: &str, value: Value) -> Result<(), KeyvalError> {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    if first.is_empty() {
        return Err(KeyvalError::InvalidKey(whole.to_owned()));
    }
    let used_so_far = || whole[..whole.len() - rest.map_or(0, |r| r.len() + 1)].to_owned();
    let inconsistent = || Err(KeyvalError::Inconsistent(used_so_far()));
    match (rest, object.get_mut(first)) {
        (None, Some(Value::Object(_))) => inconsistent(),
        // The last value counts.
        (None, _) => {
            object.insert(first.to_owned(), value);
            Ok(())
        }
        (Some(rest), Some(Value::Object(inner))) => insert_part(inner, whole, rest, value),
        (Some(_), Some(_)) => inconsistent(),
        (Some(rest), None) => {
            let mut inner = Map::new();
            insert_part(&mut inner, whole, rest, value)?;
            object.insert(first.to_owned(), Value::Object(inner));
            Ok(())
        }
    }
}

/// Makes numbers and truths of the texts that should be, and lists of what is numbered; the rest is for `check` to judge.
pub(super) fn type_object(
    object: &mut Arguments,
    expected: &'static Object,
    path: &str,
) -> Result<(), KeyvalError> {
    let variant = expected.variants.as_ref().and_then(|v| expected.variant(object.get(v.tag)?.as_str()?));
    let members = expected.members.iter().chain(variant.iter().flat_map(|v| v.members));
    for member in members {
        if let Some(value) = object.get_mut(member.name) {
            let path =
                if path.is_empty() { member.name.to_owned() } else { format!("{path}.{}", member.name) };
            type_value(value, &member.kind, &path)?;
        }
    }
    Ok(())
}

fn type_value(value: &mut Value, kind: &Type, path: &str) -> Result<(), KeyvalError> {
    match (kind, &mut *value) {
        (Type::Bool, Value::String(word)) => {
            *value = Value::Bool(match word.as_str() {
                "on" | "yes" | "true" | "y" => true,
                "off" | "no" | "false" | "n" => false,
                _ => return Err(KeyvalError::NoTruth(path.to_owned())),
            });
        }
        (Type::Int, Value::String(number)) => {
            let number: i64 = number.parse().map_err(|_| KeyvalError::NoInteger(path.to_owned()))?;
            *value = Value::from(number);
        }
        (Type::List(element), Value::Object(inner)) if is_numbered(inner) => {
            let elements = (0..inner.len()).filter_map(|index| inner.remove(&index.to_string()));
            let mut elements: Vec<Value> = elements.collect();
            for (index, inner) in elements.iter_mut().enumerate() {
                type_value(inner, element, &format!("{path}.{index}"))?;
            }
            *value = Value::Array(elements);
        }
        (Type::Object(object), Value::Object(inner)) => type_object(inner, object, path)?,
        (Type::Alternate(alternate), Value::Object(inner)) => {
            let object = alternate.cases.iter().find_map(|c| match c {
                Type::Object(object) => Some(*object),
                _ => None,
            });
            if let Some(object) = object {
                type_object(inner, object, path)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whether the members are called 0, 1, 2 and so on.
fn is_numbered(object: &Arguments) -> bool {
    !object.is_empty() && (0..object.len()).all(|index| object.contains_key(&index.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::schema::BLOCKDEV_OPTIONS;
    use super::*;
    use serde_json::json;

    fn parsed(text: &str) -> Result<Value, String> {
        parse(text, "driver", &BLOCKDEV_OPTIONS).map(Value::Object).map_err(|e| e.to_string())
    }

    #[test]
    fn dots_nest_and_words_become_what_the_table_says() {
        let text = "qcow2,node-name=n0,read-only=on,l2-cache-size=7,cache.direct=off,\
                    file.driver=file,file.filename=/a,,b=c,file.read-only=yes";
        let expected = json!({
            "driver": "qcow2", "node-name": "n0", "read-only": true, "l2-cache-size": 7,
            "cache": {"direct": false},
            "file": {"driver": "file", "filename": "/a,b=c", "read-only": true},
        });
        assert_eq!(parsed(text), Ok(expected));
        assert_eq!(
            parsed("blkdebug,set-state.0.event=none,set-state.0.new_state=2"),
            Ok(json!({"driver": "blkdebug", "set-state": [{"event": "none", "new_state": 2}]}))
        );
        assert_eq!(parsed(""), Ok(json!({})));
        assert_eq!(parsed("driver=file,filename="), Ok(json!({"driver": "file", "filename": ""})));
    }

    // The texts of the real daemon.
    #[test]
    fn faults_are_named() {
        for (text, expected) in [
            ("driver=file,filename", "Expected '=' after parameter 'filename'"),
            ("driver=file,read-only=maybe", "Parameter 'read-only' expects 'on' or 'off'"),
            ("driver=qcow2,l2-cache-size=1M", "Parameter 'l2-cache-size' expects integer"),
            ("file.driver=file,file=y", "Parameters 'file.*' used inconsistently"),
            ("file=y,file.driver=file", "Parameters 'file.*' used inconsistently"),
            ("a..b=1", "Invalid parameter 'a..b'"),
        ] {
            assert_eq!(parsed(text), Err(expected.to_owned()), "{text}");
        }
    }
}
