//! Real NBD clients read and write through the daemon while it streams, and other things clients may see.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::path::Path;
use support::daemon::{Client, Daemon, binary};
use support::images::Chain;
use support::tools::{have, output, run};

/// Where clients come to.
fn socket(folder: &Path) -> String {
    folder.join("nbd").to_str().expect("a plain path").to_owned()
}

fn uri(folder: &Path, export: &str) -> String {
    format!("nbd+unix:///{export}?socket={}", socket(folder))
}

/// A daemon with a server, and the images of a chain as nodes `n0`, `n1`, ...
fn serve(chain: &Chain, images: usize) -> (Daemon, Client) {
    serve_by(binary(), chain, images)
}

/// The same with any daemon.
fn serve_by(program: &Path, chain: &Chain, images: usize) -> (Daemon, Client) {
    let (daemon, [mut client]) = Daemon::start_program::<1>(program, chain.folder());
    let address = json!({"type": "unix", "data": {"path": socket(chain.folder())}});
    client.done("nbd-server-start", json!({"addr": address}));
    for i in 0..images {
        let backing = if i == 0 { Value::Null } else { json!(format!("n{}", i - 1)) };
        let file = json!({"driver": "file", "filename": chain.image(i)});
        let read_only = i + 1 < images;
        client.done(
            "blockdev-add",
            json!({"driver": "qcow2", "node-name": format!("n{i}"), "file": file, "backing": backing,
                   "read-only": read_only}),
        );
    }
    (daemon, client)
}

fn export(client: &mut Client, node: &str, writable: bool) {
    client.done(
        "block-export-add",
        json!({"type": "nbd", "id": format!("e-{node}"), "node-name": node, "writable": writable,
               "allocation-depth": true}),
    );
}

fn end(daemon: Daemon, mut client: Client) {
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

// n0 <- n1 <- n2: clients write to n2 and read it while n2 is streamed; what they wrote is what is there afterwards.
#[test]
fn clients_read_and_write_while_a_stream_runs() {
    let test = "clients_read_and_write_while_a_stream_runs";
    if !have(&["qemu-img", "qemu-io"], test) {
        return;
    }
    let chain = Chain::new(3);
    let (daemon, mut client) = serve(&chain, 3);
    export(&mut client, "n2", true);
    let expected = chain.folder().join("expected.raw").to_str().expect("a plain path").to_owned();
    let top = chain.image(2).to_str().expect("a plain path").to_owned();
    // The daemon holds the image; this reads what is on disk before anything is written.
    run("qemu-img", &["convert", "-U", "-O", "raw", &top, &expected]);

    // So slow that it is still at its first piece when the clients come.
    client.done("block-stream", json!({"job-id": "s", "device": "n2", "speed": 65536}));
    let uri = uri(chain.folder(), "n2");
    let changes = [
        "-c",
        "write -P 0xaa 100k 300k",
        "-c",
        "write -z 1M 192k",
        "-c",
        "write -P 0xbb 4090k 6k",
        "-c",
        "write -f -P 0xcc 2M 64k",
        "-c",
        "flush",
    ];
    run("qemu-io", &[&["-f", "raw"], &changes[..], &[&uri]].concat());
    run("qemu-io", &[&["-f", "raw"], &changes[..], &[&expected]].concat());
    let running = client.done("query-block-jobs", json!({}));
    assert_eq!(running[0]["status"], "running", "the clients were to meet a running stream: {running}");
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, &expected]);
    run("qemu-img", &["bench", "-f", "raw", "-c", "64", "-d", "8", "-s", "4096", &uri]);

    client.done("block-job-set-speed", json!({"device": "s", "speed": 0}));
    let completed = client.event("BLOCK_JOB_COMPLETED");
    assert_eq!(completed.get("error"), None, "{completed}");
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, &expected]);
    end(daemon, client);
    assert_eq!(chain.backing(2), None, "the stream took everything up");
    run("qemu-img", &["compare", "-F", "raw", &top, &expected]);
    run("qemu-img", &["check", "-q", &top]);
}

#[test]
fn libnbd_copies_what_qemu_img_converts() {
    let test = "libnbd_copies_what_qemu_img_converts";
    if !have(&["qemu-img", "qemu-io", "nbdinfo", "nbdcopy"], test) {
        return;
    }
    let chain = Chain::new(3);
    let (daemon, mut client) = serve(&chain, 3);
    export(&mut client, "n2", true);
    export(&mut client, "n0", false);
    let uri = uri(chain.folder(), "n2");
    let list = run("nbdinfo", &["--list", "--json", &uri]);
    let list: Value = serde_json::from_str(&list).expect("nbdinfo speaks JSON");
    let names: Vec<&str> = list["exports"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|export| export["export-name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["n2", "n0"], "oldest first, as QEMU lists them");
    assert_eq!(list["exports"][1]["is_read_only"], true);
    assert_eq!(list["exports"][0]["can_multi_conn"], true);
    assert_eq!(list["exports"][0]["export-size"], 4 << 20);

    // The client sees the same map as qemu-img in the file.
    let file = chain.folder().join("copy.raw").to_str().expect("a plain path").to_owned();
    client.done("block-stream", json!({"job-id": "s", "device": "n2", "speed": 65536}));
    run("nbdcopy", &["--connections=4", "--requests=16", &uri, &file]);
    let top = chain.image(2).to_str().expect("a plain path").to_owned();
    run("qemu-img", &["compare", "-U", "-F", "raw", &top, &file]);
    // And back: what comes from a file lands in the node.
    run("qemu-io", &["-f", "raw", "-c", "write -P 0x5a 512k 1M", &file]);
    run("nbdcopy", &[&file, &uri]);
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, &file]);
    client.done("block-job-set-speed", json!({"device": "s", "speed": 0}));
    client.event("BLOCK_JOB_COMPLETED");
    run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &uri, &file]);
    end(daemon, client);
    run("qemu-img", &["compare", "-F", "raw", &top, &file]);
}

#[test]
fn a_client_sees_the_same_map_as_in_the_file() {
    if !have(&["qemu-img", "qemu-io"], "a_client_sees_the_same_map_as_in_the_file") {
        return;
    }
    let chain = Chain::new(3);
    let (daemon, mut client) = serve(&chain, 3);
    export(&mut client, "n2", false);
    let top = chain.image(2).to_str().expect("a plain path").to_owned();
    let map = |arguments: &[&str]| -> Vec<(u64, bool, bool)> {
        let said = run("qemu-img", &[&["map", "--output=json"], arguments].concat());
        let extents: Vec<Value> = serde_json::from_str(&said).expect("qemu-img speaks JSON");
        let mut merged: Vec<(u64, bool, bool)> = Vec::new();
        for extent in &extents {
            let truth = |name: &str| extent[name].as_bool().expect("a truth");
            let end = extent["start"].as_u64().unwrap() + extent["length"].as_u64().unwrap();
            match merged.last_mut() {
                Some(last) if (last.1, last.2) == (truth("data"), truth("zero")) => last.0 = end,
                _ => merged.push((end, truth("data"), truth("zero"))),
            }
        }
        merged
    };
    let seen = map(&["-f", "raw", &uri(chain.folder(), "n2")]);
    assert_eq!(seen, map(&["-U", &top]));
    assert!(seen.len() > 5, "the chain has data and holes: {seen:?}");
    end(daemon, client);
}

/// What ready-made clients say of an export and do with it.
const CLIENTS: [&[&str]; 10] = [
    &["nbdinfo", "URI"],
    &["nbdinfo", "--list", "--json", "URI"],
    &["nbdinfo", "--map", "URI"],
    &["nbdinfo", "--map=qemu:allocation-depth", "URI"],
    &["nbdinfo", "--can", "multi-conn", "URI"],
    &["qemu-img", "info", "-f", "raw", "--output=json", "URI"],
    &["qemu-img", "map", "-f", "raw", "--output=json", "URI"],
    &["qemu-io", "-f", "raw", "-c", "write -q -P 9 1000 3000", "-c", "write -q -z -u 2M 1M", "URI"],
    &[
        "qemu-io",
        "-f",
        "raw",
        "-c",
        "discard -q 1M 1M",
        "-c",
        "write -q -z -n 3M 64k",
        "-c",
        "read 4M 1",
        "URI",
    ],
    &["nbdinfo", "--map", "URI"],
];

/// All of it, of a daemon's own chain of images; what only names the folder is left out.
fn output_of(program: &Path) -> Vec<String> {
    let chain = Chain::new(3);
    let (daemon, mut client) = serve_by(program, &chain, 3);
    export(&mut client, "n2", true);
    let uri = uri(chain.folder(), "n2");
    let folder = chain.folder().to_str().expect("a plain path");
    let said = CLIENTS.iter().map(|words| {
        let arguments: Vec<&str> =
            words[1..].iter().map(|word| if *word == "URI" { &uri } else { *word }).collect();
        let run = output(words[0], &arguments);
        let text = [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).expect("text")).concat();
        format!("{}\n{}", run.status, text.replace(folder, "DIR"))
    });
    let said = said.collect();
    end(daemon, client);
    said
}

#[test]
fn ready_made_clients_find_what_they_find_at_qemus_own_server() {
    let test = "ready_made_clients_find_what_they_find_at_qemus_own_server";
    if !have(&["qemu-storage-daemon", "qemu-img", "qemu-io", "nbdinfo"], test) {
        return;
    }
    let (ours, theirs) = (output_of(binary()), output_of(Path::new("qemu-storage-daemon")));
    for (words, (ours, theirs)) in CLIENTS.iter().zip(ours.iter().zip(&theirs)) {
        assert_eq!(ours, theirs, "{words:?}");
    }
    assert!(ours[2].lines().count() > 5, "the chain has data and holes: {}", ours[2]);
    assert_ne!(ours[2], ours[9], "the clients have changed something");
}

#[test]
fn an_export_goes_when_its_clients_have() {
    if !have(&["qemu-img", "qemu-io"], "an_export_goes_when_its_clients_have") {
        return;
    }
    let chain = Chain::new(1);
    let (daemon, mut client) = serve(&chain, 1);
    export(&mut client, "n0", true);
    let stays = support::nbd::enter(&chain.folder().join("nbd"), "n0");
    let refused = client.execute("block-export-del", json!({"id": "e-n0"}));
    assert_eq!(refused, Err("export 'e-n0' still in use".to_owned()));
    client.done("block-export-del", json!({"id": "e-n0", "mode": "hard"}));
    assert_eq!(client.event("BLOCK_EXPORT_DELETED"), json!({"id": "e-n0"}));
    assert!(support::nbd::reads_end(stays), "a client of a deleted export is sent away");
    assert_eq!(client.done("query-block-exports", json!({})), json!([]));
    let late = output("qemu-io", &["-f", "raw", "-r", "-c", "read 0 1", &uri(chain.folder(), "n0")]);
    assert!(!late.status.success());
    // The node is free, and the name and the id too.
    export(&mut client, "n0", false);
    client.done("nbd-server-stop", json!({}));
    assert!(!chain.folder().join("nbd").exists());
    end(daemon, client);
}

#[test]
fn only_so_many_clients_come_at_a_time() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    std::fs::write(folder.path().join("raw"), vec![7; 4096]).expect("room");
    let (daemon, [mut client]) = Daemon::start::<1>(folder.path());
    let address = json!({"type": "unix", "data": {"path": socket(folder.path())}});
    client.done("nbd-server-start", json!({"addr": address, "max-connections": 1}));
    client.done(
        "blockdev-add",
        json!({"driver": "file", "node-name": "n", "filename": folder.path().join("raw")}),
    );
    export(&mut client, "n", false);
    let path = folder.path().join("nbd");
    let first = support::nbd::enter(&path, "n");
    let mut second = std::os::unix::net::UnixStream::connect(&path).expect("the kernel's queue takes it");
    assert!(!support::nbd::is_greeted(&mut second), "the only place is taken");
    drop(first);
    assert!(support::nbd::is_greeted_in_time(&mut second), "the place is free");
    drop(second);
    end(daemon, client);
}
