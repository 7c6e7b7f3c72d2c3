//! Known divergences: one file, one entry per defect, recognised by what a failing sequence did and how it failed.
//!
//! A signature names the law, a pattern of the verdict's text, and patterns each of which some line of the sequence's
//! facts must match: its images and its commands. Nothing here steers the search.

use super::action::Action;
use super::sequence::Record;
use super::target::Kind;
use crate::crash::Ending;
use crate::trace::verdict_text;
use crate::verdict::Verdict;
use crate::workload::scenario::Scenario;
use regex_lite::Regex;
use serde::Deserialize;
use std::sync::LazyLock;

/// One known defect of a daemon.
#[derive(Debug)]
pub struct Divergence {
    /// Its short name.
    pub name: String,
    /// The name it has in the list of defects of the project's notes, if it stands there.
    pub id: Option<String>,
    /// What is wrong, in a sentence.
    pub what: String,
    /// What is right instead.
    pub right: String,
    /// Which daemon shows it.
    pub target: String,
    /// The versions that were seen to show it.
    pub versions: Vec<String>,
    /// A minimised trace of it, by file name in `traces/live/`.
    pub trace: Option<String>,
    /// How long a campaign with seed 1 and two daemons side by side searched until it met it.
    pub found_after_seconds: Option<f64>,
    signatures: Vec<Signature>,
}

#[derive(Debug)]
struct Signature {
    law: Regex,
    detail: Option<Regex>,
    facts: Vec<Regex>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    id: Option<String>,
    what: String,
    right: String,
    target: String,
    versions: Vec<String>,
    trace: Option<String>,
    found_after_seconds: Option<f64>,
    signatures: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    law: String,
    detail: Option<String>,
    #[serde(default)]
    facts: Vec<String>,
}

static KNOWN: LazyLock<Vec<Divergence>> =
    LazyLock::new(|| read(include_str!("divergences.json")).expect("the file is checked by a test"));

/// Every known divergence.
pub fn known() -> &'static [Divergence] {
    &KNOWN
}

fn read(text: &str) -> Result<Vec<Divergence>, String> {
    let entries: Vec<Entry> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let regex = |text: &String| Regex::new(text).map_err(|error| format!("{text}: {error}"));
    let signature = |written: Written| {
        Ok(Signature {
            law: regex(&written.law)?,
            detail: written.detail.as_ref().map(regex).transpose()?,
            facts: written.facts.iter().map(regex).collect::<Result<_, String>>()?,
        })
    };
    let divergence = |entry: Entry| {
        Ok(Divergence {
            name: entry.name,
            id: entry.id,
            what: entry.what,
            right: entry.right,
            target: entry.target,
            versions: entry.versions,
            trace: entry.trace,
            found_after_seconds: entry.found_after_seconds,
            signatures: entry.signatures.into_iter().map(signature).collect::<Result<_, String>>()?,
        })
    };
    entries.into_iter().map(divergence).collect()
}

/// The known divergence that a failing sequence shows, if it is one.
pub fn explain(kind: Kind, record: &Record) -> Option<&'static Divergence> {
    if record.outcome.verdict == Verdict::Passed {
        return None;
    }
    let (law, detail) = (record.outcome.verdict.law(), verdict_text(&record.outcome.verdict));
    let facts = facts(record);
    let fits = |signature: &Signature| {
        signature.law.is_match(law)
            && signature.detail.as_ref().is_none_or(|pattern| pattern.is_match(detail))
            && signature.facts.iter().all(|pattern| facts.iter().any(|fact| pattern.is_match(fact)))
    };
    let mut of_target = known().iter().filter(|known| known.target == kind.name());
    of_target.find(|known| known.signatures.iter().any(fits))
}

/// What a sequence began with and did, a line each.
pub fn facts(record: &Record) -> Vec<String> {
    let mut facts = image_facts(&record.scenario);
    facts.extend(record.actions.iter().map(|action| match action {
        Action::Command(text) => text.clone(),
        Action::Request { operation, .. } => format!("guest {operation:?}"),
        Action::Kill => "kill".to_owned(),
        Action::Cut(Ending::Kill) => "kill".to_owned(),
        Action::Cut(Ending::PowerCut) => "power cut".to_owned(),
        Action::Quit => "quit".to_owned(),
        _ => String::new(),
    }));
    facts.retain(|fact| !fact.is_empty());
    facts
}

fn image_facts(scenario: &Scenario) -> Vec<String> {
    let mut facts = Vec::new();
    for (index, image) in scenario.images.iter().enumerate() {
        let name = scenario.node(index);
        facts.push(format!("image {name} {} {} sectors", image.format.driver(), image.sectors()));
        let Some(below) = image.backing else { continue };
        let (above, under) = (image.sectors(), scenario.images[below].sectors());
        let word = match above.cmp(&under) {
            std::cmp::Ordering::Less => "shorter than",
            std::cmp::Ordering::Equal => "as long as",
            std::cmp::Ordering::Greater => "longer than",
        };
        facts.push(format!("image {name} {word} its backing {}", scenario.node(below)));
    }
    facts
}

/// A failure by what it looks like, without the numbers and names of its run: failures of one key count as one.
pub fn key(record: &Record) -> String {
    let verdict = &record.outcome.verdict;
    let first = verdict_text(verdict).lines().next().unwrap_or_default();
    format!("{}: {}", verdict.law(), shape(first))
}

/// A text without what differs from run to run.
fn shape(text: &str) -> String {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d+").expect("a pattern of ours"));
    static VALUES: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"w#( or (w#|zeroes))*").expect("a pattern of ours"));
    let text = NUMBERS.replace_all(text, "#");
    let mut text = VALUES.replace_all(&text, "w#").into_owned();
    if let Some((end, _)) = text.char_indices().nth(160) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_known_divergences_can_be_read_and_names_each_once() {
        let all = read(include_str!("divergences.json")).expect("a list of divergences");
        for divergence in &all {
            assert!(!divergence.signatures.is_empty(), "{}", divergence.name);
            assert_eq!(all.iter().filter(|other| other.name == divergence.name).count(), 1);
        }
    }

    #[test]
    fn failures_that_differ_in_numbers_only_are_one() {
        let (one, two) = (
            "sector 5 of /n1.qcow2: expected w17 or zeroes, read w3",
            "sector 6 of /n0.qcow2: expected w1, read w44",
        );
        assert_eq!(shape(one), shape(two));
        assert_ne!(shape("expected w1, read zeroes"), shape("expected zeroes, read w1"));
    }
}
