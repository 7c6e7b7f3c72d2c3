//! A daemon and its greedy clients: whatever they ask for, it holds little at a time and goes on. A short attack of every
//! kind, and every finding of longer ones that was kept in `tests/hostile`.

#[allow(dead_code, reason = "each test uses its part of it")]
mod support;

use serde_json::json;
use sim::attack::campaign::{Attack, News, kept};
use sim::attack::finding::{ABORT, Finding};
use sim::attack::{KINDS, Kind};
use sim::live::target::{self, Target};
use sim::subject::subject;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use support::daemon::{Client, Daemon, binary, command};

const MIB: usize = 1 << 20;

/// How much the process has held at most, in MiB.
fn peak_mib(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux reports the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB") >> 10
}

/// A daemon that a greedy client may visit at `greedy`, and a client that is not.
fn start(folder: &Path) -> (Daemon, Client) {
    let socket =
        |name: &str| format!("socket,id={name},path={},server=on,wait=off", folder.join(name).display());
    let (sane, greedy) = (socket("sane"), socket("greedy"));
    let daemon = Daemon::start_with(&[
        "--chardev",
        &sane,
        "--monitor",
        "sane",
        "--chardev",
        &greedy,
        "--monitor",
        "greedy",
    ]);
    let client = Client::connect(&folder.join("sane"));
    (daemon, client)
}

fn end(daemon: Daemon, mut client: Client, mib_max: usize) {
    let peak = peak_mib(&daemon);
    println!("the peak is {peak} MiB");
    assert!(peak < mib_max, "the daemon has held {peak} MiB");
    client.done("quit", json!({}));
    assert!(daemon.wait().success());
}

#[test]
fn endless_messages_are_cut_off() {
    // (a start, what goes on for ever, how often)
    // Strings longer than what may be held; tokens far beyond their number in one message.
    let endless: [(&str, String, usize); 5] = [
        ("\"", "x".repeat(MIB), 64),
        ("{\"execute\":\"", "x".repeat(MIB), 64),
        ("[", "1,".repeat(MIB / 2), 1),
        ("[", "{\"a\":[".repeat(MIB / 6), 1),
        ("{", "\"a\":\"bcdefghijklmnop\",".repeat(MIB / 22), 4),
    ];
    for (start_of_message, piece, times) in endless {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (daemon, client) = start(folder.path());
        let mut greedy = UnixStream::connect(folder.path().join("greedy")).expect("it listens");
        greedy.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let mut reader = BufReader::new(greedy.try_clone().expect("a second handle"));
        // What is answered meanwhile has to be taken, or the daemon waits for us, rightly.
        let listener = std::thread::spawn(move || {
            let mut errors = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("it answers");
                errors += usize::from(line.contains("\"error\""));
                assert!(line.starts_with('{'), "not a message: {line:?}");
                if line.contains("\"the end\"") {
                    return errors;
                }
            }
        });
        greedy.write_all(start_of_message.as_bytes()).expect("it listens");
        (0..times).for_each(|_| greedy.write_all(piece.as_bytes()).expect("it listens"));
        // Whatever is left open: a stray byte ends it, outside of a string and inside.
        greedy.write_all(b"\n@\n\"\n{'execute':'qmp_capabilities','id':'the end'}").expect("it listens");
        assert!(listener.join().expect("it listened to the end") > 0);
        end(daemon, client, 50);
    }
}

#[test]
fn a_client_that_asks_for_everything_at_once_gets_it_piece_by_piece() {
    const REQUESTS: u32 = 40;
    const LEN: u32 = 32 << 20;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let (daemon, mut client) = start(folder.path());
    let node = json!({"driver": "null-co", "node-name": "n", "size": 1 << 30, "read-zeroes": true});
    client.done("blockdev-add", node);
    let path = folder.path().join("nbd");
    client.done("nbd-server-start", json!({"addr": {"type": "unix", "data": {"path": path}}}));
    client.done("block-export-add", json!({"type": "nbd", "id": "e", "node-name": "n"}));
    let mut stream = support::nbd::enter(&path, "n");
    for cookie in 0..u64::from(REQUESTS) {
        let header =
            [&[0x25, 0x60, 0x95, 0x13, 0, 0, 0, 0][..], &cookie.to_be_bytes(), &[0; 8], &LEN.to_be_bytes()];
        stream.write_all(&header.concat()).expect("it listens");
    }
    let mut data = vec![1; LEN as usize];
    for _ in 0..REQUESTS {
        let mut header = [0; 16];
        stream.read_exact(&mut header).expect("a reply");
        assert_eq!(header[..8], [0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], "a reply without an error");
        stream.read_exact(&mut data).expect("data");
        assert!(data.iter().all(|byte| *byte == 0));
    }
    drop(stream);
    end(daemon, client, 200);
}

/// An attack of so many rounds on a daemon.
fn attack_on(binary: PathBuf, rounds: u64) -> Attack {
    let target = Target { kind: target::Kind::Midstreamd, binary, on_disk: false, may_have: None };
    Attack { target, command: command(), seed: 1, rounds, time: None, budget: 128 << 20, kinds: Vec::new() }
}

#[test]
fn a_short_attack_of_every_kind_finds_nothing() {
    let attack = attack_on(binary().to_owned(), 2 * KINDS.len() as u64);
    let mut report = |news: News<'_>| {
        if let News::Found(finding) = news {
            println!("{}: {}: {}", finding.kind, finding.verdict, finding.detail);
        }
    };
    let attacked = attack.run(&AtomicBool::new(false), &mut report).expect("the daemon starts");
    assert!(attacked.findings.is_empty(), "see above");
    assert_eq!(attacked.missing(&KINDS), []);
    let daemons = || attacked.totals.iter().filter(|(_, totals)| totals.peak_bytes > 0);
    assert_eq!(daemons().count(), KINDS.len(), "what every process holds is counted");
    assert_eq!(daemons().filter(|(_, totals)| totals.answers > 0).count(), 7, "every daemon is watched");
}

#[test]
fn what_an_attack_found_once_is_found_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let attack = attack_on(binary().to_owned(), 1);
    for (name, finding) in kept(&folder).expect("every file is a finding") {
        let again = attack.replay(&finding, &subject()).expect("the daemon starts");
        assert_eq!(again.wrong, None, "{name}");
    }
}

// A daemon that does not end as it should, whatever it was sent.
#[test]
fn an_attack_finds_what_is_to_be_found() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let program = folder.path().join("midstreamd");
    // Only one that is asked to quit is waited for: nobody would end what a killed shell has started.
    let daemon = binary().display();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--confine*) {daemon} \"$@\"; exit 3;; *) exec {daemon} \"$@\";; esac\n"
    );
    std::fs::write(&program, script).expect("room");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let inputs = vec![b"{}".to_vec()];
    let harmless = Finding { kind: Kind::QmpBytes, verdict: String::new(), detail: String::new(), inputs };
    let found = attack_on(program, 1).replay(&harmless, &subject()).expect("the daemon starts");
    let (verdict, detail) = found.wrong.expect("status 3 is no sound end");
    assert_eq!((verdict.as_str(), &detail[..26]), (ABORT, "it ended with status 3; it"));
}
