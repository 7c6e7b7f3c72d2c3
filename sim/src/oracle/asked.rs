//! The name of a command, for laws that look at few commands: most texts then need not be read as a whole.

use memchr::memmem::find;
use serde_json::Value;
use std::borrow::Cow;

/// What a command's text begins with, as clients of ours write it.
const BEGINNING: &str = r#"{"execute":""#;

/// The name of the command in a text, or nothing.
pub fn name_of(text: &str) -> Cow<'_, str> {
    let plain = text.strip_prefix(BEGINNING).and_then(|rest| rest.split_once('"'));
    match plain {
        Some((name, _)) if !name.contains('\\') => Cow::Borrowed(name),
        _ => Cow::Owned(read(text)["execute"].as_str().unwrap_or_default().to_owned()),
    }
}

/// The whole command; nothing, if it is not JSON.
pub fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// What stands behind a mark in a text, if the mark is there.
pub fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    find(text.as_bytes(), mark.as_bytes()).map(|at| &text[at + mark.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_however_it_is_written() {
        for text in [
            r#"{"execute":"block-stream","arguments":{}}"#,
            r#"{ "arguments": {}, "execute": "block-stream" }"#,
            r#"{"execute":"block\u002dstream"}"#,
        ] {
            assert_eq!(name_of(text), "block-stream", "{text}");
        }
        for text in ["", "{", r#"{"execute":7}"#, r#"{"exec-oob":"block-stream"}"#] {
            assert_eq!(name_of(text), "", "{text}");
        }
    }

    #[test]
    fn what_stands_behind_a_mark_is_all_of_the_rest() {
        assert_eq!(after("a, b, c", ", "), Some("b, c"));
        assert_eq!(after("a, b", "; "), None);
    }
}
