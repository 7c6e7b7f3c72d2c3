//! A daemon and images that are made to end it, to fill its memory or to keep it busy: it says what is wrong with them,
//! and whoever else speaks to it is answered meanwhile.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::daemon::{Client, Daemon, binary};

const CLUSTER: u64 = 1 << 16;
/// As long as another client may wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const BITMAPS: u32 = 0x2385_2875;
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// How much the process has held at most, in MiB.
fn peak_mib(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux reports the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB") >> 10
}

/// The start of an image, with clusters of 64 KiB and its refcount table in the second.
#[derive(Default)]
struct Header {
    len_bytes: u64,
    l1: (u64, u32),
    incompatible: u64,
    autoclear: u64,
    extensions: Vec<(u32, Vec<u8>)>,
    backing: String,
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend([0x5146_49fb_u32, 3].map(u32::to_be_bytes).concat());
        bytes.extend([0; 12]);
        bytes.extend(16_u32.to_be_bytes());
        bytes.extend(self.len_bytes.to_be_bytes());
        bytes.extend([0, self.l1.1].map(u32::to_be_bytes).concat());
        bytes.extend([self.l1.0, CLUSTER].map(u64::to_be_bytes).concat());
        bytes.extend([1_u32, 0].map(u32::to_be_bytes).concat());
        bytes.extend([0, self.incompatible, 0, self.autoclear].map(u64::to_be_bytes).concat());
        bytes.extend([4_u32, 104].map(u32::to_be_bytes).concat());
        for (kind, data) in &self.extensions {
            bytes.extend([*kind, data.len() as u32].map(u32::to_be_bytes).concat());
            bytes.extend(data);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes.extend([0; 8]);
        if !self.backing.is_empty() {
            let at = bytes.len() as u64;
            bytes[8..16].copy_from_slice(&at.to_be_bytes());
            bytes[16..20].copy_from_slice(&(self.backing.len() as u32).to_be_bytes());
            bytes.extend(self.backing.as_bytes());
        }
        bytes
    }

    /// An image of this header, `len` bytes long, with pieces at their offsets and holes between them.
    fn image(&self, path: &Path, len: u64, pieces: &[(u64, &[u8])]) {
        let file = File::create(path).expect("a scratch folder");
        file.write_all_at(&self.bytes(), 0).expect("room");
        pieces.iter().for_each(|(at, piece)| file.write_all_at(piece, *at).expect("room"));
        file.set_len(len).expect("a sparse file");
    }
}

/// An entry of a bitmap directory: the table, its entries, flags, granularity, name.
fn bitmap(table: u64, entries: u32, flags: u32, granularity: u8, name: &str) -> Vec<u8> {
    let mut entry = table.to_be_bytes().to_vec();
    entry.extend([entries, flags].map(u32::to_be_bytes).concat());
    entry.extend([1, granularity]);
    entry.extend((name.len() as u16).to_be_bytes());
    entry.extend([0; 4]);
    entry.extend(name.as_bytes());
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry
}

/// An image of 1 MiB whose directory of bitmaps lies at cluster 8, and their one table at cluster 4.
fn image_of_bitmaps(path: &Path, len_bytes: u64, directory: &[Vec<u8>], table: &[u8]) {
    let bytes = directory.concat();
    let at = (4 * CLUSTER + table.len() as u64).next_multiple_of(CLUSTER) + CLUSTER;
    let mut extension = [directory.len() as u32, 0].map(u32::to_be_bytes).concat();
    extension.extend([bytes.len() as u64, at].map(u64::to_be_bytes).concat());
    let l1_entries = len_bytes.div_ceil(CLUSTER * 8192) as u32;
    let header = Header {
        len_bytes,
        l1: (2 * CLUSTER, l1_entries),
        autoclear: 1,
        extensions: vec![(BITMAPS, extension)],
        ..Header::default()
    };
    header.image(
        path,
        at + (bytes.len() as u64).next_multiple_of(CLUSTER),
        &[(at, &bytes), (4 * CLUSTER, table)],
    );
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a scratch folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The options of an image and its file.
    fn node(&self, name: &str, read_only: bool) -> Value {
        let file = json!({"driver": "file", "filename": self.path(name)});
        json!({"driver": "qcow2", "node-name": "n", "read-only": read_only, "file": file})
    }

    fn start(&self) -> (Daemon, [Client; 2]) {
        Daemon::start(self.folder.path())
    }
}

fn ends_well(daemon: Daemon, mut client: Client) {
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn a_granularity_that_nobody_can_shift_by_is_refused() {
    let place = Place::new();
    let (daemon, [mut client, _]) = place.start();
    for granularity in [8, 32, 63, 64, 200, 255] {
        for flags in [0, 1] {
            image_of_bitmaps(
                &place.path("i"),
                1 << 20,
                &[bitmap(4 * CLUSTER, 1, flags, granularity, "b")],
                &[],
            );
            for read_only in [true, false] {
                let refused = client.execute("blockdev-add", place.node("i", read_only)).unwrap_err();
                assert_eq!(refused, "bitmaps_ext: Impossible bitmap directory entry");
            }
        }
    }
    ends_well(daemon, client);
}

// Options inside options, references to references, and what a guest then does to them.
#[test]
fn nothing_stands_deeper_than_it_may_however_it_is_said() {
    let place = Place::new();
    let (daemon, [mut client, _]) = place.start();
    let nested = |deep: usize, driver: &str| {
        let (open, close) = (format!("{{\"driver\":\"{driver}\",\"file\":").repeat(deep), "}".repeat(deep));
        let text = format!("{open}{{\"driver\":\"null-co\",\"size\":1048576}}{close}");
        let mut options = text;
        options.insert_str(1, "\"node-name\":\"top\",");
        // Serde refuses to read what is this deep; the text goes as it is.
        format!("{{\"execute\":\"blockdev-add\",\"arguments\":{options}}}")
    };
    let too_deep = "Nodes cannot stand more than 200 deep on each other";
    for driver in ["raw", "copy-on-read", "qcow2", "compress"] {
        for deep in [200, 242, 500, 1000] {
            let refused = client.exchange(&nested(deep, driver)).unwrap_err();
            assert_eq!(refused, too_deep, "{deep} times {driver}");
        }
    }
    client.exchange(&nested(199, "raw")).expect("as deep as may be");
    let above = json!({"driver": "raw", "node-name": "above", "file": "top"});
    assert_eq!(client.execute("blockdev-add", above).unwrap_err(), too_deep);
    // A guest's request goes all the way down.
    let path = place.path("nbd");
    client.done("nbd-server-start", json!({"addr": {"type": "unix", "data": {"path": path}}}));
    client.done("block-export-add", json!({"type": "nbd", "id": "e", "node-name": "top", "writable": true}));
    let mut guest = support::nbd::enter(&path, "top");
    for command in [0_u16, 6, 4, 3] {
        let (offset, len) = (0_u64, if command == 3 { 0_u32 } else { 4096 });
        let request = [&[0x25, 0x60, 0x95, 0x13, 0, 0][..], &command.to_be_bytes(), &[0; 8]].concat();
        guest
            .write_all(&[&request[..], &offset.to_be_bytes(), &len.to_be_bytes()].concat())
            .expect("it listens");
        let mut reply = vec![0; if command == 0 { 16 + 4096 } else { 16 }];
        guest.read_exact(&mut reply).expect("a reply");
        assert_eq!(reply[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], "command {command}");
    }
    drop(guest);
    ends_well(daemon, client);
}

#[test]
fn dots_on_the_command_line_are_not_deeper_than_nodes() {
    let text = format!("driver=raw,node-name=n,{}driver=null-co", "file.".repeat(20_000));
    let ended = Command::new(binary()).args(["--blockdev", &text]).output().expect("it was built");
    assert_eq!(ended.status.code(), Some(1), "refused, not overturned");
}

#[test]
fn an_image_that_names_itself_is_found_out() {
    let place = Place::new();
    let (daemon, [mut client, _]) = place.start();
    std::os::unix::fs::symlink(place.path("first"), place.path("other name")).expect("a scratch folder");
    for (first, second) in [("first", "first"), ("other name", "first"), ("second", "other name")] {
        for (name, backing) in [("first", first), ("second", second)] {
            let format = (BACKING_FORMAT, b"qcow2".to_vec());
            let header = Header {
                len_bytes: 1 << 20,
                l1: (2 * CLUSTER, 1 << 20),
                extensions: vec![format],
                backing: backing.to_owned(),
                ..Header::default()
            };
            header.image(&place.path(name), 2 * CLUSTER + (8 << 20), &[]);
        }
        let refused = client.execute("blockdev-add", place.node("first", true)).unwrap_err();
        assert!(refused.ends_with("the image is in its own backing chain"), "{refused}");
    }
    assert!(peak_mib(&daemon) < 100, "{} MiB", peak_mib(&daemon));
    ends_well(daemon, client);
}

// A table that says of every second cluster of bits that all of it is set, for 4,000 bitmaps: 16 million ranges.
#[test]
fn a_small_image_with_many_bitmaps_is_shown_what_memory_there_is() {
    let place = Place::new();
    let ranges = 4096;
    let table = [1_u64, 0].map(u64::to_be_bytes).concat().repeat(ranges);
    let directory: Vec<Vec<u8>> =
        (0..4000).map(|n| bitmap(4 * CLUSTER, 2 * ranges as u32, 0, 9, &format!("b{n}"))).collect();
    // One cluster of bits stands for 256 MiB.
    image_of_bitmaps(&place.path("i"), 2 * ranges as u64 * (256 << 20), &directory, &table);
    let (daemon, [mut client, mut other]) = place.start();
    let refused = client.execute("blockdev-add", place.node("i", true)).unwrap_err();
    assert!(
        refused.contains("bytes of memory, and") && refused.ends_with("for images are left"),
        "{refused}"
    );
    let shown = other.done("x-query-memory", json!({}));
    assert_eq!((&shown["held"], &shown["refused"]), (&json!(0), &json!(refused)));
    assert!(peak_mib(&daemon) < 700, "{} MiB", peak_mib(&daemon));
    ends_well(daemon, client);
}

#[test]
fn the_budget_is_an_option_and_a_full_one_is_no_end() {
    let place = Place::new();
    let monitor = format!("socket,id=m,path={},server=on,wait=off", place.path("q").display());
    let daemon = Daemon::start_with(&["--memory-budget", "8M", "--chardev", &monitor, "--monitor", "m"]);
    let mut client = Client::connect(&place.path("q"));
    let large = Header { len_bytes: 1 << 20, l1: (2 * CLUSTER, 1 << 20), ..Header::default() };
    large.image(&place.path("large"), 2 * CLUSTER + (8 << 20), &[]);
    let small = Header { len_bytes: 1 << 20, l1: (2 * CLUSTER, 1), ..Header::default() };
    small.image(&place.path("small"), 3 * CLUSTER, &[]);
    let refused = client.execute("blockdev-add", place.node("large", true)).unwrap_err();
    let name = place.path("large");
    assert!(
        refused.starts_with(&format!(
            "The L1 table of '{}' needs 16777216 bytes of memory, and ",
            name.display()
        )),
        "{refused}"
    );
    assert!(refused.ends_with(" of the 8388608 bytes for images are left"), "{refused}");
    client.done("blockdev-add", place.node("small", true));
    let shown = client.done("x-query-memory", json!({}));
    assert_eq!(shown["limit"], 8 << 20);
    let held = shown["held"].as_u64().expect("a number");
    assert!((1..1 << 20).contains(&held), "{shown}");
    client.done("blockdev-del", json!({"node-name": "n"}));
    assert_eq!(client.done("x-query-memory", json!({}))["held"], 0);
    ends_well(daemon, client);
}

// Names of a thousand bytes that differ in the last ones, as many as there may be: looked up one by one they take
// minutes. Reported for each layer above they are gigabytes.
#[test]
fn the_longest_list_of_bitmaps_is_read_in_time_and_reported_in_bounds() {
    let place = Place::new();
    let prefix = "x".repeat(990);
    let directory: Vec<Vec<u8>> =
        (0..65_535).map(|n| bitmap(4 * CLUSTER, 1, 1, 16, &format!("{prefix}{n:08x}"))).collect();
    image_of_bitmaps(&place.path("i"), 1 << 20, &directory, &[]);
    let (daemon, [mut client, mut other]) = place.start();
    let begun = Instant::now();
    client.done("blockdev-add", place.node("i", true));
    other.done("query-version", json!({}));
    assert!(begun.elapsed() < 6 * TIMEOUT, "{:?}", begun.elapsed());
    let refused = client.execute("query-named-block-nodes", json!({})).unwrap_err();
    assert_eq!(refused, "The reply would be longer than 33554432 bytes");
    assert_eq!(client.done("query-jobs", json!({})), json!([]), "the connection is still there");
    assert!(peak_mib(&daemon) < 500, "{} MiB", peak_mib(&daemon));
    ends_well(daemon, client);
}

/// An image whose L1 table leads to `tables` L2 tables, all of them in holes, 64 KiB each.
fn image_of_holes(path: &Path, tables: u64, incompatible: u64) {
    let first = (2 * CLUSTER + tables * 8).next_multiple_of(CLUSTER);
    let l1: Vec<u8> = (0..tables).flat_map(|n| (1 << 63 | (first + n * CLUSTER)).to_be_bytes()).collect();
    let header =
        Header { len_bytes: 1 << 20, l1: (2 * CLUSTER, tables as u32), incompatible, ..Header::default() };
    header.image(path, first + tables * CLUSTER, &[(2 * CLUSTER, &l1)]);
}

#[test]
fn a_dirty_image_of_holes_is_repaired_without_reading_them() {
    let place = Place::new();
    image_of_holes(&place.path("i"), 1 << 20, 1);
    let (daemon, [mut client, mut other]) = place.start();
    let begun = Instant::now();
    client.send("blockdev-add", place.node("i", false));
    other.done("query-named-block-nodes", json!({}));
    assert!(begun.elapsed() < TIMEOUT, "another client waited {:?}", begun.elapsed());
    // Others do not only ask meanwhile.
    other.done("blockdev-add", json!({"driver": "null-co", "node-name": "m"}));
    client.reply().expect("it can be repaired");
    assert!(begun.elapsed() < 6 * TIMEOUT, "{:?}", begun.elapsed());
    assert!(peak_mib(&daemon) < 300, "{} MiB", peak_mib(&daemon));
    ends_well(daemon, client);
}

/// Opens an image on a disk that answers in no time that anybody lives.
fn stuck() -> Value {
    let file = json!({"driver": "null-co", "latency-ns": 1_i64 << 62});
    json!({"driver": "qcow2", "node-name": "n", "file": file})
}

#[test]
fn an_open_that_takes_for_ever_is_in_nobodys_way_and_ends_with_the_daemon() {
    let place = Place::new();
    let (daemon, [mut client, mut other]) = place.start();
    client.send("blockdev-add", stuck());
    other.done("blockdev-add", json!({"driver": "null-co", "node-name": "m"}));
    assert_eq!(other.done("query-named-block-nodes", json!({})).as_array().map(Vec::len), Some(1));
    other.done("blockdev-del", json!({"node-name": "m"}));
    other.done("quit", json!({}));
    assert!(daemon.wait().success());
}

// It asks and does not read; what it costs is its own connection.
#[test]
fn a_client_that_does_not_read_loses_its_connection_and_the_next_one_comes() {
    let place = Place::new();
    let monitor = format!("socket,id=m,path={},server=on,wait=off", place.path("q").display());
    let daemon = Daemon::start_with(&["--chardev", &monitor, "--monitor", "m"]);
    for _ in 0..3 {
        let client = Client::connect(&place.path("q"));
        let mut deaf: UnixStream = client.into_stream();
        deaf.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let asks = format!("{{\"execute\":\"query-version\",\"id\":\"{}\"}}", "x".repeat(4_000_000));
        while deaf.write_all(asks.as_bytes()).is_ok() {}
    }
    let client = Client::connect(&place.path("q"));
    assert!(peak_mib(&daemon) < 150, "{} MiB", peak_mib(&daemon));
    ends_well(daemon, client);
}
