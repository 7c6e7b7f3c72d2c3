//! A text as a JSON string: in replies, and in the `json:` file names of nodes; and a text as people may be shown it.
//!
//! File names, QMP, traces and histories are written by others. What is shown of them on a terminal or in a log goes
//! through here, so that nothing in them steers a terminal, forges a line or turns the order of what is read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character does something to what shows it: controls (C0, DEL, C1), line ends, and marks that turn the
/// direction of writing.
pub fn steers(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// A text for one line: whatever steers is spelt out, as JSON spells it.
pub fn one_line(text: &str) -> Cow<'_, str> {
    spelt(text, steers)
}

/// A text of lines: as `one_line`, and its lines end where they did.
pub fn lines(text: &str) -> Cow<'_, str> {
    spelt(text, |c| steers(c) && c != '\n')
}

fn spelt(text: &str, is_spelt: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_spelt) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_spelt(c) { push_escaped(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// By byte: whether it is escaped, or begins what is.
static IS_SPECIAL: [bool; 256] = {
    let mut special = [true; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        special[byte as usize] = byte == b'"' || byte == b'\\';
        byte += 1;
    }
    special
};

/// Writes a text in double quotes; everything but printable ASCII is escaped.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Byte by byte: whatever is no printable ASCII begins with a byte that is none.
    while let Some(at) = rest.bytes().position(|byte| IS_SPECIAL[usize::from(byte)]) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let c = special.chars().next().expect("something was found there");
        push_escaped(out, c);
        rest = &special[c.len_utf8()..];
    }
    out.push_str(rest);
    out.push('"');
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        _ => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04X}").expect("a String takes everything");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_is_left() {
        let evil = "a\u{1b}[2J\r\nb\u{7f}\u{9b}31m\u{202e}c\u{2066}\u{200f}\u{2028}\u{61c}\0\t";
        let escaped = one_line(evil);
        assert_eq!(
            escaped,
            "a\\u001B[2J\\r\\nb\\u007F\\u009B31m\\u202Ec\\u2066\\u200F\\u2028\\u061C\\u0000\\t"
        );
        assert!(!escaped.contains(steers));
        assert_eq!(lines(evil), escaped.replace("\\r\\nb", "\\r\nb"));
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        assert!(!one_line(&all).contains(steers));
    }

    #[test]
    fn what_only_looks_foreign_stays() {
        for text in ["", "a b", "Größe ä 中文 \u{1f980}", "C:\\new \"quoted\""] {
            assert!(matches!(one_line(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
