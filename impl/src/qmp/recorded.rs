//! Replies of the real qemu-storage-daemon 10.0.2 to hostile and odd input, held against ours.
//!
//! The tables are facts: what was sent, and what came back. Each row is also played byte by byte.

use super::Monitor;
use crate::engine::{Engine, Tuning};
use crate::os::OsHost;
use serde_json::Value;
use std::sync::Arc;

/// An engine without nodes, and a client that has negotiated.
pub(super) fn with_monitor(check: impl AsyncFnOnce(Arc<Monitor>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = OsHost::new(runtime.handle().clone());
    let monitor =
        Monitor::new(Engine::new(host, Tuning { stream_chunk_bytes: 1 << 16, ..Tuning::default() }));
    runtime.block_on(async {
        assert!(monitor.try_output().unwrap().starts_with(r#"{"QMP": "#), "the greeting comes first");
        let reply = monitor.execute(r#"{"execute":"qmp_capabilities"}"#).await;
        assert_eq!(reply.as_deref(), Some(r#"{"return": {}}"#));
        check(monitor).await;
    });
}

/// All that waits to be sent, as `return` or as the error's text.
pub(super) fn output(monitor: &Monitor) -> Vec<String> {
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

#[test]
fn wrong_json_is_answered_as_qemu_answers_it() {
    with_monitor(async |monitor| {
        for (sent, expected) in JSON {
            monitor.receive(sent).await;
            assert_eq!(output(&monitor), *expected, "after {:?}", sent.escape_ascii().to_string());
            monitor.receive(b"\n").await;
            assert_eq!(output(&monitor), [""; 0]);
        }
    });
}

#[test]
fn pieces_of_one_byte_give_the_same_replies() {
    with_monitor(async |monitor| {
        for (sent, expected) in JSON {
            for byte in *sent {
                monitor.receive(std::slice::from_ref(byte)).await;
            }
            assert_eq!(output(&monitor), *expected, "after {:?}", sent.escape_ascii().to_string());
            monitor.receive(b"\n").await;
        }
    });
}

#[test]
fn wrong_envelopes_are_refused_as_qemu_refuses_them() {
    with_monitor(async |monitor| {
        for (sent, expected) in ENVELOPES {
            let reply: Value = serde_json::from_str(&monitor.execute(sent).await.unwrap()).unwrap();
            let said = match reply.get("error") {
                Some(e) => format!("{}: {}", e["class"].as_str().unwrap(), e["desc"].as_str().unwrap()),
                None => "return".to_owned(),
            };
            assert_eq!(said, *expected, "after {sent}");
        }
    });
}

#[test]
fn wrong_arguments_are_refused_as_qemu_refuses_them() {
    with_monitor(async |monitor| {
        for (command, arguments, expected) in ARGUMENTS {
            let sent = format!(r#"{{"execute":"{command}","arguments":{arguments}}}"#);
            monitor.receive(sent.as_bytes()).await;
            assert_eq!(output(&monitor), [*expected], "after {sent}");
        }
    });
}

#[test]
fn an_id_of_any_kind_comes_back_as_qemu_writes_it() {
    with_monitor(async |monitor| {
        for (sent, expected) in ECHOES {
            let sent = format!(r#"{{"id":{sent},"execute":"query-commands","arguments":{{"x":1}}}}"#);
            let reply = monitor.execute(&sent).await.unwrap();
            let rest = r#", "error": {"class": "GenericError", "desc": "Parameter 'x' is unexpected"}}"#;
            assert_eq!(reply, format!(r#"{{"id": {expected}{rest}"#));
        }
    });
}

/// Sent, and the replies: `return`, or the text of the error.
#[rustfmt::skip]
const JSON: &[(&[u8], &[&str])] = &[
    (br#"{"execute":"query-version","id":"\x"}"#, &["JSON parse error, invalid escape sequence in string"]),
    (br#"{"execute":"query-version","id":"\u12G4"}"#, &["JSON parse error, \\u12G4 is not a valid Unicode character"]),
    (br#"{"id":"\ud83dx"}"#, &["JSON parse error, \\ud83d is not a valid Unicode character"]),
    (br#"{"id":"\ude00"}"#, &["JSON parse error, \\ude00 is not a valid Unicode character"]),
    (br#""\ud800\ud800" "#, &["JSON parse error, \\ud800 is not a valid Unicode character"]),
    (br#"{"id":"\uffff"}"#, &["JSON parse error, \\uffff is not a valid Unicode character"]),
    (br#"{"id":"\ufdd0"}"#, &["JSON parse error, \\ufdd0 is not a valid Unicode character"]),
    (br#""\u12" "#, &["JSON parse error, \\u12\" is not a valid Unicode character"]),
    (b"{\"a\":\"\xff\"}", &["JSON parse error, stray '\"\u{fffd}'", "JSON parse error, expecting value"]),
    (b"{\"a\":\"a\tb\"}", &["JSON parse error, stray '\"a\t'", "JSON parse error, expecting value"]),
    (b"\"\xed\xa0\x80\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xc3x\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xc1\x80\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\x80\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xe0\x80\x80\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xf4\x90\x80\x80\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xf5\x80\x80\x80\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xef\xbf\xbf\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\xef\xb7\x90\" ", &["JSON parse error, invalid UTF-8 sequence in string"]),
    (b"\"\x00\" ", &["JSON parse error, stray '\"'"]),
    (br#"{"execute":"query-version",}"#, &["JSON parse error, expecting value"]),
    (br#"{"execute":"query-version" "id":1}"#, &["JSON parse error, expected separator in dict"]),
    (br#"{"execute" "query-version"}"#, &["JSON parse error, missing : in object pair"]),
    (br#"{"execute":}"#, &["JSON parse error, expecting value"]),
    (b"{,}", &["JSON parse error, expecting value"]),
    (b"{1:2}", &["JSON parse error, key is not a string in object"]),
    (br#"{"a":1,2:3}"#, &["JSON parse error, key is not a string in object"]),
    (b"{[1]:2}", &["JSON parse error, key is not a string in object"]),
    (br#"{"a"}"#, &["JSON parse error, missing : in object pair"]),
    (br#"{"a",1}"#, &["JSON parse error, missing : in object pair"]),
    (br#"{"a":[1,]}"#, &["JSON parse error, expecting value"]),
    (br#"{"a":[,]}"#, &["JSON parse error, expecting value"]),
    (br#"{"a":[1 2]}"#, &["JSON parse error, expected separator in list"]),
    (b"[1,]", &["JSON parse error, expecting value"]),
    (b"}", &["JSON parse error, expecting value"]),
    (b"]}", &["JSON parse error, expecting value", "JSON parse error, expecting value"]),
    (b",", &["JSON parse error, expecting value"]),
    (b":", &["JSON parse error, expecting value"]),
    (b"{]", &["JSON parse error, expecting value"]),
    (b"[}]", &["JSON parse error, expecting value", "JSON parse error, expecting value"]),
    (br#"{"a":1,"a":}"#, &["JSON parse error, expecting value"]),
    (br#"{"a":1,"a":2,,}"#, &["JSON parse error, duplicate key"]),
    (br#"{"a":{"b":1,"b":2}}"#, &["JSON parse error, duplicate key"]),
    (br#"{"a":1x}"#, &["JSON parse error, expected separator in dict"]),
    (br#"{"a":1"x"}"#, &["JSON parse error, expected separator in dict"]),
    (br#"{"a":tru}"#, &["JSON parse error, invalid keyword 'tru'"]),
    (br#"{"a":tru3}"#, &["JSON parse error, invalid keyword 'tru'"]),
    (br#"{"a":True}"#, &["JSON parse error, stray 'T'", "JSON parse error, expecting value"]),
    (b"trueFalse ", &["QMP input must be a JSON object", "JSON parse error, stray 'F'"]),
    (b"abc1 ", &["JSON parse error, invalid keyword 'abc'", "QMP input must be a JSON object"]),
    (b"nan ", &["JSON parse error, invalid keyword 'nan'"]),
    (br#"{"a":%d}"#, &["JSON parse error, stray '%'", "JSON parse error, expecting value"]),
    (br#"{"a":01}"#, &["JSON parse error, stray '01'", "JSON parse error, expecting value"]),
    (b"{\"a\":-}\n", &["JSON parse error, stray '-}'"]),
    (b"{\"a\":1.}\n", &["JSON parse error, stray '1.}'"]),
    (b"{\"a\":1e}\n", &["JSON parse error, stray '1e}'"]),
    (br#"{"a":.5}"#, &["JSON parse error, stray '.'", "JSON parse error, expecting value"]),
    (br#"{"a":+1}"#, &["JSON parse error, stray '+'", "JSON parse error, expecting value"]),
    (br#"{"a":-01}"#, &["JSON parse error, stray '-01'", "JSON parse error, expecting value"]),
    (b"1.5.5 ", &["QMP input must be a JSON object", "JSON parse error, stray '.'"]),
    (b"1-1 ", &["QMP input must be a JSON object", "QMP input must be a JSON object"]),
    (b"--1 ", &["JSON parse error, stray '--'"]),
    (b"1e+ ", &["JSON parse error, stray '1e+ '"]),
    (b"0x10 ", &["QMP input must be a JSON object", "JSON parse error, invalid keyword 'x'", "QMP input must be a JSON object"]),
    (b"-0e1 ", &["QMP input must be a JSON object", "JSON parse error, invalid keyword 'e'", "QMP input must be a JSON object"]),
    (b"-a ", &["JSON parse error, stray '-a'"]),
    (b"@", &["JSON parse error, stray '@'"]),
    (br#"\"#, &["JSON parse error, stray '\\'"]),
    (b"\x00", &["JSON parse error, stray ''"]),
    (b"\x01", &["JSON parse error, stray '\u{1}'"]),
    (b"\x7f", &["JSON parse error, stray '\u{7f}'"]),
    (b"\xef\xbb\xbf{\"execute\":\"query-version\"}", &["JSON parse error, stray '\u{fffd}'", "return"]),
    (b"@ \ttrue\n{\"execute\":\"query-version\"}", &["JSON parse error, stray '@'", "return"]),
    (b"@\x01{\"execute\":\"query-version\"}", &["JSON parse error, stray '@'", "JSON parse error, stray '\u{1}'", "return"]),
    (b"@\xfe\xff{\"execute\":\"query-version\"}", &["JSON parse error, stray '@'", "JSON parse error, stray '\u{fffd}'", "JSON parse error, stray '\u{fffd}'", "return"]),
    (br#"@,{"execute":"query-version"}"#, &["JSON parse error, stray '@'", "JSON parse error, expecting value", "return"]),
    (b"[@,1,2]", &["JSON parse error, stray '@'", "JSON parse error, expecting value", "QMP input must be a JSON object", "JSON parse error, expecting value", "QMP input must be a JSON object", "JSON parse error, expecting value"]),
    (b"\"abc\ndef{\"execute\":\"query-version\"}", &["JSON parse error, stray '\"abc\n'", "return"]),
    (br#"1.ab{"execute":"query-version"}"#, &["JSON parse error, stray '1.a'", "return"]),
    (br#"@"abc{"execute":"query-version"}"#, &["JSON parse error, stray '@'", "return"]),
    (br#"{"a":1}}"#, &["QMP input member 'a' is unexpected", "JSON parse error, expecting value"]),
    (b"[1]2 ", &["QMP input must be a JSON object", "QMP input must be a JSON object"]),
    (b"'a' 'b' ", &["QMP input must be a JSON object", "QMP input must be a JSON object"]),
    (br#""a" "b""#, &["QMP input must be a JSON object", "QMP input must be a JSON object"]),
    (b"1.2 ", &["QMP input must be a JSON object"]),
    (b"null ", &["QMP input must be a JSON object"]),
    (b"{\"execute\":\"query-version\"}{\"execute\":\"query-version\"} \x0d\n\t{\"execute\":\"query-version\"}", &["return", "return", "return"]),
    (b"{'execute':'query-version'}", &["return"]),
];

/// Sent, and the reply: `return`, or class and text of the error.
#[rustfmt::skip]
const ENVELOPES: &[(&str, &str)] = &[
    ("{}", "GenericError: QMP input lacks member 'execute'"),
    ("[]", "GenericError: QMP input must be a JSON object"),
    (r#""x""#, "GenericError: QMP input must be a JSON object"),
    (r#"{"execute":1}"#, "GenericError: QMP input member 'execute' must be a string"),
    (r#"{"arguments":{}}"#, "GenericError: QMP input lacks member 'execute'"),
    (r#"{"execute":"query-version","arguments":[]}"#, "GenericError: QMP input member 'arguments' must be an object"),
    (r#"{"execute":"nosuch","arguments":null}"#, "GenericError: QMP input member 'arguments' must be an object"),
    (r#"{"execute":"query-version","control":{}}"#, "GenericError: QMP input member 'control' is unexpected"),
    (r#"{"exec-oob":"query-version"}"#, "GenericError: QMP input member 'exec-oob' is unexpected"),
    (r#"{"execute":"query-version","foo":1}"#, "GenericError: QMP input member 'foo' is unexpected"),
    (r#"{"execute":"nosuch"}"#, "CommandNotFound: The command nosuch has not been found"),
    (r#"{"execute":""}"#, "CommandNotFound: The command  has not been found"),
    (r#"{"execute":"caf\u00e9"}"#, "CommandNotFound: The command caf\u{e9} has not been found"),
    (r#"{"execute":"qmp_capabilities"}"#, "CommandNotFound: Capabilities negotiation is already complete, command ignored"),
    (r#"{"execute":"query-version","arguments":{"x":1}}"#, "GenericError: Parameter 'x' is unexpected"),
    (r#"{"execute":"query-version","arguments":{}}"#, "return"),
];

/// Command, arguments, and the text of the error.
#[rustfmt::skip]
const ARGUMENTS: &[(&str, &str, &str)] = &[
    ("block-stream", r#"{}"#, "Parameter 'device' is missing"),
    ("block-stream", r#"{"bogus":1}"#, "Parameter 'device' is missing"),
    ("block-stream", r#"{"device":null}"#, "Invalid parameter type for 'device', expected: string"),
    ("block-stream", r#"{"device":true}"#, "Invalid parameter type for 'device', expected: string"),
    ("block-stream", r#"{"device":["n1"]}"#, "Invalid parameter type for 'device', expected: string"),
    ("block-stream", r#"{"device":"n","job-id":7}"#, "Invalid parameter type for 'job-id', expected: string"),
    ("block-stream", r#"{"device":7,"job-id":"x","zz":1}"#, "Invalid parameter type for 'device', expected: string"),
    ("block-stream", r#"{"device":"n","on-error":"bogus"}"#, "Parameter 'on-error' does not accept value 'bogus'"),
    ("block-stream", r#"{"device":"n","on-error":null}"#, "Invalid parameter type for 'on-error', expected: string"),
    ("block-stream", r#"{"device":"n","on-error":""}"#, "Parameter 'on-error' does not accept value ''"),
    ("block-stream", r#"{"device":"n","speed":"1"}"#, "Invalid parameter type for 'speed', expected: integer"),
    ("block-stream", r#"{"device":"n","speed":1.5}"#, "Invalid parameter type for 'speed', expected: integer"),
    ("block-stream", r#"{"device":"n","speed":1000.0}"#, "Invalid parameter type for 'speed', expected: integer"),
    ("block-stream", r#"{"device":"n","speed":9223372036854775808}"#, "Invalid parameter type for 'speed', expected: integer"),
    ("block-stream", r#"{"device":"n","speed":-9223372036854775809}"#, "Invalid parameter type for 'speed', expected: integer"),
    ("block-stream", r#"{"device":"n","auto-dismiss":1}"#, "Invalid parameter type for 'auto-dismiss', expected: boolean"),
    ("block-stream", r#"{"device":"n","backing-mask-protocol":"on"}"#, "Invalid parameter type for 'backing-mask-protocol', expected: boolean"),
    ("block-stream", r#"{"device":"n","top":"x"}"#, "Parameter 'top' is unexpected"),
    ("block-job-set-speed", r#"{"device":"j"}"#, "Parameter 'speed' is missing"),
    ("block-job-set-speed", r#"{"speed":"x"}"#, "Parameter 'device' is missing"),
    ("block-job-cancel", r#"{"device":"j","force":1}"#, "Invalid parameter type for 'force', expected: boolean"),
    ("block-job-cancel", r#"{"id":"j"}"#, "Parameter 'device' is missing"),
    ("block-job-change", r#"{"id":"j"}"#, "Parameter 'type' is missing"),
    ("block-job-change", r#"{"type":"stream"}"#, "Parameter 'id' is missing"),
    ("block-job-change", r#"{"id":"j","type":"zz"}"#, "Parameter 'type' does not accept value 'zz'"),
    ("block-job-change", r#"{"id":"j","type":"mirror"}"#, "Parameter 'copy-mode' is missing"),
    ("block-job-change", r#"{"id":"j","type":"mirror","copy-mode":"bg"}"#, "Parameter 'copy-mode' does not accept value 'bg'"),
    ("block-job-change", r#"{"id":"j","type":"stream","copy-mode":"background"}"#, "Parameter 'copy-mode' is unexpected"),
    ("block-job-dismiss", r#"{"device":"j"}"#, "Parameter 'id' is missing"),
    ("job-pause", r#"{"id":"j","x":1}"#, "Parameter 'x' is unexpected"),
    ("job-cancel", r#"{"id":"j","force":true}"#, "Parameter 'force' is unexpected"),
    ("query-named-block-nodes", r#"{"flat":1}"#, "Invalid parameter type for 'flat', expected: boolean"),
    ("blockdev-del", r#"{}"#, "Parameter 'node-name' is missing"),
    ("blockdev-del", r#"{"device":"x"}"#, "Parameter 'node-name' is missing"),
    ("quit", r#"{"a":1}"#, "Parameter 'a' is unexpected"),
    ("blockdev-add", r#"{}"#, "Parameter 'driver' is missing"),
    ("blockdev-add", r#"{"driver":"foo"}"#, "Parameter 'driver' does not accept value 'foo'"),
    ("blockdev-add", r#"{"driver":1}"#, "Invalid parameter type for 'driver', expected: string"),
    ("blockdev-add", r#"{"node-name":1}"#, "Parameter 'driver' is missing"),
    ("blockdev-add", r#"{"driver":"file"}"#, "Parameter 'filename' is missing"),
    ("blockdev-add", r#"{"driver":"file","filename":1}"#, "Invalid parameter type for 'filename', expected: string"),
    ("blockdev-add", r#"{"driver":"file","filename":"x","foo":1}"#, "Parameter 'foo' is unexpected"),
    ("blockdev-add", r#"{"driver":"raw"}"#, "Parameter 'file' is missing"),
    ("blockdev-add", r#"{"driver":"qcow2"}"#, "Parameter 'file' is missing"),
    ("blockdev-add", r#"{"driver":"qcow2","file":1}"#, "Invalid parameter type for 'file', expected: BlockdevRef"),
    ("blockdev-add", r#"{"driver":"qcow2","file":null}"#, "Invalid parameter type for 'file', expected: BlockdevRef"),
    ("blockdev-add", r#"{"driver":"qcow2","file":[]}"#, "Invalid parameter type for 'file', expected: BlockdevRef"),
    ("blockdev-add", r#"{"driver":"qcow2","file":{}}"#, "Parameter 'file.driver' is missing"),
    ("blockdev-add", r#"{"driver":"qcow2","file":{"driver":"file"}}"#, "Parameter 'file.filename' is missing"),
    ("blockdev-add", r#"{"driver":"qcow2","file":{"driver":"file","filename":1}}"#, "Invalid parameter type for 'file.filename', expected: string"),
    ("blockdev-add", r#"{"driver":"qcow2","file":{"driver":"file","filename":"x","bar":1}}"#, "Parameter 'file.bar' is unexpected"),
    ("blockdev-add", r#"{"driver":"qcow2","file":{"driver":"zzz"}}"#, "Parameter 'driver' does not accept value 'zzz'"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","backing":1}"#, "Invalid parameter type for 'backing', expected: BlockdevRefOrNull"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","backing":true}"#, "Invalid parameter type for 'backing', expected: BlockdevRefOrNull"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","backing":{"driver":"qcow2","file":{"driver":"file"}}}"#, "Parameter 'backing.file.filename' is missing"),
    ("blockdev-add", r#"{"driver":"qcow2","file":{"driver":"qcow2","file":{"driver":"file","filename":"x","cache":{"x":1}}}}"#, "Parameter 'file.file.cache.x' is unexpected"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","cache":1}"#, "Invalid parameter type for 'cache', expected: object"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","cache":{"direct":1}}"#, "Invalid parameter type for 'cache.direct', expected: boolean"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","cache":{"zz":true}}"#, "Parameter 'cache.zz' is unexpected"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","discard":"x"}"#, "Parameter 'discard' does not accept value 'x'"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","detect-zeroes":"x"}"#, "Parameter 'detect-zeroes' does not accept value 'x'"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","read-only":"on"}"#, "Invalid parameter type for 'read-only', expected: boolean"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","overlap-check":1}"#, "Invalid parameter type for 'overlap-check', expected: Qcow2OverlapChecks"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","overlap-check":"x"}"#, "Parameter 'overlap-check' does not accept value 'x'"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","overlap-check":{"template":"x"}}"#, "Parameter 'template' does not accept value 'x'"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","l2-cache-size":1.5}"#, "Invalid parameter type for 'l2-cache-size', expected: integer"),
    ("blockdev-add", r#"{"driver":"qcow2","file":"x","l2-cache-size":18446744073709551615}"#, "Invalid parameter type for 'l2-cache-size', expected: integer"),
    ("blockdev-add", r#"{"driver":"file","filename":"x","locking":"x"}"#, "Parameter 'locking' does not accept value 'x'"),
    ("blockdev-add", r#"{"driver":"file","filename":"x","node-name":"n","force-share":true}"#, "force-share=on can only be used with read-only images"),
    ("blockdev-add", r#"{"driver":"file","filename":"x","node-name":"n","detect-zeroes":"unmap"}"#, "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"),
];

/// An `id`, and how it is written in the reply.
#[rustfmt::skip]
const ECHOES: &[(&str, &str)] = &[
    (r#"1"#, r#"1"#),
    (r#"-0"#, r#"0"#),
    (r#"-0.0"#, r#"-0"#),
    (r#"1.0"#, r#"1"#),
    (r#"0.1"#, r#"0.10000000000000001"#),
    (r#"1e20"#, r#"1e+20"#),
    (r#"1e-7"#, r#"9.9999999999999995e-08"#),
    (r#"123456789.123456789"#, r#"123456789.12345679"#),
    (r#"0.30000000000000004"#, r#"0.30000000000000004"#),
    (r#"1e16"#, r#"10000000000000000"#),
    (r#"1e17"#, r#"1e+17"#),
    (r#"12345678901234567890123"#, r#"1.2345678901234568e+22"#),
    (r#"0.0001"#, r#"0.0001"#),
    (r#"0.00001"#, r#"1.0000000000000001e-05"#),
    (r#"5e-324"#, r#"4.9406564584124654e-324"#),
    (r#"1.7976931348623157e308"#, r#"1.7976931348623157e+308"#),
    (r#"9223372036854775808"#, r#"9223372036854775808"#),
    (r#"18446744073709551615"#, r#"18446744073709551615"#),
    (r#"18446744073709551616"#, r#"1.8446744073709552e+19"#),
    (r#"-9223372036854775809"#, r#"-9.2233720368547758e+18"#),
    (r#"null"#, r#"null"#),
    (r#"true"#, r#"true"#),
    (r#"[]"#, r#"[]"#),
    (r#"{}"#, r#"{}"#),
    (r#"[null,[1,"x"]]"#, r#"[null, [1, "x"]]"#),
    (r#"{"b":1,"a":{}}"#, r#"{"a": {}, "b": 1}"#),
    (r#"'it\'s'"#, r#""it's""#),
    (r#""\u00e9\ud83d\ude00\/\b\f\n\r\t\u0000\u007f""#, r#""\u00E9\uD83D\uDE00/\b\f\n\r\t\u0000\u007F""#),
];
