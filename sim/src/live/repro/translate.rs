//! What a record did, in the words of a script: names and sizes that a person would choose.

use super::super::action::Action;
use super::super::judge::STUCK;
use super::super::script::{Defect, NoScript};
use super::super::second_reader::READERS_DIFFER;
use super::super::sequence::Record;
use super::iotest::JOB_ERROR;
use super::nodes::start_with_nodes;
use super::shell::size;
use super::{Control, Image, Repro, Shows, Step};
use crate::workload::image::{self, Cluster, Format};
use midstream::content::{SECTOR_BYTES, Tag, name_in};
use midstream::request::Operation;
use midstream::trace::verdict_text;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What `qemu-img create` makes when nobody asks for another size.
const COMMON_CLUSTER_BYTES: u64 = 64 << 10;
/// The first pattern of guests' writes; those of images are smaller.
const PATTERN_OF_GUESTS: usize = 0xa0;
/// Members of arguments that are a number of bytes.
const BYTES: [&str; 8] =
    ["speed", "size", "write-threshold", "granularity", "buf-size", "offset", "cluster-size", "len"];
/// What a command that must be refused is called.
pub(super) const MUST_FAIL: &str = "must-fail";

/// How a sequence is translated.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Manner {
    /// So large that the largest cluster is of the common size; else as large as it was.
    is_common: bool,
    /// A job with a speed is as slow as can be, so that it still runs when somebody has had time to look; else as slow as
    /// it was.
    is_slow: bool,
    /// Jobs get time after every command; else where they had time.
    is_patient: bool,
}

/// All of them, the most readable first.
pub(super) const MANNERS: [Manner; 6] = [
    Manner { is_common: true, is_slow: true, is_patient: false },
    Manner { is_common: true, is_slow: false, is_patient: false },
    Manner { is_common: true, is_slow: false, is_patient: true },
    Manner { is_common: false, is_slow: true, is_patient: false },
    Manner { is_common: false, is_slow: false, is_patient: false },
    Manner { is_common: false, is_slow: false, is_patient: true },
];

/// The first translation; nobody has seen yet whether it shows anything.
pub(super) fn repro(record: &Record, manner: Manner) -> Result<Repro, NoScript> {
    let translation = Translation::new(record, manner);
    let mut steps = translation.steps()?;
    let Sought { shows, control, look } = match translation.unreadable() {
        Some(Shows::Unreadable { file }) => {
            let control = Control::ChecksBefore { file: file.clone() };
            Sought { control, ..Sought::never_right(Shows::Unreadable { file }) }
        }
        Some(shows) => Sought::never_right(shows),
        None => translation.sought(&Defect::of(record)?, &mut steps)?,
    };
    let mut repro = Repro { images: translation.images(), nodes: Vec::new(), steps, shows, control, look };
    start_with_nodes(&mut repro);
    Ok(repro)
}

/// What a script looks for, and what that is held against.
struct Sought {
    shows: Shows,
    control: Control,
    look: String,
}

impl Sought {
    fn never_right(shows: Shows) -> Sought {
        Sought { shows, control: Control::Needless, look: String::new() }
    }

    fn without_control(shows: Shows) -> Sought {
        Sought { shows, control: Control::Missing, look: String::new() }
    }
}

struct Translation<'a> {
    record: &'a Record,
    /// So many times larger is everything.
    factor: u64,
    manner: Manner,
    names: Vec<(String, String)>,
    patterns: BTreeMap<Tag, usize>,
}

impl<'a> Translation<'a> {
    fn new(record: &'a Record, manner: Manner) -> Translation<'a> {
        let clusters = record.scenario.images.iter().map(|image| image.format.cluster_bytes());
        let larger = COMMON_CLUSTER_BYTES / clusters.max().unwrap_or(COMMON_CLUSTER_BYTES);
        let factor = if manner.is_common { larger } else { 1 };
        let mut patterns = BTreeMap::new();
        for action in &record.actions {
            if let Action::Request { operation: Operation::Write, tag, .. } = action {
                let next = PATTERN_OF_GUESTS + patterns.len();
                patterns.entry(*tag).or_insert(next);
            }
        }
        Translation { record, factor: factor.max(1), manner, names: names(record), patterns }
    }

    fn bytes(&self, sectors: u64) -> u64 {
        sectors * SECTOR_BYTES as u64 * self.factor
    }

    /// A place as `qemu-io` takes it.
    fn place(&self, sector: u64, sectors: u64) -> String {
        format!("{} {}", size(self.bytes(sector)), size(self.bytes(sectors)))
    }

    fn images(&self) -> Vec<Image> {
        let all = &self.record.scenario.images;
        let of = |image: &image::Image| {
            let below = image.backing.map(|below| &all[below]);
            Image {
                file: self.renamed(&image.path),
                format: image.format.driver(),
                size_bytes: image.size_bytes * self.factor,
                options: self.options(image.format),
                backing: below.map(|below| (self.renamed(&below.path), below.format.driver())),
                content: self.content(image),
            }
        };
        all.iter().map(of).collect()
    }

    fn options(&self, format: Format) -> Vec<String> {
        let Format::Qcow2 { version, cluster_bits, refcount_order } = format else { return Vec::new() };
        let cluster_bytes = (1 << cluster_bits) * self.factor;
        let odd = [
            (cluster_bytes != COMMON_CLUSTER_BYTES, format!("cluster_size={}", size(cluster_bytes))),
            (refcount_order != 4, format!("refcount_bits={}", 1 << refcount_order)),
            (version == 2, "compat=0.10".to_owned()),
        ];
        odd.into_iter().filter(|(is_odd, _)| *is_odd).map(|(_, option)| option).collect()
    }

    /// Clusters that are next to each other and alike are one write.
    fn content(&self, image: &image::Image) -> Vec<String> {
        let per_cluster = image.format.cluster_bytes() / SECTOR_BYTES as u64;
        let pattern = image.layer + 1;
        let mut commands = Vec::new();
        let mut at = 0;
        for alike in image.clusters.chunk_by(|one, next| one == next) {
            let (first, count) = (at * per_cluster, alike.len() as u64 * per_cluster);
            at += alike.len() as u64;
            let count = count.min(image.sectors().saturating_sub(first));
            if count == 0 {
                continue;
            }
            let place = self.place(first, count);
            match alike[0] {
                Cluster::Unallocated => {}
                Cluster::Data => commands.push(format!("write -P {pattern} {place}")),
                Cluster::Zero => commands.push(format!("write -z -u {place}")),
                // Zeroes over nothing take no place; over data they keep it.
                Cluster::ZeroAllocated => {
                    commands.push(format!("write -P {pattern} {place}"));
                    commands.push(format!("write -z {place}"));
                }
                Cluster::ZeroData => commands.push(format!("write -P 0 {place}")),
                Cluster::Striped => {
                    commands.push(format!("write -P 0 {place}"));
                    let even = (first..first + count).filter(|sector| sector.is_multiple_of(2));
                    commands
                        .extend(even.map(|sector| format!("write -P {pattern} {}", self.place(sector, 1))));
                }
            }
        }
        commands
    }

    fn steps(&self) -> Result<Vec<Step>, NoScript> {
        let mut exports: BTreeMap<u32, String> = BTreeMap::new();
        let mut steps = Vec::new();
        let last = self.record.actions.len().saturating_sub(1);
        for (at, action) in self.record.actions.iter().enumerate() {
            match action {
                Action::Command(text) if at < last && is_look(text) => {}
                Action::Command(text) => {
                    let is_add = text.starts_with(r#"{"execute":"blockdev-add""#);
                    steps.extend((self.manner.is_patient && !is_add).then_some(Step::Wait));
                    steps.push(Step::Qmp(self.command(text)?));
                }
                Action::Settle => steps.push(Step::Wait),
                Action::Connect { guest, export } => drop(exports.insert(*guest, export.clone())),
                Action::Request { guest, operation, sector, sectors, tag, .. } => {
                    let command = self.request(*operation, *sector, *sectors, *tag);
                    let export = exports.get(guest).cloned().unwrap_or_default();
                    steps.push(Step::Guest { export, commands: vec![command] });
                }
                Action::Kill => steps.push(Step::Kill),
                Action::Answered { .. } | Action::Leave { .. } | Action::Look { .. } => {}
                Action::Quit | Action::Reopened { .. } => {}
                Action::Cut(_) => return Err(NoScript("it needs the simulated disk".to_owned())),
            }
        }
        without_idle_readers(&mut steps);
        Ok(steps)
    }

    fn request(&self, operation: Operation, sector: u64, sectors: u64, tag: Tag) -> String {
        let place = self.place(sector, sectors);
        match operation {
            Operation::Read => format!("read {place}"),
            Operation::Write => format!("write -P {:#x} {place}", self.patterns[&tag]),
            Operation::WriteZeroes => format!("write -z {place}"),
            Operation::Discard => format!("discard {place}"),
            Operation::Flush => "flush".to_owned(),
        }
    }

    fn command(&self, text: &str) -> Result<Value, NoScript> {
        let command: Value =
            serde_json::from_str(text).map_err(|_| NoScript("a command is no JSON".to_owned()))?;
        Ok(self.said(command))
    }

    /// Names and numbers of bytes, everywhere in it.
    fn said(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.renamed(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.said(item)).collect(),
            Value::Object(members) => {
                let said = |(name, value): (String, Value)| {
                    let value = match value.as_u64() {
                        Some(1..) if name == "speed" && self.manner.is_slow => json!(1),
                        Some(bytes) if BYTES.contains(&name.as_str()) => json!(bytes * self.factor),
                        _ => self.said(value),
                    };
                    (name, value)
                };
                Value::Object(members.into_iter().map(said).collect())
            }
            other => other,
        }
    }

    fn renamed(&self, text: &str) -> String {
        let exact = self.names.iter().find(|(old, _)| old == text);
        exact.map_or_else(|| text.to_owned(), |(_, new)| new.clone())
    }

    fn sought(&self, defect: &Defect, steps: &mut [Step]) -> Result<Sought, NoScript> {
        let no = |why: &str| Err(NoScript(why.to_owned()));
        match defect {
            Defect::Crash => Ok(Sought::never_right(Shows::Crash)),
            // A daemon whose job is stuck still ends when it is asked to.
            Defect::Hang if self.record.outcome.verdict.law() == STUCK => {
                no("a job is stuck, not the daemon")
            }
            Defect::Hang => Ok(Sought::never_right(Shows::Hang)),
            Defect::JobError => {
                let errors = vec![JOB_ERROR.into(), r#""error": ""#.into()];
                Ok(Sought::without_control(Shows::Says(errors)))
            }
            Defect::Corrupt => match self.record.actions.last() {
                Some(Action::Reopened { image, .. }) => {
                    let file = self.renamed(&self.record.scenario.images[*image].path);
                    Ok(Sought::never_right(Shows::Corrupt { file }))
                }
                _ => no("no file was checked"),
            },
            Defect::Sector { sector, expected } => self.sector(*sector, expected, steps),
            Defect::Reply(reply) => refused_or_not(reply, steps, self),
            Defect::Length { .. } | Defect::Progress => no("only the long script looks for it"),
        }
    }

    /// A file that another program cannot read.
    fn unreadable(&self) -> Option<Shows> {
        let verdict = &self.record.outcome.verdict;
        let (path, _) = verdict_text(verdict).split_once(": qemu-img check fails")?;
        let is_it = |(old, _): &&(String, String)| old == path;
        let (_, file) = self.names.iter().find(is_it).filter(|_| verdict.law() == READERS_DIFFER)?;
        Some(Shows::Unreadable { file: file.clone() })
    }

    fn sector(&self, sector: u64, expected: &[String], steps: &mut [Step]) -> Result<Sought, NoScript> {
        let patterns = expected.iter().filter_map(|value| Some((self.pattern(value, sector)?, value)));
        let Some((pattern, value)) = patterns.min() else {
            return Err(NoScript(format!("no pattern stands for {}", expected.join(" or "))));
        };
        let look = format!("read -P {pattern:#x} {}", self.place(sector, 1));
        let shows = if let Some(Action::Reopened { image, .. }) = self.record.actions.last() {
            let image = &self.record.scenario.images[*image];
            Shows::FileReads { file: self.renamed(&image.path), format: image.format.driver() }
        } else if let Some(Step::Guest { commands, .. }) = steps.last_mut() {
            *commands = vec![look.clone()];
            Shows::GuestReads
        } else {
            return Err(NoScript("nobody read last".to_owned()));
        };
        let control = match self.shown_before(value, sector) {
            Some(control) => control,
            None => read_back(pattern, &look, steps)?,
        };
        Ok(Sought { shows, control, look })
    }

    /// An image that shows the value at that place before the run: the topmost one.
    fn shown_before(&self, value: &str, sector: u64) -> Option<Control> {
        let images = &self.record.scenario.images;
        let shows = |image: &&image::Image| {
            let mut chain = std::iter::successors(Some(*image), |image| Some(&images[image.backing?]));
            let decides = |image: &image::Image| *image.values().get(sector as usize).unwrap_or(&Some(0));
            let tag = chain.find_map(decides).unwrap_or(0);
            let name = if tag == 0 { "zeroes".to_owned() } else { name_in(tag, Some(sector)) };
            sector < image.sectors() && name == value
        };
        let image = images[..self.record.scenario.layers].iter().rfind(shows)?;
        Some(Control::FileBefore { file: self.renamed(&image.path), format: image.format.driver() })
    }

    /// The byte that stands for a value.
    fn pattern(&self, value: &str, sector: u64) -> Option<usize> {
        if value == "zeroes" {
            return Some(0);
        }
        let layers = self.record.scenario.images.iter().map(|image| image.layer);
        let mut layers = layers.map(|layer| (format!("n{layer}"), layer as usize + 1));
        let by_layer = layers.find(|(name, _)| name == value).map(|(_, pattern)| pattern);
        let named = |tag: Tag| name_in(midstream::content::tag_in_sector(tag, sector), Some(sector));
        by_layer.or_else(|| {
            self.patterns.iter().find(|(tag, _)| named(**tag) == value).map(|(_, pattern)| *pattern)
        })
    }
}

/// The guest that wrote the pattern last reads it back.
fn read_back(pattern: usize, look: &str, steps: &mut [Step]) -> Result<Control, NoScript> {
    let start = format!("write -P {pattern:#x} ");
    let is_write = |step: &&mut Step| matches!(step, Step::Guest { commands, .. } if commands.iter().any(|c| c.starts_with(&start)));
    match steps.iter_mut().rfind(is_write) {
        Some(Step::Guest { commands, .. }) => {
            commands.push(look.to_owned());
            Ok(Control::ReadBack)
        }
        _ => Err(NoScript("nothing shows beforehand what is right".to_owned())),
    }
}

/// The last command was refused, or was not: one of the two is wrong.
fn refused_or_not(reply: &str, steps: &mut [Step], said: &Translation<'_>) -> Result<Sought, NoScript> {
    let reply: Value = serde_json::from_str(reply).map_err(|_| NoScript("no reply".to_owned()))?;
    let Some(Step::Qmp(command)) = steps.iter_mut().rfind(|step| matches!(step, Step::Qmp(_))) else {
        return Err(NoScript("no command was last".to_owned()));
    };
    if let Some(text) = reply["error"]["desc"].as_str() {
        let word = |word: &str| match word.starts_with("#block") {
            // Who is called what differs from run to run.
            true => "#block[0-9]*".to_owned(),
            false => said.renamed(word),
        };
        let words = text.split('\'').map(word).collect::<Vec<_>>();
        return Ok(Sought::without_control(Shows::Says(vec![words.join("'")])));
    }
    if reply["return"].as_object().is_none_or(|empty| !empty.is_empty()) {
        return Err(NoScript("what a query reports is looked at by the long script".to_owned()));
    }
    command["id"] = json!(MUST_FAIL);
    let accepted = vec![format!("\"return\".*{MUST_FAIL}"), format!("{MUST_FAIL}.*\"return\"")];
    Ok(Sought { control: Control::RefusedBefore, ..Sought::never_right(Shows::Says(accepted)) })
}

/// Whether a command only looks.
fn is_look(text: &str) -> bool {
    let starts = ["query-", "x-debug-query-"].map(|name| format!(r#"{{"execute":"{name}"#));
    starts.iter().any(|start| text.starts_with(start.as_str()))
}

/// Exports that were put there to look at nodes in the end, and nobody else came to: all but the last. What was done last
/// stays.
fn without_idle_readers(steps: &mut Vec<Step>) {
    let mut busy: Vec<String> = Vec::new();
    let last = steps.len().saturating_sub(1);
    for (at, step) in steps.iter().enumerate() {
        if let Step::Guest { export, commands } = step
            && (at == last || commands.iter().any(|command| !command.starts_with("read")))
        {
            busy.push(export.clone());
        }
    }
    let is_busy = |name: &str| busy.iter().any(|export| export == name);
    let mut at = 0;
    steps.retain(|step| {
        at += 1;
        at > last || is_needed(step, &is_busy)
    });
}

/// Whether a step has to do with an export that somebody needs, or with none.
fn is_needed(step: &Step, is_busy: &dyn Fn(&str) -> bool) -> bool {
    match step {
        Step::Guest { export, .. } => is_busy(export),
        Step::Qmp(command) => match command["execute"].as_str() {
            // It may be there for what it moves into a thread.
            Some("block-export-add") => {
                is_busy(name_of_export(command)) || command["arguments"]["iothread"].is_string()
            }
            Some("block-export-del") => is_busy(command["arguments"]["id"].as_str().unwrap_or_default()),
            _ => true,
        },
        _ => true,
    }
}

/// By what name a client finds an export.
pub(super) fn name_of_export(command: &Value) -> &str {
    let arguments = &command["arguments"];
    arguments["name"].as_str().or_else(|| arguments["node-name"].as_str()).unwrap_or_default()
}

/// Old names and new ones: of nodes, of the nodes of their files, of those that inject errors, and of the files.
fn names(record: &Record) -> Vec<(String, String)> {
    let scenario = &record.scenario;
    let mut names = Vec::new();
    for (at, image) in scenario.images.iter().enumerate() {
        let name = match (at, scenario.layers) {
            (at, layers) if at == layers => "target".to_owned(),
            (at, layers) if at > layers => format!("target{}", at - layers + 1),
            (0, _) => "base".to_owned(),
            (at, layers) if at + 1 == layers => "top".to_owned(),
            (_, 3) => "mid".to_owned(),
            (at, _) => format!("mid{at}"),
        };
        let file = format!("{name}.{}", image.path.rsplit('.').next().unwrap_or("img"));
        names.push((scenario.node(at), name.clone()));
        names.push((format!("f{at}"), format!("{name}-file")));
        names.push((format!("d{at}"), format!("{name}-debug")));
        names.push((image.path.clone(), file));
    }
    names
}
