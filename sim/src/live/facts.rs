//! What a sequence began with and did, a line each: what signatures of known divergences look at.

use super::action::Action;
use super::meetings::Meetings;
use super::sequence::Record;
use crate::crash::Ending;
use crate::trace::verdict_text;
use crate::workload::guest::{Operation, sector_of};
use crate::workload::scenario::Scenario;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The images, the commands as they were sent, what guests did, and how it ended.
pub fn facts(record: &Record) -> Vec<String> {
    let mut facts = image_facts(&record.scenario);
    let (mut late, mut meetings) = (LateWriters::default(), Meetings::default());
    for action in &record.actions {
        facts.extend(late.follow(action));
        facts.extend(meetings.follow(action));
        facts.extend(idle_stream(action, &record.scenario));
        facts.extend(overlaid(action, &record.scenario));
        facts.extend(plain(action));
    }
    facts.extend(record.jobs_told.iter().cloned());
    facts.extend(displaced(verdict_text(&record.outcome.verdict)));
    if record.actions.iter().rev().take(3).any(|action| matches!(action, Action::Connect { .. })) {
        facts.push("a guest connected a moment ago".to_owned());
    }
    facts
}

/// Where a sector shows what was written to another one, if the verdict tells of one: data was put into a
/// cluster that something else still points to.
fn displaced(detail: &str) -> Option<String> {
    let sector: u64 = detail.strip_prefix("sector ")?.split_once(' ')?.0.parse().ok()?;
    let (_, found) = detail.lines().next()?.rsplit_once(", found w")?;
    let from = sector_of(found.parse().ok()?)?;
    (from != sector).then(|| format!("data of sector {from} shows in sector {sector}"))
}

fn plain(action: &Action) -> Option<String> {
    Some(match action {
        Action::Command(text) => text.clone(),
        Action::Request { operation, .. } => format!("guest {operation:?}"),
        Action::Kill | Action::Cut(Ending::Kill) => "kill".to_owned(),
        Action::Cut(Ending::PowerCut) => "power cut".to_owned(),
        Action::Quit => "quit".to_owned(),
        _ => return None,
    })
}

fn image_facts(scenario: &Scenario) -> Vec<String> {
    let mut facts = Vec::new();
    for (index, image) in scenario.images.iter().enumerate() {
        let name = scenario.node(index);
        facts.push(format!("image {name} {} {} sectors", image.format.driver(), image.sectors()));
        facts.extend(image.backing.map(|below| lengths(scenario, index, below)));
    }
    facts
}

/// An image beside the one below it.
fn lengths(scenario: &Scenario, image: usize, below: usize) -> String {
    let sectors = |image: usize| scenario.images[image].sectors();
    let word = match sectors(image).cmp(&sectors(below)) {
        Ordering::Less => "shorter than",
        Ordering::Equal => "as long as",
        Ordering::Greater => "longer than",
    };
    format!("image {} {word} its backing {}", scenario.node(image), scenario.node(below))
}

/// A snapshot puts an image onto another.
fn overlaid(action: &Action, scenario: &Scenario) -> Option<String> {
    let Action::Command(text) = action else { return None };
    let command: Value = serde_json::from_str(text).ok()?;
    let image =
        |node: &Value| (0..scenario.images.len()).find(|image| node == scenario.node(*image).as_str());
    let arguments = Some(&command["arguments"]).filter(|_| command["execute"] == "blockdev-snapshot")?;
    Some(lengths(scenario, image(&arguments["overlay"])?, image(&arguments["node"])?))
}

/// A stream that has nothing to copy: the node has no backing file, or its backing is the base, or itself the bottom.
fn idle_stream(action: &Action, scenario: &Scenario) -> Option<String> {
    let Action::Command(text) = action else { return None };
    let command: Value = serde_json::from_str(text).ok()?;
    let arguments = &command["arguments"];
    let node = arguments["device"].as_str().filter(|_| command["execute"] == "block-stream")?;
    let image = (0..scenario.images.len()).find(|image| scenario.node(*image) == node)?;
    let is_idle = match scenario.images[image].backing {
        None => true,
        Some(below) => {
            arguments["base-node"] == scenario.node(below).as_str()
                || arguments["base"] == scenario.images[below].path.as_str()
                || arguments["bottom"] == node
        }
    };
    is_idle.then(|| format!("block-stream of {node} has nothing to copy"))
}

/// Who writes through an export that was put on a node after a job had begun to copy that node.
#[derive(Default)]
struct LateWriters {
    /// Node, and command with its target, of every copying job that was asked for.
    jobs: Vec<(String, String)>,
    /// By export: its node, and the commands of the jobs before it.
    exports: BTreeMap<String, (String, Vec<String>)>,
    /// By guest: its export.
    guests: BTreeMap<u32, String>,
}

impl LateWriters {
    fn follow(&mut self, action: &Action) -> Vec<String> {
        match action {
            Action::Command(text) => self.command(text),
            Action::Connect { guest, export } => {
                self.guests.insert(*guest, export.clone());
            }
            Action::Request { guest, operation, .. } => {
                let writes = [Operation::Write, Operation::WriteZeroes, Operation::Discard];
                let export = self.guests.get(guest).and_then(|export| self.exports.get(export));
                if let (Some((node, jobs)), true) = (export, writes.contains(operation)) {
                    return jobs
                        .iter()
                        .map(|job| format!("guest {operation:?} on {node} past {job}"))
                        .collect();
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn command(&mut self, text: &str) {
        let Ok(command) = serde_json::from_str::<Value>(text) else { return };
        let arguments = &command["arguments"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match command["execute"].as_str() {
            Some(name @ ("blockdev-mirror" | "block-commit")) => {
                let target = arguments["target"].as_str().map_or(String::new(), |to| format!(" to {to}"));
                // A commit with a top stands there, whatever device it was asked for.
                let top = arguments.get("top-node").unwrap_or(&arguments["device"]);
                self.jobs.push((word(top), format!("{name}{target}")));
            }
            Some("block-export-add") => {
                let node = word(&arguments["node-name"]);
                let jobs = self.jobs.iter().filter(|(of, _)| *of == node).map(|(_, job)| job.clone());
                self.exports.insert(word(&arguments["id"]), (node.clone(), jobs.collect()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_came_after_the_job_writes_past_it() {
        let command = |text: &str| Action::Command(text.to_owned());
        let export = |id: &str| {
            command(&format!(
                r#"{{"execute":"block-export-add","arguments":{{"id":"{id}","node-name":"n1","writable":true}}}}"#
            ))
        };
        let write = |guest| Action::Request {
            guest,
            operation: Operation::Write,
            sector: 0,
            sectors: 1,
            tag: 1,
            is_in_flight: false,
        };
        let actions = [
            export("early"),
            Action::Connect { guest: 1, export: "early".to_owned() },
            command(r#"{"execute":"blockdev-mirror","arguments":{"device":"n1","target":"t0"}}"#),
            export("late"),
            Action::Connect { guest: 2, export: "late".to_owned() },
            write(1),
            write(2),
        ];
        let mut late = LateWriters::default();
        let found: Vec<String> = actions.iter().flat_map(|action| late.follow(action)).collect();
        assert_eq!(found, ["guest Write on n1 past blockdev-mirror to t0"]);
    }

    #[test]
    fn data_is_displaced_if_it_was_written_to_another_sector() {
        let of = |found: u64| {
            format!("sector 7 of /n3.qcow2 after the crash: expected zeroes, found w{found}\nn0")
        };
        let foreign = displaced(&of(crate::workload::image::initial_tag(1, 3)));
        assert_eq!(foreign.as_deref(), Some("data of sector 3 shows in sector 7"));
        assert_eq!(displaced(&of(crate::workload::image::initial_tag(1, 7))), None);
        assert_eq!(displaced("no answer within 8 s"), None);
    }
}
