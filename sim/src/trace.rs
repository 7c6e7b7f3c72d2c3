//! One run in a file: every decision by the name of its point, so that the run outlives changes of the code.
//!
//! JSON, one decision a line. Reading is strict and bounded: unknown members, names that are no points and values
//! that are not on offer are refused with their place.

mod point;
mod replay;

pub use replay::Replayed;

use crate::choice::Decision;
use crate::verdict::{Outcome, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::Path;
use thiserror::Error;

/// The version of the format written here.
const VERSION: u32 = 1;
/// A trace file is at most so long.
pub const LEN_BYTES_MAX: u64 = 16 << 20;
/// A trace has at most so many decisions.
pub const DECISIONS_MAX: usize = 100_000;
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
    #[error("{0}")]
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
    law: String,
    expect: String,
    verdict: String,
    choices: Vec<Line>,
}

/// One decision as it stands.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at: String,
    of: u32,
    value: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pick: Option<String>,
}

impl Trace {
    /// The trace of a run, expecting the same again.
    pub fn of(outcome: &Outcome, seed: Option<u64>) -> Self {
        let law = outcome.verdict.law().to_owned();
        Trace {
            midstream: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            expect: law.clone(),
            law,
            verdict: verdict_text(&outcome.verdict).to_owned(),
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
        if file.choices.len() > DECISIONS_MAX {
            return Err(member("choices", format!("{} are more than {DECISIONS_MAX}", file.choices.len())));
        }
        let texts = [
            ("midstream", &file.midstream),
            ("law", &file.law),
            ("expect", &file.expect),
            ("verdict", &file.verdict),
        ];
        for (name, text) in texts {
            check_text(name, text)?;
        }
        let choices = file.choices.iter().enumerate().map(|(i, line)| line.decision(i));
        Ok(Trace {
            midstream: file.midstream,
            seed: file.seed,
            law: file.law,
            expect: file.expect,
            verdict: file.verdict,
            choices: choices.collect::<Result<_, _>>()?,
        })
    }

    /// Writes a file, and the folder it is in.
    pub fn write(&self, path: &Path) -> Result<(), TraceError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, self.to_text())?)
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

impl Line {
    fn of(decision: &Decision) -> Self {
        let pick = match decision {
            Decision::Number { .. } => None,
            Decision::Option { picked, .. } => Some(point::text(*picked)),
        };
        Line { at: point::text(decision.at()), of: decision.of(), value: decision.value(), pick }
    }

    fn decision(&self, index: usize) -> Result<Decision, TraceError> {
        let at_member = |name: &str, problem| member(&format!("choices[{index}].{name}"), problem);
        let at = point::parse(&self.at).map_err(|e| at_member("at", e))?;
        let (of, value) = (self.of, self.value);
        if of < 2 {
            return Err(at_member("of", format!("{of} leaves nothing to decide")));
        }
        if value >= of {
            return Err(at_member("value", format!("{value} is not below {of}")));
        }
        Ok(match &self.pick {
            None => Decision::Number { at, of, value },
            Some(pick) => {
                let picked = point::parse(pick).map_err(|e| at_member("pick", e))?;
                Decision::Option { at, of, value, picked }
            }
        })
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text and numbers are always JSON")
}

fn member(member: &str, problem: String) -> TraceError {
    TraceError::Member { member: member.to_owned(), problem }
}

/// These texts are shown on terminals, so nothing in them may steer one.
fn check_text(name: &str, text: &str) -> Result<(), TraceError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(member(name, format!("longer than {TEXT_BYTES_MAX} bytes")));
    }
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(c) => Err(member(name, format!("control character {c:?}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
