//! The one door to the terminal: nothing that others wrote (names, traces, replies, histories) steers it.
//!
//! A name may even hold a line end, so whoever puts one into a text of several lines shows it with `shown`.

use seam::escape::{lines, one_line};
use std::fmt;
use std::io::Write;
use std::path::Path;

/// Writes a text to the standard output.
pub fn out(text: fmt::Arguments<'_>) {
    // Who has closed it wants no more: that is no failure.
    let _closed = std::io::stdout().lock().write_all(lines(&text.to_string()).as_bytes());
}

/// Writes a line to the standard output, in the colour of that number (SGR), if any.
pub fn line(colour: Option<u8>, text: &str) {
    let text = one_line(text);
    let _closed = match colour {
        Some(colour) => writeln!(std::io::stdout().lock(), "\x1b[{colour}m{text}\x1b[0m"),
        None => writeln!(std::io::stdout().lock(), "{text}"),
    };
}

/// Writes a text and a line end to the standard error.
pub fn complain(text: fmt::Arguments<'_>) {
    let _closed = writeln!(std::io::stderr().lock(), "{}", lines(&text.to_string()));
}

/// A file's name as it may be shown.
pub fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy()).into_owned()
}
