//! A small notation for runs, so that a test reads as what happened.
//!
//! ```text
//! > 1 job-cancel id=j            client 1 sends a command
//! < 1 ok                         client 1 gets a success
//! < 1 Job not found              client 1 gets an error (class GenericError)
//! < 1 {"return": ...}            client 1 gets this
//! < 1 [DeviceNotActive] ...      client 1 gets an error of that class
//! ! j running                    job j changes its status
//! ! j completed 8                ... reports its completion, at 8 sectors
//! ! j failed 2 Input/output error
//! ! j cancelled 2 | pending-reported | error report
//! !! {"event": ...}              any other event, as it is
//! attach 7 top rw                guest 7 is put on a node; detach 7
//! write r1 7 3 w5 w6             guest 7 begins to write sectors 3 and 4; read r1 7 3 2; zero; discard; flush r1 7
//! end r1 w5 w6                   a request ends, with what it read; fail r1 Input/output error
//! fault mid.img Input/output error
//! view top w1 w2 ...             the whole node, at rest
//! crash
//! recovered top.img top.img,base.img w1 w2 ...      after the crash, with its chain
//! over
//! ```

use model::{Broken, CrashKind, FaultKind, Format, GuestOp, ImageSetup, Judge, Observation};
use serde_json::{Map, Value, json};

/// Sectors of a layer, unless the chain says otherwise.
pub const SECTORS: u64 = 8;

/// A chain like `base <- mid:4 <- top`: the number is a length in sectors. Layer `i` decides its sectors `2i` and
/// `2i + 1` with the values `10(i + 1)` and `10(i + 1) + 1`; the base decides every other sector it has, as 1. Another
/// chain follows after ` | `; its layers are counted on.
pub struct Run {
    pub model: Judge,
}

impl Run {
    /// Opens chains: the last node of each writable, the others read-only.
    pub fn open(chains: &str) -> Run {
        let mut images: Vec<ImageSetup> = Vec::new();
        let layers = chains.split(" | ").flat_map(|chain| (0u64..).zip(chain.split(" <- ")));
        for (index, (depth, layer)) in (0u64..).zip(layers) {
            let (name, length) = layer.split_once(':').unwrap_or((layer, "8"));
            let length: u64 = length.parse().unwrap();
            let mine = |s: u64| s / 2 == index;
            let owned = (0..length).filter(|s| depth == 0 || mine(*s));
            let value = |s: u64| if mine(s) { 10 * (index + 1) + s % 2 } else { 1 };
            images.push(ImageSetup {
                file: format!("{name}.img"),
                format: Format::Qcow2,
                size_bytes: length * 512,
                cluster_bytes: 1024,
                bitmaps: false,
                subclusters: false,
                backing: images.last().filter(|_| depth > 0).map(|image: &ImageSetup| image.file.clone()),
                own: owned.map(|s| (s, value(s))).collect(),
            });
        }
        let mut run = Run { model: Judge::new(&images) };
        for (index, image) in images.iter().enumerate() {
            let name = image.file.trim_end_matches(".img");
            let backing = image.backing.as_ref().map(|file| file.trim_end_matches(".img").to_owned());
            let arguments = json!({
                "driver": "qcow2", "node-name": name, "backing": backing, "read-only": images.get(index + 1).is_some_and(|above| above.backing.is_some()),
                "file": {"driver": "file", "filename": image.file},
            });
            let text = json!({"execute": "blockdev-add", "arguments": arguments}).to_string();
            run.model.observe(&Observation::Sent { client: 0, text: &text }).unwrap();
            run.model.observe(&Observation::Reply { client: 0, text: r#"{"return": {}}"# }).unwrap();
        }
        run
    }

    /// Plays lines until one breaks a law.
    pub fn play(&mut self, script: &str) -> Result<(), Broken> {
        let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.into_iter().try_for_each(|line| self.step(line))
    }

    fn step(&mut self, line: &str) -> Result<(), Broken> {
        let words: Vec<&str> = line.split(' ').collect();
        let rest = |from: usize| words[from..].join(" ");
        let request = || words[1].trim_start_matches('r').parse::<u64>().unwrap();
        match words[0] {
            ">" => {
                let text = command(words[2], &words[3..]);
                self.model.observe(&Observation::Sent { client: words[1].parse().unwrap(), text: &text })
            }
            "<" => {
                let text = reply(&rest(2));
                self.model.observe(&Observation::Reply { client: words[1].parse().unwrap(), text: &text })
            }
            "!" => {
                let text = event(words[1], words[2], &words[3..]);
                self.model.observe(&Observation::Event { text: &text })
            }
            "!!" => self.model.observe(&Observation::Event { text: &rest(1) }),
            "attach" => self.model.observe(&Observation::GuestAttached {
                guest: words[1].parse().unwrap(),
                node: words[2],
                writable: words[3] == "rw",
            }),
            "detach" => self.model.observe(&Observation::GuestDetached { guest: words[1].parse().unwrap() }),
            "write" | "fua" | "read" | "zero" | "discard" | "flush" => self.begin(&words, request()),
            "end" => {
                let values = values(&words[2..]);
                self.model.observe(&Observation::GuestEnded { request: request(), result: Ok(&values) })
            }
            "fail" => {
                let error = rest(2);
                self.model.observe(&Observation::GuestEnded { request: request(), result: Err(&error) })
            }
            "struck" => {
                let error = rest(2);
                let kind = FaultKind::Any;
                self.model.observe(&Observation::FaultStruck { file: words[1], kind, error: &error })
            }
            "fault" => {
                let error = rest(2);
                let kind = FaultKind::Any;
                self.model.observe(&Observation::FaultArmed { file: words[1], kind, error: &error })
            }
            "view" => self.model.observe(&Observation::View { node: words[1], values: &values(&words[2..]) }),
            "crash" => self.model.observe(&Observation::Crash { kind: CrashKind::PowerCut }),
            "recovered" => self.model.observe(&Observation::Recovered {
                file: words[1],
                values: &values(&words[3..]),
                chain: &words[2].split(',').collect::<Vec<_>>(),
                check_corruptions: 0,
            }),
            "over" => self.model.observe(&Observation::End),
            other => panic!("no such line: {other}"),
        }
    }

    fn begin(&mut self, words: &[&str], request: u64) -> Result<(), Broken> {
        let guest = words[2].parse().unwrap();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let written = if ["write", "fua"].contains(&words[0]) { values(&words[4..]) } else { Vec::new() };
        let op = match words[0] {
            "write" => GuestOp::Write { sector: number(3), values: &written, fua: false },
            "fua" => GuestOp::Write { sector: number(3), values: &written, fua: true },
            "read" => GuestOp::Read { sector: number(3), count: number(4) },
            "zero" => GuestOp::WriteZeroes { sector: number(3), count: number(4) },
            "discard" => GuestOp::Discard { sector: number(3), count: number(4) },
            _ => GuestOp::Flush,
        };
        self.model.observe(&Observation::GuestBegan { request, guest, op })
    }
}

fn values(words: &[&str]) -> Vec<u64> {
    let value = |word: &&str| if *word == "garbage" { u64::MAX } else { word[1..].parse().unwrap() };
    words.iter().map(value).collect()
}

fn command(name: &str, arguments: &[&str]) -> String {
    let mut members = Map::new();
    for argument in arguments {
        let (member, text) = argument.split_once('=').unwrap();
        members.insert(member.into(), serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)));
    }
    json!({"execute": name, "arguments": members}).to_string()
}

fn reply(text: &str) -> String {
    if text == "ok" {
        return json!({"return": {}}).to_string();
    }
    if text.starts_with('{') {
        return text.to_owned();
    }
    let classed = text.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    let (class, text) = classed.unwrap_or(("GenericError", text));
    json!({"error": {"class": class, "desc": text}}).to_string()
}

fn event(job: &str, news: &str, rest: &[&str]) -> String {
    let progress = || {
        let offset: u64 = rest[0].parse::<u64>().unwrap() * 512;
        let len = if offset == 0 && news == "completed" { 0 } else { SECTORS * 512 };
        json!({"type": "stream", "device": job, "offset": offset, "len": len, "speed": 0})
    };
    let (event, data) = match news {
        "completed" => ("BLOCK_JOB_COMPLETED", progress()),
        "cancelled" => ("BLOCK_JOB_CANCELLED", progress()),
        "failed" => {
            let mut data = progress();
            data["error"] = rest[1..].join(" ").into();
            ("BLOCK_JOB_COMPLETED", data)
        }
        "pending-reported" => ("BLOCK_JOB_PENDING", json!({"type": "stream", "id": job})),
        "error" => ("BLOCK_JOB_ERROR", json!({"device": job, "operation": "read", "action": rest[0]})),
        status => ("JOB_STATUS_CHANGE", json!({"id": job, "status": status})),
    };
    json!({"event": event, "data": data}).to_string()
}
