//! The laws that are judged beside the model: each follows what guests and clients ask for, and says itself what is wrong.

use super::bitmaps::Bitmaps;
use super::bounded::{Bounded, Seen};
use super::pace::Pace;
use super::snapshots::Snapshots;
use super::space::{Change, Space};
use super::thresholds::Thresholds;
use super::write::Write;
use crate::recovery::Recovered;
use crate::recovery::snapshots::held;
use crate::workload::image::Vouching;
use crate::workload::scenario::{Nodes, Scenario};
use midstream::content::Tag;
use midstream::world::disk::File;
use model::law::LawId;
use std::collections::BTreeMap;

/// A law that is broken, and how.
pub type Wrong = (LawId, String);

/// All of them.
#[derive(Debug)]
pub struct Beside {
    /// How far jobs have got whose guests never rest.
    bounded: Bounded,
    /// What guests have given back.
    space: Space,
    /// What guests have made dirty.
    bitmaps: Bitmaps,
    /// The marks past which writes are reported.
    thresholds: Thresholds,
    /// What internal snapshots hold.
    snapshots: Snapshots,
    /// How fast jobs with a speed copy.
    pace: Pace,
    /// What images hold whose autoclear bit vouches for it, by file.
    vouched: BTreeMap<String, Vec<Option<Tag>>>,
    /// How often such a bit was looked at.
    vouched_looks: u64,
    /// The name of each image's node.
    nodes: Vec<String>,
    /// Whether files see what is discarded.
    is_passed_on: bool,
}

impl Beside {
    /// Nothing has happened yet.
    pub fn new(scenario: &Scenario) -> Beside {
        let has_bitmap = |image: &usize| {
            scenario.images[*image].vouching == Vouching::Bitmap && !scenario.is_read_only(*image)
        };
        Beside {
            bounded: Bounded::default(),
            space: Space::default(),
            bitmaps: Bitmaps::of(
                (0..scenario.images.len()).filter(has_bitmap).map(|image| scenario.node(image)),
            ),
            vouched: vouched(scenario),
            vouched_looks: 0,
            thresholds: Thresholds::default(),
            snapshots: Snapshots::of(
                scenario
                    .images
                    .iter()
                    .filter(|image| image.features.snapshot)
                    .map(|image| (image.path.clone(), image.build(None))),
            ),
            pace: Pace::new(scenario),
            nodes: (0..scenario.images.len()).map(|image| scenario.node(image)).collect(),
            // A node without options of its own on the file discards as the node over it does.
            is_passed_on: scenario.nodes == Nodes::InlineFile,
        }
    }

    /// A client sends a command.
    pub fn sent(&mut self, client: u32, text: &str) {
        self.bounded.sent(client, text);
        self.space.sent(client, text);
        self.bitmaps.sent(client, text);
        self.thresholds.sent(client, text);
        self.snapshots.sent(client, text);
        self.pace.sent(client, text);
    }

    /// It is answered; `files` are the images as they are.
    pub fn reply(&mut self, client: u32, text: &str, files: &[File], now: u64) -> Option<Wrong> {
        self.bounded.reply(client, text);
        self.space.reply(client);
        self.thresholds.reply(client, text);
        if let Some((node, name)) = self.snapshots.reply(client, text)
            && let Some(image) = self.nodes.iter().position(|known| *known == node)
        {
            self.snapshots.made(&files[image].path, name, &files[image].bytes);
        }
        let missed = self.bitmaps.reply(client, text).map(|missed| (LawId::BitmapCovers, missed));
        let missed = missed.or_else(|| Bitmaps::beyond(text).map(|beyond| (LawId::QueryTruth, beyond)));
        missed.or_else(|| self.pace.reply(client, text, now).map(|fast| (LawId::SpeedHeld, fast)))
    }

    /// Whether anybody has tried to start a job.
    pub fn has_seen_jobs(&self) -> bool {
        self.bounded.has_seen_jobs()
    }

    /// An event, at a moment in nanoseconds.
    pub fn event(&mut self, text: &str, now: u64) -> Option<Wrong> {
        self.bitmaps.event(text);
        let marked = self.thresholds.event(text).map(|wrong| (LawId::ThresholdReported, wrong));
        marked.or_else(|| self.pace.event(text, now).map(|fast| (LawId::SpeedHeld, fast)))
    }

    /// A guest's request begins: the clusters that it changes.
    pub fn changes(&mut self, request: u64, change: Change) {
        self.space.began(request, change);
    }

    /// A guest's request begins: the bytes that it changes.
    pub fn writes(&mut self, request: u64, write: &Write) {
        self.bitmaps.began(request, write);
        self.thresholds.began(request, write);
        self.pace.written(&write.bytes);
    }

    /// Its guest's node stands on another one now: which of the two it has changed, nobody saw.
    pub fn writes_somewhere(&mut self, request: u64) {
        self.bitmaps.forget(request);
        self.thresholds.forget(request);
    }

    /// It has ended.
    pub fn ended(&mut self, request: u64, is_well: bool) -> Option<Wrong> {
        self.space.ended(request, is_well);
        self.bitmaps.ended(request, is_well);
        let unreported = self.thresholds.ended(request, is_well);
        unreported.map(|unreported| (LawId::ThresholdReported, unreported))
    }

    /// How far a job has got on a device of so many bytes, whose guests never rest.
    pub fn job_at(&mut self, seen: &Seen<'_>, device_bytes: u64) -> Option<Wrong> {
        self.bounded.look(seen, device_bytes).map(|outrun| (LawId::BoundedProgress, outrun))
    }

    /// What the file of an image has after any end.
    pub fn recovered(&mut self, image: usize, recovered: &Recovered) -> Option<Wrong> {
        let wrong = self.snapshots.wrong(&recovered.file, &recovered.snapshots);
        let wrong = wrong.map(|wrong| (LawId::SnapshotKept, wrong));
        let missed = self.bitmaps.recovered(&self.nodes[image], &recovered.bitmaps);
        let missed = missed.map(|missed| (LawId::BitmapCovers, missed));
        wrong.or(missed).or_else(|| self.untrue(recovered))
    }

    /// What the file of an image has after a clean end, without a fault.
    pub fn closed(&mut self, image: usize, recovered: &Recovered) -> Option<Wrong> {
        let missed = self.bitmaps.closed(&self.nodes[image], &recovered.bitmaps);
        let allocation = recovered.allocation.as_ref();
        let kept = allocation.and_then(|found| self.space.closed(&recovered.file, found, self.is_passed_on));
        let missed = missed.map(|missed| (LawId::BitmapCovers, missed));
        let kept = kept.map(|kept| (LawId::SpaceReturned, kept));
        missed.or(kept)
    }

    /// An autoclear bit that is there although what it vouched for has changed.
    fn untrue(&mut self, recovered: &Recovered) -> Option<Wrong> {
        let (vouched, found) = (self.vouched.get(&recovered.file)?, recovered.vouched.as_ref()?);
        self.vouched_looks += 1;
        // Whoever makes an image longer or shorter changes it, too.
        let differs = |sector: &usize| vouched.get(*sector) != found.get(*sector);
        let sector = (0..vouched.len().max(found.len())).find(differs)?;
        Some((
            LawId::AutoclearTrue,
            format!("{} has its bit, and sector {sector} has changed", recovered.file),
        ))
    }

    /// How often there was something to find.
    pub fn looks(&self, law: LawId) -> u64 {
        match law {
            LawId::BoundedProgress => self.bounded.looks(),
            LawId::SpaceReturned => self.space.looks(),
            LawId::BitmapCovers => self.bitmaps.looks(),
            LawId::SnapshotKept => self.snapshots.looks(),
            LawId::ThresholdReported => self.thresholds.looks(),
            LawId::AutoclearTrue => self.vouched_looks,
            LawId::SpeedHeld => self.pace.looks(),
            _ => 0,
        }
    }
}

/// What images hold at first that an autoclear bit vouches for, by file.
fn vouched(scenario: &Scenario) -> BTreeMap<String, Vec<Option<Tag>>> {
    if scenario.images.iter().all(|image| image.vouching != Vouching::Unknown) {
        return BTreeMap::new();
    }
    let files = scenario.files();
    let vouched = scenario.images.iter().zip(files).filter(|(image, _)| image.vouching == Vouching::Unknown);
    vouched.map(|(image, file)| (image.path.clone(), held(&file))).collect()
}
