//! A file that was given to the wrong command: what it is, and which command takes it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Both forms say in so many bytes what they are.
const HEAD_BYTES: u64 = 256;

/// What is said behind the complaint about a file that should have been a trace; nothing, if it is no history either.
pub(super) fn not_a_trace(path: &Path) -> &'static str {
    let is_history = head(path).contains(r#""midstream-history""#);
    if is_history { "; this is a history, which `midstream judge` takes" } else { "" }
}

/// The same, of a file that should have been a history.
pub(super) fn not_a_history(path: &Path) -> &'static str {
    let head = head(path);
    let is_trace = [r#""version""#, r#""midstream""#].iter().all(|member| head.contains(member));
    if is_trace { "; this is a trace, which `midstream replay` takes" } else { "" }
}

fn head(path: &Path) -> String {
    let mut bytes = Vec::new();
    // What cannot be read was complained about already.
    let _read = File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
