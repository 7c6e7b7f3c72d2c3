//! Storage migration over NBD: jobs to and from disks behind servers, ours and QEMU's, while the connection is cut and
//! comes back.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::daemon::{Client, Daemon, binary};
use support::images::Chain;
use support::proxy::{Proxy, Server};
use support::tools::{have, output, run};

const SIZE: &str = "4M";
/// Somewhere in the middle of what a mirror of a chain copies.
const BYTES_BEFORE_THE_CUT: usize = 300_000;

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A daemon in a folder of its own below the chain's.
fn start(program: &Path, chain: &Chain, name: &str) -> (Daemon, Client, PathBuf) {
    let folder = chain.folder().join(name);
    std::fs::create_dir(&folder).expect("a fresh folder");
    let (daemon, [client]) = Daemon::start_program::<1>(program, &folder);
    (daemon, client, folder)
}

/// The chain's images as nodes `n0`, `n1`, ..., the last one exported to guests.
fn open_chain(client: &mut Client, chain: &Chain, images: usize, folder: &Path) -> String {
    for i in 0..images {
        let backing = if i == 0 { Value::Null } else { json!(format!("n{}", i - 1)) };
        let file = json!({"driver": "file", "filename": chain.image(i)});
        client.done(
            "blockdev-add",
            json!({"driver": "qcow2", "node-name": format!("n{i}"), "file": file, "backing": backing}),
        );
    }
    serve(client, folder, &format!("n{}", images - 1))
}

/// Exports a node; answers the name by which clients reach it.
fn serve(client: &mut Client, folder: &Path, node: &str) -> String {
    let socket = folder.join("nbd");
    client.done("nbd-server-start", json!({"addr": {"type": "unix", "data": {"path": socket}}}));
    client.done(
        "block-export-add",
        json!({"type": "nbd", "id": "e", "node-name": node, "name": "disk", "writable": true}),
    );
    format!("nbd+unix:///disk?socket={}", text(&socket))
}

/// An empty image behind a daemon's server. Answers the image and the server.
fn destination(client: &mut Client, folder: &Path) -> (PathBuf, Server) {
    let image = folder.join("there.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", text(&image), SIZE]);
    let file = json!({"driver": "file", "filename": image});
    client.done("blockdev-add", json!({"driver": "qcow2", "node-name": "there", "file": file}));
    serve(client, folder, "there");
    (image, Server::Unix(folder.join("nbd")))
}

fn remote(name: &str, socket: &Path, reconnect_delay: u32) -> Value {
    json!({"driver": "nbd", "node-name": name, "server": {"type": "unix", "path": socket}, "export": "disk",
           "reconnect-delay": reconnect_delay})
}

fn end(daemon: Daemon, mut client: Client) {
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

/// Writes as a guest does, and the same into `expected`.
fn guest_writes(uri: &str, expected: &str, writes: &[&str]) {
    let commands: Vec<&str> = writes.iter().flat_map(|write| ["-c", write]).collect();
    for disk in [uri, expected] {
        run("qemu-io", &[&["-f", "raw"], &commands[..], &[disk]].concat());
    }
}

/// Mirrors the chain's top into `socket` while a guest writes and the way is cut and restored, and pivots.
/// Answers what the disk must hold.
fn migrate(client: &mut Client, chain: &Chain, uri: &str, proxy: &Proxy, socket: &Path) -> String {
    let expected = text(&chain.folder().join("expected.raw")).to_owned();
    run("qemu-img", &["convert", "-U", "-O", "raw", text(&chain.image(1)), &expected]);
    client.done("blockdev-add", remote("t", socket, 60));
    proxy.cut_after(BYTES_BEFORE_THE_CUT);
    client.done("blockdev-mirror", json!({"job-id": "m", "device": "n1", "target": "t", "sync": "full"}));
    proxy.wait_until_tried_in_vain(1);
    guest_writes(uri, &expected, &["write -P 0xaa 100k 300k", "write -z 1M 192k"]);
    let jobs = client.done("query-block-jobs", json!({}));
    assert_eq!(jobs[0]["status"], "running", "the job was to wait for its connection: {jobs}");
    assert_eq!(jobs[0]["ready"], false, "{jobs}");
    proxy.restore();
    client.event("BLOCK_JOB_READY");
    guest_writes(
        uri,
        &expected,
        &["write -P 0xbb 2M 70k", "discard 3M 64k", "write -P 0xcc 3M 64k", "flush"],
    );
    client.done("job-complete", json!({"id": "m"}));
    let completed = client.event("BLOCK_JOB_COMPLETED");
    assert_eq!(completed.get("error"), None, "{completed}");
    assert!(proxy.connections() >= 2, "the connection was made again");
    // The guest goes on, on the other side.
    guest_writes(uri, &expected, &["write -P 0xdd 500k 5000", "flush"]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", uri, &expected]);
    expected
}

#[test]
fn a_guest_moves_from_one_daemon_to_another_over_a_connection_that_is_lost_and_restored() {
    let test = "a_guest_moves_from_one_daemon_to_another_over_a_connection_that_is_lost_and_restored";
    if !have(&["qemu-img", "qemu-io"], test) {
        return;
    }
    let chain = Chain::new(2);
    let (source, mut here, folder) = start(binary(), &chain, "here");
    let (target, mut there, other) = start(binary(), &chain, "there");
    let uri = open_chain(&mut here, &chain, 2, &folder);
    let (image, server) = destination(&mut there, &other);
    let socket = chain.folder().join("way");
    let proxy = Proxy::start(&socket, server);
    let expected = migrate(&mut here, &chain, &uri, &proxy, &socket);
    let nodes = here.done("query-named-block-nodes", json!({"flat": true}));
    let node = nodes.as_array().expect("a list").iter().find(|node| node["node-name"] == "t");
    let name = format!("nbd+unix:///disk?socket={}", text(&socket));
    assert_eq!(node.expect("the target stays")["file"], name);
    end(source, here);
    end(target, there);
    run("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", text(&image), &expected]);
    run("qemu-img", &["check", "-q", text(&image)]);
}

/// A process that is ended with its holder.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended.
        let _ended = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// `qemu-nbd` with an empty image, at a unix socket.
fn qemu_nbd(folder: &Path) -> (Running, PathBuf, PathBuf) {
    let (image, socket, pid) = (folder.join("q.raw"), folder.join("qemu-nbd"), folder.join("pid"));
    run("qemu-img", &["create", "-q", "-f", "raw", text(&image), SIZE]);
    let mut command = Command::new("qemu-nbd");
    command.args(["--socket", text(&socket), "--export-name", "disk", "--format", "raw", "--persistent"]);
    command.args(["--shared", "9", "--discard", "unmap", "--pid-file", text(&pid), text(&image)]);
    let server = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was found before");
    let server = Running(server);
    // It writes its number once it listens.
    while !std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
        std::thread::yield_now();
    }
    (server, image, socket)
}

#[test]
fn a_guest_moves_to_qemu_nbd() {
    if !have(&["qemu-img", "qemu-io", "qemu-nbd"], "a_guest_moves_to_qemu_nbd") {
        return;
    }
    let chain = Chain::new(2);
    let (source, mut here, folder) = start(binary(), &chain, "here");
    let uri = open_chain(&mut here, &chain, 2, &folder);
    let (server, image, behind) = qemu_nbd(chain.folder());
    let socket = chain.folder().join("way");
    let proxy = Proxy::start(&socket, Server::Unix(behind));
    let expected = migrate(&mut here, &chain, &uri, &proxy, &socket);
    end(source, here);
    drop(server);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", text(&image), &expected]);
}

// The same the other way round: QEMU is the client, and we are the server.
#[test]
fn a_guest_moves_from_qemu_to_us() {
    if !have(&["qemu-img", "qemu-io", "qemu-storage-daemon"], "a_guest_moves_from_qemu_to_us") {
        return;
    }
    let chain = Chain::new(2);
    let (source, mut here, folder) = start(Path::new("qemu-storage-daemon"), &chain, "here");
    let (target, mut there, other) = start(binary(), &chain, "there");
    let uri = open_chain(&mut here, &chain, 2, &folder);
    let (image, server) = destination(&mut there, &other);
    let socket = chain.folder().join("way");
    let proxy = Proxy::start(&socket, server);
    let expected = migrate(&mut here, &chain, &uri, &proxy, &socket);
    end(source, here);
    end(target, there);
    run("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", text(&image), &expected]);
}

// Nobody waits where the operator does not say so: what was under way fails, the next request finds no connection, and a
// later one finds the server again.
#[test]
fn without_a_delay_a_lost_connection_is_an_error_at_once() {
    if !have(&["qemu-img", "qemu-io"], "without_a_delay_a_lost_connection_is_an_error_at_once") {
        return;
    }
    let chain = Chain::new(2);
    let (source, mut here, folder) = start(binary(), &chain, "here");
    let (target, mut there, other) = start(binary(), &chain, "there");
    open_chain(&mut here, &chain, 2, &folder);
    let (_, server) = destination(&mut there, &other);
    let socket = chain.folder().join("way");
    let proxy = Proxy::start(&socket, server);
    here.done("blockdev-add", remote("t", &socket, 0));
    proxy.cut_after(BYTES_BEFORE_THE_CUT);
    let backup = |id: &str| json!({"job-id": id, "device": "n1", "target": "t", "sync": "full"});
    here.done("blockdev-backup", backup("first"));
    let failed = here.event("BLOCK_JOB_COMPLETED");
    assert_eq!(failed["error"], "Input/output error", "{failed}");
    // A request tries the way, in vain.
    here.done("blockdev-backup", backup("second"));
    assert_eq!(here.event("BLOCK_JOB_COMPLETED")["error"], "Input/output error");
    proxy.wait_until_tried_in_vain(1);
    proxy.restore();
    let mut again = 3;
    loop {
        here.done("blockdev-backup", backup(&format!("b{again}")));
        if here.event("BLOCK_JOB_COMPLETED").get("error").is_none() {
            break;
        }
        again += 1;
    }
    assert!(proxy.connections() >= 2);
    end(source, here);
    end(target, there);
}

#[test]
fn requests_wait_as_long_as_the_operator_says_and_then_fail() {
    if !have(&["qemu-img", "qemu-io"], "requests_wait_as_long_as_the_operator_says_and_then_fail") {
        return;
    }
    let chain = Chain::new(2);
    let (source, mut here, folder) = start(binary(), &chain, "here");
    let (target, mut there, other) = start(binary(), &chain, "there");
    let (_, server) = destination(&mut there, &other);
    let socket = chain.folder().join("way");
    let proxy = Proxy::start(&socket, server);
    here.done("blockdev-add", remote("t", &socket, 1));
    let uri = serve(&mut here, &folder, "t");
    proxy.cut_after(0);
    let write = output("qemu-io", &["-f", "raw", "-c", "write -P 1 0 64k", &uri]);
    let said = String::from_utf8_lossy(&write.stdout).into_owned() + &String::from_utf8_lossy(&write.stderr);
    assert!(said.contains("Input/output error"), "{said}");
    proxy.wait_until_tried_in_vain(2);
    // Nobody knows whether the server has what it was sent, and the daemon does not end as if it were so.
    here.done("quit", json!({}));
    assert!(!source.wait().success());
    end(target, there);
}

// What the other side keeps is streamed, backed up to, and committed into.
#[test]
fn jobs_read_from_and_write_to_disks_behind_servers() {
    if !have(&["qemu-img", "qemu-io"], "jobs_read_from_and_write_to_disks_behind_servers") {
        return;
    }
    let chain = Chain::new(2);
    let (target, mut there, other) = start(binary(), &chain, "there");
    let (source, mut here, folder) = start(binary(), &chain, "here");
    open_chain(&mut there, &chain, 2, &other);
    let expected = text(&chain.folder().join("expected.raw")).to_owned();
    run("qemu-img", &["convert", "-U", "-O", "raw", text(&chain.image(1)), &expected]);
    // A new overlay here, on the disk over there: what is streamed into it.
    let overlay = folder.join("o.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", text(&overlay), SIZE]);
    let file = json!({"driver": "file", "filename": overlay});
    let below = json!({"driver": "raw", "node-name": "r", "read-only": true,
                       "file": remote("t", &other.join("nbd"), 10)});
    here.done("blockdev-add", below);
    here.done("blockdev-add", json!({"driver": "qcow2", "node-name": "o", "file": file, "backing": "r"}));
    let uri = serve(&mut here, &folder, "o");
    guest_writes(&uri, &expected, &["write -P 0x77 1M 100k", "flush"]);
    here.done("block-stream", json!({"job-id": "s", "device": "o"}));
    let completed = here.event("BLOCK_JOB_COMPLETED");
    assert_eq!(completed.get("error"), None, "{completed}");
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, &expected]);
    end(source, here);
    end(target, there);
    run("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", text(&overlay), &expected]);
}
