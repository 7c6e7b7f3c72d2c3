//! Which command is refused while which job runs, cell by cell: the chain is `n0 <- ... <- n6`, n6 its root.
//!
//! Every text is what qemu-storage-daemon 10.0.2 answered; `#B` stands for the name of the running job's filter.

use crate::support::executor::block_on;
use crate::support::memory_disk::MemoryDisk;
use crate::support::world::World;
use block::format::Nothing;
use block::format::qcow2::{BackingName, CreateOptions, Qcow2};
use seam::Disk;
use serde_json::{Value, json};
use std::fmt::Write;
use std::sync::Arc;

const LAYERS: usize = 7;

/// The layers, and two targets.
struct Images(Vec<(String, Vec<u8>)>);

impl Images {
    fn new() -> Images {
        let layers =
            (0..LAYERS).map(|n| (format!("n{n}"), n.checked_sub(1).map(|below| format!("n{below}"))));
        let targets = ["tgt", "two"].map(|name| (name.to_owned(), None));
        let all = layers.chain(targets).enumerate();
        Images(all.map(|(n, (name, below))| (name, image(n as u64, below))).collect())
    }

    /// Everything open, and one job running so slowly that it will not end.
    fn world(&self, command: &str, arguments: Value) -> World {
        let mut world = World::new(1);
        for (n, (name, bytes)) in self.0.iter().enumerate() {
            world.file(name, MemoryDisk::new(bytes.clone()));
            let backing = if (1..LAYERS).contains(&n) { json!(self.0[n - 1].0) } else { Value::Null };
            let file = json!({"driver": "file", "filename": name, "auto-read-only": true});
            let read_only = n + 1 < LAYERS;
            world.ok(
                "blockdev-add",
                json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing, "read-only": read_only}),
            );
        }
        world.ok(command, slowly("running", arguments));
        world.steps(2000);
        let jobs = world.ok("query-jobs", json!({}));
        assert_eq!(jobs[0]["status"], "running", "{command} is not at work");
        world
    }
}

/// An image with two clusters of data, which no other layer has there.
fn image(n: u64, below: Option<String>) -> Vec<u8> {
    let disk = MemoryDisk::new(Vec::new());
    let backing = below.map(|file| BackingName { file, format: Some("qcow2".into()) });
    let options = CreateOptions { len_bytes: 4 << 20, backing, ..CreateOptions::default() };
    block_on(Qcow2::create(&(disk.clone() as Arc<dyn Disk>), &options)).unwrap();
    let image = block_on(Qcow2::open(disk.clone(), "image", true)).unwrap();
    for cluster in [n, n + 20] {
        block_on(image.write(cluster << 16, &[n as u8; 1 << 16], &Nothing)).unwrap();
    }
    block_on(image.close()).unwrap();
    disk.bytes()
}

fn slowly(id: &str, mut arguments: Value) -> Value {
    arguments["job-id"] = json!(id);
    arguments["speed"] = json!(1);
    arguments
}

/// Every generated name by one word.
fn nameless(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split("#block");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        write!(out, "#B{}", part.trim_start_matches(|c: char| c.is_ascii_digit())).unwrap();
    }
    out
}

/// A command: what the table calls it, its name and its arguments.
type Command = (&'static str, &'static str, Value);

/// A job that runs, by its column.
fn columns() -> [Command; 5] {
    [
        ("stream n4 base n1", "block-stream", json!({"device": "n4", "base-node": "n1"})),
        ("commit n4 into n2", "block-commit", json!({"device": "n6", "top-node": "n4", "base-node": "n2"})),
        ("active commit into n3", "block-commit", json!({"device": "n6", "base-node": "n3"})),
        ("mirror n6", "blockdev-mirror", json!({"device": "n6", "target": "tgt", "sync": "full"})),
        ("backup n4", "blockdev-backup", json!({"device": "n4", "target": "tgt", "sync": "full"})),
    ]
}

#[test]
fn every_cell_of_the_conflict_table_is_what_qemu_answers() {
    let images = Images::new();
    let mut wrong = String::new();
    for ((name, command, arguments), expected) in rows() {
        for ((column, running, its), expected) in columns().into_iter().zip(expected) {
            let mut world = images.world(running, its);
            let is_job =
                ["block-stream", "block-commit", "blockdev-mirror", "blockdev-backup"].contains(&command);
            let arguments = if is_job { slowly("new", arguments.clone()) } else { arguments.clone() };
            let answer = match world.command(command, arguments) {
                Ok(_) => "OK".to_owned(),
                Err(refused) => nameless(&refused),
            };
            if answer != expected {
                writeln!(wrong, "{name}, while {column}:\n  is     {answer}\n  should {expected}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A command with its cells, in the order of the columns.
type Row = (Command, [String; 5]);

fn rows() -> Vec<Row> {
    [streams(), commits(), copies(), edits()].concat()
}

/// `block-stream`.
#[rustfmt::skip]
fn streams() -> Vec<Row> {
    vec![
        (("stream n6 base n5", "block-stream", json!({"device": "n6", "base-node": "n5"})), [
            ok(), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"), ok(),
        ]),
        (("stream n6 base n4", "block-stream", json!({"device": "n6", "base-node": "n4"})), [
            busy("#B", "stream"), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"),
            busy("#B", "backup"),
        ]),
        (("stream n6 bottom n5", "block-stream", json!({"device": "n6", "bottom": "n5"})), [
            ok(), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"), ok(),
        ]),
        (("stream n6 bottom n4", "block-stream", json!({"device": "n6", "bottom": "n4"})), [
            busy("#B", "stream"), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"),
            busy("#B", "backup"),
        ]),
        (("stream n5 base n4", "block-stream", json!({"device": "n5", "base-node": "n4"})), [
            busy("#B", "stream"), text("Cannot freeze 'backing' link to '#B'"), busy("n5", "commit"), ok(),
            busy("#B", "backup"),
        ]),
        (("stream n5 base n3", "block-stream", json!({"device": "n5", "base-node": "n3"})), [
            busy("#B", "stream"), busy("n4", "commit"), busy("n5", "commit"), ok(), busy("#B", "backup"),
        ]),
        (("stream n4 base n1", "block-stream", json!({"device": "n4", "base-node": "n1"})), [
            busy("n4", "stream"), busy("n4", "commit"), busy("n4", "commit"), ok(), ok(),
        ]),
        (("stream n4 base n3", "block-stream", json!({"device": "n4", "base-node": "n3"})), [
            busy("n4", "stream"), busy("n4", "commit"), busy("n4", "commit"), ok(), ok(),
        ]),
        (("stream n3 base n1", "block-stream", json!({"device": "n3", "base-node": "n1"})), [
            busy("n3", "stream"), busy("n3", "commit"), busy("n3", "commit"), ok(), ok(),
        ]),
        (("stream n3 base n2", "block-stream", json!({"device": "n3", "base-node": "n2"})), [
            busy("n3", "stream"), busy("n3", "commit"), busy("n3", "commit"), ok(), ok(),
        ]),
        (("stream n2 base n0", "block-stream", json!({"device": "n2", "base-node": "n0"})), [
            busy("n2", "stream"), busy("n2", "commit"), ok(), ok(), ok(),
        ]),
        (("stream n2 base n1", "block-stream", json!({"device": "n2", "base-node": "n1"})), [
            busy("n2", "stream"), busy("n2", "commit"), ok(), ok(), ok(),
        ]),
        (("stream n1 base n0", "block-stream", json!({"device": "n1", "base-node": "n0"})), [
            ok(), ok(), ok(), ok(), ok(),
        ]),
        (("stream n1 ", "block-stream", json!({"device": "n1"})), [
            ok(), ok(), ok(), ok(), ok(),
        ]),
        (("stream n0 ", "block-stream", json!({"device": "n0"})), [
            ok(), ok(), ok(), ok(), ok(),
        ]),
    ]
}

/// `block-commit`.
#[rustfmt::skip]
fn commits() -> Vec<Row> {
    vec![
        (("commit n6 into n5", "block-commit", json!({"device": "n6", "top-node": "n6", "base-node": "n5"})), [
            ok(), not_root(), not_root(), not_root(), ok(),
        ]),
        (("commit n6 into n4", "block-commit", json!({"device": "n6", "top-node": "n6", "base-node": "n4"})), [
            busy("#B", "stream"), not_root(), not_root(), not_root(), busy("#B", "backup"),
        ]),
        (("commit n5 into n4", "block-commit", json!({"device": "n6", "top-node": "n5", "base-node": "n4"})), [
            busy("#B", "stream"), not_root(), not_root(), not_root(), busy("#B", "backup"),
        ]),
        (("commit n5 into n3", "block-commit", json!({"device": "n6", "top-node": "n5", "base-node": "n3"})), [
            busy("#B", "stream"), not_root(), not_root(), not_root(), busy("#B", "backup"),
        ]),
        (("commit n4 into n3", "block-commit", json!({"device": "n6", "top-node": "n4", "base-node": "n3"})), [
            busy("n4", "stream"), not_root(), not_root(), not_root(), ok(),
        ]),
        (("commit n3 into n2", "block-commit", json!({"device": "n6", "top-node": "n3", "base-node": "n2"})), [
            busy("n3", "stream"), not_root(), not_root(), not_root(), ok(),
        ]),
        (("commit n2 into n1", "block-commit", json!({"device": "n6", "top-node": "n2", "base-node": "n1"})), [
            busy("n2", "stream"), not_root(), not_root(), not_root(), ok(),
        ]),
        (("commit n2 into n0", "block-commit", json!({"device": "n6", "top-node": "n2", "base-node": "n0"})), [
            busy("n2", "stream"), not_root(), not_root(), not_root(), ok(),
        ]),
        (("commit n1 into n0", "block-commit", json!({"device": "n6", "top-node": "n1", "base-node": "n0"})), [
            busy("n2", "stream"), not_root(), not_root(), not_root(), ok(),
        ]),
    ]
}

/// `blockdev-mirror` and `blockdev-backup`.
#[rustfmt::skip]
fn copies() -> Vec<Row> {
    vec![
        (("mirror n6", "blockdev-mirror", json!({"device": "n6", "target": "two", "sync": "full"})), [
            ok(), not_root(), not_root(), not_root(), ok(),
        ]),
        (("mirror n4", "blockdev-mirror", json!({"device": "n4", "target": "two", "sync": "full"})), [
            not_root(), not_root(), not_root(), not_root(), not_root(),
        ]),
        (("mirror n6 into the same", "blockdev-mirror", json!({"device": "n6", "target": "tgt", "sync": "full"})), [
            ok(), not_root(), not_root(), not_root(), busy("tgt", "backup"),
        ]),
        (("backup n6", "blockdev-backup", json!({"device": "n6", "target": "two", "sync": "full"})), [
            ok(), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"), ok(),
        ]),
        (("backup n4", "blockdev-backup", json!({"device": "n4", "target": "two", "sync": "full"})), [
            busy("n4", "stream"), busy("n4", "commit"), busy("n4", "commit"), ok(), ok(),
        ]),
        (("backup n3", "blockdev-backup", json!({"device": "n3", "target": "two", "sync": "full"})), [
            busy("n3", "stream"), busy("n3", "commit"), busy("n3", "commit"), ok(), ok(),
        ]),
        (("backup n1", "blockdev-backup", json!({"device": "n1", "target": "two", "sync": "full"})), [
            ok(), ok(), ok(), ok(), ok(),
        ]),
        (("backup n0", "blockdev-backup", json!({"device": "n0", "target": "two", "sync": "full"})), [
            ok(), ok(), ok(), ok(), ok(),
        ]),
        (("backup n6 into the same", "blockdev-backup", json!({"device": "n6", "target": "tgt", "sync": "full"})), [
            ok(), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"), busy("tgt", "backup"),
        ]),
    ]
}

/// What changes the graph or one of its nodes.
#[rustfmt::skip]
fn edits() -> Vec<Row> {
    vec![
        (("delete n3", "blockdev-del", json!({"node-name": "n3"})), [
            busy("n3", "stream"), busy("n3", "commit"), text("Node n3 is in use"), backing("n3", "n4"),
            backing("n3", "n4"),
        ]),
        (("resize n4", "block_resize", json!({"node-name": "n4", "size": 8388608})), [
            busy("n4", "stream"), busy("n4", "commit"), busy("n4", "commit"), backing("n4", "n5"),
            text("Permission conflict on node 'n4': permissions 'resize' are both required by an unnamed block device (uses node 'n4' as 'root' child) and unshared by node '#B' (uses node 'n4' as 'file' child)."),
        ]),
        (("resize n3", "block_resize", json!({"node-name": "n3", "size": 8388608})), [
            busy("n3", "stream"), busy("n3", "commit"), busy("n3", "commit"), backing("n3", "n4"),
            backing("n3", "n4"),
        ]),
        (("resize n1", "block_resize", json!({"node-name": "n1", "size": 8388608})), [
            backing("n1", "n2"), backing("n1", "n2"), backing("n1", "n2"), backing("n1", "n2"), backing("n1", "n2"),
        ]),
        (("snapshot n4", "blockdev-snapshot", json!({"node": "n4", "overlay": "two"})), [
            busy("n4", "stream"), busy("n4", "commit"), busy("n4", "commit"), backing("n4", "n5"), ok(),
        ]),
        (("snapshot n6", "blockdev-snapshot", json!({"node": "n6", "overlay": "two"})), [
            ok(), busy("n6", "commit"), busy("n6", "commit"), busy("n6", "mirror"), ok(),
        ]),
        (("name the backing of n3", "change-backing-file", json!({"device": "n6", "image-node-name": "n3", "backing-file": "x"})), [
            ok(), not_root(), not_root(), not_root(), ok(),
        ]),
        (("name the backing of n2", "change-backing-file", json!({"device": "n6", "image-node-name": "n2", "backing-file": "x"})), [
            ok(), not_root(), not_root(), not_root(), ok(),
        ]),
        (("bitmap on n4", "block-dirty-bitmap-add", json!({"node": "n4", "name": "b"})), [
            ok(), ok(), ok(), ok(), ok(),
        ]),
    ]
}

fn text(text: &str) -> String {
    text.to_owned()
}

fn ok() -> String {
    text("OK")
}

fn not_root() -> String {
    text("Need a root block node")
}

fn busy(node: &str, kind: &str) -> String {
    format!("Node '{node}' is busy: block device is in use by block job: {kind}")
}

fn backing(node: &str, overlay: &str) -> String {
    format!("Node '{node}' is busy: node is used as backing hd of '{overlay}'")
}
