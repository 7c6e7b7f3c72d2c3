//! What the daemon says on its standard error, with names that others chose: nothing in it steers a terminal, every line
//! is one line, and every reason is in words.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use seam::escape::steers;
use serde_json::json;
use std::process::{Command, Stdio};
use support::daemon::{Client, binary, command};

/// A terminal's title, a line end, a forged line, DEL, C1, and marks that turn the direction of writing.
const EVIL: &str = "e\u{1b}]0;t\u{7}\r\nmidstreamd: all is well\u{7f}\u{9b}2J\u{202e}\u{2066}\u{2028}";

/// The daemon's complaint about these arguments, which it does not start with.
fn complaint(arguments: &[&str]) -> String {
    let output = Command::new(binary()).args(arguments).output().expect("it was built");
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).expect("text")
}

#[track_caller]
fn assert_plain(said: &str, lines: usize) {
    assert_eq!(said.lines().count(), lines, "{said:?}");
    assert!(!said.contains(|c| c != '\n' && steers(c)), "{said:?}");
    assert!(!said.contains("Unknown error"), "{said:?}");
}

#[test]
fn refused_options_are_refused_on_one_plain_line() {
    let name = format!("/none/{EVIL}");
    for arguments in [
        ["--blockdev".to_owned(), format!("driver=file,node-name=n,filename={name}")],
        ["--blockdev".to_owned(), json!({"driver": "file", "node-name": "n", "filename": name}).to_string()],
        ["--blockdev".to_owned(), json!({"driver": "file", "node-name": EVIL, "filename": "/x"}).to_string()],
        ["--blockdev".to_owned(), format!("driver={EVIL}")],
        ["--chardev".to_owned(), format!("socket,id=c,path={name},server=on,wait=off")],
        ["--chardev".to_owned(), format!("socket,id=c,path={name}")],
        ["--chardev".to_owned(), format!("{EVIL},id=c")],
        ["--monitor".to_owned(), EVIL.to_owned()],
        ["--nbd-server".to_owned(), format!("addr.type=unix,addr.path={name}")],
        ["--export".to_owned(), format!("nbd,id=e,node-name={EVIL}")],
        ["--object".to_owned(), format!("throttle-group,id={EVIL}")],
        ["--pidfile".to_owned(), name.clone()],
        ["--confine".to_owned(), name.clone()],
        [format!("--{EVIL}"), EVIL.to_owned()],
        [EVIL.to_owned(), EVIL.to_owned()],
    ] {
        let said = complaint(&arguments.each_ref().map(String::as_str));
        assert_plain(&said, 1);
        assert!(said.starts_with("midstreamd: "), "{said:?}");
    }
}

// The daemon announces images it makes; the name is the client's.
#[test]
fn announcements_are_plain_too() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let chardev = format!("socket,id=q,path={},server=on,wait=off", path("q"));
    let mut command = Command::new(binary());
    command.args(["--chardev", &chardev, "--monitor", "q"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let daemon = command.spawn().expect("it was built");
    let mut client = Client::connect(&folder.path().join("q"));
    std::fs::write(path("a"), [0; 4096]).expect("room");
    let file = json!({"driver": "file", "filename": path("a")});
    client.done("blockdev-add", json!({"driver": "raw", "node-name": "n", "file": file}));
    let made = path("made\u{1b}[31m\nforged");
    let snapshot = json!({"node-name": "n", "snapshot-file": made, "snapshot-node-name": "s"});
    client.done("blockdev-snapshot-sync", snapshot);
    assert!(std::path::Path::new(&made).exists());
    client.done("quit", json!({}));
    let output = daemon.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_plain(&said, 1);
    assert!(said.contains("made\\u001B[31m\\nforged"), "{said:?}");
}

// A minute of silence looks like a hang.
#[test]
fn a_live_campaign_says_how_far_it_is() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let target = format!("midstreamd:{}", binary().display());
    let mut fuzz = Command::new(command());
    fuzz.args(["fuzz", "--target", &target, "--seed", "1", "--seconds", "6", "--out"]).arg(folder.path());
    let output = fuzz.stdin(Stdio::null()).output().expect("it was built");
    let said = String::from_utf8(output.stderr).expect("text");
    let is_progress =
        |line: &str| line.contains(" s  ") && line.contains(" runs, ") && line.ends_with(" failed");
    assert!(said.lines().any(is_progress), "{said}");
}
