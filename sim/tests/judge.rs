//! `midstream judge` as a process: how it ends, what it says of bad input, and that a long history costs it nothing.

use std::fmt::Write as _;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

const HEADER: &str = r#"{"midstream-history":1,"spec":"data-only","images":[{"file":"disk","format":"raw","size-bytes":4096}]}"#;
const ATTACHED: &str = r#"{"attached":{"guest":1,"node":"disk","writable":true}}"#;
const READ: &str = r#"{"read":{"request":1,"guest":1,"sector":0,"count":1}}"#;

fn start() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midstream"));
    command.args(["judge", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("our own program starts")
}

fn judge(text: &[u8]) -> (i32, String) {
    let mut child = start();
    // Who has seen enough reads no further.
    let _closed = child.stdin.take().expect("piped").write_all(text);
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let said = String::from_utf8([stdout, stderr].concat()).expect("text");
    (status.code().expect("it ends by itself"), said)
}

#[track_caller]
fn check(lines: &[&str], code: i32, said: &str) {
    let (found, text) = judge(lines.join("\n").as_bytes());
    assert!(found == code && text.contains(said), "ended with {found}: {text}");
}

#[test]
fn each_verdict_has_its_own_end() {
    let ended = |value: &str| format!(r#"{{"ended":{{"request":1,"values":[{value}]}}}}"#);
    check(&[HEADER, ATTACHED, READ, &ended("0")], 0, "PASS  4 lines, 1 checks, spec data-only");
    check(
        &[HEADER, ATTACHED, READ, &ended("7")],
        1,
        "FAIL  law `a read returns what was written`  at line 4\n",
    );
    check(
        &[HEADER, ATTACHED, READ, &ended("0"), READ, READ],
        2,
        "line 6, read.request: request 1 has no end yet",
    );
    check(&[HEADER, ATTACHED], 4, "VACUOUS  no law was checked");
    let missing = Command::new(env!("CARGO_BIN_EXE_midstream")).args(["judge", "/nowhere"]).output();
    assert_eq!(missing.expect("it ends").status.code(), Some(2));
}

#[test]
fn a_bad_header_is_reported_with_its_field_and_the_reason() {
    let header = |change: (&str, &str)| HEADER.replace(change.0, change.1);
    for (changed, said) in [
        (header((":1,", ":9,")), "line 1, midstream-history: version 9 is not known; this program reads 1"),
        (header(("raw", "vmdk")), "line 1, images[0].format: unknown variant `vmdk`"),
        (header(("4096", "-1")), "line 1, images[0].size-bytes: invalid value: integer `-1`, expected u64"),
        (header(("4096", "2000000000000000000")), "line 1, images[0].size-bytes: more than"),
        (
            header(("4096", r#"512,"own":[{"sector":0,"values":[1,2]}]"#)),
            "line 1, images[0].own[0]: past the end",
        ),
        (
            header(("4096", r#"512,"own":[{"sector":18446744073709551615,"values":[1]}]"#)),
            "images[0].own[0]: past the end",
        ),
        (
            header(("4096", r#"512,"backing":"base""#)),
            "line 1, images[0].backing: data-only knows of no chains",
        ),
        (header(("4096", r#"512,"cluster-bytes":0"#)), "line 1, images[0].cluster-bytes: not a power of two"),
        (header(("data-only", "everything")), "line 1, spec: unknown variant `everything`"),
        (String::new(), "line 1: there is no header"),
        ("[]".to_owned(), "line 1: not an object"),
    ] {
        check(&[&changed], 2, said);
    }
}

#[test]
fn a_bad_line_is_reported_with_its_number_its_field_and_the_reason() {
    for (line, said) in [
        ("{}", "line 3: the line says nothing"),
        (r#"{"end":{},"flush":{"request":1,"guest":1}}"#, "line 3: the line says more than one thing"),
        (r#"{"end":{}} {}"#, "line 3: trailing characters"),
        (r#"{"reed":{}}"#, "line 3, reed: unknown field `reed`"),
        (r#"{"end":{},"end":{}}"#, "line 3: duplicate field `end`"),
        (r#"{"read":{"request":1,"guest":1,"sector":0,"size":1}}"#, "read.size: unknown field `size`"),
        (r#"{"read":{"request":1,"guest":1,"sector":0}}"#, "line 3, read: missing field `count`"),
        (
            r#"{"read":{"request":1,"guest":1,"sector":"0","count":1}}"#,
            "line 3, read.sector: invalid type: string",
        ),
        (r#"{"read":{"request":1,"guest":2,"sector":0,"count":1}}"#, "read.guest: guest 2 is not attached"),
        (
            r#"{"read":{"request":1,"guest":1,"sector":0,"count":1000000000000000000}}"#,
            "read.count: more than",
        ),
        (
            r#"{"read":{"request":1,"guest":1,"sector":18446744073709551615,"count":1}}"#,
            "read.sector: no device",
        ),
        (
            r#"{"read":{"request":1,"guest":1,"sector":36028797018963968,"count":1}}"#,
            "read.sector: no device",
        ),
        (
            r#"{"read":{"request":1,"guest":1,"sector":1e400,"count":1}}"#,
            "line 3, read.sector: number out of range",
        ),
        (
            r#"{"write":{"request":1,"guest":1,"sector":0,"values":[[1,1000000000000000000]]}}"#,
            "write.values: more than",
        ),
        (
            r#"{"write":{"request":1,"guest":1,"sector":0,"values":["seven"]}}"#,
            "line 3, write.values[0]: invalid value",
        ),
        (r#"{"ended":{"request":5}}"#, "ended.request: request 5 never began, or has ended already"),
        (
            r#"{"reply":{"client":1,"text":"{}"}}"#,
            "line 3, reply.client: client 1 gets a reply and has no command",
        ),
        (r#"{"attached":{"guest":1,"node":"disk"}}"#, "line 3, attached.guest: guest 1 is there already"),
        (r#"{"attached":{"guest":2,"node":"disc"}}"#, "line 3, attached.node: no image is called `disc`"),
        (r#"{"detached":{"guest":2}}"#, "line 3, detached.guest: guest 2 is not there"),
        (r#"{"recovered":{"file":"disk","values":[]}}"#, "line 3, recovered: nothing has crashed"),
        (r#"{"closed":{"file":"disk","values":[],"chain":[]}}"#, "closed.chain: does not begin with"),
        (r#"{"crash":{"kind":"lightning"}}"#, "line 3, crash.kind: unknown variant `lightning`"),
        ("\u{0}", "line 3: not an object"),
    ] {
        check(&[HEADER, ATTACHED, line], 2, said);
    }
}

#[test]
fn what_does_not_fit_what_came_before_is_reported() {
    check(&[HEADER, ATTACHED, READ, r#"{"ended":{"request":1}}"#], 2, "line 4, ended.values: missing");
    check(
        &[HEADER, ATTACHED, READ, r#"{"ended":{"request":1,"values":[0,0]}}"#],
        2,
        "2 values for a read of 1",
    );
    check(&[HEADER, r#"{"end":{}}"#, ATTACHED], 2, "line 3: the run is over");
}

#[test]
fn deep_long_and_strange_lines_are_refused() {
    let deep = format!("{HEADER}\n{{\"sent\":{{\"client\":1,\"text\":{}", "[".repeat(1 << 20));
    assert_eq!(judge(deep.as_bytes()).0, 2);
    let (code, said) = judge(format!("{HEADER}\n{{\"note\":\"{}\"}}", "x".repeat(5 << 20)).as_bytes());
    assert!(code == 2 && said.contains("line 2: longer than 4194304 bytes"), "{said}");
    assert_eq!(judge(&[HEADER.as_bytes(), b"\n{\"note\":\"\xff\xfe\"}"].concat()).0, 2);
    // The specification with QMP reads texts of its own, however deep.
    let header = HEADER.replace("data-only", "qemu-10.0");
    for text in ["[".repeat(100_000), r#"{\"a\":"#.repeat(100_000), "nothing".to_owned()] {
        let line = format!(
            "{header}\n{{\"sent\":{{\"client\":1,\"text\":\"{text}\"}}}}\n{{\"event\":{{\"text\":\"{text}\"}}}}"
        );
        let (code, said) = judge(line.as_bytes());
        assert!([1, 4].contains(&code), "{code}: {said}");
    }
}

#[test]
fn too_much_at_once_is_inconclusive() {
    let mut text = format!("{HEADER}\n{ATTACHED}\n");
    for request in 0..5_000 {
        writeln!(text, r#"{{"flush":{{"request":{request},"guest":1}}}}"#).expect("a string takes all");
    }
    let (code, said) = judge(text.as_bytes());
    assert!(
        code == 4 && said.starts_with("INCONCLUSIVE  from line 4099 on: more than 4096"),
        "{code}: {said}"
    );
}

/// A history that is judged without an end: the memory that the judge has held at most by then, in MiB.
fn peak_mib(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux reports the peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of KiB") >> 10
}

#[test]
fn a_long_history_is_not_held() {
    const LINES: usize = 1_000_000;
    let mut child = start();
    let mut input = child.stdin.take().expect("piped");
    let mut text = format!("{HEADER}\n{ATTACHED}\n");
    for turn in 0..LINES / 4 {
        writeln!(
            text,
            r#"{{"write":{{"request":1,"guest":1,"sector":{},"values":[{turn}]}}}}
{{"ended":{{"request":1}}}}
{{"read":{{"request":1,"guest":1,"sector":{},"count":1}}}}
{{"ended":{{"request":1,"values":[{turn}]}}}}"#,
            turn % 8,
            turn % 8
        )
        .expect("a string takes all");
        if text.len() > 1 << 16 {
            input.write_all(text.as_bytes()).expect("it reads on");
            text.clear();
        }
    }
    input.write_all(text.as_bytes()).expect("it reads on");
    let peak = peak_mib(&child);
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.starts_with("PASS  1,000,002 lines, 250,000 checks"), "{said}");
    assert!(peak < 64, "it held {peak} MiB");
}

#[test]
fn a_broken_law_stands_with_the_command_behind_it() {
    let header = HEADER.replace("data-only", "qemu-10.0");
    let sent = r#"{"sent":{"client":3,"text":"{\"execute\":\"job-pause\",\"arguments\":{\"id\":\"j\"}}"}}"#;
    let reply = r#"{"reply":{"client":3,"text":"{\"return\": {}}"}}"#;
    check(&[&header, sent, reply], 1, "in reply to client 3: job-pause id:j");
}
