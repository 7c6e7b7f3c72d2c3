//! Image locks: the daemon and QEMU's programs refuse each other, as they do among themselves.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
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
        let mut holder = Command::new("qemu-io");
        holder.args(if read_only { &["-r"][..] } else { &[] }).arg(&image);
        let mut holder =
            holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("qemu-io was found");
        let (mut commands, said) =
            (holder.stdin.take().expect("piped"), holder.stdout.take().expect("piped"));
        // Its answer tells that it has the image open.
        commands.write_all(b"length\n").expect("qemu-io listens");
        let mut said = BufReader::new(said);
        said.read_line(&mut String::new()).expect("qemu-io answers");
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
        drop(commands);
        assert!(holder.wait().expect("qemu-io ends").success());
        assert_eq!(add(false), None, "the holder has gone");
    }
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}
