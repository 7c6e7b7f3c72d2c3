//! What no recorder can have seen: an answer without its command, a request that ends twice or that nobody made.
//!
//! Such a line is no law broken: the record is wrong. Beside that, requests get numbers of our own, so that a file may use
//! one again, and everything that waits for its end is bounded.

use super::spec::{Judge, Stop};
use super::{Fault, fault};
use midstream::history::file::header::Spec;
use midstream::history::file::{NAME_BYTES_MAX, SECTOR_MAX, VALUES_MAX};
use midstream::history::observed::Observed;
use midstream::history::{Asked, Found};
use midstream::request::Operation;
use std::collections::{BTreeMap, BTreeSet};

/// More guests, clients and requests, each, are not followed at once.
const WAITING_MAX: usize = 4096;
/// More sectors are not asked for at once.
const IN_FLIGHT_MAX: u64 = 1 << 21;

/// What has begun and not ended.
pub(super) struct Protocol {
    spec: Spec,
    /// Commands without a reply, by client.
    commands: BTreeMap<u32, u32>,
    waiting_commands: usize,
    guests: BTreeSet<u32>,
    requests: BTreeMap<u64, Open>,
    in_flight: u64,
    next: u64,
    has_crashed: bool,
    is_over: bool,
}

/// A request without an end.
struct Open {
    number: u64,
    operation: Operation,
    count: u64,
}

impl Protocol {
    pub(super) fn new(spec: Spec) -> Protocol {
        Protocol {
            spec,
            commands: BTreeMap::new(),
            waiting_commands: 0,
            guests: BTreeSet::new(),
            requests: BTreeMap::new(),
            in_flight: 0,
            next: 1,
            has_crashed: false,
            is_over: false,
        }
    }

    /// Lets an observation pass that can have been made.
    pub(super) fn admit(&mut self, mut observed: Observed, judge: &Judge) -> Result<Observed, Stop> {
        self.phase(&observed)?;
        match &mut observed {
            Observed::Sent { client, .. } => {
                *self.commands.entry(*client).or_default() += 1;
                self.waiting_commands += 1;
            }
            Observed::Reply { client, .. } => self.replied(*client)?,
            Observed::Attached { guest, node, .. } => {
                self.attached(*guest, "attached", "node", node, judge)?
            }
            Observed::Connected { guest, export } => {
                self.attached(*guest, "connected", "export", export, judge)?;
            }
            Observed::Detached { guest } => self.detached(*guest)?,
            Observed::Began { request, guest, asked, .. } => {
                *request = self.began(*request, *guest, asked)?
            }
            Observed::Ended { request, result } => *request = self.ended(*request, result.as_deref().ok())?,
            Observed::View { node, .. } => named("view.node", node, judge)?,
            Observed::Crash { .. } => self.crashed(),
            Observed::Recovered(found) => file("recovered", found, judge)?,
            Observed::Closed(found) => file("closed", found, judge)?,
            Observed::Unreadable { file, .. } => self.unreadable(file, judge)?,
            Observed::End => self.is_over = true,
            Observed::Event { .. }
            | Observed::SchemaCommand
            | Observed::SchemaCommandRefused { .. }
            | Observed::Refused { .. }
            | Observed::FaultStruck { .. }
            | Observed::FaultArmed { .. } => {}
        }
        let waiting = self.guests.len().max(self.requests.len()).max(self.waiting_commands);
        if waiting.max(self.commands.len()) > WAITING_MAX || self.in_flight > IN_FLIGHT_MAX {
            let why = format!(
                "more than {WAITING_MAX} guests, commands or requests, or requests of {IN_FLIGHT_MAX} sectors, at once"
            );
            return Err(Stop::Bound(why));
        }
        Ok(observed)
    }

    /// Whether anything of this kind can still be seen.
    fn phase(&self, observed: &Observed) -> Result<(), Fault> {
        let is_reading =
            matches!(observed, Observed::Recovered(_) | Observed::Closed(_) | Observed::Unreadable { .. });
        if self.is_over && !is_reading {
            return fault("", "the run is over: after `end` images are only read");
        }
        let is_judged_crash = self.spec != Spec::DataOnly && self.has_crashed;
        if is_judged_crash && !is_reading && !matches!(observed, Observed::End) {
            return fault("", "after a crash images are only recovered, and the run ends");
        }
        if matches!(observed, Observed::Recovered(_)) && !self.has_crashed {
            return fault("recovered", "nothing has crashed; an image that was closed well is `closed`");
        }
        Ok(())
    }

    fn unreadable(&self, file: &str, judge: &Judge) -> Result<(), Fault> {
        if self.spec == Spec::DataOnly {
            return fault(
                "unreadable",
                "data-only knows of no chains: what is read is what the device shows",
            );
        }
        named("unreadable.file", file, judge)
    }

    fn replied(&mut self, client: u32) -> Result<(), Fault> {
        match self.commands.get_mut(&client) {
            Some(waiting) if *waiting > 1 => *waiting -= 1,
            Some(_) => drop(self.commands.remove(&client)),
            None => {
                let why = format!("client {client} gets a reply and has no command without one");
                return fault("reply.client", why);
            }
        }
        self.waiting_commands -= 1;
        Ok(())
    }

    fn attached(
        &mut self,
        guest: u32,
        form: &str,
        member: &str,
        name: &str,
        judge: &Judge,
    ) -> Result<(), Fault> {
        named(&format!("{form}.{member}"), name, judge)?;
        if !self.guests.insert(guest) {
            return fault(&format!("{form}.guest"), format!("guest {guest} is there already"));
        }
        Ok(())
    }

    fn detached(&mut self, guest: u32) -> Result<(), Fault> {
        if !self.guests.remove(&guest) {
            return fault("detached.guest", format!("guest {guest} is not there"));
        }
        Ok(())
    }

    fn began(&mut self, request: u64, guest: u32, asked: &Asked) -> Result<u64, Fault> {
        let form = form(asked.operation);
        if !self.guests.contains(&guest) {
            return fault(&format!("{form}.guest"), format!("guest {guest} is not attached"));
        }
        if asked.count > VALUES_MAX as u64 {
            return fault(&format!("{form}.count"), format!("more than {VALUES_MAX} sectors"));
        }
        if asked.sector.checked_add(asked.count).is_none_or(|end| end > SECTOR_MAX) {
            return fault(&format!("{form}.sector"), format!("no device reaches past sector {SECTOR_MAX}"));
        }
        let number = self.next;
        let open = Open { number, operation: asked.operation, count: asked.count };
        if self.requests.insert(request, open).is_some() {
            return fault(&format!("{form}.request"), format!("request {request} has no end yet"));
        }
        self.next += 1;
        self.in_flight += asked.count;
        Ok(number)
    }

    fn ended(&mut self, request: u64, values: Option<&[u64]>) -> Result<u64, Fault> {
        let Some(Open { number, operation, count }) = self.requests.remove(&request) else {
            let why = format!("request {request} never began, or has ended already");
            return fault("ended.request", why);
        };
        self.in_flight -= count;
        match (operation, values.map(|values| values.len() as u64)) {
            (Operation::Read, Some(0)) if count > 0 => {
                fault("ended.values", "missing: a read that went well brings its values")
            }
            (Operation::Read, Some(brought)) if brought > count => {
                fault("ended.values", format!("{brought} values for a read of {count} sectors"))
            }
            (Operation::Read, _) | (_, None | Some(0)) => Ok(number),
            _ => fault("ended.values", format!("request {request} is no read")),
        }
    }

    fn crashed(&mut self) {
        self.commands.clear();
        self.waiting_commands = 0;
        self.guests.clear();
        self.requests.clear();
        self.in_flight = 0;
        self.has_crashed = true;
    }
}

/// The member of a line that says this.
fn form(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "read",
        Operation::Write => "write",
        Operation::WriteZeroes => "write-zeroes",
        Operation::Discard => "discard",
        Operation::Flush => "flush",
    }
}

fn named(field: &str, name: &str, judge: &Judge) -> Result<(), Fault> {
    if name.len() > NAME_BYTES_MAX {
        return fault(field, format!("longer than {NAME_BYTES_MAX} bytes"));
    }
    if !judge.knows(name) {
        return fault(field, format!("no image is called `{name}`"));
    }
    Ok(())
}

fn file(form: &str, found: &Found, judge: &Judge) -> Result<(), Fault> {
    named(&format!("{form}.file"), &found.file, judge)?;
    if found.chain.first() != Some(&found.file) {
        return fault(&format!("{form}.chain"), format!("does not begin with `{}`", found.file));
    }
    Ok(())
}
