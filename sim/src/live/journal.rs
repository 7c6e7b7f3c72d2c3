//! What the devices of a sequence had done before each thing that its judge was shown: the sequence can be judged again as
//! if it had been cut at any of their steps.
//!
//! A line of the monitor counts from the moment it was there to be read, whenever it was read: the daemon says on its
//! monitor what it has done before it goes on to ask the devices for more.

use crate::device::Devices;
use midstream::history::observed::Observed;
use model::Judge;
use std::sync::Arc;

/// The journal of one sequence.
#[derive(Debug)]
pub struct Journal {
    devices: Arc<Devices>,
    /// Before everything.
    judge: Judge,
    /// How much had been said on the monitor when its last line ended.
    pub(super) said_bytes: u64,
    /// The devices' steps before an entry of the history, and which entry.
    noted: Vec<(usize, usize)>,
}

impl Journal {
    /// An empty one, of a sequence that `judge` has seen nothing of.
    pub fn new(devices: Arc<Devices>, judge: Judge) -> Journal {
        Journal { devices, judge, said_bytes: 0, noted: Vec::new() }
    }

    /// Notes an entry of the history, if it comes before the end.
    pub(super) fn note(&mut self, entry: usize, observed: &Observed) {
        let steps = match observed {
            Observed::Crash { .. } | Observed::Recovered(_) | Observed::Closed(_) | Observed::End => return,
            Observed::Reply { .. } | Observed::Event { .. } => self.devices.steps_before(self.said_bytes),
            _ => self.devices.steps(),
        };
        self.noted.push((steps, entry));
    }

    /// All entries in the order in which they could be seen.
    pub(super) fn in_order(mut self) -> (Judge, Vec<(usize, usize)>) {
        self.noted.sort_by_key(|(steps, _)| *steps);
        (self.judge, self.noted)
    }
}
