//! Known divergences: one file, one entry per defect, recognised by what a failing sequence did and how it failed.
//!
//! A signature names the law, a pattern of the verdict's text, and patterns each of which some line of the sequence's
//! facts must match: its images and its commands. `{image}` in such a pattern stands for the image that the verdict's
//! text is about. Nothing here steers the search.

use super::facts::facts;
use super::sequence::Record;
use super::target::Kind;
use crate::trace::verdict_text;
use crate::verdict::Verdict;
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
    /// Its trace shows it at least once in so many times: more than a few, if it depends on timing.
    pub tries: u32,
    /// How long a campaign searched until it met it.
    pub found_after_seconds: Option<f64>,
    signatures: Vec<Signature>,
}

#[derive(Debug)]
struct Signature {
    law: Regex,
    detail: Option<Regex>,
    facts: Vec<String>,
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
    #[serde(default = "few_tries")]
    tries: u32,
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

/// The tries of a trace about which its entry says nothing.
fn few_tries() -> u32 {
    5
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
            // Which image it will be about is not known yet; that it is a pattern is.
            facts: written
                .facts
                .into_iter()
                .map(|text| regex(&about(&text, "n0")).map(|_| text))
                .collect::<Result<_, String>>()?,
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
            tries: entry.tries,
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
    let (facts, image) = (facts(record), image_of(detail));
    let is_met = |pattern: &String| {
        let pattern = Regex::new(&about(pattern, image)).expect("it was a pattern when it was read");
        facts.iter().any(|fact| pattern.is_match(fact))
    };
    let fits = |signature: &Signature| {
        signature.law.is_match(law)
            && signature.detail.as_ref().is_none_or(|pattern| pattern.is_match(detail))
            && signature.facts.iter().all(is_met)
    };
    let mut of_target = known().iter().filter(|known| known.target == kind.name());
    of_target.find(|known| known.signatures.iter().any(fits))
}

/// A pattern about one image.
fn about(pattern: &str, image: &str) -> String {
    pattern.replace("{image}", image)
}

/// The image that a verdict's first line is about, by the name of its file.
fn image_of(detail: &str) -> &str {
    let first = detail.lines().next().unwrap_or_default();
    let after = first.split_once(" of /").map_or("", |(_, rest)| rest);
    after.split('.').next().unwrap_or_default()
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
    fn a_verdict_is_about_the_image_it_names_first() {
        let detail = "sector 8 of /t0.qcow2 after the crash: expected w1, found zeroes\nn0 of /n1.raw";
        assert_eq!(image_of(detail), "t0");
        assert_eq!(image_of("no answer within 8 s"), "");
        assert_eq!(about("target\":\"{image}\"", "t0"), "target\":\"t0\"");
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
