//! What happened in a run, recorded once: every observation that the model was shown, and the few notes that no law
//! speaks about, each with its step and its moment.
//!
//! Whatever else is said about a run follows from it: the readable lines (`lines`), the fingerprint (`fingerprint`),
//! the points at which it can be cut (`live::journal`), and the file that anybody may judge (`file`).

pub mod file;
pub mod fingerprint;
mod lines;
pub mod observed;

use crate::world::on_disk::OnDisk;
use model::{ImageSetup, Release};
use observed::Observed;

pub use lines::brief;
pub use observed::{Asked, Failure, Found};

/// Everything that happened, in order.
#[derive(Clone, PartialEq, Debug)]
pub struct History {
    /// Who recorded it.
    pub recorder: Recorder,
    /// The release of QEMU whose language is spoken in it.
    pub release: Release,
    /// The images before the run.
    pub images: Vec<ImageSetup>,
    /// What happened.
    pub entries: Vec<Entry>,
    /// The same run once more, up to the crash that it was cut with afterwards.
    pub cut: Option<Box<History>>,
    /// What simulated disks did, for readers: no judge is shown it, no fingerprint has it. In files these are notes.
    pub disk: Vec<OnDisk>,
}

/// Who recorded a history. The two describe the same things in slightly different words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorder {
    /// The oracle of a simulated world.
    World,
    /// The judge of a live daemon.
    Live,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The step of the run.
    pub step: u64,
    /// Nanoseconds of virtual time; 0 where there is none.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// Something that the model was shown.
    Observed(Observed),
    /// From now on this may go wrong, on this file. What does go wrong is observed.
    Armed(crate::world::fault::Fault, String),
    /// From now on nothing goes wrong any more.
    FaultsStopped,
    /// A line for readers.
    Note(String),
}

impl History {
    /// A run of which nothing has happened yet.
    pub fn new(recorder: Recorder, images: Vec<ImageSetup>) -> History {
        History {
            recorder,
            release: Release::V10_0_2,
            images,
            entries: Vec::new(),
            cut: None,
            disk: Vec::new(),
        }
    }

    /// One more thing. Gives back where it stands.
    pub fn push(&mut self, step: u64, at: u64, what: What) -> usize {
        self.entries.push(Entry { step, at, what });
        self.entries.len() - 1
    }

    /// The observation that stands there; only for places of observations.
    pub fn observed(&self, index: usize) -> &Observed {
        match &self.entries[index].what {
            What::Observed(observed) => observed,
            other => panic!("entry {index} is no observation but {other:?}"),
        }
    }

    /// What an image file showed when it was reopened.
    pub fn reopened(&self) -> impl Iterator<Item = &Found> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Observed(Observed::Recovered(found) | Observed::Closed(found)) => Some(found),
            _ => None,
        })
    }
}

impl Default for History {
    /// Nothing was recorded.
    fn default() -> History {
        History::new(Recorder::World, Vec::new())
    }
}
