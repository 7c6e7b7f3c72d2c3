//! QMP as bytes: commands that were sound, cut, doubled and spliced; and noise made of what the language is made of.

use crate::random::Random;

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

/// What ends whatever was left open, outside of a string and inside, and asks something that must be answered; the answer
/// has `PROBED` in it, and no other has.
pub const PROBE: &[u8] = b"\n@\n\"\n{'execute':'query-version','id':'probe'}";
/// See `PROBE`.
pub const PROBED: &str = r#""id": "probe""#;

/// A command that was sound once.
pub fn mutated_command(random: &mut Random) -> Vec<u8> {
    let mut bytes = random.pick(COMMANDS).as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.index(bytes.len() + 1);
        let to = bytes.len().min(at + random.index(6));
        match random.below(4) {
            0 => drop(bytes.splice(at..at, random.pick(PIECES).iter().copied())),
            1 => drop(bytes.drain(at..to)),
            2 => drop(bytes.splice(at..to, random.pick(PIECES).iter().copied())),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// So many pieces of the language, in no order.
pub fn noise(pieces: usize, random: &mut Random) -> Vec<u8> {
    (0..pieces).flat_map(|_| *random.pick(PIECES)).copied().collect()
}

/// Bytes of any kind: mutated commands, noise, and now and then one piece over and over.
pub fn bytes(random: &mut Random) -> Vec<u8> {
    match random.below(16) {
        0 => random.pick(PIECES).repeat(1 << random.below(18)),
        1..=3 => noise(64, random),
        _ => mutated_command(random),
    }
}
