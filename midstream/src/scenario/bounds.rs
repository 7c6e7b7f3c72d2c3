//! How far an exploration of a scenario goes, and how a run of it may end early.

use crate::world::crash::Ending;

/// What an exploration is complete within.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// How the world may end, at every step.
    pub crashes: Vec<Ending>,
    /// Of so many writes that a crash may lose every subset is tried; of more, each lost alone, each kept alone, and
    /// every prefix.
    pub subsets_of: usize,
    /// No more runs than this.
    pub runs_max: u64,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { crashes: Vec::new(), subsets_of: 5, runs_max: 1_000_000 }
    }
}
