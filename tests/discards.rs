//! Space that guests do not need goes back to the file system, or does not, as the options say: each combination here is
//! played on qemu-storage-daemon and on midstreamd, and the files afterwards take the same room.
//!
//! Without qemu-storage-daemon, qemu-img and qemu-io the tests say that they were skipped.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use support::daemon::{Client, Daemon, binary};
use support::tools::{have, run};

/// What one file may take more on one side than on the other, bytes: tables lie elsewhere.
const TOLERANCE: u64 = 300 << 10;

/// One cell of the table.
struct Case {
    /// How the image is made by qemu-img, with its format first; 8 MiB of it are then written.
    image: &'static [&'static str],
    /// Members of the node on the file, as JSON.
    node: &'static str,
    /// Members of the file node.
    file: &'static str,
    /// What qemu-io does through an export.
    io: &'static [&'static str],
}

const QCOW2: &[&str] = &["qcow2"];
const RAW: &[&str] = &["raw"];
const DISCARD: &[&str] = &["discard 0 8M", "flush"];
const UNMAP: &[&str] = &["write -z -u 0 8M", "flush"];
const ZERO: &[&str] = &["write -z 0 8M", "flush"];
const DATA_OF_ZEROES: &[&str] = &["write -P 0 0 8M", "flush"];

const fn case(
    image: &'static [&'static str],
    node: &'static str,
    file: &'static str,
    io: &'static [&'static str],
) -> Case {
    Case { image, node, file, io }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case(QCOW2, r#""discard":"unmap""#, "", DISCARD),
    case(QCOW2, r#""discard":"unmap""#, r#""discard":"ignore""#, DISCARD),
    case(QCOW2, r#""discard":"unmap""#, r#""discard":"unmap""#, DISCARD),
    case(QCOW2, r#""discard":"ignore""#, "", DISCARD),
    case(QCOW2, "", r#""discard":"unmap""#, DISCARD),
    case(QCOW2, r#""discard":"unmap""#, "", UNMAP),
    case(QCOW2, r#""discard":"unmap""#, r#""discard":"ignore""#, UNMAP),
    case(QCOW2, "", "", UNMAP),
    case(QCOW2, r#""discard":"unmap""#, "", ZERO),
    case(QCOW2, r#""discard":"unmap""#, "", &["discard 0 8M", "write -P 7 0 8M", "flush"]),
    case(QCOW2, r#""discard":"unmap""#, "", &["discard 0 4M", "write -z -u 4M 4M", "flush"]),
    case(QCOW2, r#""discard":"unmap""#, "", &["discard 32k 8000k", "flush"]),
    case(QCOW2, r#""discard":"unmap","detect-zeroes":"unmap""#, "", DATA_OF_ZEROES),
    case(QCOW2, r#""discard":"unmap","detect-zeroes":"on""#, "", DATA_OF_ZEROES),
    case(QCOW2, r#""detect-zeroes":"on""#, "", DATA_OF_ZEROES),
    case(QCOW2, r#""discard":"unmap""#, "", DATA_OF_ZEROES),
    case(QCOW2, r#""discard":"unmap","pass-discard-request":false"#, "", DISCARD),
    case(QCOW2, r#""discard":"unmap","pass-discard-request":false"#, "", UNMAP),
    case(QCOW2, r#""pass-discard-request":true"#, "", DISCARD),
    case(QCOW2, r#""discard":"unmap","pass-discard-request":true"#, r#""discard":"ignore""#, DISCARD),
    case(QCOW2, r#""discard":"unmap","discard-no-unref":true"#, "", DISCARD),
    case(QCOW2, r#""discard":"unmap","discard-no-unref":true"#, "", UNMAP),
    case(QCOW2, r#""discard":"unmap","discard-no-unref":true,"pass-discard-request":false"#, "", DISCARD),
    case(QCOW2, r#""discard":"unmap","discard-no-unref":true"#, "", &["discard 0 8M", "write -P 7 0 8M", "flush"]),
    case(QCOW2, r#""discard":"unmap","discard-no-unref":true"#, r#""discard":"ignore""#, DISCARD),
    case(&["qcow2", "-o", "compat=0.10"], r#""discard":"unmap""#, "", DISCARD),
    case(&["qcow2", "-o", "compat=0.10"], r#""discard":"unmap""#, "", UNMAP),
    case(&["qcow2", "-o", "compat=0.10"], r#""discard":"unmap","discard-no-unref":true"#, "", DISCARD),
    case(&["qcow2", "-o", "cluster_size=4k"], r#""discard":"unmap""#, "", DISCARD),
    case(&["qcow2", "-o", "extended_l2=on,cluster_size=128k"], r#""discard":"unmap""#, "", DISCARD),
    case(&["qcow2", "-o", "extended_l2=on,cluster_size=128k"], r#""discard":"unmap""#, "", UNMAP),
    case(&["qcow2", "-o", "data_file=data"], r#""discard":"unmap""#, "", DISCARD),
    case(&["qcow2", "-o", "data_file=data"], r#""discard":"unmap""#, "", UNMAP),
    case(&["qcow2", "-o", "data_file=data,data_file_raw=on"], r#""discard":"unmap""#, "", UNMAP),
    case(RAW, r#""discard":"unmap""#, "", DISCARD),
    case(RAW, r#""discard":"unmap""#, r#""discard":"ignore""#, DISCARD),
    case(RAW, "", "", DISCARD),
    case(RAW, r#""discard":"unmap""#, "", UNMAP),
    case(RAW, r#""discard":"unmap""#, r#""discard":"ignore""#, UNMAP),
    case(RAW, "", "", UNMAP),
    case(RAW, r#""discard":"unmap""#, "", ZERO),
    case(RAW, r#""discard":"unmap","detect-zeroes":"unmap""#, "", DATA_OF_ZEROES),
    case(RAW, r#""discard":"unmap","detect-zeroes":"on""#, "", DATA_OF_ZEROES),
    case(RAW, r#""detect-zeroes":"unmap""#, "", DATA_OF_ZEROES),
    case(RAW, r#""discard":"unmap","offset":4096"#, "", &["discard 0 4M", "flush"]),
];

/// A file of 8 MiB, all of it written.
fn make(folder: &Path, image: &[&str]) {
    let path = folder.join("image");
    let path = path.to_str().expect("a plain path");
    let data = folder.join("data");
    let with_data = |option: &str| option.replace("data_file=data", &format!("data_file={}", data.display()));
    let options: Vec<String> = image[1..].iter().map(|option| with_data(option)).collect();
    let mut arguments = vec!["create", "-q", "-f", image[0]];
    arguments.extend(options.iter().map(String::as_str));
    arguments.extend([path, "8M"]);
    run("qemu-img", &arguments);
    run("qemu-io", &["-f", image[0], "-c", "write -P 5 0 8M", path]);
}

/// What the files of a folder take.
fn allocated(folder: &Path) -> u64 {
    let size = |name| std::fs::metadata(folder.join(name)).map_or(0, |file| file.blocks() * 512);
    size("image") + size("data")
}

/// A daemon on a fresh folder with an NBD server.
struct Served {
    folder: tempfile::TempDir,
    daemon: Daemon,
    client: Client,
}

impl Served {
    fn start(program: &Path, image: &[&str]) -> Served {
        let folder = tempfile::tempdir().expect("a scratch folder");
        make(folder.path(), image);
        let (daemon, [mut client]) = Daemon::start_program::<1>(program, folder.path());
        let address = json!({"type": "unix", "data": {"path": folder.path().join("nbd")}});
        client.done("nbd-server-start", json!({"addr": address}));
        Served { folder, daemon, client }
    }

    fn file(&self) -> String {
        self.folder.path().join("image").display().to_string()
    }

    fn export(&mut self, node: &str) {
        self.client.done(
            "block-export-add",
            json!({"type": "nbd", "id": "e", "node-name": node, "name": "x", "writable": true}),
        );
    }

    fn io(&self, commands: &[&str]) {
        let uri = format!("nbd+unix:///x?socket={}", self.folder.path().join("nbd").display());
        let commands = commands.iter().flat_map(|command| ["-c", command]);
        let arguments: Vec<&str> = ["-f", "raw"].into_iter().chain(commands).chain([uri.as_str()]).collect();
        run("qemu-io", &arguments);
    }

    /// What the files take when the daemon has gone.
    fn end(mut self) -> u64 {
        self.client.done("quit", json!({}));
        assert!(self.daemon.wait().success());
        allocated(self.folder.path())
    }
}

fn members(text: &str) -> Value {
    serde_json::from_str(&format!("{{{text}}}")).expect("members are JSON")
}

fn merged(mut object: Value, more: &str) -> Value {
    object.as_object_mut().expect("an object").extend(members(more).as_object().expect("an object").clone());
    object
}

/// What the files take after a case, or the text it was refused with.
fn play(program: &Path, case: &Case) -> Result<u64, String> {
    let mut served = Served::start(program, case.image);
    let file = merged(json!({"driver": "file", "filename": served.file()}), case.file);
    let node = json!({"driver": case.image[0], "node-name": "n", "file": file});
    served.client.execute("blockdev-add", merged(node, case.node))?;
    served.export("n");
    served.io(case.io);
    Ok(served.end())
}

fn agree(ours: &Result<u64, String>, theirs: &Result<u64, String>) -> bool {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => ours.abs_diff(*theirs) <= TOLERANCE,
        (ours, theirs) => ours == theirs,
    }
}

const PROGRAMS: &[&str] = &["qemu-storage-daemon", "qemu-img", "qemu-io"];

/// Plays something on both daemons and fails if they disagree.
fn compare(name: &str, play: impl Fn(&Path) -> Result<u64, String>) -> Option<String> {
    let (ours, theirs) = (play(binary()), play(Path::new("qemu-storage-daemon")));
    (!agree(&ours, &theirs)).then(|| format!("{name}: ours {ours:?}, qemu-storage-daemon {theirs:?}"))
}

#[test]
fn every_combination_of_options_leaves_files_as_large_as_qemus() {
    if !have(PROGRAMS, "every_combination_of_options_leaves_files_as_large_as_qemus") {
        return;
    }
    let differ: Vec<String> = CASES
        .iter()
        .filter_map(|case| {
            let name = format!("{:?} {{{}}} over {{{}}}: {:?}", case.image, case.node, case.file, case.io);
            compare(&name, |program| play(program, case))
        })
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

// Nodes that stand on others by name inherit nothing.
#[test]
fn nodes_by_reference_take_discards_only_if_they_were_asked_to() {
    if !have(PROGRAMS, "nodes_by_reference_take_discards_only_if_they_were_asked_to") {
        return;
    }
    let unmap = r#""discard":"unmap""#;
    let mut differ = Vec::new();
    for file in ["", unmap] {
        for filter in ["", unmap] {
            for top in ["", unmap] {
                let name = format!("throttle {{{top}}} over qcow2 {{{filter}}} over file {{{file}}}");
                differ.extend(compare(&name, |program| {
                    let mut served = Served::start(program, QCOW2);
                    let options = json!({"driver": "file", "node-name": "f", "filename": served.file()});
                    served.client.done("blockdev-add", merged(options, file));
                    let options = json!({"driver": "qcow2", "node-name": "q", "file": "f"});
                    served.client.done("blockdev-add", merged(options, filter));
                    served.client.done("object-add", json!({"qom-type": "throttle-group", "id": "g"}));
                    let options =
                        json!({"driver": "throttle", "throttle-group": "g", "node-name": "n", "file": "q"});
                    served.client.done("blockdev-add", merged(options, top));
                    served.export("n");
                    served.io(&["discard 0 4M", "write -z -u 4M 4M", "flush"]);
                    Ok(served.end())
                }));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_reopened_node_takes_discards_as_it_was_asked_last() {
    if !have(PROGRAMS, "a_reopened_node_takes_discards_as_it_was_asked_last") {
        return;
    }
    let mut differ = Vec::new();
    for (before, after) in [("ignore", "unmap"), ("unmap", "ignore")] {
        for node in ["raw", "qcow2", "file"] {
            differ.extend(compare(&format!("{node}: {before}, then {after}"), |program| {
                let format = if node == "qcow2" { QCOW2 } else { RAW };
                let mut served = Served::start(program, format);
                let file = json!({"driver": "file", "filename": served.file()});
                let options = |discard| match node {
                    "file" => merged(file.clone(), &format!(r#""node-name":"n","discard":"{discard}""#)),
                    _ => json!({"driver": node, "node-name": "n", "file": file, "discard": discard}),
                };
                served.client.done("blockdev-add", options(before));
                served.client.done("blockdev-reopen", json!({"options": [options(after)]}));
                served.export("n");
                served.io(&["discard 0 4M", "write -z -u 4M 4M", "flush"]);
                Ok(served.end())
            }));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_deleted_snapshot_gives_its_space_back_unless_asked_otherwise() {
    if !have(PROGRAMS, "a_deleted_snapshot_gives_its_space_back_unless_asked_otherwise") {
        return;
    }
    let mut differ = Vec::new();
    for node in ["", r#""pass-discard-snapshot":true"#, r#""pass-discard-snapshot":false"#] {
        differ.extend(compare(&format!("{{{node}}}"), |program| {
            let mut served = Served::start(program, QCOW2);
            let file = json!({"driver": "file", "filename": served.file()});
            let options = json!({"driver": "qcow2", "node-name": "n", "file": file});
            served.client.done("blockdev-add", merged(options, node));
            served.client.done("blockdev-snapshot-internal-sync", json!({"device": "n", "name": "s"}));
            served.export("n");
            served.io(&["write -P 6 0 8M", "flush"]);
            served.client.done("blockdev-snapshot-delete-internal-sync", json!({"device": "n", "name": "s"}));
            Ok(served.end())
        }));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

// An L1 table of a MiB moves when the image grows.
#[test]
fn a_table_that_moved_gives_its_space_back_only_if_asked() {
    if !have(PROGRAMS, "a_table_that_moved_gives_its_space_back_only_if_asked") {
        return;
    }
    let mut differ = Vec::new();
    for node in ["", r#""pass-discard-other":true"#, r#""pass-discard-other":false"#] {
        differ.extend(compare(&format!("{{{node}}}"), |program| {
            let mut served = Served::start(program, RAW);
            let path = served.file();
            run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", &path, "256G"]);
            let options =
                json!({"driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": path}});
            served.client.done("blockdev-add", merged(options, node));
            served.client.done("block_resize", json!({"node-name": "n", "size": 257_u64 << 30}));
            Ok(served.end())
        }));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

// A target that was full: where source is zeroes, nothing is left of it.
#[test]
fn a_mirror_gives_back_what_source_does_not_have() {
    if !have(PROGRAMS, "a_mirror_gives_back_what_source_does_not_have") {
        return;
    }
    let mut differ = Vec::new();
    for (format, discard) in [("qcow2", "unmap"), ("qcow2", "ignore"), ("raw", "unmap"), ("raw", "ignore")] {
        differ.extend(compare(&format!("{format} {discard}"), |program| {
            let mut served = Served::start(program, &[format]);
            let file = json!({"driver": "file", "filename": served.file()});
            let options = json!({"driver": format, "node-name": "n", "file": file, "discard": discard});
            served.client.done("blockdev-add", options);
            let zeroes = json!({"driver": "null-co", "node-name": "z", "size": 8 << 20, "read-zeroes": true});
            served.client.done("blockdev-add", zeroes);
            served.client.done(
                "blockdev-mirror",
                json!({"job-id": "j", "device": "z", "target": "n", "sync": "full"}),
            );
            served.client.event("BLOCK_JOB_READY");
            served.client.done("job-complete", json!({"id": "j"}));
            served.client.event("BLOCK_JOB_COMPLETED");
            Ok(served.end())
        }));
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Every user that writes to a file node which waits for its first writer.
#[test]
fn a_file_that_waits_for_a_writer_is_opened_for_any() {
    if !have(&["qemu-img", "qemu-io"], "a_file_that_waits_for_a_writer_is_opened_for_any") {
        return;
    }
    for user in ["backup", "mirror", "transaction", "export", "resize", "commit", "active commit"] {
        let mut served = Served::start(binary(), RAW);
        let file =
            json!({"driver": "file", "node-name": "f", "filename": served.file(), "auto-read-only": true});
        served.client.done("blockdev-add", file);
        let source = json!({"driver": "null-co", "node-name": "s", "size": 8 << 20, "read-zeroes": true});
        served.client.done("blockdev-add", source);
        let copy = json!({"job-id": "j", "device": "s", "target": "f", "sync": "full"});
        let client = &mut served.client;
        match user {
            "export" => {
                served.export("f");
                served.io(&["write -P 0 0 8M", "flush"]);
            }
            "resize" => {
                client.done("block_resize", json!({"node-name": "f", "size": 4 << 20}));
            }
            "commit" | "active commit" => commit_into_file(&mut served, user == "active commit"),
            "mirror" => {
                client.done("blockdev-mirror", copy);
                client.event("BLOCK_JOB_READY");
                client.done("job-complete", json!({"id": "j"}));
            }
            "transaction" => {
                let actions = json!([{"type": "blockdev-backup", "data": copy}]);
                client.done("transaction", json!({"actions": actions}));
            }
            _ => {
                client.done("blockdev-backup", copy);
            }
        }
        if !["export", "resize"].contains(&user) {
            let completed = served.client.event("BLOCK_JOB_COMPLETED");
            assert_eq!(completed.get("error"), None, "{user}: {completed}");
        }
        let path = served.file();
        let _folder_outlives_the_daemon = &served.folder;
        served.client.done("quit", json!({}));
        assert!(served.daemon.wait().success());
        let bytes = std::fs::read(path).expect("the file is there");
        let expected_len = if user == "resize" { 4 << 20 } else { 8 << 20 };
        assert_eq!(bytes.len(), expected_len, "{user}");
        if user != "resize" {
            assert!(bytes[..1 << 20].iter().all(|byte| *byte == 0), "{user}: nothing was written");
        }
    }
}

/// `f <- overlay`, or `f <- overlay <- top`, whose first layers go down into f.
fn commit_into_file(served: &mut Served, active: bool) {
    let folder = served.folder.path().to_owned();
    let mut below = "f".to_owned();
    for name in ["overlay", "top"] {
        let path = folder.join(name).display().to_string();
        run("qemu-img", &["create", "-q", "-f", "qcow2", &path, "8M"]);
        if name == "overlay" {
            run("qemu-io", &["-f", "qcow2", "-c", "write -P 0 0 8M", &path]);
        }
        let file = json!({"driver": "file", "filename": path});
        let options = json!({"driver": "qcow2", "node-name": name, "file": file, "backing": below});
        served.client.done("blockdev-add", options);
        below = name.to_owned();
        if active {
            break;
        }
    }
    let mut arguments = json!({"job-id": "j", "device": below, "base-node": "f"});
    if !active {
        arguments = merged(arguments, r#""top-node":"overlay""#);
    }
    served.client.done("block-commit", arguments);
    if active {
        served.client.event("BLOCK_JOB_READY");
        served.client.done("job-complete", json!({"id": "j"}));
    }
}
