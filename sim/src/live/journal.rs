//! What the judge of a sequence on devices was shown, each observation with the number of steps that the devices had
//! done before it: the sequence can be judged again as if it had been cut at any of these steps.
//!
//! A line of the monitor counts from the moment it was there to be read, whenever it was read: the daemon says on its
//! monitor what it has done before it goes on to ask the devices for more.

use crate::device::Devices;
use crate::oracle::{brief, without_time};
use crate::workload::image::Tag;
use model::{FaultKind, GuestOp, Judge, Observation};
use std::sync::Arc;

/// The journal of one sequence.
#[derive(Debug)]
pub struct Journal {
    devices: Arc<Devices>,
    /// The model before everything.
    pub(super) model: Judge,
    /// How much had been said on the monitor when its last line ended.
    pub(super) said_bytes: u64,
    noted: Vec<(usize, Noted)>,
}

/// An observation, kept.
#[derive(Clone, Debug)]
pub(super) enum Noted {
    Sent { client: u32, text: String },
    Reply { client: u32, text: String },
    Event { text: String },
    Armed { file: String, kind: FaultKind, error: String },
    Connected { guest: u32, export: String },
    Detached { guest: u32 },
    Began { request: u64, guest: u32, asked: Asked },
    Ended { request: u64, result: Result<Vec<Tag>, String> },
    Viewed { node: String, values: Vec<Tag> },
}

/// What a guest asked for.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    Write { sector: u64, values: Vec<Tag> },
    Other(GuestOp<'static>),
}

impl Journal {
    /// An empty one, of a sequence that `model` has seen nothing of.
    pub fn new(devices: Arc<Devices>, model: Judge) -> Journal {
        Journal { devices, model, said_bytes: 0, noted: Vec::new() }
    }

    pub(super) fn note(&mut self, observation: &Observation<'_>) {
        let Some(noted) = Noted::of(observation) else { return };
        let steps = match noted {
            Noted::Reply { .. } | Noted::Event { .. } => self.devices.steps_before(self.said_bytes),
            _ => self.devices.steps(),
        };
        self.noted.push((steps, noted));
    }

    /// All observations in the order in which they could be made.
    pub(super) fn in_order(mut self) -> (Judge, Vec<(usize, Noted)>) {
        self.noted.sort_by_key(|(steps, _)| *steps);
        (self.model, self.noted)
    }
}

impl Noted {
    /// What is worth keeping: everything before the end.
    fn of(observation: &Observation<'_>) -> Option<Noted> {
        Some(match *observation {
            Observation::Sent { client, text } => Noted::Sent { client, text: text.to_owned() },
            Observation::Reply { client, text } => Noted::Reply { client, text: text.to_owned() },
            Observation::Event { text } => Noted::Event { text: text.to_owned() },
            Observation::FaultArmed { file, kind, error } => {
                Noted::Armed { file: file.to_owned(), kind, error: error.to_owned() }
            }
            Observation::GuestConnected { guest, export } => {
                Noted::Connected { guest, export: export.to_owned() }
            }
            Observation::GuestDetached { guest } => Noted::Detached { guest },
            Observation::GuestBegan { request, guest, op } => {
                Noted::Began { request, guest, asked: Asked::of(op) }
            }
            Observation::GuestEnded { request, result } => {
                let result = result.map(<[Tag]>::to_vec).map_err(str::to_owned);
                Noted::Ended { request, result }
            }
            Observation::View { node, values } => {
                Noted::Viewed { node: node.to_owned(), values: values.to_vec() }
            }
            _ => return None,
        })
    }

    /// What it says to a reader of how a sequence came to its end; looks at jobs and nodes say nothing.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Noted::Sent { client, text } if !text.contains("query-") => {
                Some(format!("client {client:<2} -> {}", brief(text)))
            }
            Noted::Event { text } => Some(format!("event     {}", without_time(text))),
            Noted::Began { guest, asked, .. } => Some(format!("guest {guest:<3} {:?}", asked.op())),
            Noted::Ended { result: Err(error), .. } => Some(format!("guest     fails: {error}")),
            Noted::Ended { .. } => Some("guest     is done".to_owned()),
            Noted::Armed { file, error, .. } => Some(format!("fault     {file}: {error}")),
            _ => None,
        }
    }

    pub(super) fn observation(&self) -> Observation<'_> {
        match self {
            Noted::Sent { client, text } => Observation::Sent { client: *client, text },
            Noted::Reply { client, text } => Observation::Reply { client: *client, text },
            Noted::Event { text } => Observation::Event { text },
            Noted::Armed { file, kind, error } => Observation::FaultArmed { file, kind: *kind, error },
            Noted::Connected { guest, export } => Observation::GuestConnected { guest: *guest, export },
            Noted::Detached { guest } => Observation::GuestDetached { guest: *guest },
            Noted::Began { request, guest, asked } => {
                Observation::GuestBegan { request: *request, guest: *guest, op: asked.op() }
            }
            Noted::Ended { request, result } => {
                let result = result.as_deref().map_err(String::as_str);
                Observation::GuestEnded { request: *request, result }
            }
            Noted::Viewed { node, values } => Observation::View { node, values },
        }
    }
}

impl Asked {
    fn of(op: GuestOp<'_>) -> Asked {
        match op {
            GuestOp::Write { sector, values } => Asked::Write { sector, values: values.to_vec() },
            GuestOp::Read { sector, count } => Asked::Other(GuestOp::Read { sector, count }),
            GuestOp::WriteZeroes { sector, count } => Asked::Other(GuestOp::WriteZeroes { sector, count }),
            GuestOp::Discard { sector, count } => Asked::Other(GuestOp::Discard { sector, count }),
            GuestOp::Flush => Asked::Other(GuestOp::Flush),
        }
    }

    fn op(&self) -> GuestOp<'_> {
        match self {
            Asked::Write { sector, values } => GuestOp::Write { sector: *sector, values },
            Asked::Other(op) => *op,
        }
    }
}
