//! Backups as libvirt pulls them: a client reads a moment of a disk through an export while the guest goes on, and asks which
//! parts have changed since the moment before. The older copy with these parts is the newer moment.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use support::daemon::{Client, Daemon, binary};
use support::tools::{have, run};

/// A whole number of clusters, and a piece of one.
const LEN: u64 = (4 << 20) + 5 * 512;

/// A daemon with a disk that a guest writes, in a folder of its own.
struct Backups {
    folder: tempfile::TempDir,
    client: Client,
    daemon: Daemon,
}

impl Backups {
    fn begin(program: &Path) -> Backups {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (daemon, [client]) = Daemon::start_program::<1>(program, folder.path());
        let mut backups = Backups { folder, client, daemon };
        backups.image("disk");
        let address = json!({"type": "unix", "data": {"path": backups.path("nbd")}});
        backups.client.done("nbd-server-start", json!({"addr": address}));
        backups.add("disk", Value::Null);
        backups.export("disk", true, json!([]));
        backups
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a plain path").to_owned()
    }

    fn image(&self, name: &str) {
        let (file, len) = (self.path(&format!("{name}.qcow2")), LEN.to_string());
        run("qemu-img", &["create", "-q", "-f", "qcow2", &file, &len]);
    }

    fn add(&mut self, name: &str, backing: Value) {
        let file = json!({"driver": "file", "filename": self.path(&format!("{name}.qcow2"))});
        let node = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": backing});
        self.client.done("blockdev-add", node);
    }

    fn export(&mut self, node: &str, writable: bool, bitmaps: Value) {
        let export =
            json!({"type": "nbd", "id": node, "node-name": node, "writable": writable, "bitmaps": bitmaps});
        self.client.done("block-export-add", export);
    }

    fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.path("nbd"))
    }

    /// The guest writes.
    fn write(&self, commands: &[&str]) {
        let uri = self.uri("disk");
        let mut arguments = vec!["-f", "raw"];
        for command in commands.iter().chain(&["flush"]) {
            arguments.extend(["-c", command]);
        }
        arguments.push(&uri);
        run("qemu-io", &arguments);
    }

    /// All that an export shows.
    fn content(&self, export: &str) -> Vec<u8> {
        let copy = self.path("copy.raw");
        run("qemu-img", &["convert", "-f", "raw", "-O", "raw", &self.uri(export), &copy]);
        fs::read(copy).expect("it was written just now")
    }

    /// Begins a backup of this moment: what clients read of it is `scratch`. A new bitmap records from now on; what the
    /// `older` one has is shown with the moment.
    fn moment(&mut self, new: &str, older: Option<&str>) {
        self.image("scratch");
        self.add("scratch", json!("disk"));
        let action = |kind: &str, data: Value| json!({"type": kind, "data": data});
        let bitmap = |name: &str| json!({"node": "disk", "name": name});
        let mut actions = vec![action("block-dirty-bitmap-add", bitmap(new))];
        if let Some(older) = older {
            let frozen = json!({"node": "disk", "name": "frozen", "disabled": true});
            let merge = json!({"node": "disk", "target": "frozen", "bitmaps": [bitmap(older)]});
            actions.extend([
                action("block-dirty-bitmap-disable", bitmap(older)),
                action("block-dirty-bitmap-add", frozen),
                action("block-dirty-bitmap-merge", merge),
            ]);
        }
        let job = json!({"job-id": "pull", "device": "disk", "target": "scratch", "sync": "none"});
        actions.push(action("blockdev-backup", job));
        self.client.done("transaction", json!({"actions": actions}));
        let shown = if older.is_some() { json!([bitmap("frozen")]) } else { json!([]) };
        self.export("scratch", false, shown);
    }

    /// What clients read of the moment is not needed any more.
    fn over(&mut self) {
        self.client.done("block-export-del", json!({"id": "scratch"}));
        self.client.event("BLOCK_EXPORT_DELETED");
        self.client.done("job-cancel", json!({"id": "pull"}));
        while self.client.event("JOB_STATUS_CHANGE")["status"] != "null" {}
        self.client.done("blockdev-del", json!({"node-name": "scratch"}));
    }

    /// What has changed by what a client is shown, in bytes.
    fn changed(&self) -> Vec<Range<u64>> {
        let options = format!(
            "driver=nbd,export=scratch,server.type=unix,server.path={},x-dirty-bitmap=qemu:dirty-bitmap:frozen",
            self.path("nbd")
        );
        let map = run("qemu-img", &["map", "--output=json", "--image-opts", &options]);
        let map: Value = serde_json::from_str(&map).expect("qemu-img writes JSON");
        // What is dirty, it shows as a hole.
        let dirty = map.as_array().expect("a list").iter().filter(|extent| extent["data"] == false);
        let bytes = |extent: &Value, name: &str| extent[name].as_u64().expect("a number");
        dirty
            .map(|extent| (bytes(extent, "start"), bytes(extent, "length")))
            .map(|(a, len)| a..a + len)
            .collect()
    }

    fn end(mut self) {
        self.client.done("quit", json!({}));
        assert!(self.daemon.wait().success());
    }
}

fn pull(program: &Path) {
    let mut backups = Backups::begin(program);
    backups.write(&["write -P 1 0 1M", "write -P 2 2M 100k", "write -P 9 4M 2k"]);
    backups.moment("first", None);
    let full = backups.content("disk");
    backups.write(&["write -P 3 64k 64k", "write -z 2M 4k", "write -P 4 3M 512"]);
    assert!(backups.content("scratch") == full, "the full copy is the first moment");
    backups.over();

    backups.moment("second", Some("first"));
    let newer = backups.content("disk");
    // Neither the moment nor what has changed until then is different for what comes now.
    backups.write(&["write -P 5 0 192k", "write -P 6 4M 2k"]);
    let changed = backups.changed();
    let moment = backups.content("scratch");
    assert!(moment == newer, "the increment is the second moment");
    let mut merged = full.clone();
    for range in &changed {
        let range = range.start as usize..range.end.min(LEN) as usize;
        merged[range.clone()].copy_from_slice(&moment[range]);
    }
    assert!(
        merged == newer,
        "the older copy and what is said to have changed, {changed:?}, are not the newer moment"
    );
    assert_eq!(
        changed,
        [64 << 10..128 << 10, 2 << 20..(2 << 20) + (64 << 10), 3 << 20..(3 << 20) + (64 << 10)]
    );
    let name = json!({"node": "disk", "name": "frozen"});
    let busy = backups.client.execute("block-dirty-bitmap-clear", name.clone()).unwrap_err();
    assert!(busy.contains("Bitmap 'frozen' is currently in use by another operation"), "{busy}");
    if have(&["nbdinfo"], "pull: the map of nbdinfo") {
        let map = run("nbdinfo", &["--json", "--map=qemu:dirty-bitmap:frozen", &backups.uri("scratch")]);
        let map: Value = serde_json::from_str(&map).expect("nbdinfo writes JSON");
        let dirty = map.as_array().expect("a list").iter().filter(|extent| extent["type"] == 1);
        let starts: Vec<u64> = dirty.map(|extent| extent["offset"].as_u64().expect("a number")).collect();
        assert_eq!(starts, [64 << 10, 2 << 20, 3 << 20]);
    }
    backups.over();
    backups.client.done("block-dirty-bitmap-remove", name);
    backups.end();
}

#[test]
fn an_older_copy_and_what_has_changed_since_are_the_newer_moment() {
    let test = "an_older_copy_and_what_has_changed_since_are_the_newer_moment";
    if have(&["qemu-img", "qemu-io"], test) {
        pull(binary());
    }
}

// What the test asks for is what the real daemon does.
#[test]
fn the_real_daemon_is_pulled_from_in_the_same_way() {
    let test = "the_real_daemon_is_pulled_from_in_the_same_way";
    if have(&["qemu-img", "qemu-io", "qemu-storage-daemon"], test) {
        pull(&PathBuf::from("qemu-storage-daemon"));
    }
}
