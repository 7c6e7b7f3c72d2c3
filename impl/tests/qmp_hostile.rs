//! Mutated commands, 100,000 of them: never a panic, never a lost connection, every reply one of the two kinds, and
//! little memory.

mod support;

use block::engine::{Engine, Tuning};
use block::os::OsHost;
use block::qmp::types::{Object, Type};
use block::qmp::{Monitor, schema};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
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
    with_engine(async |_, monitor| check(monitor).await)
}

fn with_engine<T>(check: impl AsyncFnOnce(Arc<Engine>, Arc<Monitor>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = OsHost::confined(runtime.handle().clone(), folder.path()).unwrap();
    let engine = Engine::new(host, Tuning { stream_chunk_bytes: 1 << 16, ..Tuning::default() });
    let monitor = Monitor::new(Arc::clone(&engine));
    runtime.block_on(async {
        assert!(monitor.try_output().unwrap().starts_with(r#"{"QMP": "#), "the greeting comes first");
        let reply = monitor.execute(r#"{"execute":"qmp_capabilities"}"#).await;
        assert_eq!(reply.as_deref(), Some(r#"{"return": {}}"#));
        check(engine, monitor).await
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
        assert_eq!(said, ["Nodes cannot stand more than 200 deep on each other"]);
        let long = format!("{{\"execute\":\"{}\"}}", "x".repeat(1 << 20));
        monitor.receive(long.as_bytes()).await;
        assert!(output(&monitor)[0].ends_with("has not been found"));
    });
}

/// Arguments as the table has them, with values at the ends of what their types allow.
impl Draw {
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn object(&mut self, object: &Object, depth: u32) -> Map<String, Value> {
        let mut members = Map::new();
        self.members(object, depth, &mut members);
        let tag = object.variants.as_ref().and_then(|variants| members.get(variants.tag)?.as_str());
        if let Some(variant) = tag.and_then(|tag| object.variant(tag)) {
            self.members(variant, depth, &mut members);
        }
        members
    }

    fn members(&mut self, object: &Object, depth: u32, into: &mut Map<String, Value>) {
        for member in object.members {
            let is_there = if member.optional { self.one_in(3) } else { !self.one_in(50) };
            if is_there {
                into.insert(member.name.to_owned(), self.value(&member.kind, depth));
            }
        }
    }

    fn value(&mut self, kind: &Type, depth: u32) -> Value {
        const NAMES: [&str; 12] =
            ["n0", "n1", "q", "f", "j", "g", "b", "", "/nowhere", "a b", "#block001", "x"];
        const NUMBERS: [i64; 16] = [
            0,
            1,
            -1,
            2,
            511,
            512,
            513,
            65536,
            1 << 31,
            (1 << 31) - 1,
            1 << 32,
            1 << 62,
            i64::MAX,
            i64::MIN,
            i64::MAX - 511,
            1 << 20,
        ];
        match kind {
            Type::Str if self.one_in(40) => json!("x".repeat(1 + self.below(5000))),
            Type::Str | Type::Any => json!(NAMES[self.below(NAMES.len())]),
            Type::Int => json!(NUMBERS[self.below(NUMBERS.len())]),
            Type::Bool => json!(self.one_in(2)),
            Type::Null => Value::Null,
            Type::Enum(words) => json!(words.values[self.below(words.values.len())]),
            Type::List(kind) => (0..self.below(4)).map(|_| self.value(kind, depth + 1)).collect(),
            Type::Object(object) => Value::Object(self.object(object, depth + 1)),
            Type::Alternate(alternate) => {
                let named = alternate.cases.iter().find(|kind| matches!(kind, Type::Str));
                let any = &alternate.cases[self.below(alternate.cases.len())];
                self.value(if depth > 5 { named.unwrap_or(any) } else { any }, depth + 1)
            }
        }
    }

    /// Any command but the one that ends everything; now and then one that describes children inside children.
    fn command(&mut self) -> Value {
        if self.one_in(30) {
            let (driver, deep) = (["raw", "copy-on-read", "qcow2"][self.below(3)], 1 + self.below(400));
            let leaf = json!({"driver": "null-co", "size": 4096});
            let child = |below, _| json!({"driver": driver, "file": below, "node-name": null});
            let mut nested = (0..deep).fold(leaf, child);
            strip_nulls(&mut nested);
            nested["node-name"] = json!(format!("deep{}", self.below(1000)));
            return json!({"execute": "blockdev-add", "arguments": nested});
        }
        let commands = schema::COMMANDS;
        let command = &commands[self.below(commands.len())];
        let mut arguments = self.object(command.arguments, 0);
        // How long a request takes is for others to try.
        arguments.remove("latency-ns");
        let name = if command.name == "quit" { "query-version" } else { command.name };
        json!({"execute": name, "arguments": if name == command.name { arguments } else { Map::new() }})
    }
}

fn strip_nulls(value: &mut Value) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        let Value::Object(members) = value else { continue };
        members.retain(|_, member| !member.is_null());
        open.extend(members.values_mut());
    }
}

/// Rounds of drawn commands, each on an engine of its own, and how many each takes.
const DRAWN_ROUNDS: u64 = 60;
const DRAWN_COMMANDS: usize = 150;

// What waits for time to pass waits until the engine is told to hurry, and no longer.
#[test]
fn commands_drawn_from_the_table_are_answered_whatever_their_values() {
    let mut done = 0;
    for round in 0..DRAWN_ROUNDS {
        done += with_engine(async |engine, monitor| {
            let (mut draw, mut done) = (Draw(1000 + round), 0);
            for node in [
                json!({"driver": "null-co", "node-name": "n0", "size": 1 << 20}),
                json!({"driver": "raw", "node-name": "n1", "file": "n0"}),
            ] {
                let add = json!({"execute": "blockdev-add", "arguments": node}).to_string();
                assert_eq!(monitor.execute(&add).await.as_deref(), Some(r#"{"return": {}}"#));
            }
            for _ in 0..DRAWN_COMMANDS {
                let command = draw.command().to_string();
                let mut answer = Box::pin(monitor.execute(&command));
                let answer = match tokio::time::timeout(Duration::from_secs(1), answer.as_mut()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        engine.hurry();
                        let hurried = tokio::time::timeout(Duration::from_secs(60), answer.as_mut()).await;
                        hurried.unwrap_or_else(|_| panic!("for ever: {command}"))
                    }
                };
                let answer: Value = serde_json::from_str(&answer.expect("an answer")).expect("JSON");
                done += usize::from(answer.get("return").is_some());
                assert!(answer.get("return").is_some() || answer.get("error").is_some(), "{answer}");
                while monitor.try_output().is_some() {}
            }
            let asked = monitor.execute(r#"{"execute":"query-named-block-nodes"}"#).await;
            assert!(asked.expect("an answer").starts_with(r#"{"return": "#));
            done
        });
    }
    assert!(done > DRAWN_ROUNDS as usize * DRAWN_COMMANDS / 10, "only {done} were obeyed");
    assert_peak_is_bounded();
}
