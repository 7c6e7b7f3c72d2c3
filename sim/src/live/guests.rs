//! Guests of a live daemon: each behind an export of its own, by NBD.

use super::action::Action;
use super::fall::Fell;
use super::in_flight::{Asked, Unanswered};
use super::judge::{Broken, EXPORT_STAYS, HUNG};
use super::sequence::{Live, OPERATOR};
use super::timeout::Timeout;
use crate::conform::daemon::socket::NbdSocket;
use crate::conform::nbd;
use crate::workload::guest::{GuestPlan, Place, Request};
use midstream::content::{SECTOR_BYTES, Tag};
use std::time::{Duration, Instant};

/// A guest at its export.
pub(super) struct Seat {
    pub(super) socket: NbdSocket,
    pub(super) len_bytes: u64,
    pub(super) requests: u64,
    /// What it has asked for and has no answer to yet.
    pub(super) unanswered: Option<Unanswered>,
    /// It leaves as soon as it is answered.
    pub(super) leaves: bool,
}

impl Live<'_> {
    /// Whether the guest is at its export; on its first request it makes one.
    pub(super) fn sit_down(&mut self, plan: &GuestPlan) -> Result<bool, Broken> {
        if self.guests.contains_key(&plan.guest) {
            return Ok(true);
        }
        let node = self.scenario.node(plan.image);
        self.export(plan.guest, &node, plan.writable)
    }

    pub(super) fn export(&mut self, guest: u32, node: &str, writable: bool) -> Result<bool, Broken> {
        let mut more = if writable { r#","writable":true"#.to_owned() } else { String::new() };
        more += &self.scenario.threads.of_export(guest);
        let text = format!(
            r#"{{"execute":"block-export-add","arguments":{{"type":"nbd","id":"g{guest}","node-name":"{node}","name":"g{guest}"{more}}}}}"#
        );
        let reply = self.command(OPERATOR, &text)?;
        if reply.get("error").is_some() {
            return Ok(false);
        }
        let export = format!("g{guest}");
        self.did(Action::Connect { guest, export: export.clone() });
        let connected = self.process.nbd().map_err(|error| error.to_string()).and_then(|mut socket| {
            let len_bytes = nbd::hello(&mut socket, &export).map_err(|gone| by_its_number(&gone.0))?;
            Ok(Seat { socket, len_bytes, requests: 0, unanswered: None, leaves: false })
        });
        match connected {
            Ok(seat) => self.guests.insert(guest, seat),
            Err(why) => return Err(self.unserved(&format!("connecting to {export}"), &why)),
        };
        self.judge.connected(guest, &export)?;
        Ok(true)
    }

    /// An NBD client got no answer at all.
    pub(super) fn unserved(&mut self, what: &str, why: &str) -> Broken {
        let soon = Instant::now() + Duration::from_millis(200);
        match self.receive(Some(soon), what) {
            Err(broken) => broken,
            Ok(()) => {
                let fall = self.judge.fall(Fell::Unserved, why, "");
                self.judge.fell(HUNG, format!("{what}: {why}"), fall)
            }
        }
    }

    /// Makes a request. In flight, its answer is left for later.
    pub(super) fn perform(&mut self, guest: u32, request: &Request, in_flight: bool) -> Result<(), Broken> {
        let size = self.guests[&guest].len_bytes / SECTOR_BYTES as u64;
        if size == 0 {
            return Ok(());
        }
        let job = match request.place {
            Place::Sector(_) => 0,
            Place::NearJob(_) if self.jobs.is_empty() => 0,
            Place::NearJob(_) => {
                let jobs = self.poll()?;
                jobs.last().and_then(|job| job["offset"].as_u64()).unwrap_or(0) / SECTOR_BYTES as u64
            }
        };
        let sector = request.place.sector(size, job);
        let sectors = request.sectors.min(size - sector);
        let asked = Asked { guest, operation: request.operation, sector, sectors, tag: request.tag };
        if in_flight { self.ask(asked, true) } else { self.request(asked).map(drop) }
    }

    /// Sends a request and waits for its answer.
    pub(super) fn request(&mut self, asked: Asked) -> Result<Result<Vec<Tag>, String>, Broken> {
        self.ask(asked, false)?;
        Ok(self.answered(asked.guest)?.expect("it has just asked"))
    }

    pub(super) fn leave(&mut self, guest: u32) -> Result<(), Broken> {
        let Some(mut seat) = self.guests.remove(&guest) else { return Ok(()) };
        assert!(seat.unanswered.is_none(), "guest {guest} leaves without an answer to {:?}", seat.unanswered);
        self.did(Action::Leave { guest });
        nbd::goodbye(&mut seat.socket);
        seat.socket.close();
        self.judge.detached(guest)?;
        let text =
            format!(r#"{{"execute":"block-export-del","arguments":{{"id":"g{guest}","mode":"hard"}}}}"#);
        self.exports_gone.clear();
        let reply = self.command(OPERATOR, &text)?;
        if reply.get("error").is_some() {
            return Ok(());
        }
        // The reply may come before the server has noticed that its client left; until then the export is in use.
        let (export, mut timeout) = (format!("g{guest}"), Timeout::begin());
        while !self.exports_gone.contains(&export) {
            if timeout.look(self.process.ticks()).is_some() {
                let (late, state) = (timeout.text(), self.judge.state_text());
                let found = format!("{export} is not gone within {late}\nafter {text}\n{state}");
                let fall = self.judge.fall(Fell::ExportStays, "", &text);
                return Err(self.judge.fell(EXPORT_STAYS, found, fall));
            }
            self.receive(Some(timeout.next_look()), &text)?;
        }
        Ok(())
    }
}

/// The error of an NBD option by its number alone: with the bit that says error it reads like the value of a sector.
fn by_its_number(error: &str) -> String {
    error.replacen("option error 0x8000000", "option error ", 1)
}
