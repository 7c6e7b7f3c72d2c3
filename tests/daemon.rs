//! The daemon as a process: early clients, clients one after another and at once, and how it ends.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::json;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use support::daemon::{Client, Daemon};

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

    /// A daemon that listens at `a` and `b` and has its process id in `pid`.
    fn start(&self) -> Daemon {
        self.start_and(&[])
    }

    /// The same with more to do after the sockets are there.
    fn start_and(&self, more: &[&str]) -> Daemon {
        let socket = |id: &str| format!("socket,id={id},path={},server=on,wait=off", self.path(id).display());
        let pid = self.path("pid");
        let pid = pid.to_str().expect("a plain path");
        let (a, b) = (socket("a"), socket("b"));
        let chardevs = ["--chardev", &a, "--chardev", &b, "--monitor", "chardev=a", "--monitor", "chardev=b"];
        Daemon::start_with(&[&chardevs[..], more, &["--pidfile", pid]].concat())
    }

    #[track_caller]
    fn assert_tidied_up(&self) {
        for name in ["a", "b", "pid"] {
            assert!(!self.path(name).exists(), "{name} was left behind");
        }
    }
}

fn speaks(client: &mut Client) -> bool {
    client.done("query-version", json!({}))["qemu"]["major"] == 10
}

// The real daemon loses greetings and bytes of clients that come while it starts. All of these try to connect from
// before there is a socket, and say everything at once, before they have received a word.
#[test]
fn a_thousand_clients_of_the_first_moments_lose_no_byte() {
    const STARTS: usize = 250;
    const CLIENTS: usize = 4;
    // The start takes longer than a client's first words.
    let nodes: Vec<String> = (0..100).map(|n| format!("driver=null-co,node-name=n{n}")).collect();
    let more: Vec<&str> = nodes.iter().flat_map(|node| ["--blockdev", node]).collect();
    let (mut early, mut start) = (0, 0);
    // On a busy machine fewer of them are early, and it takes more starts.
    while start < STARTS || early <= STARTS / 2 && start < 4 * STARTS {
        let place = Place::new();
        let daemon = std::thread::scope(|scope| {
            let clients = [0, 1, 2, 3].map(|number| {
                let place = &place;
                scope.spawn(move || {
                    let number = start * CLIENTS + number;
                    let mut stream =
                        connect_at_once(&place.path(if number.is_multiple_of(2) { "a" } else { "b" }));
                    // It serves nobody before this file is there.
                    let is_early = !place.path("pid").exists();
                    assert_served(&mut stream, number);
                    is_early
                })
            });
            let daemon = place.start_and(&more);
            let came = clients.map(|client| client.join().expect("a client is served"));
            early += came.into_iter().filter(|is_early| *is_early).count();
            daemon
        });
        Client::connect(&place.path("a")).done("quit", json!({}));
        assert!(daemon.wait().success());
        place.assert_tidied_up();
        start += 1;
    }
    assert!(
        early > STARTS / 2,
        "only {early} of {} clients came before the daemon was ready",
        start * CLIENTS
    );
}

// One after the other, each in the moment in which the one before it has gone.
#[test]
fn a_thousand_hasty_clients_lose_no_byte() {
    let place = Place::new();
    let daemon = place.start();
    for number in 0..1000 {
        assert_served(&mut connect_at_once(&place.path("a")), number);
    }
    Client::connect(&place.path("a")).done("quit", json!({}));
    assert!(daemon.wait().success());
}

/// Tries until somebody listens.
fn connect_at_once(path: &Path) -> UnixStream {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(e) => assert!(Instant::now() < deadline, "nobody listens at {}: {e}", path.display()),
        }
        std::thread::yield_now();
    }
}

/// Sends before it reads: it must be greeted, and each word be answered.
#[track_caller]
fn assert_served(stream: &mut UnixStream, number: usize) {
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let words = format!(
        r#"{{"execute":"qmp_capabilities","id":{number}}}{{"execute":"query-version","id":"{number}"}}"#
    );
    stream.write_all(words.as_bytes()).expect("the kernel takes it");
    stream.shutdown(Shutdown::Write).expect("connected");
    let mut received = String::new();
    stream.read_to_string(&mut received).expect("the daemon answers, and ends what we have ended");
    let lines: Vec<&str> = received.lines().collect();
    assert_eq!(lines.len(), 3, "client {number} received {received:?}");
    assert!(lines[0].starts_with(r#"{"QMP""#), "client {number} was not greeted: {received:?}");
    assert!(lines[1].ends_with(&format!(r#""id": {number}}}"#)), "client {number} received {received:?}");
    assert!(lines[2].ends_with(&format!(r#""id": "{number}"}}"#)), "client {number} received {received:?}");
}

#[test]
fn it_goes_to_the_background_once_it_serves() {
    let place = Place::new();
    let pid = place.path("pid");
    let chardev = format!("socket,id=a,path={},server=on,wait=off", place.path("a").display());
    let pid_argument = pid.to_str().expect("a plain path");
    let arguments = ["--daemonize", "--chardev", &chardev, "--monitor", "a", "--pidfile", pid_argument];
    let foreground = Daemon::start_with(&arguments);
    let id = foreground.id().to_string();
    assert!(foreground.wait().success());
    // Everything is there when the one in the foreground has gone; nothing is waited for.
    let background = std::fs::read_to_string(&pid).expect("the pidfile is there");
    assert_ne!(background.trim(), id);
    let stream = UnixStream::connect(place.path("a")).expect("it listens");
    drop(stream);
    // A second one finds the pidfile locked, and says so to its caller.
    let second = ["--daemonize", "--pidfile", pid_argument];
    assert_eq!(Daemon::start_with(&second).wait().code(), Some(1));
    let mut client = Client::connect(&place.path("a"));
    client.done("quit", json!({}));
    assert!(client.reads_end());
    assert_eq!(Daemon::start_with(&["--daemonize", "--blockdev", "driver=none"]).wait().code(), Some(1));
}

#[test]
fn options_are_acted_on_in_their_order() {
    let place = Place::new();
    std::fs::write(place.path("raw"), [7; 4096]).expect("room");
    let server = format!("addr.type=unix,addr.path={}", place.path("nbd").display());
    let node = format!("driver=file,node-name=f,filename={}", place.path("raw").display());
    let (server, node) = (["--nbd-server", &server], ["--blockdev", &node]);
    let export = ["--export", "nbd,id=e,node-name=f"];
    let chardev = format!("socket,id=a,path={},server=on,wait=off", place.path("a").display());
    let monitor = ["--chardev", &chardev, "--monitor", "a"];
    let daemon = Daemon::start_with(&[&server[..], &node, &export, &monitor].concat());
    let mut client = Client::connect(&place.path("a"));
    let expected = json!([{"node-name": "f", "shutting-down": false, "type": "nbd", "id": "e"}]);
    assert_eq!(client.done("query-block-exports", json!({})), expected);
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
    // An export before its server, and before its node.
    assert_eq!(Daemon::start_with(&[&node[..], &export, &server].concat()).wait().code(), Some(1));
    assert_eq!(Daemon::start_with(&[&server[..], &export, &node].concat()).wait().code(), Some(1));
}

#[test]
fn a_confined_daemon_opens_nothing_outside() {
    let place = Place::new();
    std::fs::create_dir(place.path("in")).expect("a fresh folder");
    for name in ["in/raw", "out"] {
        std::fs::write(place.path(name), [7; 4096]).expect("room");
    }
    std::os::unix::fs::symlink(place.path("out"), place.path("in/link")).expect("a fresh name");
    let inside = place.path("in");
    let chardev = format!("socket,id=a,path={},server=on,wait=off", place.path("a").display());
    let folder = inside.to_str().expect("a plain path");
    let daemon = Daemon::start_with(&["--confine", folder, "--chardev", &chardev, "--monitor", "a"]);
    let mut client = Client::connect(&place.path("a"));
    let mut add = |name: &str| {
        let filename = place.path(name).display().to_string();
        let options = json!({"driver": "file", "node-name": "f", "filename": filename});
        let added = client.execute("blockdev-add", options);
        if added.is_ok() {
            client.done("blockdev-del", json!({"node-name": "f"}));
        }
        added.map(|_| ()).map_err(|text| text.rsplit(": ").next().expect("a reason").to_owned())
    };
    assert_eq!(add("in/raw"), Ok(()));
    for outside in ["out", "in/link", "in/../out"] {
        assert_eq!(add(outside), Err("Permission denied".to_owned()), "{outside}");
    }
    for (name, allowed) in [("in/nbd", true), ("nbd", false)] {
        let address = json!({"type": "unix", "data": {"path": place.path(name)}});
        let started = client.execute("nbd-server-start", json!({"addr": address}));
        assert_eq!(started.is_ok(), allowed, "{name}: {started:?}");
        if allowed {
            client.done("nbd-server-stop", json!({}));
        }
    }
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn clients_come_one_after_another_and_at_once() {
    let place = Place::new();
    let daemon = place.start();
    let mut other = Client::connect(&place.path("b"));
    for _ in 0..5 {
        let mut client = Client::connect(&place.path("a"));
        assert!(speaks(&mut client));
        assert!(speaks(&mut other));
    }
    let mut last = Client::connect(&place.path("a"));
    last.done("quit", json!({}));
    assert!(last.reads_end());
    assert!(other.reads_end());
    assert!(daemon.wait().success());
    place.assert_tidied_up();
}

#[test]
fn a_signal_ends_it_as_quit_does() {
    for signal in ["-TERM", "-INT"] {
        let place = Place::new();
        let daemon = place.start();
        let mut client = Client::connect(&place.path("a"));
        assert!(speaks(&mut client));
        let pid =
            std::fs::read_to_string(place.path("pid")).expect("the pidfile is there before the greeting");
        assert_eq!(pid.trim(), daemon.id().to_string());
        let sent = Command::new("kill").args([signal, pid.trim()]).status().expect("kill runs");
        assert!(sent.success());
        assert!(client.reads_end());
        assert!(daemon.wait().success());
        place.assert_tidied_up();
    }
}

#[test]
fn a_killed_daemon_does_not_stand_in_the_way_of_the_next() {
    let place = Place::new();
    let daemon = place.start();
    assert!(speaks(&mut Client::connect(&place.path("a"))));
    daemon.kill();
    assert!(place.path("a").exists(), "nobody could tidy up");
    let next = place.start();
    // The kernel refuses connections to the abandoned socket until the next daemon has replaced it.
    assert!(speaks(&mut Client::connect(&place.path("a"))));
    // A second one must not take the socket of the first.
    assert_eq!(place.start().wait().code(), Some(1));
    assert!(speaks(&mut Client::connect(&place.path("b"))));
    drop(next);
}

#[test]
fn wrong_usage_and_wrong_nodes_are_distinguished() {
    let ends_with = |arguments: &[&str]| Daemon::start_with(arguments).wait().code();
    assert_eq!(ends_with(&["--no-such-option"]), Some(1));
    assert_eq!(ends_with(&["--monitor", "chardev=none"]), Some(1));
    assert_eq!(ends_with(&["--blockdev", "driver=file,node-name=f,filename=/no/such/file"]), Some(1));
    assert_eq!(ends_with(&["--blockdev", "{'driver':'file',"]), Some(1));
    let inside = Path::new("/no/such/folder/socket").display().to_string();
    assert_eq!(
        ends_with(&["--chardev", &format!("socket,id=m,path={inside}"), "--monitor", "chardev=m"]),
        Some(1)
    );
}
