//! How the daemon ends: soon, whatever it waits for, with what was written on the disk, and with a status that says so.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::daemon::{Client, Daemon};
use support::images::have_qemu_img;

/// As long as an end may take that was asked for by a signal.
const END_MAX: Duration = Duration::from_secs(5);

fn send(daemon: &Daemon, signal: &str) {
    let pid = daemon.id().to_string();
    let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
    assert!(sent.success(), "the daemon runs");
}

/// Sends SIGTERM and waits for a good end.
fn ends_at_once(daemon: Daemon) {
    let begun = Instant::now();
    send(&daemon, "-TERM");
    let status = daemon.wait();
    assert!(begun.elapsed() < END_MAX, "it took {:?}", begun.elapsed());
    assert!(status.success(), "{status:?}");
}

fn add(client: &mut Client, options: Value) {
    client.done("blockdev-add", options);
}

/// An image of 4 MiB with data, and an overlay of it.
fn chain(folder: &Path) {
    let run = |program: &str, arguments: &[&str]| {
        let status =
            Command::new(program).current_dir(folder).args(arguments).status().expect("it was found");
        assert!(status.success(), "{program} {arguments:?}");
    };
    run("qemu-img", &["create", "-q", "-f", "qcow2", "base", "4M"]);
    run("qemu-io", &["-c", "write -q -P 5 0 4M", "base"]);
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top"]);
}

fn qcow2(folder: &Path, name: &str) -> Value {
    json!({"driver": "qcow2", "file": {"driver": "file", "filename": folder.join(name)}, "backing": null})
}

#[test]
fn a_job_behind_a_throttle_ends_at_once() {
    if !have_qemu_img("a_job_behind_a_throttle_ends_at_once") {
        return;
    }
    let folder = tempfile::tempdir().expect("a scratch folder");
    chain(folder.path());
    let (daemon, [mut client]) = Daemon::start(folder.path());
    client.done("object-add", json!({"qom-type": "throttle-group", "id": "g", "limits": {"bps-total": 1}}));
    let base = json!({"driver": "throttle", "throttle-group": "g", "file": qcow2(folder.path(), "base")});
    let mut top = qcow2(folder.path(), "top");
    (top["node-name"], top["backing"]) = (json!("top"), base);
    add(&mut client, top);
    client.done("block-stream", json!({"job-id": "j", "device": "top"}));
    assert_eq!(client.event("JOB_STATUS_CHANGE")["status"], "created");
    ends_at_once(daemon);
}

#[test]
fn requests_that_wait_for_their_turn_or_for_a_slow_disk_end_at_once() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (daemon, [mut client]) = Daemon::start(folder.path());
    client.done("object-add", json!({"qom-type": "throttle-group", "id": "g", "limits": {"bps-total": 1}}));
    let slow = json!({"driver": "null-co", "latency-ns": 1_i64 << 60, "size": 1 << 20});
    add(&mut client, json!({"driver": "throttle", "node-name": "t", "throttle-group": "g", "file": slow}));
    let path = folder.path().join("nbd");
    client.done("nbd-server-start", json!({"addr": {"type": "unix", "data": {"path": path}}}));
    client.done("block-export-add", json!({"type": "nbd", "id": "e", "node-name": "t", "writable": true}));
    let mut guest = support::nbd::enter(&path, "t");
    for cookie in 0..5_u64 {
        let header = [&[0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1][..], &cookie.to_be_bytes(), &[0; 8]].concat();
        guest.write_all(&[&header[..], &65536_u32.to_be_bytes(), &[7; 65536]].concat()).expect("it listens");
    }
    ends_at_once(daemon);
}

#[test]
fn an_open_under_way_ends_at_once() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (daemon, [mut client, mut other]) = Daemon::start(folder.path());
    let file = json!({"driver": "null-co", "latency-ns": 1_i64 << 62});
    client.send("blockdev-add", json!({"driver": "qcow2", "node-name": "n", "file": file}));
    other.done("query-version", json!({}));
    ends_at_once(daemon);
}

// Two signals in a row: the second comes while the first is handled, and nothing is waited for any more.
#[test]
fn a_second_signal_ends_it_now() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (daemon, [client]) = Daemon::start(folder.path());
    // A client that does not read its last lines is waited for.
    let _deaf = client;
    let begun = Instant::now();
    send(&daemon, "-TERM");
    let pid = daemon.id().to_string();
    while Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success() {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.contains(") Z") || state.is_empty() {
            break;
        }
    }
    let status = daemon.wait();
    assert!(status.code().is_some(), "it ended by itself: {status:?}");
    assert!(begun.elapsed() < END_MAX, "it took {:?}", begun.elapsed());
}

/// A raw node on a file whose flushes fail from the first on.
fn without_flush(folder: &Path) -> Value {
    let path = folder.join("raw");
    std::fs::write(&path, [0; 65536]).expect("a scratch folder");
    let rule = json!({"event": "none", "iotype": "flush", "errno": 5});
    let file =
        json!({"driver": "blkdebug", "image": {"driver": "file", "filename": path}, "inject-error": [rule]});
    json!({"driver": "raw", "node-name": "n", "file": file})
}

#[test]
fn the_status_says_that_the_last_flush_failed() {
    for by_signal in [true, false] {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (daemon, [mut client]) = Daemon::start(folder.path());
        add(&mut client, without_flush(folder.path()));
        match by_signal {
            true => send(&daemon, "-TERM"),
            false => drop(client.done("quit", json!({}))),
        }
        assert_eq!(daemon.wait().code(), Some(1), "by a signal: {by_signal}");
    }
}

#[test]
fn quit_is_answered_after_what_it_brings_about() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (daemon, [mut client]) = Daemon::start(folder.path());
    for (name, latency) in [("source", 1_i64 << 60), ("target", 0)] {
        add(&mut client, json!({"driver": "null-co", "node-name": name, "latency-ns": latency}));
    }
    let mirror = json!({"job-id": "j", "device": "source", "target": "target", "sync": "full"});
    client.done("blockdev-mirror", mirror);
    client.done("quit", json!({}));
    // What came before the answer was kept; nothing comes after it.
    let emitted: Vec<Value> = std::iter::from_fn(|| client.kept_event()).collect();
    assert_eq!(emitted.last().map(|event| &event["data"]["status"]), Some(&json!("null")), "{emitted:?}");
    assert!(client.reads_nothing_more());
    assert!(daemon.wait().success());
}
