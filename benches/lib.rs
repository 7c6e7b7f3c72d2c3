//! Two storage daemons beside each other: ours and QEMU's, each with its own chain of real files, given the same commands.
//!
//! QEMU's may be missing; whoever asks for it is informed.

#[allow(dead_code, reason = "the benchmarks use their part of it")]
#[path = "../tests/support/daemon.rs"]
mod daemon;
#[allow(dead_code, reason = "the benchmarks use their part of it")]
#[path = "../tests/support/tools.rs"]
mod tools;

use daemon::{Client, Daemon};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tools::run;

/// How much data the lower layer of a chain has, in MiB.
pub const MIB: u64 = 64;

/// Ours, then QEMU's if it is there.
pub fn contenders() -> Vec<(&'static str, PathBuf)> {
    let ours = ("midstreamd", daemon::binary().to_owned());
    let all = ["qemu-img", "qemu-io", "qemu-storage-daemon"];
    assert!(tools::have(&all[..2], "every benchmark against daemons"), "images are made by QEMU's programs");
    match tools::have(&all, "the comparison with qemu-storage-daemon") {
        true => vec![ours, ("qemu-storage-daemon", all[2].into())],
        false => vec![ours],
    }
}

/// A daemon, and `base <- top` of which base is full of data.
#[derive(Debug)]
pub struct Contender {
    client: Client,
    _daemon: Daemon,
    folder: TempDir,
}

impl Contender {
    /// Starts the program on a chain of its own.
    pub fn start(program: &Path) -> Contender {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let base = text(&folder.path().join("base"));
        run("qemu-img", &["create", "-q", "-f", "qcow2", &base, &format!("{MIB}M")]);
        let write = format!("write -q -P 7 0 {MIB}M");
        run("qemu-io", &["-f", "qcow2", "-c", &write, &base]);
        let (daemon, [client]) = Daemon::start_program::<1>(program, folder.path());
        Contender { client, _daemon: daemon, folder }
    }

    /// How long `block-stream` takes to bring everything from base up into a fresh top.
    pub fn stream(&mut self, no_flush: bool) -> Duration {
        self.add_chain(no_flush);
        let start = Instant::now();
        self.client.done("block-stream", json!({"job-id": "s", "device": "top"}));
        let completed = self.client.event("BLOCK_JOB_COMPLETED");
        let took = start.elapsed();
        assert_eq!(completed.get("error"), None, "{completed}");
        assert_eq!(completed["len"], MIB << 20, "{completed}");
        self.remove_chain();
        took
    }

    /// Puts a fresh top over base and adds both.
    pub fn add_chain(&mut self, no_flush: bool) {
        let (base, top) = (text(&self.folder.path().join("base")), text(&self.folder.path().join("top")));
        run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &base, "-F", "qcow2", &top]);
        let node = |name: &str, file: &str, read_only: bool| {
            json!({"driver": "qcow2", "node-name": name, "read-only": read_only, "cache": {"no-flush": no_flush},
                   "file": {"driver": "file", "filename": file}})
        };
        let mut base = node("base", &base, true);
        base["backing"] = json!(null);
        let mut top = node("top", &top, false);
        top["backing"] = json!("base");
        self.client.done("blockdev-add", base);
        self.client.done("blockdev-add", top);
    }

    fn remove_chain(&mut self) {
        self.client.done("blockdev-del", json!({"node-name": "top"}));
        self.client.done("blockdev-del", json!({"node-name": "base"}));
    }

    /// Offers a fresh chain to NBD clients, for as long as the daemon runs: its address.
    pub fn serve(&mut self) -> String {
        self.add_chain(false);
        let path = text(&self.folder.path().join("nbd"));
        self.client.done("nbd-server-start", json!({"addr": {"type": "unix", "data": {"path": path}}}));
        let export = json!({"type": "nbd", "id": "e", "node-name": "top", "writable": true});
        self.client.done("block-export-add", export);
        format!("nbd+unix:///top?socket={path}")
    }
}

/// How long QEMU's own client takes for so many requests of 4 KiB, strewn over the disk, 16 at a time.
pub fn strewn_requests(uri: &str, requests: u64, writes: bool) -> Duration {
    // Each lies so far behind the one before it; together they touch every part of the disk.
    const STEP: &str = "1060864";
    let count = requests.to_string();
    let mut arguments = vec!["bench", "-f", "raw", "-c", &count, "-d", "16", "-s", "4096", "-S", STEP];
    arguments.extend(writes.then_some("-w"));
    arguments.push(uri);
    let said = run("qemu-img", &arguments);
    let seconds = said.split("completed in ").nth(1).and_then(|rest| rest.split(' ').next());
    Duration::from_secs_f64(seconds.expect("qemu-img reports its time").parse().expect("in seconds"))
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}
