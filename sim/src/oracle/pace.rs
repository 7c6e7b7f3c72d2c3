//! The law of speeds: a job that was started with a speed copies no faster.
//!
//! What a job says of its progress counts what it need not copy as well. So it is judged where the least that it must have
//! copied is known: a mirror counts nothing but copies, nor does a backup while guests change nothing; a stream or commit
//! that is the first command of its run copies what the layers it goes through had at the start, but for what guests have
//! written since. A change of speed, and any fault, ends the judging. The source of the bound is QEMU 10.0's `ratelimit.h`: slices of a tenth of a second, the first one free,
//! and what a slice was overdrawn by is waited for.

use super::asked::{after, name_of};
use super::bounded::starts;
use crate::workload::scenario::Scenario;
use midstream::content::SECTOR_BYTES;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Range;

/// How many chunks of a stream a mirror takes at a time in these worlds, and a backup.
pub const MIRROR_PIECE: u64 = 4;
/// The same of a backup.
pub const BACKUP_PIECE: u64 = 2;
/// Commands that change nothing which a job copies, and what the names of others begin with.
const HARMLESS: [&str; 3] = ["blockdev-add", "qmp_capabilities", "nbd-server-start"];
/// See `HARMLESS`.
const HARMLESS_KINDS: [&str; 4] = ["query-", "block-job-", "job-", "block-export-"];
/// The events that say something of how fast a job is have one of these words; most others have none.
const EVENTS: [&str; 6] = [
    r#""created""#,
    r#""running""#,
    r#""null""#,
    "BLOCK_JOB_READY",
    "BLOCK_JOB_COMPLETED",
    "BLOCK_JOB_CANCELLED",
];
/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;

/// A layer as it was at the start: which of its sectors it decides itself.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Layer {
    path: String,
    below: Option<usize>,
    decides: Vec<bool>,
}

/// A job with a speed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Job {
    /// Bytes a second.
    speed: u64,
    /// The most that it copies before it looks at its speed.
    piece_bytes: u64,
    /// Which sectors it must copy; nothing: all that it says it is through with.
    copies: Option<Vec<bool>>,
    /// Whether others change nothing about that.
    is_alone: bool,
    /// When it began to run, in nanoseconds.
    began: Option<u64>,
}

/// What is known of jobs with a speed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pace {
    layers: Vec<Layer>,
    nodes: Vec<String>,
    chunk_bytes: u64,
    /// Whether a command may have changed what a stream or commit must copy.
    is_changed: bool,
    /// The sectors of which guests may have changed that.
    written: Vec<bool>,
    /// Sectors of the largest cluster.
    cluster_sectors: u64,
    /// Jobs that clients want to start and have no answer yet, and what is known of those with a speed.
    starts: BTreeMap<u32, (Vec<String>, Option<Job>)>,
    jobs: BTreeMap<String, Job>,
    looks: u64,
}

impl Pace {
    /// Nothing has happened yet.
    pub fn new(scenario: &Scenario) -> Pace {
        let layer = |image: &crate::workload::image::Image| Layer {
            path: image.path.clone(),
            below: image.backing,
            decides: image.values().iter().map(Option::is_some).collect(),
        };
        let clusters = scenario.images.iter().map(|image| image.format.cluster_bytes());
        Pace {
            layers: scenario.images[..scenario.layers].iter().map(layer).collect(),
            nodes: (0..scenario.layers).map(|image| scenario.node(image)).collect(),
            chunk_bytes: scenario.stream_chunk_bytes,
            is_changed: !scenario.faults.is_empty(),
            written: Vec::new(),
            cluster_sectors: clusters.max().map_or(1, |bytes| bytes / SECTOR_BYTES as u64),
            starts: BTreeMap::new(),
            jobs: BTreeMap::new(),
            looks: 0,
        }
    }

    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        let name = name_of(text);
        if text.contains(r#""block-job-set-speed""#) {
            self.starts.values_mut().for_each(|(_, job)| *job = None);
            self.jobs.clear();
        }
        if HARMLESS.contains(&&*name) || HARMLESS_KINDS.iter().any(|kind| name.starts_with(kind)) {
            return;
        }
        let job = if text.contains(r#""speed":"#) { self.job(text) } else { None };
        self.changed();
        self.starts.insert(client, (starts(text), job));
    }

    /// From now on nobody knows what a stream or commit must copy.
    pub fn changed(&mut self) {
        self.is_changed = true;
        self.jobs.retain(|_, job| job.is_alone);
        for (_, job) in self.starts.values_mut() {
            *job = job.take().filter(|job| job.is_alone);
        }
    }

    /// A guest changes so many bytes: nobody knows any more what must be copied there.
    pub fn written(&mut self, bytes: &Range<u64>) {
        let cluster_bytes = self.cluster_bytes();
        let first = bytes.start / cluster_bytes * self.cluster_sectors;
        let end = bytes.end.div_ceil(cluster_bytes) * self.cluster_sectors;
        let touched = first as usize..end as usize;
        self.written.resize(self.written.len().max(touched.end), false);
        self.written[touched.clone()].fill(true);
        self.jobs.retain(|_, job| job.is_alone || job.copies.is_some());
        for copies in self.jobs.values_mut().filter_map(|job| job.copies.as_mut()) {
            let there = touched.start.min(copies.len())..touched.end.min(copies.len());
            copies[there].fill(false);
        }
    }

    fn cluster_bytes(&self) -> u64 {
        self.cluster_sectors * SECTOR_BYTES as u64
    }

    fn job(&self, text: &str) -> Option<Job> {
        let command: Value = serde_json::from_str(text).ok()?;
        let arguments = &command["arguments"];
        let speed = arguments["speed"].as_u64().filter(|speed| *speed > 0)?;
        let (copies, piece_bytes) = match command["execute"].as_str()? {
            // It takes whole chunks; how large they are where nobody says depends on the target.
            "blockdev-mirror" => {
                let chunk = arguments["granularity"].as_u64()?.max(self.cluster_bytes());
                (None, chunk.max(MIRROR_PIECE * self.chunk_bytes))
            }
            // What guests overwrite is saved at no speed.
            "blockdev-backup" if arguments["sync"] == "full" => {
                (None, self.cluster_bytes().max(BACKUP_PIECE * self.chunk_bytes))
            }
            "block-stream" if !self.is_changed => (Some(self.streamed(arguments)?), self.chunk_bytes),
            // An active commit is a mirror.
            "block-commit" if self.is_active(arguments) => return None,
            "block-commit" if !self.is_changed => (Some(self.committed(arguments)?), self.chunk_bytes),
            _ => return None,
        };
        let is_alone = copies.is_none() && command["execute"] != "blockdev-backup";
        Some(Job { speed, piece_bytes, copies, is_alone, began: None })
    }

    fn node(&self, name: &Value) -> Option<usize> {
        self.nodes.iter().position(|node| Some(node.as_str()) == name.as_str())
    }

    /// What a stream into a layer takes from the layers between it and its base.
    fn streamed(&self, arguments: &Value) -> Option<Vec<bool>> {
        let target = self.node(&arguments["device"])?;
        let base = match (&arguments["base-node"], &arguments["base"], &arguments["bottom"]) {
            (Value::Null, Value::Null, Value::Null) => None,
            (Value::Null, Value::Null, bottom) => self.layers[self.node(bottom)?].below,
            (Value::Null, path, _) => {
                self.layers.iter().position(|layer| Some(&*layer.path) == path.as_str())
            }
            (base, ..) => Some(self.node(base)?),
        };
        let taken = self.decided(self.layers[target].below?, base)?;
        let own = &self.layers[target].decides;
        Some(taken.iter().zip(own).map(|(taken, own)| *taken && !own).collect())
    }

    /// What a commit takes from the layers above its base, from its top on.
    fn committed(&self, arguments: &Value) -> Option<Vec<bool>> {
        let top = self.node(&arguments["top-node"])?;
        let base = match (&arguments["base-node"], &arguments["base"]) {
            (Value::Null, Value::Null) => None,
            (base, _) => Some(self.node(base)?),
        };
        let base = base.or_else(|| self.below(top).last())?;
        self.decided(top, Some(base))
    }

    fn is_active(&self, arguments: &Value) -> bool {
        let names_top = !arguments["top-node"].is_null() || !arguments["top"].is_null();
        !names_top || arguments["top-node"] == arguments["device"]
    }

    fn below(&self, layer: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(layer), |layer| self.layers[*layer].below)
    }

    /// What the layers from `first` down to the one above `end` decide; nothing, if they are not all as long.
    fn decided(&self, first: usize, end: Option<usize>) -> Option<Vec<bool>> {
        let mut decided = vec![false; self.layers[first].decides.len()];
        for layer in self.below(first).take_while(|layer| Some(*layer) != end) {
            let own = &self.layers[layer].decides;
            if own.len() != decided.len() {
                return None;
            }
            decided.iter_mut().zip(own).for_each(|(decided, own)| *decided |= own);
        }
        let is_there = end.is_none_or(|end| self.below(first).any(|layer| layer == end));
        let is_as_long = end.is_none_or(|end| self.layers[end].decides.len() == decided.len());
        (is_there && is_as_long).then_some(decided)
    }

    /// An event, at a moment in nanoseconds. Says how it breaks the law, if it does.
    pub fn event(&mut self, text: &str, now: u64) -> Option<String> {
        if self.jobs.is_empty() && self.starts.is_empty()
            || EVENTS.iter().all(|word| after(text, word).is_none())
        {
            return None;
        }
        let event: Value = serde_json::from_str(text).ok()?;
        let data = &event["data"];
        match event["event"].as_str()? {
            "JOB_STATUS_CHANGE" if data["status"] == "created" => {
                self.created(data["id"].as_str()?);
                None
            }
            "JOB_STATUS_CHANGE" if data["status"] == "running" => {
                let job = self.jobs.get_mut(data["id"].as_str()?)?;
                job.began.get_or_insert(now);
                None
            }
            "JOB_STATUS_CHANGE" if data["status"] == "null" => {
                self.jobs.remove(data["id"].as_str()?);
                None
            }
            "BLOCK_JOB_READY" | "BLOCK_JOB_COMPLETED" | "BLOCK_JOB_CANCELLED" => {
                let id = data["device"].as_str()?;
                let wrong = self.look(id, data["offset"].as_u64()?, now);
                // A mirror that is in step has no speed.
                self.jobs.remove(id);
                wrong
            }
            _ => None,
        }
    }

    /// A job was made. Where two clients want one of that name, nobody knows whose it is.
    fn created(&mut self, id: &str) {
        self.jobs.remove(id);
        let mut wanted = self.starts.values().filter(|(wanted, _)| wanted.iter().any(|wanted| wanted == id));
        if let (Some((_, Some(job))), None) = (wanted.next(), wanted.next()) {
            let mut job = job.clone();
            let known = job.copies.iter_mut().flatten().zip(&self.written);
            known.for_each(|(copied, written)| *copied &= !written);
            self.jobs.insert(id.to_owned(), job);
        }
    }

    /// A command is answered; if it is a query of jobs, that is a look. Says how it breaks the law, if it does.
    pub fn reply(&mut self, client: u32, text: &str, now: u64) -> Option<String> {
        self.starts.remove(&client);
        if self.jobs.is_empty() || !text.contains(r#""io-status""#) {
            return None;
        }
        let reply: Value = serde_json::from_str(text).ok()?;
        let jobs = reply["return"].as_array()?;
        jobs.iter().find_map(|job| self.look(job["device"].as_str()?, job["offset"].as_u64()?, now))
    }

    fn look(&mut self, id: &str, offset: u64, now: u64) -> Option<String> {
        let job = self.jobs.get(id)?;
        let took = now.checked_sub(job.began?)?;
        let sector_bytes = SECTOR_BYTES as u64;
        let copied = match &job.copies {
            None => offset,
            Some(copies) => {
                let through = copies.iter().take((offset / sector_bytes) as usize);
                through.filter(|is_copied| **is_copied).count() as u64 * sector_bytes
            }
        };
        self.looks += 1;
        // A job may look at its speed after a slice was opened, and be through with one more piece.
        let in_time = (u128::from(job.speed) * u128::from(took) / SECOND) as u64;
        let most = in_time + job.speed / 10 + 2 * job.piece_bytes;
        (copied > most).then(|| {
            let Job { speed, .. } = job;
            format!("job {id}, with a speed of {speed}, copied {copied} bytes within {took} ns of virtual time, and {most} are the most")
        })
    }

    /// How often somebody looked.
    pub fn looks(&self) -> u64 {
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::image::Cluster;

    const SECTOR: u64 = SECTOR_BYTES as u64;

    /// A base with data in every cluster, and a top with nothing.
    fn pace() -> Pace {
        let mut scenario = Scenario::chain(&["dddddddddddddddd", "................"]);
        scenario.stream_chunk_bytes = SECTOR;
        assert!(scenario.images[0].clusters.iter().all(|cluster| *cluster == Cluster::Data));
        Pace::new(&scenario)
    }

    fn status(pace: &mut Pace, status: &str, now: u64) -> Option<String> {
        pace.event(
            &format!(r#"{{"event": "JOB_STATUS_CHANGE", "data": {{"status": "{status}", "id": "j"}}}}"#),
            now,
        )
    }

    fn ended(pace: &mut Pace, offset: u64, now: u64) -> Option<String> {
        let data =
            format!(r#"{{"device": "j", "len": 1, "offset": {offset}, "speed": 5120, "type": "any"}}"#);
        pace.event(&format!(r#"{{"event": "BLOCK_JOB_COMPLETED", "data": {data}}}"#), now)
    }

    fn start(pace: &mut Pace, command: &str, more: &str) {
        let text = format!(
            r#"{{"execute":"{command}","arguments":{{"device":"n1","job-id":"j","speed":5120{more}}}}}"#
        );
        pace.sent(1, &text);
        status(pace, "created", 0);
        status(pace, "running", 0);
        pace.reply(1, r#"{"return": {}}"#, 0);
    }

    // Ten sectors a second: one in the first slice, one more, and one that is on its way.
    #[test]
    fn a_job_that_copies_more_than_its_speed_lets_it_is_seen() {
        for (command, more) in [("block-stream", ""), ("block-stream", r#","bottom":"n0""#)] {
            let mut fast = pace();
            start(&mut fast, command, more);
            assert!(ended(&mut fast, 16 * SECTOR, 1_200_000_000).is_some());
            assert_eq!(fast.looks(), 1);
            let mut right = pace();
            start(&mut right, command, more);
            assert_eq!(ended(&mut right, 16 * SECTOR, 1_300_000_000), None);
        }
    }

    #[test]
    fn what_a_job_need_not_copy_costs_it_nothing() {
        let mut pace = pace();
        start(&mut pace, "block-stream", r#","base-node":"n0""#);
        assert_eq!((ended(&mut pace, 16 * SECTOR, 0), pace.looks()), (None, 1), "there is nothing between");
    }

    #[test]
    fn nobody_knows_the_least_once_a_guest_has_written_or_the_speed_was_another() {
        let mut written = pace();
        written.written(&(0..12 * SECTOR));
        start(&mut written, "block-stream", "");
        written.written(&(14 * SECTOR..16 * SECTOR));
        assert_eq!((ended(&mut written, 16 * SECTOR, 0), written.looks()), (None, 1));
        let mut changed = pace();
        start(&mut changed, "block-stream", "");
        changed.sent(2, r#"{"execute":"block-job-set-speed","arguments":{"device":"j","speed":0}}"#);
        assert_eq!((ended(&mut changed, 16 * SECTOR, 0), changed.looks()), (None, 0));
    }

    #[test]
    fn of_two_that_want_one_name_nobody_knows_whose_job_it_is() {
        let mut pace = pace();
        pace.sent(2, r#"{"execute":"block-stream","arguments":{"device":"n1","job-id":"j","speed":1}}"#);
        start(&mut pace, "blockdev-mirror", "");
        assert_eq!((ended(&mut pace, 16 * SECTOR, 0), pace.looks()), (None, 0));
    }
}
