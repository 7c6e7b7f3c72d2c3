//! What is known of each engine: what breaks, where, and why.

use crate::engine::Engine;
use crate::level::Level;
use std::fmt;

/// Something that breaks.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The name of its trace.
    pub name: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Whether the engine's documentation promises otherwise.
    pub promise: Promise,
    /// Whose it is.
    pub engine: Engine,
    /// The easiest level at which it was found.
    pub level: Level,
    /// The law.
    pub law: String,
    /// Why it breaks, by the engine's source.
    pub why: &'static str,
}

/// Whether an engine's documentation promises what breaks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Promise {
    /// It does.
    Promised,
    /// Nothing of the kind was found.
    NotPromised,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Promise::Promised => "*Promised*",
            Promise::NotPromised => "*Not promised*",
        })
    }
}

impl Finding {
    /// One that nobody has looked at yet.
    pub fn unknown(engine: Engine, level: Level, law: &str) -> Finding {
        let law = law.to_owned();
        Finding {
            name: "NEW, as above",
            title: "",
            promise: Promise::NotPromised,
            engine,
            level,
            law,
            why: "",
        }
    }

    /// Whether a law that breaks at this level may be this finding.
    pub fn explains(&self, level: Level, law: &str) -> bool {
        self.law == law && level.includes(self.level)
    }
}

/// What is known of an engine.
pub fn of(engine: Engine) -> impl Iterator<Item = Finding> {
    let all: Vec<Finding> = Vec::new();
    all.into_iter().filter(move |finding| finding.engine == engine)
}
