//! Hostile images, opened and used: looked at, read and written by a guest, copied by a job, changed in form, closed.

use super::monitor::execute;
use super::victim::Victim;
use crate::live::qmp::{Lost, Qmp};
use hostile::nbd::{FLAGS, named, option, request};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

const SECTOR_BYTES: u64 = 512;
/// So long a guest waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// More of an image is not copied: its size may be anything.
const TARGET_BYTES_MAX: u64 = 1 << 30;

/// Opens and uses images, one after the other. Gives how many were tried.
pub(super) fn images(victim: &Victim, inputs: &[Vec<u8>]) -> Result<usize, String> {
    let mut qmp = victim.monitor()?;
    for (number, input) in inputs.iter().enumerate() {
        let path = victim.path("i.qcow2");
        fs::write(&path, input).map_err(|error| error.to_string())?;
        match image(victim, &mut qmp, number % 2 == 0) {
            Ok(()) => {}
            // A hostile image may be slow to its own client, as long as nobody else waits.
            Err(Lost::Silent) => return Ok(number + 1),
            Err(lost) => return Err(format!("the monitor was lost: {lost}")),
        }
        let _stays = fs::remove_file(&path);
    }
    Ok(inputs.len())
}

fn image(victim: &Victim, qmp: &mut Qmp, writable: bool) -> Result<(), Lost> {
    let mut run = |name: &str, arguments: Value| -> Result<Value, Lost> {
        let reply = execute(qmp, &json!({"execute": name, "arguments": arguments}).to_string())?;
        Ok(serde_json::from_str(&reply).unwrap_or_default())
    };
    let file = json!({"driver": "file", "filename": "i.qcow2", "discard": "unmap"});
    let node = json!({"driver": "qcow2", "node-name": "i", "read-only": !writable, "discard": "unmap", "file": file});
    if run("blockdev-add", node)?.get("error").is_some() {
        return Ok(());
    }
    let nodes = run("query-named-block-nodes", json!({}))?;
    let all = nodes["return"].as_array().cloned().unwrap_or_default();
    let this = all.iter().find(|node| node["node-name"] == "i");
    let len = this.and_then(|node| node["image"]["virtual-size"].as_u64()).unwrap_or(0);
    run("block-export-add", json!({"type": "nbd", "id": "i", "node-name": "i", "writable": writable}))?;
    guest(victim, len);
    run("block-export-del", json!({"id": "i", "mode": "hard"}))?;
    let target_len = len.min(TARGET_BYTES_MAX);
    run("blockdev-add", json!({"driver": "null-co", "node-name": "null", "size": target_len}))?;
    let job = json!({"job-id": "i", "device": "i", "target": "null", "sync": "full", "auto-dismiss": false});
    run("blockdev-backup", job)?;
    if writable {
        run("block-dirty-bitmap-remove", json!({"node": "i", "name": "one"}))?;
        run("block-dirty-bitmap-add", json!({"node": "i", "name": "new", "persistent": true}))?;
        run("blockdev-snapshot-internal-sync", json!({"device": "i", "name": "new"}))?;
        run("blockdev-snapshot-delete-internal-sync", json!({"device": "i", "name": "kept"}))?;
    }
    end_job(&mut run)?;
    if writable {
        run("block_resize", json!({"node-name": "i", "size": (len / 2) & !(SECTOR_BYTES - 1)}))?;
        run(
            "block_resize",
            json!({"node-name": "i", "size": len.saturating_add(1 << 16) & !(SECTOR_BYTES - 1)}),
        )?;
        run("change-backing-file", json!({"device": "i", "image-node-name": "i", "backing-file": "base"}))?;
    }
    run("blockdev-del", json!({"node-name": "null"}))?;
    run("blockdev-del", json!({"node-name": "i"}))?;
    Ok(())
}

/// Lets the copy go on for a moment, then gives it up.
fn end_job(run: &mut impl FnMut(&str, Value) -> Result<Value, Lost>) -> Result<(), Lost> {
    let began = Instant::now();
    while began.elapsed() < TIMEOUT {
        let jobs = run("query-jobs", json!({}))?;
        let job =
            jobs["return"].as_array().and_then(|jobs| jobs.iter().find(|job| job["id"] == "i").cloned());
        match job.as_ref().and_then(|job| job["status"].as_str()) {
            None => return Ok(()),
            Some("concluded") => {
                run("job-dismiss", json!({"id": "i"}))?;
            }
            Some(_) if began.elapsed() > TIMEOUT / 20 => {
                run("job-cancel", json!({"id": "i"}))?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Reads, writes, zeroes, discards, asks what is allocated, and flushes: at the start, in the middle, at the end.
fn guest(victim: &Victim, len: u64) {
    let Ok(mut stream) = victim.nbd() else { return };
    let mut session = [&FLAGS[..], &option(8, &[])].concat();
    let context = named("i", &[&1_u32.to_be_bytes()[..], &15_u32.to_be_bytes(), b"base:allocation"].concat());
    session.extend([option(10, &context), option(7, &named("i", &[0, 0]))].concat());
    let last = len.saturating_sub(1 << 16) / SECTOR_BYTES * SECTOR_BYTES;
    for offset in [0, len / 2 / SECTOR_BYTES * SECTOR_BYTES, last] {
        let count = (len - offset).min(1 << 16) as u32;
        let written = count.min(3000);
        session.extend(request(0, 0, offset, count, &[]));
        session.extend(request(7, 0, offset, count, &[]));
        session.extend(request(1, 0, offset, written, &vec![5; written as usize]));
        session.extend(request(6, 0, offset, count.min(5000), &[]));
        session.extend(request(4, 0, offset, count, &[]));
        session.extend(request(3, 0, 0, 0, &[]));
        session.extend(request(0, 0, offset, count, &[]));
    }
    session.extend(request(2, 0, 0, 0, &[]));
    let set = stream.set_read_timeout(Some(TIMEOUT)).and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
    if set.is_ok() && stream.write_all(&session).is_ok() {
        // The server closes after the last request; one that waits longer is given up.
        let _answers = stream.read_to_end(&mut Vec::new());
    }
}
