//! Mutated commands, 100,000 of them: never a panic, never a lost connection, every reply one of the two kinds, and
//! little memory.

mod support;

use block::engine::{Engine, Tuning};
use block::os::OsHost;
use block::qmp::Monitor;
use serde_json::Value;
use std::sync::Arc;
use support::memory::assert_peak_is_bounded;

const COMMANDS: &[&str] = &[
    r#"{"execute":"query-version","id":[1,2.5,"x\u00e9\ud83d\ude00",null,{"a":true}]}"#,
    r#"{'execute':'query-commands','id':'q\'\"'}"#,
    r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":7,"speed":12,"on-error":"stop"}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"qcow2","node-name":"n","file":{"driver":"file","filename":"/nowhere/x"},"backing":null,"cache":{"direct":false}}}"#,
    r#"{"execute":"block-job-change","arguments":{"id":"j","type":"mirror","copy-mode":"background"}}"#,
    r#"{"execute":"block-job-set-speed","arguments":{"device":"zz","speed":9223372036854775807}}"#,
    r#"{"execute":"job-cancel","arguments":{"id":"j"},"id":-12e3}"#,
    r#"[1,{"a":[]},"s",false]"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"null-co","node-name":"n0","size":1048576,"read-zeroes":true,"detect-zeroes":"on"}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"blkdebug","node-name":"b0","image":{"driver":"null-co"},"inject-error":[{"event":"read_aio","errno":5,"sector":7,"once":true}],"set-state":[{"event":"none","new_state":2}]}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"r0","file":"n0","offset":512,"size":4096}}"#,
    r#"{"execute":"object-add","arguments":{"qom-type":"throttle-group","id":"g","limits":{"iops-total":10,"bps-read":1000}}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"throttle","node-name":"t0","file":"r0","throttle-group":"g"}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"copy-on-read","node-name":"c0","file":"n0","bottom":"n0"}}"#,
    r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#,
    r#"{"execute":"x-debug-query-block-graph"}"#,
    r#"{"execute":"blockdev-del","arguments":{"node-name":"b0"}}"#,
];
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\"",
    b"'",
    b"\\",
    b" ",
    b"\n",
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xc3",
    b"\xff",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"0",
    b".",
    b"\\u",
    b"\\ud83d",
    b"{}",
    b"\"device\"",
    b"\"file\":{\"driver\":",
];

/// An engine without nodes that opens nothing outside an empty folder, and a client that has negotiated.
fn with_monitor<T>(check: impl AsyncFnOnce(Arc<Monitor>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = OsHost::confined(runtime.handle().clone(), folder.path()).unwrap();
    let monitor =
        Monitor::new(Engine::new(host, Tuning { stream_chunk_bytes: 1 << 16, ..Tuning::default() }));
    runtime.block_on(async {
        assert!(monitor.try_output().unwrap().starts_with(r#"{"QMP": "#), "the greeting comes first");
        let reply = monitor.execute(r#"{"execute":"qmp_capabilities"}"#).await;
        assert_eq!(reply.as_deref(), Some(r#"{"return": {}}"#));
        check(monitor).await
    })
}

/// All that waits to be sent, as `return` or as the error's text.
fn output(monitor: &Monitor) -> Vec<String> {
    let said = |line: String| {
        let reply: Value = serde_json::from_str(&line).expect("a line is JSON");
        match reply.get("error") {
            Some(error) => error["desc"].as_str().unwrap().to_owned(),
            None => {
                assert!(reply.get("return").is_some(), "neither return nor error: {line}");
                "return".to_owned()
            }
        }
    };
    std::iter::from_fn(|| monitor.try_output()).map(said).collect()
}

/// SplitMix64: the same mutations on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n as u64) as usize
    }

    fn mutated(&mut self, command: &str) -> Vec<u8> {
        let mut bytes = command.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let to = bytes.len().min(at + self.below(6));
            match self.below(4) {
                0 => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
                1 => drop(bytes.drain(at..to)),
                2 => drop(bytes.splice(at..to, PIECES[self.below(PIECES.len())].iter().copied())),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes
    }
}

/// Mutated commands in all.
const COMMANDS_MAX: usize = 100_000;
/// A fresh engine takes each round, or the nodes they add would pile up.
const ROUNDS: usize = 40;
const COMMANDS_A_ROUND: usize = COMMANDS_MAX / ROUNDS;

#[test]
fn no_mutated_command_costs_the_connection() {
    let replies: usize = (0..ROUNDS).map(|round| play_round(round as u64)).sum();
    assert!(replies > 2 * COMMANDS_MAX, "what follows each command is answered at least twice: {replies}");
    assert_peak_is_bounded();
}

/// How many replies came, each of them JSON and either a return or an error.
fn play_round(round: u64) -> usize {
    with_monitor(async |monitor| {
        let mut draw = Draw(round);
        let (mut understood, mut misread) = (0, 0);
        for _ in 0..COMMANDS_A_ROUND {
            let command = COMMANDS[draw.below(COMMANDS.len())];
            let sent = draw.mutated(command);
            for piece in sent.chunks(1 + draw.below(40)) {
                monitor.receive(piece).await;
            }
            // What is left open is thrown away by a stray byte, and the next command must be heard.
            monitor.receive(b"\n@\n\"\n{'execute':'query-version'}").await;
            let said = output(&monitor);
            assert_eq!(
                said.last().map(String::as_str),
                Some("return"),
                "after {:?}",
                sent.escape_ascii().to_string()
            );
            // Two errors and the last reply are ours, whatever was sent.
            let wrong = said.iter().filter(|text| text.starts_with("JSON ")).count();
            misread += wrong;
            understood += said.len() - 1 - wrong;
        }
        assert!(
            understood > COMMANDS_A_ROUND / 8,
            "too few mutated commands are still commands: {understood}"
        );
        assert!(misread > COMMANDS_A_ROUND, "too few are broken: {misread}");
        understood + misread + COMMANDS_A_ROUND
    })
}

// As one stream, so that errors run into the next command.
#[test]
fn a_stream_of_noise_is_answered_within_bounds() {
    with_monitor(async |monitor| {
        let mut draw = Draw(2);
        for _ in 0..2000 {
            let sent: Vec<u8> = (0..64).flat_map(|_| PIECES[draw.below(PIECES.len())]).copied().collect();
            monitor.receive(&sent).await;
            let replies = output(&monitor).len();
            assert!(replies <= sent.len(), "{replies} replies to {} bytes", sent.len());
        }
    });
}

// The deepest and the longest that passes the reader must not overturn what comes after it.
#[test]
fn the_largest_messages_are_refused_like_any_other() {
    with_monitor(async |monitor| {
        let deep = "{\"driver\":\"qcow2\",\"file\":".repeat(1000);
        let open = format!("{{\"execute\":\"blockdev-add\",\"arguments\":{deep}1{}}}", "}".repeat(1000));
        monitor.receive(open.as_bytes()).await;
        let said = output(&monitor);
        assert!(said[0].starts_with("Invalid parameter type for 'file.file.file."), "{said:?}");
        let long = format!("{{\"execute\":\"{}\"}}", "x".repeat(1 << 20));
        monitor.receive(long.as_bytes()).await;
        assert!(output(&monitor)[0].ends_with("has not been found"));
    });
}
