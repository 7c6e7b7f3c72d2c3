//! The recorded corpus as runs the model can follow: each case becomes a list of what was seen, in its order.

mod contents;
mod edges;
mod images;
mod reading;

pub use contents::Contents;
pub use images::images;
pub use reading::seen;

use model::{Broken, FaultKind, GuestOp, ImageSetup, Judge, Observation};
use serde_json::Value;

/// One recorded case.
pub struct Recording {
    pub name: String,
    pub case: Value,
    pub result: Value,
}

/// One thing seen, as the model takes it; contents are hashes until they are looked up.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Sent(String),
    Reply(String),
    Event(String),
    Fault(String),
    Connect {
        guest: u32,
        export: String,
    },
    Leave {
        guest: u32,
    },
    Begin {
        request: u64,
        guest: u32,
        op: Op,
    },
    End {
        request: u64,
        result: Result<Vec<u64>, String>,
    },
    /// A node's whole content.
    Node {
        node: String,
        hash: String,
    },
    /// An image after the end, with the chain its headers name.
    File {
        file: String,
        hash: Option<String>,
        chain: Vec<String>,
        corruptions: u64,
        leaks: u64,
    },
    Over,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Read(u64, u64),
    Write(u64, Vec<u64>),
    Zero(u64, u64),
    Discard(u64, u64),
    Flush,
}

/// Files whose cases the model is not shown. A copy of what was dirty alone is known by its hash only, which does not say what
/// stands where; the others are about options and drivers that the model does not look into, and are for engines.
#[rustfmt::skip]
const FOR_ENGINES: [&str; 8] = [
    "bitmap.jsonl.zst", "create.jsonl.zst", "image.jsonl.zst", "pause.jsonl.zst", "reopen.jsonl.zst", "serve.jsonl.zst",
    "stats.jsonl.zst", "transaction.jsonl.zst",
];
/// How the names of such cases begin in other files: their nodes take permissions that options give them, or an object has
/// options.
const NAMED_FOR_ENGINES: [&str; 2] = ["mirror-cancel-tight-", "schema-iothread-"];

/// Every recording of the corpus that the model is shown, by file and by name.
pub fn corpus() -> Vec<Recording> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "zst"));
    paths.retain(|path| path.file_name().is_some_and(|name| !FOR_ENGINES.iter().any(|file| name == *file)));
    paths.sort();
    let all = paths.into_iter().flat_map(|path| unpack(&std::fs::read(path).unwrap()));
    let is_for_engines =
        |recording: &Recording| NAMED_FOR_ENGINES.iter().any(|start| recording.name.starts_with(start));
    all.filter(|recording| !is_for_engines(recording)).collect()
}

/// Recordings of the jobs beside streams, of edits and of exports, made for the model alone.
pub fn jobs() -> Vec<Recording> {
    unpack(include_bytes!("jobs.jsonl.zst"))
}

fn unpack(packed: &[u8]) -> Vec<Recording> {
    let text = String::from_utf8(zstd::decode_all(packed).unwrap()).unwrap();
    text.lines().map(recording).collect()
}

/// Names and paths become such as the model knows from a running daemon.
fn recording(line: &str) -> Recording {
    let line = line.replace("$DIRNAME", "run").replace("$DIR", "/run");
    let line = match line.contains("\"#block1\"") {
        true => line.replace("#auto0", "#block1"),
        false => line.replace("#auto", "#block9"),
    };
    let mut value: Value = serde_json::from_str(&line).unwrap();
    let (case, result) = (value["case"].take(), value["result"].take());
    Recording { name: case["name"].as_str().unwrap().to_owned(), case, result }
}

/// A run of the model beside a recording.
pub struct Run<'a> {
    pub model: Judge,
    pub contents: &'a mut Contents,
    /// Sees what the model is shown, contents and all.
    pub listener: Option<&'a mut dyn FnMut(&Observation<'_>)>,
}

impl<'a> Run<'a> {
    pub fn new(images: &[ImageSetup], contents: &'a mut Contents) -> Run<'a> {
        Run { model: Judge::new(images), contents, listener: None }
    }

    /// Shows all of it to the model: the index at which it broke a law, and how.
    pub fn play(&mut self, seen: &[Seen]) -> Result<(), (usize, Broken)> {
        seen.iter()
            .enumerate()
            .try_for_each(|(index, seen)| self.show(seen).map_err(|broken| (index, broken)))
    }

    pub fn show(&mut self, seen: &Seen) -> Result<(), Broken> {
        match seen {
            Seen::Sent(text) => self.observe(&Observation::Sent { client: 1, text }),
            Seen::Reply(text) => self.observe(&Observation::Reply { client: 1, text }),
            Seen::Event(text) => self.observe(&Observation::Event { text }),
            Seen::Fault(error) => {
                self.observe(&Observation::FaultArmed { file: "", kind: FaultKind::Any, error })
            }
            Seen::Connect { guest, export } => {
                self.observe(&Observation::GuestConnected { guest: *guest, export })
            }
            Seen::Leave { guest } => self.observe(&Observation::GuestDetached { guest: *guest }),
            Seen::Begin { request, guest, op } => {
                let op = match op {
                    Op::Read(sector, count) => GuestOp::Read { sector: *sector, count: *count },
                    Op::Write(sector, values) => GuestOp::Write { sector: *sector, values, fua: false },
                    Op::Zero(sector, count) => GuestOp::WriteZeroes { sector: *sector, count: *count },
                    Op::Discard(sector, count) => GuestOp::Discard { sector: *sector, count: *count },
                    Op::Flush => GuestOp::Flush,
                };
                self.observe(&Observation::GuestBegan { request: *request, guest: *guest, op })
            }
            Seen::End { request, result } => {
                let result = result.as_ref().map(Vec::as_slice).map_err(String::as_str);
                self.observe(&Observation::GuestEnded { request: *request, result })
            }
            Seen::Node { node, hash } => {
                let Some(sectors) = self.model.sectors(node) else { return Ok(()) };
                let model = &self.model;
                let values = self.contents.of_hash(sectors, hash, |sector| model.readable(node, sector));
                self.observe(&Observation::View { node, values: &values })
            }
            Seen::File { file, hash, chain, corruptions, leaks } => {
                let sectors = self.model.image_sectors(file).unwrap_or(0);
                let model = &self.model;
                let values = match hash {
                    Some(hash) => {
                        self.contents.of_hash(sectors, hash, |sector| model.survivors(file, sector))
                    }
                    None => (0..sectors).map(|sector| model.survivors(file, sector)[0]).collect(),
                };
                let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
                self.observe(&Observation::Closed {
                    file,
                    values: &values,
                    chain: &chain,
                    check_corruptions: *corruptions,
                    check_leaks: *leaks,
                })
            }
            Seen::Over => self.observe(&Observation::End),
        }
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        if let Some(listener) = &mut self.listener {
            listener(observation);
        }
        self.model.observe(observation)
    }
}
