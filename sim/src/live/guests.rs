//! Guests of a live daemon: each behind an export of its own, by NBD.

use super::action::Action;
use super::judge::{Broken, EXPORT_STAYS, HUNG};
use super::patience::Patience;
use super::sequence::{Live, OPERATOR};
use crate::conform::case::IoOp;
use crate::conform::daemon::socket::NbdSocket;
use crate::conform::nbd;
use crate::conform::subject::{Disconnected, Request as NbdRequest};
use crate::workload::guest::{GuestPlan, Operation, Place, Request, tag_in_sector, tags};
use crate::workload::image::{SECTOR_BYTES, Tag, fill};
use std::time::{Duration, Instant};

/// A guest that waits longer than this waits for a job.
const GUEST_PATIENCE: Duration = Duration::from_millis(700);

/// A guest at its export.
pub(super) struct Seat {
    socket: NbdSocket,
    pub(super) len_bytes: u64,
    requests: u64,
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
        let writable = if writable { r#","writable":true"# } else { "" };
        let text = format!(
            r#"{{"execute":"block-export-add","arguments":{{"type":"nbd","id":"g{guest}","node-name":"{node}","name":"g{guest}"{writable}}}}}"#
        );
        let reply = self.command(OPERATOR, &text)?;
        if reply.get("error").is_some() {
            return Ok(false);
        }
        let export = format!("g{guest}");
        self.actions.push(Action::Connect { guest, export: export.clone() });
        let connected = self.process.nbd().map_err(|error| error.to_string()).and_then(|mut socket| {
            let len_bytes = nbd::hello(&mut socket, &export).map_err(|gone| gone.0)?;
            Ok(Seat { socket, len_bytes, requests: 0 })
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
        match self.hear(Some(soon), what) {
            Err(broken) => broken,
            Ok(()) => self.judge.break_law(HUNG, format!("{what}: {why}")),
        }
    }

    pub(super) fn perform(&mut self, guest: u32, request: &Request) -> Result<(), Broken> {
        let size = self.guests[&guest].len_bytes / SECTOR_BYTES as u64;
        if size == 0 {
            return Ok(());
        }
        let job = match request.place {
            Place::Sector(_) => 0,
            Place::NearJob(_) if self.jobs_alive.is_empty() => 0,
            Place::NearJob(_) => {
                let jobs = self.poll()?;
                jobs.last().and_then(|job| job["offset"].as_u64()).unwrap_or(0) / SECTOR_BYTES as u64
            }
        };
        let sector = request.place.sector(size, job);
        let sectors = request.sectors.min(size - sector);
        self.request(guest, request.operation, sector, sectors, request.tag).map(drop)
    }

    pub(super) fn request(
        &mut self,
        guest: u32,
        operation: Operation,
        sector: u64,
        sectors: u64,
        tag: Tag,
    ) -> Result<Result<Vec<Tag>, String>, Broken> {
        self.actions.push(Action::Request { guest, operation, sector, sectors, tag });
        self.hear(None, "a guest's request")?;
        self.request += 1;
        let number = self.request;
        self.judge.began(number, guest, operation, (sector, sectors), tag)?;
        let op = match operation {
            Operation::Read => IoOp::Read,
            Operation::Write => IoOp::Write,
            Operation::WriteZeroes => IoOp::Zero,
            Operation::Discard => IoOp::Discard,
            Operation::Flush => IoOp::Flush,
        };
        let len = sectors * SECTOR_BYTES as u64;
        let mut data = Vec::new();
        if operation == Operation::Write {
            data = vec![0; len as usize];
            for (sector, bytes) in (sector..).zip(data.chunks_mut(SECTOR_BYTES)) {
                fill(bytes, tag_in_sector(tag, sector));
            }
        }
        let (offset, len) = match operation {
            Operation::Flush => (0, 0),
            _ => (sector * SECTOR_BYTES as u64, len as u32),
        };
        let seat = self.guests.get_mut(&guest).expect("a guest asks only while it sits");
        seat.requests += 1;
        let asked = NbdRequest { op, offset, len, data: &data, nohole: false };
        let mut answer = nbd::ask(&mut seat.socket, seat.requests, asked);
        if answer.is_ok() && !seat.socket.comes(GUEST_PATIENCE) {
            // A job may hold guests up for as long as it waits for its operator.
            self.urge_all()?;
        }
        let seat = self.guests.get_mut(&guest).expect("a guest that asked sits until it is answered");
        let what = format!("guest {guest}, {operation:?} of {sectors} at {sector}");
        let mut patience = Patience::begin();
        while answer.is_ok() && !seat.socket.comes(patience.pause()) {
            if patience.look(self.process.ticks()).is_some() {
                answer = Err(Disconnected(format!("no answer within {}", patience.text())));
            }
        }
        let answer = answer.and_then(|()| nbd::answer(&mut seat.socket, asked));
        let answer = match answer {
            Ok(answer) => answer,
            Err(gone) => return Err(self.unserved(&what, &gone.0)),
        };
        self.hear(None, "a guest's request")?;
        let result = match answer.error {
            0 => Ok(tags(&answer.data)),
            error => Err(format!("error {error}")),
        };
        self.judge.ended(number, guest, result.as_deref().map_err(String::as_str))?;
        Ok(result)
    }

    pub(super) fn leave(&mut self, guest: u32) -> Result<(), Broken> {
        let Some(mut seat) = self.guests.remove(&guest) else { return Ok(()) };
        self.actions.push(Action::Leave { guest });
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
        let (export, mut patience) = (format!("g{guest}"), Patience::begin());
        while !self.exports_gone.contains(&export) {
            if patience.look(self.process.ticks()).is_some() {
                let (late, state) = (patience.text(), self.judge.state_text());
                let found = format!("{export} is not gone within {late}\nafter {text}\n{state}");
                return Err(self.judge.break_law(EXPORT_STAYS, found));
            }
            self.hear(Some(patience.next_look()), &text)?;
        }
        Ok(())
    }
}
