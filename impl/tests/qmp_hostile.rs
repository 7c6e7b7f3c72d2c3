//! Mutated commands, 100,000 of them: never a panic, never a lost connection, every reply one of the two kinds, and
//! little memory.

mod support;

use block::engine::{Engine, Tuning};
use block::os::OsHost;
use block::qmp::Monitor;
use hostile::qmp_command::Commands;
use hostile::qmp_text::{self, PROBE};
use hostile::random::Random;
use hostile::schema::Schema;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::memory::assert_peak_is_bounded;

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
        let mut random = Random::new(round);
        let (mut understood, mut misread) = (0, 0);
        for _ in 0..COMMANDS_A_ROUND {
            let sent = qmp_text::mutated_command(&mut random);
            for piece in sent.chunks(1 + random.index(40)) {
                monitor.receive(piece).await;
            }
            // What is left open is thrown away by a stray byte, and the next command must be read.
            monitor.receive(PROBE).await;
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
        let mut random = Random::new(2);
        for _ in 0..2000 {
            let sent = qmp_text::noise(64, &mut random);
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

/// Rounds of drawn commands, each on an engine of its own, and how many each takes.
const DRAWN_ROUNDS: u64 = 60;
const DRAWN_COMMANDS: usize = 150;
const NAMES: [&str; 7] = ["n0", "n1", "q", "f", "j", "g", "b"];

// What waits for time to pass waits until the engine is asked to hurry, and no longer.
#[test]
fn commands_drawn_from_the_table_are_answered_whatever_their_values() {
    let mut done = 0;
    for round in 0..DRAWN_ROUNDS {
        done += with_engine(async |engine, monitor| {
            let (mut random, mut done) = (Random::new(1000 + round), 0);
            let schema = monitor.execute(r#"{"execute":"query-qmp-schema"}"#).await.expect("an answer");
            let schema: Value = serde_json::from_str(&schema).expect("JSON");
            let schema = Schema::read(schema["return"].as_array().expect("a list"));
            let commands = Commands { schema: &schema, names: &NAMES, files: &["/nowhere", "f"] };
            for node in [
                json!({"driver": "null-co", "node-name": "n0", "size": 1 << 20}),
                json!({"driver": "raw", "node-name": "n1", "file": "n0"}),
            ] {
                let add = json!({"execute": "blockdev-add", "arguments": node}).to_string();
                assert_eq!(monitor.execute(&add).await.as_deref(), Some(r#"{"return": {}}"#));
            }
            for _ in 0..DRAWN_COMMANDS {
                let command = commands.draw(&mut random).to_string();
                let mut answer = Box::pin(monitor.execute(&command));
                let answer = match tokio::time::timeout(Duration::from_secs(1), answer.as_mut()).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        engine.hurry();
                        let hurried = tokio::time::timeout(Duration::from_secs(60), answer.as_mut()).await;
                        hurried.unwrap_or_else(|_| panic!("for ever: {command}"))
                    }
                };
                // A chain may be shown deeper than our reader follows.
                let answer = answer.expect("an answer");
                let (is_done, is_refused) =
                    (answer.starts_with(r#"{"return": "#), answer.starts_with(r#"{"error": "#));
                done += usize::from(is_done);
                assert!(is_done || is_refused, "{answer}");
                while monitor.try_output().is_some() {}
            }
            // Flat: with all that lies below each of them, so many nodes may be more than one reply holds.
            let flat = r#"{"execute":"query-named-block-nodes","arguments":{"flat":true}}"#;
            let asked = monitor.execute(flat).await;
            assert!(asked.expect("an answer").starts_with(r#"{"return": "#));
            done
        });
    }
    assert!(done > DRAWN_ROUNDS as usize * DRAWN_COMMANDS / 10, "only {done} were executed");
    assert_peak_is_bounded();
}
