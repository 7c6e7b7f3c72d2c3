//! Disks behind an NBD server as nodes: what is refused, how they are named and shown, and that is as with the real
//! qemu-storage-daemon where there is one. What it said when it was asked stands here all the same.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::daemon::{Client, Daemon, binary};
use support::tools::have;

/// A daemon with the exports `rw` and `ro`, of 1 MiB, at `nbd` in its folder.
fn server(folder: &Path) -> (Daemon, Client) {
    let (daemon, [mut client]) = Daemon::start::<1>(folder);
    let address = json!({"type": "unix", "data": {"path": folder.join("nbd")}});
    client.done("nbd-server-start", json!({"addr": address}));
    client.done("blockdev-add", json!({"driver": "null-co", "node-name": "n", "size": 1 << 20}));
    for (name, writable) in [("rw", true), ("ro", false)] {
        let export = json!({"type": "nbd", "id": name, "name": name, "node-name": "n", "writable": writable});
        client.done("block-export-add", export);
    }
    (daemon, client)
}

/// Commands, in this order, and what the real daemon answers: nothing, or why not. `$S` is the server's socket.
const ASKED: &[(&str, &str, &str)] = &[
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"n1","server":{"type":"unix","path":"$S"},"export":"rw"}"#,
        "",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"n2","server":{"type":"unix","path":"$S"},"export":"rw","reconnect-delay":5,"open-timeout":1}"#,
        "",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"},"export":"nope"}"#,
        "Requested export not available",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"}}"#,
        "Requested export not available",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"/no/such/x"},"export":"rw"}"#,
        "Failed to connect to '/no/such/x': No such file or directory",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"inet","host":"127.0.0.1","port":"1"},"export":"rw"}"#,
        "Failed to connect to '127.0.0.1:1': Connection refused",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"inet","host":"localhost","port":"nosuch"}}"#,
        "address resolution failed for localhost:nosuch: Servname not supported for ai_socktype",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"inet","host":"localhost"},"export":"rw"}"#,
        "Parameter 'server.port' is missing",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"inet","host":"localhost","port":1}}"#,
        "Invalid parameter type for 'server.port', expected: string",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"nope"},"export":"rw"}"#,
        "Parameter 'type' does not accept value 'nope'",
    ),
    ("blockdev-add", r#"{"driver":"nbd","node-name":"x","export":"rw"}"#, "Parameter 'server' is missing"),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"},"export":"ro"}"#,
        "Could not open image: Permission denied",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"r1","server":{"type":"unix","path":"$S"},"export":"ro","read-only":true}"#,
        "",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"r2","server":{"type":"unix","path":"$S"},"export":"ro","auto-read-only":true,"read-only":false}"#,
        "",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"},"export":"rw","tls-creds":"c"}"#,
        "No TLS credentials with id 'c'",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"},"export":"rw","x-dirty-bitmap":"qemu:dirty-bitmap:b"}"#,
        "Could not open image: Invalid argument",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"},"export":"rw","reconnect-delay":-1}"#,
        "Parameter 'reconnect-delay' expects uint32_t",
    ),
    (
        "blockdev-add",
        r#"{"driver":"nbd","node-name":"x","server":{"type":"unix","path":"$S"},"export":"rw","open-timeout":4294967296}"#,
        "Parameter 'open-timeout' expects uint32_t",
    ),
    ("blockdev-add", r#"{"driver":"raw","node-name":"w1","file":"n1"}"#, ""),
    (
        "blockdev-add",
        r#"{"driver":"raw","node-name":"w2","offset":512,"file":{"driver":"nbd","node-name":"c1","server":{"type":"unix","path":"$S"},"export":"rw","reconnect-delay":5}}"#,
        "",
    ),
    ("blockdev-add", r#"{"driver":"copy-on-read","node-name":"w3","file":"n1"}"#, ""),
    (
        "blockdev-add",
        r#"{"driver":"compress","node-name":"x","file":"n2"}"#,
        "Compression is not supported for underlying format: nbd",
    ),
    ("blockdev-add", r#"{"driver":"qcow2","node-name":"x","file":"n2"}"#, "Image is not in qcow2 format"),
    ("block_resize", r#"{"node-name":"n2","size":512}"#, ""),
    ("block_resize", r#"{"node-name":"n2","size":2097152}"#, "Cannot grow NBD nodes"),
    ("block_resize", r#"{"node-name":"w1","size":2097152}"#, "Cannot grow NBD nodes"),
    (
        "blockdev-reopen",
        r#"{"options":[{"driver":"nbd","node-name":"n2","server":{"type":"unix","path":"$S"},"export":"rw","reconnect-delay":6,"open-timeout":1}]}"#,
        "Cannot change the option 'reconnect-delay'",
    ),
    (
        "blockdev-reopen",
        r#"{"options":[{"driver":"nbd","node-name":"n2","server":{"type":"unix","path":"/a"},"export":"rw","reconnect-delay":5,"open-timeout":1}]}"#,
        "Cannot change the option 'server.path'",
    ),
    (
        "blockdev-reopen",
        r#"{"options":[{"driver":"nbd","node-name":"n2","server":{"type":"unix","path":"$S"},"export":"other","reconnect-delay":5,"open-timeout":1}]}"#,
        "Cannot change the option 'export'",
    ),
    (
        "blockdev-reopen",
        r#"{"options":[{"driver":"nbd","node-name":"n2"}]}"#,
        "Parameter 'options[0].server' is missing",
    ),
    (
        "block-dirty-bitmap-add",
        r#"{"node":"n2","name":"b","persistent":true}"#,
        "Can't store persistent bitmaps to n2: Operation not supported",
    ),
    ("block-dirty-bitmap-add", r#"{"node":"n2","name":"b"}"#, ""),
    ("blockdev-del", r#"{"node-name":"n1"}"#, "Block device n1 is in use"),
];

/// The nodes as clients are shown them, without what differs from host to host.
fn shown(client: &mut Client) -> Vec<Value> {
    let nodes = client.done("query-named-block-nodes", json!({"flat": true}));
    nodes.as_array().expect("a list").clone()
}

fn ask(program: &Path, folder: &Path, socket: &str) -> Vec<Value> {
    let (daemon, [mut client]) = Daemon::start_program::<1>(program, folder);
    for (command, arguments, expected) in ASKED {
        let arguments = serde_json::from_str(&arguments.replace("$S", socket)).expect("arguments are JSON");
        let refused = client.execute(command, arguments).err().unwrap_or_default();
        assert_eq!(refused, *expected, "{command} {expected}, asked of {}", program.display());
    }
    let nodes = shown(&mut client);
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
    nodes
}

#[test]
fn nodes_behind_servers_are_refused_and_shown_as_qemu_does() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = |name: &str| {
        let folder = scratch.path().join(name);
        std::fs::create_dir(&folder).expect("a fresh folder");
        folder
    };
    let server_folder = folder("server");
    let (_server, _client) = server(&server_folder);
    let socket = server_folder.join("nbd");
    let socket = socket.to_str().expect("a plain path");
    let ours = ask(binary(), &folder("ours"), socket);
    let file = |name: &str| {
        let node = ours.iter().find(|node| node["node-name"] == name).expect("the node is there");
        node["file"].as_str().expect("a name").replace(socket, "$S")
    };
    assert_eq!(file("w1"), "nbd+unix:///rw?socket=$S");
    let described = r#"{"server.path": "$S", "driver": "nbd", "export": "rw", "server.type": "unix"}"#;
    assert_eq!(file("w2"), format!(r#"json:{{"offset": 512, "driver": "raw", "file": {described}}}"#));
    assert_eq!(file("w3"), format!(r#"json:{{"driver": "copy-on-read", "file": {described}}}"#));
    if have(&["qemu-storage-daemon"], "nodes_behind_servers_are_refused_and_shown_as_qemu_does") {
        let theirs = ask(Path::new("qemu-storage-daemon"), &folder("theirs"), socket);
        assert_eq!(ours, theirs);
    }
}

// A server that is not there yet is waited for, as long as the operator says, while others go on.
#[test]
fn a_server_may_come_later_than_its_client() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (daemon, [mut client, mut other]) = Daemon::start::<2>(scratch.path());
    let socket = scratch.path().join("nbd");
    client.send(
        "blockdev-add",
        json!({"driver": "nbd", "node-name": "n", "server": {"type": "unix", "path": socket}, "export": "rw",
               "open-timeout": 60}),
    );
    let nodes = other.done("query-named-block-nodes", json!({"flat": true}));
    assert_eq!(nodes, json!([]), "the other client is answered meanwhile");
    let here = scratch.path().join("server");
    std::fs::create_dir(&here).expect("a fresh folder");
    let (_server, _its_client) = server(&here);
    std::fs::rename(here.join("nbd"), &socket).expect("a socket can be renamed");
    client.reply().expect("the server has come");
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

// A daemon is its own server: no command waits for another that it holds up.
#[test]
fn a_daemon_reaches_its_own_exports() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (daemon, mut client) = server(scratch.path());
    let address = json!({"type": "unix", "path": scratch.path().join("nbd")});
    client.done(
        "blockdev-add",
        json!({"driver": "nbd", "node-name": "self", "server": address, "export": "rw"}),
    );
    client.done("blockdev-add", json!({"driver": "null-co", "node-name": "m", "size": 1 << 20}));
    client.done("blockdev-backup", json!({"job-id": "b", "device": "m", "target": "self", "sync": "full"}));
    assert_eq!(client.event("BLOCK_JOB_COMPLETED").get("error"), None);
    // At the end exports go first.
    client.done("blockdev-del", json!({"node-name": "self"}));
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}
