//! The bytes of a QMP client, to an engine with a chain `base <- top` to start jobs on.
//!
//! Every line that comes back is an event, or a reply of one of the two kinds; and the client is never lost, so that what is
//! asked at the end is answered.

use block::engine::{Engine, Tuning};
use block::format::qcow2::{BackingName, CreateOptions, Qcow2};
use block::qmp::Monitor;
use hostile::qmp_text::{PROBE, PROBED};
use midstream::choice::Point;
use midstream::world::disk::{Disks, File};
use midstream::world::host::SimHost;
use midstream::world::scheduler::{Rest, STEPS_MAX, Scheduler};
use seam::{Host, OpenMode};
use serde_json::Value;
use std::sync::Arc;

/// More bytes are no more kinds of commands.
const BYTES_MAX: usize = 1 << 12;
/// What images may make the engine hold in memory.
const MEMORY_BYTES: u64 = 64 << 20;
const SIZE: u64 = 64 << 10;

/// The names that inputs speak of.
const OPENINGS: [&str; 3] = [
    r#"{"execute":"qmp_capabilities"}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"qcow2","node-name":"base","file":{"driver":"file","filename":"/base"}}}"#,
    r#"{"execute":"blockdev-add","arguments":{"driver":"qcow2","node-name":"top","backing":"base","file":{"driver":"file","filename":"/top"}}}"#,
];

/// Sends these bytes.
pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let piece = bytes.first().map_or(1, |byte| usize::from(*byte) % 64 + 1);
    let lines = lines(bytes, piece);
    let is_answered = lines.iter().any(|line| line.contains(PROBED));
    assert!(is_answered || has_quit(bytes), "what is asked at the end is answered");
    for line in &lines {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let kinds = ["QMP", "return", "error", "event"];
        assert_eq!(kinds.iter().filter(|kind| value.get(**kind).is_some()).count(), 1, "{line}");
    }
}

/// Whether the client may have said goodbye: after that nothing is answered.
fn has_quit(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|word| word == b"quit") || bytes.contains(&b'\\')
}

/// What comes back of these bytes, in pieces of such a length.
fn lines(bytes: &[u8], piece: usize) -> Vec<String> {
    let host = SimHost::new(Disks::new(vec![
        File::new("/base", Vec::new()),
        File::new("/top", Vec::new()),
        File::new("/raw", vec![0; SIZE as usize]),
    ]));
    let tuning = Tuning { stream_chunk_bytes: 4096, memory_bytes: MEMORY_BYTES, ..Tuning::default() };
    let engine = Engine::new(Arc::new(host.clone()), tuning);
    let monitor = Monitor::new(engine);
    let mut scheduler = Scheduler::new(host.clone());
    let (sends, bytes) = (monitor.clone(), bytes.to_vec());
    let client = async move {
        format(&host).await;
        for opening in OPENINGS {
            let reply = sends.execute(opening).await.expect("a whole command");
            assert!(reply.contains("return"), "{reply}");
        }
        for piece in bytes.chunks(piece).chain([PROBE]) {
            sends.receive(piece).await;
        }
    };
    let client = scheduler.spawn(Point::new("client", [0; 3]), Box::pin(client));
    let mut lines = Vec::new();
    // What waits to be sent is taken all the time, or the engine waits for us, rightly.
    for _ in 0..STEPS_MAX {
        let rest = scheduler.run(&[client], 1, None);
        lines.extend(std::iter::from_fn(|| monitor.try_output()));
        match rest {
            Rest::Done => return lines,
            Rest::Bound => {}
            Rest::Idle | Rest::Halted => break,
        }
    }
    panic!("the client's commands do not end");
}

async fn format(host: &SimHost) {
    for (path, below) in [("/base", None), ("/top", Some("/base"))] {
        let disk = host.open(path, OpenMode::ReadWrite).await.expect("the file is there");
        let backing =
            below.map(|file: &str| BackingName { file: file.to_owned(), format: Some("qcow2".to_owned()) });
        let options = CreateOptions { len_bytes: SIZE, cluster_bits: 9, backing, ..CreateOptions::default() };
        Qcow2::create(&disk, &options).await.expect("there is room");
    }
}
