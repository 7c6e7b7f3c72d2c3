//! Image locks: the daemon and QEMU's programs refuse each other, as they do among themselves.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use support::daemon::Daemon;
use support::images::Chain;
use support::tools::{have, output, run};

/// What qemu-io says when it is refused.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let output = output("qemu-io", arguments);
    assert!(!output.status.success(), "{arguments:?} was let in: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

/// A qemu-io that has an image open.
struct Holder {
    process: Child,
    commands: ChildStdin,
    /// It goes on to prompt.
    _said: BufReader<ChildStdout>,
}

impl Holder {
    fn open(image: &Path, read_only: bool) -> Holder {
        let mut command = Command::new("qemu-io");
        command.args(if read_only { &["-r"][..] } else { &[] }).arg(image);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("qemu-io was found");
        let mut commands = process.stdin.take().expect("piped");
        let mut said = BufReader::new(process.stdout.take().expect("piped"));
        // Its answer shows that it has the image open.
        commands.write_all(b"length\n").expect("qemu-io listens");
        said.read_line(&mut String::new()).expect("qemu-io answers");
        Holder { process, commands, _said: said }
    }

    fn close(mut self) {
        drop(self.commands);
        assert!(self.process.wait().expect("qemu-io ends").success());
    }
}

#[test]
fn who_asks_for_no_locks_is_let_in() {
    if !have(&["qemu-img", "qemu-io"], "who_asks_for_no_locks_is_let_in") {
        return;
    }
    let chain = Chain::new(1);
    let image = chain.image(0);
    let (daemon, [mut client]) = Daemon::start::<1>(chain.folder());
    let holder = Holder::open(&image, false);
    let mut add = |options: Value, file: Value| {
        let mut asked = json!({"driver": "qcow2", "node-name": "n", "read-only": true,
            "file": {"driver": "file", "filename": image}});
        let member = |value: &Value| value.as_object().expect("members").clone();
        asked.as_object_mut().expect("members").extend(member(&options));
        asked["file"].as_object_mut().expect("members").extend(member(&file));
        let added = client.execute("blockdev-add", asked);
        if added.is_ok() {
            client.done("blockdev-del", json!({"node-name": "n"}));
        }
        added.err()
    };
    let refused = Some("Failed to get shared \"write\" lock".to_owned());
    for locking in ["auto", "on"] {
        assert_eq!(add(json!({}), json!({"locking": locking})), refused);
    }
    assert_eq!(add(json!({}), json!({"locking": "off"})), None);
    assert_eq!(add(json!({"force-share": true}), json!({})), None);
    holder.close();
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn qemu_is_refused_what_the_daemon_holds() {
    if !have(&["qemu-img", "qemu-io"], "qemu_is_refused_what_the_daemon_holds") {
        return;
    }
    let chain = Chain::new(1);
    let image = chain.image(0);
    let path = image.to_str().expect("a plain path");
    let (daemon, [mut client]) = Daemon::start::<1>(chain.folder());
    let add = |read_only: bool| {
        json!({"driver": "qcow2", "node-name": "n", "read-only": read_only, "file":
            {"driver": "file", "filename": path}})
    };
    client.done("blockdev-add", add(false));
    let hint = format!("Is another process using the image [{path}]?");
    let said = refused(&["-c", "read 0 1", path]);
    assert!(said.contains("Failed to get \"write\" lock") && said.contains(&hint), "{said}");
    let said = refused(&["-r", "-c", "read 0 1", path]);
    assert!(said.contains("Failed to get shared \"write\" lock"), "{said}");
    client.done("blockdev-del", json!({"node-name": "n"}));

    client.done("blockdev-add", add(true));
    run("qemu-io", &["-r", "-c", "read 0 1", path]);
    assert!(refused(&["-c", "read 0 1", path]).contains("Failed to get \"write\" lock"));
    client.done("blockdev-del", json!({"node-name": "n"}));
    run("qemu-io", &["-c", "write 0 1", path]);
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn the_daemon_is_refused_what_qemu_holds() {
    if !have(&["qemu-img", "qemu-io"], "the_daemon_is_refused_what_qemu_holds") {
        return;
    }
    let chain = Chain::new(1);
    let image = chain.image(0);
    let (daemon, [mut client]) = Daemon::start::<1>(chain.folder());
    for (read_only, refused_writer, refused_reader) in [(false, true, true), (true, true, false)] {
        let holder = Holder::open(&image, read_only);
        let mut add = |read_only: bool| {
            let file = json!({"driver": "file", "filename": image});
            let added = client.execute(
                "blockdev-add",
                json!({"driver": "qcow2", "node-name": "n", "read-only": read_only, "file": file}),
            );
            if added.is_ok() {
                client.done("blockdev-del", json!({"node-name": "n"}));
            }
            added.err()
        };
        let writer = "Failed to get \"write\" lock".to_owned();
        let reader = "Failed to get shared \"write\" lock".to_owned();
        assert_eq!(add(false), refused_writer.then_some(writer));
        assert_eq!(add(true), refused_reader.then_some(reader));
        holder.close();
        assert_eq!(add(false), None, "the holder has gone");
    }
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

// A file that the operator has opened is in nobody's way as long as no node relies on it: a filter that nobody uses does not, and an
// image that could not be opened, or is gone, does not any more.
#[test]
fn a_file_is_locked_as_long_as_a_node_relies_on_it() {
    if !have(&["qemu-img", "qemu-io"], "a_file_is_locked_as_long_as_a_node_relies_on_it") {
        return;
    }
    let chain = Chain::new(1);
    let image = chain.image(0);
    let path = image.to_str().expect("UTF-8");
    let (daemon, [mut client]) = Daemon::start::<1>(chain.folder());
    let is_free = || output("qemu-io", &["-c", "read 0 1", path]).status.success();
    let file = json!({"driver": "file", "filename": path, "auto-read-only": true, "node-name": "f"});
    client.done("blockdev-add", file);
    client.done("blockdev-add", json!({"driver": "blkdebug", "image": "f", "node-name": "d"}));
    assert!(is_free(), "a filter without a user");
    let node = |file: &str, backing: Value| json!({"driver": "qcow2", "file": file, "backing": backing, "read-only": true, "node-name": "n"});
    for file in ["f", "d"] {
        let refused = client.execute("blockdev-add", node(file, json!("nobody")));
        assert!(refused.is_err(), "{refused:?}");
        assert!(is_free(), "an image on {file} that was not opened");
        client.done("blockdev-add", node(file, Value::Null));
        assert!(!is_free(), "an image on {file}");
        client.done("blockdev-del", json!({"node-name": "n"}));
        assert!(is_free(), "an image on {file} that is gone");
    }
    let is_read_by_others = || output("qemu-img", &["info", path]).status.success();
    client.done("blockdev-add", json!({"driver": "qcow2", "file": "f", "backing": null, "node-name": "n"}));
    assert!(!is_read_by_others(), "an image that somebody may write");
    client.done("blockdev-del", json!({"node-name": "n"}));
    assert!(is_read_by_others(), "the file of a writer that is gone");
    let socket = chain.folder().join("nbd.sock");
    let address = json!({"type": "unix", "data": {"path": socket}});
    client.done("nbd-server-start", json!({"addr": address}));
    let export = |id: &str, writable: bool| json!({"type": "nbd", "id": id, "name": id, "node-name": "f", "writable": writable});
    client.done("block-export-add", export("reader", false));
    client.done("block-export-add", export("writer", true));
    client.done("block-export-del", json!({"id": "writer"}));
    client.event("BLOCK_EXPORT_DELETED");
    assert!(is_read_by_others(), "the writer has gone, a reader is left");
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}
