//! What a run is judged by: what must be true of any device that keeps data, or all that QEMU's language says.

use crate::verdict::Outcome;
use model::data_only::{self, DataOnly};
use model::{ImageSetup, Judge, Kind, LAWS, LawId, Observation};
use std::fmt;
use xxhash_rust::xxh3::Xxh3;

/// The specification that follows a run.
#[derive(Clone)]
pub(super) enum Level {
    /// Reads, writes, flushes and crashes.
    Data(DataOnly),
    /// Commands, replies, events, jobs and chains as well.
    Qemu(Box<Judge>),
}

/// Hashes what is written to it.
struct Hashed(Xxh3);

impl fmt::Write for Hashed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// The law that an observation broke, and the values.
pub(super) struct Broken {
    pub(super) law: &'static str,
    pub(super) detail: String,
}

impl Level {
    pub(super) fn data(devices: &[ImageSetup]) -> Level {
        Level::Data(DataOnly::new(devices, false))
    }

    pub(super) fn qemu(images: &[ImageSetup]) -> Level {
        Level::Qemu(Box::new(Judge::new(images)))
    }

    /// The next thing that was seen.
    pub(super) fn observe(&mut self, seen: &Observation<'_>) -> Result<(), Broken> {
        match self {
            Level::Data(judge) => {
                judge.observe(seen).map_err(|broken| Broken { law: broken.law.name(), detail: broken.detail })
            }
            Level::Qemu(judge) => {
                judge.observe(seen).map_err(|broken| Broken { law: broken.law.name(), detail: broken.detail })
            }
        }
    }

    /// A number for all that decides what it accepts from now on.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hashed = Hashed(Xxh3::new());
        let written = match self {
            Level::Data(judge) => judge.write_states(&mut hashed),
            Level::Qemu(judge) => judge.write_states(&mut hashed),
        };
        written.expect("a hash takes any text");
        hashed.0.digest()
    }

    /// Whether it knows data alone: neither commands nor faults.
    pub(super) fn is_of_data(&self) -> bool {
        matches!(self, Level::Data(_))
    }

    /// How often each of its laws was checked, and what the states came to.
    pub(super) fn report(&self, outcome: &mut Outcome) {
        match self {
            Level::Data(judge) => {
                outcome.is_inconclusive = judge.inconclusive().is_some();
                outcome.laws_checked = judge.checks().to_vec();
            }
            Level::Qemu(judge) => {
                outcome.is_inconclusive = judge.is_inconclusive();
                outcome.census = judge.census();
                let tally = judge.tally();
                outcome.laws_checked = qemu_laws().map(|law| tally.of(law)).collect();
            }
        }
    }
}

/// The laws of data, in the order of an outcome's counts.
pub(super) fn data_laws() -> impl Iterator<Item = &'static str> {
    data_only::LAWS.into_iter().map(data_only::Law::name)
}

/// The laws of QEMU's language, in the order of an outcome's counts: without goals, which single scenarios have none of, and
/// without what needs a look into a layer.
pub(super) fn qemu_laws() -> impl Iterator<Item = LawId> {
    let needs_a_look = [
        LawId::BoundedProgress,
        LawId::RequestBound,
        LawId::SpaceReturned,
        LawId::RotSeen,
        LawId::RotContained,
    ];
    LAWS.into_iter().filter(move |law| law.kind() != Kind::Sometimes && !needs_a_look.contains(law))
}
