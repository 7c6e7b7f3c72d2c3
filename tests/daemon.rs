//! The daemon as a process: early clients, clients one after another and at once, and how it ends.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
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
        let socket = |id: &str| format!("socket,id={id},path={},server=on,wait=off", self.path(id).display());
        let pid = self.path("pid");
        let pid = pid.to_str().expect("a plain path");
        let (a, b) = (socket("a"), socket("b"));
        let chardevs = ["--chardev", &a, "--chardev", &b, "--monitor", "chardev=a", "--monitor", "chardev=b"];
        Daemon::start_with(&[&chardevs[..], &["--pidfile", pid]].concat())
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

// A client that connects in the very first moment must be greeted and lose no byte.
#[test]
fn a_client_of_the_first_moment_is_served() {
    for _ in 0..20 {
        let place = Place::new();
        let daemon = place.start();
        let mut client = Client::connect(&place.path("a"));
        assert!(speaks(&mut client));
        client.done("quit", json!({}));
        assert!(daemon.wait().success());
        place.assert_tidied_up();
    }
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
fn wrong_usage_and_wrong_nodes_are_told_apart() {
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
