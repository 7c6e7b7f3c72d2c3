//! `--confine` under attack: no name, link, header, race or mount leads the daemon out of its folder.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use support::daemon::{Client, Daemon, binary};
use support::tools::{have, output, run, skip};

/// `in/a.raw` and `in/sub/a.raw` inside, `out/a.raw` outside, and links that lead out.
struct World(tempfile::TempDir);

impl World {
    fn new() -> World {
        let world = World(tempfile::tempdir().expect("a scratch folder"));
        for folder in ["in/sub", "out"] {
            fs::create_dir_all(world.path(folder)).expect("a fresh folder");
        }
        for (name, byte) in [("in/a.raw", 1), ("in/sub/a.raw", 2), ("out/a.raw", 3)] {
            fs::write(world.path(name), vec![byte; 64 << 10]).expect("room");
        }
        for (target, link) in [("../out", "in/relative"), ("/proc/self/root", "in/magic")] {
            symlink(target, world.path(link)).expect("a fresh name");
        }
        symlink(world.path("out"), world.path("in/absolute")).expect("a fresh name");
        symlink(world.path("out/a.raw"), world.path("in/link.raw")).expect("a fresh name");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().canonicalize().expect("the folder is there").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A daemon confined to `in`; its monitor is the operator's, outside.
    fn daemon(&self) -> (Daemon, Client) {
        let chardev = format!("socket,id=q,path={},server=on,wait=off", self.text("q"));
        let daemon =
            Daemon::start_with(&["--confine", &self.text("in"), "--chardev", &chardev, "--monitor", "q"]);
        (daemon, Client::connect(&self.path("q")))
    }

    /// Whether outside everything is as it was.
    #[track_caller]
    fn assert_nothing_outside(&self, what: &str) {
        let names: Vec<_> = fs::read_dir(self.path("out")).expect("it is there").collect();
        assert_eq!(names.len(), 1, "{what}: {names:?}");
        assert_eq!(fs::read(self.path("out/a.raw")).expect("it is there"), vec![3; 64 << 10], "{what}");
    }
}

/// Names of `name` in the folder outside, as many ways as there are; `foreign` is a process that sees it in `in`.
fn ways_out(world: &World, name: &str, foreign: Option<u32>) -> Vec<String> {
    let (inside, outside) = (world.text("in"), world.text("out"));
    let mut ways = vec![
        format!("{outside}/{name}"),
        format!("{inside}/../out/{name}"),
        format!("{inside}/sub/../../out/{name}"),
        format!("{inside}/relative/{name}"),
        format!("{inside}/absolute/{name}"),
        format!("{inside}/relative/../out/{name}"),
        format!("{inside}/magic{outside}/{name}"),
        format!("/proc/self/root{outside}/{name}"),
        format!("/proc/thread-self/root{outside}/{name}"),
        format!("/proc/{}/root{outside}/{name}", std::process::id()),
        format!("/proc/{}/cwd/../../../../../../../../..{outside}/{name}", std::process::id()),
    ];
    ways.extend(foreign.map(|id| format!("/proc/{id}/root{inside}/{name}")));
    ways
}

fn file(filename: &str) -> Value {
    json!({"driver": "file", "filename": filename})
}

/// Tries everything that opens, makes or listens, by every name that leads out.
fn assert_held(world: &World, client: &mut Client, foreign: Option<u32>) {
    let mut ways = ways_out(world, "a.raw", foreign);
    ways.push(world.text("in/link.raw"));
    for way in &ways {
        let added =
            client.execute("blockdev-add", json!({"driver": "raw", "node-name": "x", "file": file(way)}));
        assert!(added.is_err(), "opened {way}");
        let header = world.text("in/h.qcow2");
        run("qemu-img", &["create", "-q", "-u", "-f", "qcow2", "-b", way, "-F", "raw", &header, "64k"]);
        let over = json!({"driver": "qcow2", "node-name": "h", "read-only": true, "file": file(&header)});
        assert!(client.execute("blockdev-add", over).is_err(), "opened {way} by a header");
    }
    run("qemu-img", &["create", "-q", "-f", "qcow2", &world.text("in/o.qcow2"), "64k"]);
    let overlay = json!({"driver": "qcow2", "node-name": "o", "file": file(&world.text("in/o.qcow2"))});
    client.done("blockdev-add", overlay);
    for way in ways_out(world, "new", foreign) {
        let snapshot = json!({"node-name": "o", "snapshot-file": way, "snapshot-node-name": "s"});
        assert!(client.execute("blockdev-snapshot-sync", snapshot).is_err(), "made {way}");
        let address = json!({"type": "unix", "data": {"path": way}});
        assert!(client.execute("nbd-server-start", json!({"addr": address})).is_err(), "listens at {way}");
    }
    client.done("blockdev-del", json!({"node-name": "o"}));
    world.assert_nothing_outside("by name");
}

#[test]
fn no_name_leads_out() {
    if !have(&["qemu-img"], "no_name_leads_out") {
        return;
    }
    let world = World::new();
    let (daemon, mut client) = world.daemon();
    assert_held(&world, &mut client, None);
    // A data file outside, which its image names in full.
    let (data, image) = (world.text("out/data"), world.text("in/d.qcow2"));
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", &format!("data_file={data}"), &image, "64k"]);
    let with_data = json!({"driver": "qcow2", "node-name": "d", "file": file(&image)});
    assert!(client.execute("blockdev-add", with_data).is_err(), "opened a data file");
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

/// A process in a mount namespace of its own, where `out` lies over `in`; it ends with this.
struct Foreign(Child);

impl Foreign {
    fn new(world: &World) -> Option<Foreign> {
        let script =
            format!("mount --bind '{}' '{}' && echo ready && exec cat", world.text("out"), world.text("in"));
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut foreign = Foreign(command.stderr(Stdio::null()).spawn().ok()?);
        let mut line = String::new();
        let stdout = foreign.0.stdout.take().expect("a pipe was asked for");
        let _end_of_file = BufReader::new(stdout).read_line(&mut line);
        (line == "ready\n").then_some(foreign)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _has_ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

// In the other namespace the name of the folder is that of the one outside, and /proc leads there.
#[test]
fn another_mount_namespace_leads_nowhere() {
    if !have(&["qemu-img", "unshare"], "another_mount_namespace_leads_nowhere") {
        return;
    }
    let world = World::new();
    let Some(foreign) = Foreign::new(&world) else {
        return skip("another_mount_namespace_leads_nowhere", "no mount namespace may be made here");
    };
    let id = foreign.0.id();
    let seen = fs::read(format!("/proc/{id}/root{}/a.raw", world.text("in"))).expect("we may look there");
    assert_eq!(seen[0], 3, "the set-up does not show the folder outside");
    let (daemon, mut client) = world.daemon();
    assert_held(&world, &mut client, Some(id));
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn what_lies_inside_works_by_its_ordinary_names() {
    let world = World::new();
    symlink("sub/../sub", world.path("in/again")).expect("a fresh name");
    symlink(world.path("in/sub"), world.path("in/full")).expect("a fresh name");
    symlink(world.path("in"), world.path("alias")).expect("a fresh name");
    let (daemon, mut client) = world.daemon();
    let names = [
        "in/a.raw",
        "in/sub/../a.raw",
        "in/again/a.raw",
        "in/full/a.raw",
        "in/full/../a.raw",
        "alias/sub/a.raw",
    ];
    for name in names.map(|name| world.text(name)) {
        client.done("blockdev-add", json!({"driver": "raw", "node-name": "x", "file": file(&name)}));
        client.done("blockdev-del", json!({"node-name": "x"}));
    }
    for name in ["in/s", "in/sub/s", "in/again/s", "in/full/s"].map(|name| world.path(name)) {
        let address = json!({"type": "unix", "data": {"path": name}});
        client.done("nbd-server-start", json!({"addr": address}));
        assert!(name.exists(), "{}", name.display());
        client.done("nbd-server-stop", json!({}));
        assert!(!name.exists(), "{} was left behind", name.display());
    }
    // Made, taken over by the driver, and grown by a guest: all behind the descriptor.
    client.done(
        "blockdev-add",
        json!({"driver": "raw", "node-name": "o", "file": file(&world.text("in/a.raw"))}),
    );
    let snapshot = json!({"node-name": "o", "snapshot-file": world.text("in/full/new.qcow2"),
                          "snapshot-node-name": "s"});
    client.done("blockdev-snapshot-sync", snapshot);
    assert!(world.path("in/sub/new.qcow2").exists());
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn the_command_lines_own_files_do_not_leave_by_a_link() {
    let world = World::new();
    let inside = world.text("in");
    let socket = |name: &str| format!("socket,id=q,path={},server=on,wait=off", world.text(name));
    for name in ["in/relative/s", "in/absolute/s", "in/../in/relative/s"] {
        for options in [["--chardev", &socket(name)], ["--pidfile", &world.text(name)]] {
            // A daemon that starts all the same must end, too.
            let daemon = binary().to_str().expect("a plain path");
            let said = output("timeout", &[&["20", daemon, "--confine", &inside], &options[..]].concat());
            let said = String::from_utf8_lossy(&said.stderr);
            assert!(said.contains("Permission denied"), "{options:?}: {said}");
            world.assert_nothing_outside(&format!("{options:?}"));
        }
    }
    // Inside both are made, and gone with the daemon.
    let (chardev, pid) = (socket("in/sub/q"), world.text("in/sub/pid"));
    let daemon = Daemon::start_with(&[
        "--confine",
        &inside,
        "--pidfile",
        &pid,
        "--chardev",
        &chardev,
        "--monitor",
        "q",
    ]);
    let mut client = Client::connect(&world.path("in/sub/q"));
    client.done("query-version", json!({}));
    assert_eq!(fs::read_to_string(&pid).expect("a pidfile"), format!("{}\n", daemon.id()));
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
    for name in ["in/sub/q", "in/sub/pid"] {
        assert!(!world.path(name).exists(), "{name} was left behind");
    }
}

struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

// The folder is exchanged for a link that leads out, between any two steps of an opening, a making or a binding.
#[test]
fn a_race_for_the_folder_is_never_won() {
    let world = World::new();
    let (daemon, mut client) = world.daemon();
    let over = AtomicBool::new(false);
    let (sub, link, aside) = (world.path("in/sub"), world.path("in/relative"), world.path("in/aside"));
    let (mut started, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut one, mut other) = (&link, &aside);
            while !over.load(Ordering::Relaxed) {
                fs::rename(&sub, other).and_then(|()| fs::rename(one, &sub)).expect("names of our own");
                (one, other) = (other, one);
            }
        });
        // However this ends, so does the other.
        let _end = AtEnd(&over);
        for round in 0..1500 {
            let address = json!({"type": "unix", "data": {"path": world.path("in/sub/s")}});
            match client.execute("nbd-server-start", json!({"addr": address})) {
                Ok(_) => {
                    client.done("nbd-server-stop", json!({}));
                    started += 1;
                }
                Err(_) => refused += 1,
            }
            let options = json!({"driver": "raw", "node-name": "x", "read-only": true,
                                 "file": file(&world.text("in/sub/a.raw"))});
            if client.execute("blockdev-add", options).is_ok() {
                client.done("blockdev-del", json!({"node-name": "x"}));
            }
            if round > 200 && started > 50 && refused > 50 {
                break;
            }
        }
    });
    assert!(started > 0 && refused > 0, "no race: {started} started, {refused} refused");
    world.assert_nothing_outside("by a race");
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

/// Runs a program in a system whose call number 437, openat2, is unknown.
const WITHOUT_OPENAT2: &str = r#"
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
code = b''.join(struct.pack('HBBI', *i) for i in [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (6, 0, 0, 0x50000 | 38), (6, 0, 0, 0x7fff0000)])
held = ctypes.create_string_buffer(code)
class Filter(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('code', ctypes.c_void_p)]
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(Filter(4, ctypes.addressof(held)))): sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn an_old_kernel_is_refused_at_the_start() {
    if !have(&["python3"], "an_old_kernel_is_refused_at_the_start") {
        return;
    }
    let world = World::new();
    let daemon = binary().to_str().expect("a plain path");
    let said = output("python3", &["-c", WITHOUT_OPENAT2, daemon, "--confine", &world.text("in")]);
    if said.status.code() == Some(77) {
        return skip("an_old_kernel_is_refused_at_the_start", "no call can be filtered here");
    }
    let text = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(1), "{text}");
    assert!(text.contains("the kernel lacks openat2"), "{text}");
}
