//! The observable steps: what an observation does to a state, or which law it breaks there.

mod answers;
pub(crate) mod bitmaps;
pub(crate) mod client;
mod copied;
mod copying;
mod crash;
mod edges;
mod edit;
mod ending;
mod goals;
pub(crate) mod guest;
mod jobs;
pub(crate) mod late;
pub(crate) mod marred;
mod marred_control;
mod met;
mod query;
mod replied;
pub(crate) mod seen;
pub(crate) mod silent;
pub(crate) mod sketch;
mod start;
pub(crate) mod state;
pub mod taken;
mod verb;

use crate::command::Command;
use crate::law::{Broken, LawId};
use crate::observation::Observation;
use crate::step::seen::Seen;
use crate::step::state::{EVER, State};

impl State {
    /// Takes what was seen. Where it can have come about in several ways, the others are added to `more`; there may be
    /// some even if this one is broken.
    pub(crate) fn step(&mut self, seen: &Seen<'_>, more: &mut Vec<State>) -> Result<(), Broken> {
        if self.inconclusive().is_some() {
            return Ok(());
        }
        match seen {
            Seen::Sent { client, asked } => {
                self.sent(*client, asked, more);
                Ok(())
            }
            Seen::Reply { client, reply, echo } => self.replied(*client, reply, echo.as_deref(), more),
            Seen::NoReply { client, text } => {
                Err(self.broken(LawId::Reply, format!("client {client} got what is no reply: {text}")))
            }
            Seen::Event(event) => self.event(event, more),
            Seen::NoEvent(what) => Err(self.broken(LawId::EventFields, what)),
            Seen::Nothing => Ok(()),
            Seen::Other(observation) => self.observe(observation),
        }
    }

    fn observe(&mut self, observation: &Observation<'_>) -> Result<(), Broken> {
        match *observation {
            Observation::Sent { .. } | Observation::Reply { .. } | Observation::Event { .. } => {
                unreachable!("texts are read before")
            }
            // From then on only what guests wrote is judged, and not by this.
            Observation::SchemaCommand => Ok(()),
            Observation::SchemaCommandRefused { text } => {
                self.refused_command_leaves(&Command::read(text).0);
                self.failed_snapshot_may_corrupt(text);
                Ok(())
            }
            Observation::GuestAttached { guest, node, writable } => self.attached(guest, node, writable),
            Observation::GuestConnected { guest, export } => self.connected(guest, export),
            Observation::GuestRefused { guest, node, writable } => self.turned_away(guest, node, writable),
            Observation::GuestDetached { guest } => {
                self.detached(guest);
                Ok(())
            }
            Observation::GuestBegan { request, guest, op } => {
                self.began(request, guest, op);
                Ok(())
            }
            Observation::GuestEnded { request, result } => self.ended(request, result),
            Observation::FaultStruck { file, kind, error } => {
                self.struck(file, kind, error, self.now);
                self.commands_may_fail();
                self.restoring_may_fail();
                Ok(())
            }
            Observation::FaultArmed { file, kind, error } => {
                self.struck(file, kind, error, EVER);
                self.commands_may_fail();
                self.restoring_may_fail();
                Ok(())
            }
            Observation::View { node, values } => self.viewed(node, values),
            Observation::Crash { kind } => {
                self.crashed(kind);
                Ok(())
            }
            Observation::Recovered { file, values, chain, check_corruptions } => {
                self.recovered(file, values, chain, check_corruptions)
            }
            Observation::Closed { file, values, chain, check_corruptions, check_leaks } => {
                self.closed(file, values, chain, (check_corruptions, check_leaks))
            }
            Observation::Unreadable { file, why } => self.unreadable(file, why),
            Observation::End => self.over(),
        }
    }
}
