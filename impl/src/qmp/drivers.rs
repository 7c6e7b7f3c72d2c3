//! Nodes of every driver as the real qemu-storage-daemon 10.0.2 takes, refuses and names them, held against ours.

use super::Monitor;
use super::recorded::with_monitor;
use serde_json::{Value, json};

async fn reply(monitor: &Monitor, command: &str, arguments: Value) -> Value {
    let sent = json!({"execute": command, "arguments": arguments}).to_string();
    serde_json::from_str(&monitor.execute(&sent).await.expect("a command is answered")).expect("JSON")
}

/// Adds a node; what was refused, empty if it was not.
async fn add(monitor: &Monitor, options: &str) -> String {
    let options = serde_json::from_str(options).expect("options are JSON");
    let reply = reply(monitor, "blockdev-add", options).await;
    reply["error"]["desc"].as_str().unwrap_or_default().to_owned()
}

async fn with_group(monitor: &Monitor) {
    let made = reply(monitor, "object-add", json!({"qom-type": "throttle-group", "id": "g"})).await;
    assert_eq!(made, json!({"return": {}}));
}

const REFUSALS: &[(&str, &str)] = &[
    (r#"{"driver":"null-co","node-name":"n"}"#, ""),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","align":3}"#,
        "Cannot meet constraints with align 3",
    ),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","inject-error":[{"event":"bogus"}]}"#,
        "Parameter 'event' does not accept value 'bogus'",
    ),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","inject-error":[{"errno":5}]}"#,
        "Parameter 'inject-error[0].event' is missing",
    ),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","inject-error":[{"event":"none","foo":1}]}"#,
        "Parameter 'inject-error[0].foo' is unexpected",
    ),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","inject-error":{"event":"none"}}"#,
        "Invalid parameter type for 'inject-error', expected: array",
    ),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","set-state":[{"event":"none"}]}"#,
        "Parameter 'set-state[0].new_state' is missing",
    ),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":"n","inject-error":[]}"#,
        "Block protocol 'blkdebug' doesn't support the option 'inject-error'",
    ),
    (r#"{"driver":"blkdebug","node-name":"x"}"#, "Parameter 'image' is missing"),
    (
        r#"{"driver":"blkdebug","node-name":"x","image":null}"#,
        "Invalid parameter type for 'image', expected: BlockdevRef",
    ),
    (r#"{"driver":"blkdebug","node-name":"x","image":"zz"}"#, "Cannot find device='zz' nor node-name='zz'"),
    (
        r#"{"driver":"throttle","node-name":"x","file":"n","throttle-group":"nope"}"#,
        "Throttle group 'nope' does not exist",
    ),
    (r#"{"driver":"throttle","node-name":"x","file":"n"}"#, "Parameter 'throttle-group' is missing"),
    (
        r#"{"driver":"compress","node-name":"x","file":"n"}"#,
        "Compression is not supported for underlying format: null-co",
    ),
    (r#"{"driver":"copy-on-read","node-name":"x","file":"n","bottom":"zz"}"#, "Bottom node 'zz' not found"),
    (r#"{"driver":"raw","node-name":"x","file":"n","size":511}"#, "Specified size is not multiple of 512"),
    (
        r#"{"driver":"raw","node-name":"x","file":"n","offset":-1}"#,
        "Value '-1' is out of range for parameter 'offset'",
    ),
    (
        r#"{"driver":"raw","node-name":"x","file":"n","offset":1073741312,"size":1024}"#,
        "The sum of offset (1073741312) and size (1024) has to be smaller or equal to the  actual size of the containing file (1073741824)",
    ),
    (
        r#"{"driver":"raw","node-name":"x","file":"n","offset":10737418240}"#,
        "Offset (10737418240) cannot be greater than size of the containing file (1073741824)",
    ),
    // The real daemon dies of this one.
    (r#"{"driver":"null-co","node-name":"x","size":-1}"#, "Value '-1' is out of range for parameter 'size'"),
    (r#"{"driver":"null-co","node-name":"x","latency-ns":-1}"#, "latency-ns is invalid"),
    (
        r#"{"driver":"null-co","node-name":"x","force-share":true}"#,
        "force-share=on can only be used with read-only images",
    ),
    (
        r#"{"driver":"null-co","node-name":"x","detect-zeroes":"unmap"}"#,
        "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap",
    ),
    (r#"{"driver":"null-co"}"#, "'node-name' must be specified for the root node"),
    (r##"{"driver":"null-co","node-name":"#x"}"##, "Invalid node-name: '#x'"),
    (r#"{"driver":"null-co","node-name":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#, "Node name too long"),
    (r#"{"driver":"null-co","node-name":"n"}"#, "Duplicate nodes with node-name='n'"),
    (r#"{"driver":"file","node-name":"x","filename":""}"#, "The 'file' block driver requires a file name"),
    (
        r#"{"driver":"file","node-name":"x","filename":"/nowhere/x","pr-manager":"x"}"#,
        "No persistent reservation manager with id 'x'",
    ),
    (r#"{"driver":"null-co","node-name":"ro","read-only":true}"#, ""),
    (r#"{"driver":"copy-on-read","node-name":"x","file":"ro"}"#, "Block node is read-only"),
    (r#"{"driver":"qcow2","node-name":"x","file":"n"}"#, "Image is not in qcow2 format"),
];

#[test]
fn options_are_refused_as_qemu_refuses_them() {
    with_monitor(async |monitor| {
        with_group(&monitor).await;
        for (options, expected) in REFUSALS {
            assert_eq!(add(&monitor, options).await, *expected, "{options}");
        }
    });
}

const NAMED: &[(&str, &str)] = &[
    (r#"{"driver":"null-co","node-name":"a"}"#, "null-co://"),
    (r#"{"driver":"null-co","node-name":"b","latency-ns":5}"#, "null-co://"),
    (
        r#"{"driver":"null-co","node-name":"c","latency-ns":5,"read-zeroes":false}"#,
        r#"json:{"read-zeroes": false, "driver": "null-co"}"#,
    ),
    (r#"{"driver":"blkdebug","node-name":"d","image":"a"}"#, "blkdebug::null-co://"),
    (
        r#"{"driver":"blkdebug","node-name":"e","image":"a","align":4096,"take-child-perms":["write"],"unshare-child-perms":["resize"]}"#,
        r#"json:{"image": {"driver": "null-co"}, "driver": "blkdebug", "align": 4096}"#,
    ),
    (
        r#"{"driver":"throttle","node-name":"f","file":"d","throttle-group":"g"}"#,
        r#"json:{"throttle-group": "g", "driver": "throttle", "file": {"image": {"driver": "null-co"}, "driver": "blkdebug"}}"#,
    ),
    (
        r#"{"driver":"raw","node-name":"h","file":"c"}"#,
        r#"json:{"driver": "raw", "file": {"read-zeroes": false, "driver": "null-co"}}"#,
    ),
    (r#"{"driver":"raw","node-name":"i","file":"b"}"#, "null-co://"),
    (
        r#"{"driver":"raw","node-name":"j","file":"b","offset":512,"size":4096}"#,
        r#"json:{"offset": 512, "driver": "raw", "size": 4096, "file": {"driver": "null-co"}}"#,
    ),
    (
        r#"{"driver":"copy-on-read","node-name":"k","file":"i"}"#,
        r#"json:{"driver": "copy-on-read", "file": {"driver": "raw", "file": {"driver": "null-co"}}}"#,
    ),
];

#[test]
fn nodes_are_named_as_qemu_names_them() {
    with_monitor(async |monitor| {
        with_group(&monitor).await;
        for (options, _) in NAMED {
            assert_eq!(add(&monitor, options).await, "", "{options}");
        }
        let nodes = reply(&monitor, "query-named-block-nodes", json!({"flat": true})).await;
        let mut named: Vec<&str> =
            nodes["return"].as_array().unwrap().iter().map(|node| node["file"].as_str().unwrap()).collect();
        named.reverse();
        assert_eq!(named, NAMED.iter().map(|(_, name)| *name).collect::<Vec<_>>());
    });
}

// A chain of filters: each name holds all names below it, and none is longer than QEMU's.
#[test]
fn a_long_name_is_cut_off() {
    with_monitor(async |monitor| {
        assert_eq!(add(&monitor, r#"{"driver":"null-co","node-name":"n0"}"#).await, "");
        for i in 1..200 {
            let options = json!({"driver": "copy-on-read", "node-name": format!("n{i}"), "file": format!("n{}", i - 1)});
            assert_eq!(add(&monitor, &options.to_string()).await, "");
        }
        let nodes = reply(&monitor, "query-named-block-nodes", json!({"flat": true})).await;
        let name = nodes["return"][0]["file"].as_str().unwrap();
        assert_eq!(name.len(), 4095);
        assert!(name.ends_with("..."), "{name}");
    });
}
