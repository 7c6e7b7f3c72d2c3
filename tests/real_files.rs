//! The daemon on real files: chains made by qemu-img, streamed over a socket, judged by qemu-img.
//!
//! Without qemu-img and qemu-io each test says that it was skipped.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use support::daemon::{Client, Daemon};
use support::images::{Chain, have_qemu_img};

/// Adds the chain as libvirt does: all but the active layer read-only, files writable once somebody writes.
fn add_nodes(client: &mut Client, chain: &Chain, len: usize) {
    for i in 0..len {
        let file = chain.image(i);
        client.done(
            "blockdev-add",
            json!({"driver": "file", "node-name": format!("f{i}"), "filename": file, "auto-read-only": true, "discard": "unmap"}),
        );
        let backing = if i == 0 { Value::Null } else { json!(format!("n{}", i - 1)) };
        client.done(
            "blockdev-add",
            json!({"driver": "qcow2", "node-name": format!("n{i}"), "file": format!("f{i}"), "backing": backing, "read-only": i + 1 < len}),
        );
    }
}

/// The file of the node below, as the daemon shows it: by its plain name, or by all that opens it as it is, if its own
/// header names its backing in another way.
fn backing_of(client: &mut Client, node: &str) -> Value {
    let nodes = client.done("query-named-block-nodes", json!({"flat": true}));
    let found = nodes.as_array().expect("a list").iter().find(|n| n["node-name"] == node);
    let shown = found.expect("the node is there").get("backing_file").cloned().unwrap_or(Value::Null);
    match shown.as_str().and_then(|name| name.strip_prefix("json:")) {
        None => shown,
        Some(all) => serde_json::from_str::<Value>(all).expect("JSON")["file"]["filename"].clone(),
    }
}

#[track_caller]
fn assert_success(completed: &Value) {
    assert_eq!(completed.get("error"), None, "{completed}");
    assert_eq!(completed["offset"], completed["len"], "{completed}");
}

// The same around the page cache, from nodes described with their files.
#[test]
fn a_stream_goes_around_the_page_cache() {
    let test = "a_stream_goes_around_the_page_cache";
    if !have_qemu_img(test) {
        return;
    }
    let chain = Chain::new(2);
    let (daemon, [mut client]) = Daemon::start(chain.folder());
    for (i, backing) in [(0, Value::Null), (1, json!("n0"))] {
        let options = json!({"driver": "qcow2", "node-name": format!("n{i}"), "backing": backing,
            "read-only": i == 0, "cache": {"direct": true},
            "file": {"driver": "file", "filename": chain.image(i)}});
        match client.execute("blockdev-add", options) {
            Err(text) if text.ends_with("filesystem does not support O_DIRECT") => {
                return support::tools::skip(test, &text);
            }
            added => drop(added.expect("a node")),
        }
    }
    // Each image is open twice: for requests through the cache, and for those around it.
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).expect("Linux reports");
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect();
    (0..2)
        .for_each(|i| assert_eq!(open.iter().filter(|file| **file == chain.image(i)).count(), 2, "{open:?}"));
    client.done("block-stream", json!({"job-id": "j", "device": "n1"}));
    assert_success(&client.event("BLOCK_JOB_COMPLETED"));
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
    assert_eq!(chain.backing(1), None);
    (0..2).for_each(|i| chain.assert_unchanged_and_clean(i));
}

// n0 <- n1 <- n2 becomes n2.
#[test]
fn the_active_layer_takes_in_its_whole_chain() {
    if !have_qemu_img("the_active_layer_takes_in_its_whole_chain") {
        return;
    }
    let chain = Chain::new(3);
    let (daemon, [mut client]) = Daemon::start(chain.folder());
    add_nodes(&mut client, &chain, 3);
    client.done("block-stream", json!({"job-id": "j", "device": "n2"}));
    assert_success(&client.event("BLOCK_JOB_COMPLETED"));
    assert_eq!(backing_of(&mut client, "n2"), Value::Null);
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
    assert_eq!(chain.backing(2), None);
    (0..3).for_each(|i| chain.assert_unchanged_and_clean(i));
}

/// Streams n3 down to n1 in `n0 <- n1 <- n2 <- n3 <- n4` until the job has completed.
fn stream_to_an_intermediate_node(chain: &Chain) -> (Daemon, Client) {
    let (daemon, [mut first, mut second]) = Daemon::start(chain.folder());
    add_nodes(&mut first, chain, 5);
    // So slow that it is still under way when the second client comes: one chunk, then seconds of rest.
    let slow = json!({"job-id": "j", "device": "n3", "base-node": "n1", "speed": 65536});
    first.done("block-stream", slow);
    let overlapping = json!({"job-id": "k", "device": "n2", "base-node": "n0"});
    let refused = second.execute("block-stream", overlapping).expect_err("n2 is in use");
    assert_eq!(refused, "Node 'n2' is busy: block device is in use by block job: stream");
    let jobs = second.done("query-block-jobs", json!({}));
    assert_eq!(
        (&jobs[0]["device"], &jobs[0]["status"]),
        (&json!("j"), &json!("running")),
        "the job ended too early"
    );
    second.done("block-job-set-speed", json!({"device": "j", "speed": 0}));
    assert_success(&first.event("BLOCK_JOB_COMPLETED"));
    assert_success(&second.event("BLOCK_JOB_COMPLETED"));
    (daemon, first)
}

#[track_caller]
fn assert_streamed_to_n1(chain: &Chain) {
    assert_eq!(chain.backing(3), Some(chain.image(1)), "n3 skips n2");
    assert_eq!(chain.backing(4), Some(chain.image(3)));
    assert_eq!(chain.backing(2), Some(chain.image(1)), "n2 is left as it was");
    (0..5).for_each(|i| chain.assert_unchanged_and_clean(i));
}

// n0 <- n1 <- n2 <- n3 <- n4 becomes n0 <- n1 <- n3 <- n4.
#[test]
fn an_intermediate_node_takes_in_the_nodes_down_to_its_base() {
    if !have_qemu_img("an_intermediate_node_takes_in_the_nodes_down_to_its_base") {
        return;
    }
    let chain = Chain::new(5);
    let (daemon, mut client) = stream_to_an_intermediate_node(&chain);
    assert_eq!(backing_of(&mut client, "n3"), json!(chain.image(1)));
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
    assert_streamed_to_n1(&chain);
}

// The header names the new base once the job has completed. If the copied clusters could still be lost then,
// a reader would see holes where the dropped node's data was.
#[test]
fn a_kill_right_after_completion_loses_nothing() {
    if !have_qemu_img("a_kill_right_after_completion_loses_nothing") {
        return;
    }
    let chain = Chain::new(5);
    let (daemon, _client) = stream_to_an_intermediate_node(&chain);
    daemon.kill();
    assert_streamed_to_n1(&chain);
}

// In the words of the real daemon, which are recorded.
#[test]
fn what_is_no_plain_file_is_no_node() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let (daemon, [mut client]) = Daemon::start(scratch.path());
    let mut add = |filename: &str, read_only: bool| {
        let options =
            json!({"driver": "file", "node-name": "s", "filename": filename, "read-only": read_only});
        client.execute("blockdev-add", options).expect_err(filename)
    };
    let folder = scratch.path().to_str().expect("UTF-8");
    assert_eq!(add(folder, true), format!("'file' driver requires '{folder}' to be a regular file"));
    assert_eq!(add(folder, false), format!("Could not open '{folder}': Is a directory"));
    for device in ["/dev/null", "/dev/zero"] {
        assert_eq!(add(device, false), format!("'file' driver requires '{device}' to be a regular file"));
    }
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}
