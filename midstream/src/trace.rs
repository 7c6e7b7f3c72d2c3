//! One run in a file: every decision by the name of its point, so that the run outlives changes of the code.
//!
//! JSON, one decision a line. Reading is strict and bounded: unknown members, names that are no points and values
//! that are not on offer are refused with their place. What is written can be read, or is not written.

mod lines;
mod point;
mod replay;

pub use replay::Replayed;

use crate::choice::Decision;
use crate::verdict::{Outcome, Verdict};
use crate::world::scheduler::STEPS_MAX;
use lines::{Line, Lines};
use seam::escape::{self, one_line, steers};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::Path;
use thiserror::Error;

/// The version of the format written here.
const VERSION: u32 = 1;
/// A trace file is at most so long.
pub const LEN_BYTES_MAX: u64 = 128 << 20;
/// A trace has at most so many decisions: two parts of a run are decided, each step by at most two decisions, and as
/// many again are left for the scenario and for the writes that a crash may leave.
pub const DECISIONS_MAX: usize = 6 * STEPS_MAX as usize;
/// A law or a verdict is at most so long.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// What `expect` says of a run that breaks nothing.
pub const PASSED: &str = "passed";

/// A run to be taken again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// The version of midstream that recorded it.
    pub midstream: String,
    /// The seed it came from, to be read by people: the choices alone repeat the run.
    pub seed: Option<u64>,
    /// The kind of live daemon it was recorded on; none for a simulated run.
    pub target: Option<String>,
    /// The scenario that it is a run of, as its file was written: of a run that an exploration found.
    pub scenario: Option<String>,
    /// The law that was broken when it was found.
    pub law: String,
    /// What replay is expected to give: a law, or `passed` once the bug is mended.
    pub expect: String,
    /// The values of the failure when it was found.
    pub verdict: String,
    /// Every decision.
    pub choices: Vec<Decision>,
}

/// Why a trace was not read.
#[derive(Error, Debug)]
pub enum TraceError {
    /// The file could not be read or written.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// Too big to be a trace.
    #[error("longer than {LEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not the JSON of a trace; serde says what and at which line.
    #[error("{}", one_line(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    /// A member has a value no trace has.
    #[error("member `{member}`: {problem}")]
    Member {
        /// Its path, such as `choices[3].at`.
        member: String,
        /// What is wrong with its value.
        problem: String,
    },
}

/// The file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    midstream: String,
    seed: Option<u64>,
    target: Option<String>,
    scenario: Option<String>,
    law: String,
    expect: String,
    verdict: String,
    choices: Lines,
}

impl Trace {
    /// The trace of a run, expecting the same again. The values of its failure are cut where they are too long.
    pub fn of(outcome: &Outcome, seed: Option<u64>) -> Self {
        let law = readable(outcome.verdict.law());
        Trace {
            midstream: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            target: None,
            scenario: None,
            expect: law.clone(),
            law,
            verdict: readable(verdict_text(&outcome.verdict)),
            choices: outcome.tape.clone(),
        }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, TraceError> {
        let mut text = String::new();
        fs::File::open(path)?.take(LEN_BYTES_MAX + 1).read_to_string(&mut text)?;
        Trace::parse(&text)
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        if text.len() as u64 > LEN_BYTES_MAX {
            return Err(TraceError::TooLong);
        }
        let file: File = serde_json::from_str(text)?;
        if file.version != VERSION {
            return Err(member("version", format!("{} is not {VERSION}", file.version)));
        }
        let texts = [
            ("midstream", &file.midstream),
            ("law", &file.law),
            ("expect", &file.expect),
            ("verdict", &file.verdict),
        ];
        if let Some(target) = &file.target {
            check_text("target", target)?;
        }
        if let Some(scenario) = &file.scenario {
            check_text("scenario", scenario)?;
        }
        for (name, text) in texts {
            check_text(name, text)?;
        }
        let choices = file.choices.0.iter().enumerate().map(|(i, line)| line.decision(i));
        Ok(Trace {
            midstream: file.midstream,
            seed: file.seed,
            target: file.target,
            scenario: file.scenario,
            law: file.law,
            expect: file.expect,
            verdict: file.verdict,
            choices: choices.collect::<Result<_, _>>()?,
        })
    }

    /// Writes a file, and the folder it is in. What could not be read again is refused.
    pub fn write(&self, path: &Path) -> Result<(), TraceError> {
        if self.choices.len() > DECISIONS_MAX {
            return Err(member("choices", format!("{} are more than {DECISIONS_MAX}", self.choices.len())));
        }
        let text = self.to_text();
        if text.len() as u64 > LEN_BYTES_MAX {
            return Err(TraceError::TooLong);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, text)?)
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(256 + 80 * self.choices.len());
        text.push_str("{\n");
        let mut member = |name: &str, value: String| {
            writeln!(text, "\"{name}\": {value},").expect("a string takes any text");
        };
        member("version", VERSION.to_string());
        member("midstream", json(&self.midstream));
        if let Some(seed) = self.seed {
            member("seed", seed.to_string());
        }
        if let Some(target) = &self.target {
            member("target", json(target));
        }
        if let Some(scenario) = &self.scenario {
            member("scenario", json(scenario));
        }
        member("law", json(&self.law));
        member("expect", json(&self.expect));
        member("verdict", json(&self.verdict));
        text.push_str("\"choices\": [\n");
        for (i, decision) in self.choices.iter().enumerate() {
            let comma = if i + 1 < self.choices.len() { "," } else { "" };
            writeln!(text, "{}{comma}", json(&Line::of(decision))).expect("a string takes any text");
        }
        text.push_str("]\n}\n");
        text
    }
}

/// What a verdict says beside its law.
pub fn verdict_text(verdict: &Verdict) -> &str {
    match verdict {
        Verdict::Passed => "",
        Verdict::Broken { detail, .. } => detail,
        Verdict::Stuck { who } => who,
        Verdict::Panicked { message } => message,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers are always JSON")
}

fn member(member: &str, problem: String) -> TraceError {
    TraceError::Member { member: member.to_owned(), problem }
}

/// A text as `check_text` lets it through.
fn readable(text: &str) -> String {
    const CUT: &str = "…";
    let mut text = escape::lines(text).into_owned();
    if text.len() > TEXT_BYTES_MAX {
        let room = TEXT_BYTES_MAX - CUT.len();
        let end = (0..=room).rev().find(|&end| text.is_char_boundary(end)).expect("0 is a boundary");
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

/// These texts are shown on terminals, so nothing in them may steer one.
fn check_text(name: &str, text: &str) -> Result<(), TraceError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(member(name, format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    match text.chars().find(|c| steers(*c) && *c != '\n') {
        Some(c) => Err(member(name, point::character(c))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
