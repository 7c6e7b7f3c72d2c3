//! Every change and every flush that devices were given, in order: enough to stand at any point of a run again.

use midstream::world::disk::{Ask, Change, Disks, File};
use midstream::world::fault::Fault;
use std::task::Waker;

/// One step of the devices' life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A change was submitted.
    Change {
        /// Index of the device.
        device: u32,
        /// Where.
        offset: u64,
        /// What.
        change: Change,
    },
    /// A flush was submitted.
    Flush {
        /// Index of the device.
        device: u32,
    },
    /// One of the changes and flushes in flight was completed, by its place among them.
    Completed {
        /// Which.
        index: usize,
    },
    /// From now on something goes wrong.
    Armed(Fault),
    /// From now on nothing does.
    Calm,
}

/// All steps since the devices were made.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Names and contents in the beginning.
    pub devices: Vec<(String, Vec<u8>)>,
    /// The steps.
    pub steps: Vec<Step>,
    /// How many bytes whoever is watched had said before each step.
    pub said_bytes: Vec<u64>,
}

impl Log {
    /// How many steps there were before somebody's byte at this place of what was said.
    pub fn steps_before(&self, said_bytes: u64) -> usize {
        self.said_bytes.partition_point(|said| *said < said_bytes)
    }

    /// The beginning, from which one can go on step by step.
    pub fn past(&self) -> Past<'_> {
        let files = self.devices.iter().map(|(name, bytes)| File::new(name, bytes.clone())).collect();
        Past { log: self, disks: Disks::new(files), at: 0 }
    }

    /// A step in words.
    pub fn step_text(&self, at: usize) -> String {
        let name = |device: u32| self.devices[device as usize].0.as_str();
        match &self.steps[at] {
            Step::Change { device, offset, change } => {
                let what = match change {
                    Change::Bytes(_) => "write",
                    _ => "zeroes",
                };
                format!("{what} {} bytes at {offset} of {}", change.len_bytes(), name(*device))
            }
            Step::Flush { device } => format!("flush {}", name(*device)),
            Step::Armed(fault) => {
                format!("{} of {} may fail: {}", fault.kind.word(), name(fault.file), fault.errno.text())
            }
            Step::Calm => "no faults any more".to_owned(),
            Step::Completed { .. } => {
                let text =
                    self.submission(at).map_or_else(|| "a request".to_owned(), |at| self.step_text(at));
                format!("{text}, done")
            }
        }
    }

    /// The step that submitted what was completed in step `at`.
    fn submission(&self, at: usize) -> Option<usize> {
        let mut in_flight = Vec::new();
        for (index, step) in self.steps[..=at].iter().enumerate() {
            match step {
                Step::Completed { index: done } if index == at => return in_flight.get(*done).copied(),
                Step::Completed { index: done } => {
                    in_flight.remove(*done);
                }
                Step::Change { .. } | Step::Flush { .. } => in_flight.push(index),
                Step::Armed(_) | Step::Calm => {}
            }
        }
        None
    }
}

/// The devices as they stood after some of the steps.
#[derive(Debug)]
pub struct Past<'a> {
    log: &'a Log,
    disks: Disks,
    at: usize,
}

impl Past<'_> {
    /// The devices, with what was in flight and what was not durable.
    pub fn disks(&self) -> &Disks {
        &self.disks
    }

    /// How many steps were done.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Does one more step. False at the end.
    pub fn forward(&mut self) -> bool {
        let Some(step) = self.log.steps.get(self.at) else { return false };
        self.at += 1;
        match step {
            Step::Change { device, offset, change } => {
                let id = self.disks.submit(*device, Ask::Write(*offset, change.clone()));
                self.disks.abandon(id);
            }
            Step::Flush { device } => {
                let id = self.disks.submit(*device, Ask::Flush);
                self.disks.abandon(id);
            }
            Step::Completed { index } => {
                let _nobody: Option<Waker> = self.disks.complete(*index);
            }
            Step::Armed(fault) => self.disks.faults.arm(fault.clone()),
            Step::Calm => self.disks.faults.stop(),
        }
        true
    }
}
