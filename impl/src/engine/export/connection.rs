//! One client of the server, from greeting to goodbye: moves bytes, and runs its requests side by side.
//!
//! A request once begun runs to its end, whether or not its client is still there.

use super::memory::Claim;
use super::server::Server;
use super::{ClientSerial, Export, request};
use crate::engine::{Engine, Guest};
use crate::nbd::offer::{self, Offer};
use crate::nbd::reply::{Answer, Ticket};
use crate::nbd::request::Request;
use crate::nbd::session::{Session, Step};
use crate::warning::warn;
use seam::{Host, IoResult, Nanos, Pending, Stream};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How much is read from a client at a time.
const READ_BYTES: usize = 256 << 10;

/// A client that has just come.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Whose exports it may use.
    pub engine: Arc<Engine>,
    /// Through which it came.
    pub server: Arc<Server>,
    /// Its number.
    pub client: ClientSerial,
    /// Its bytes.
    pub stream: Arc<dyn Stream>,
}

/// What a client may see, and the export it has chosen.
struct Visitor {
    connection: Connection,
    export: Option<(Arc<Export>, Arc<Guest>)>,
}

impl offer::Exports for Visitor {
    fn list(&self) -> Vec<Offer> {
        let offered = self.connection.engine.exports().offered();
        offered.iter().map(|export| export.offer.clone()).collect()
    }

    fn find(&self, name: &str) -> Option<Offer> {
        self.export_of(name).map(|export| export.offer.clone())
    }

    fn enter(&mut self, name: &str) -> Option<Offer> {
        let export = self.export_of(name)?;
        let guest = export.enter(self.connection.client, Arc::clone(&self.connection.stream))?;
        let offer = export.offer.clone();
        self.export = Some((export, guest));
        Some(offer)
    }
}

impl Visitor {
    fn export_of(&self, name: &str) -> Option<Arc<Export>> {
        self.connection.engine.exports().offered().into_iter().find(|export| export.offer.name == name)
    }
}

/// Serves a client to its end; the handshake may take `handshake_max`, nothing meaning any time.
pub(crate) async fn converse(connection: Connection, handshake_max: Nanos) {
    let stream = Arc::clone(&connection.stream);
    let host = Arc::clone(connection.engine.host());
    let deadline = (handshake_max > Nanos(0)).then(|| host.sleep_until(host.now().plus(handshake_max)));
    let claim = connection.engine.exports().memory.claim(connection.client);
    let mut talk = Talk {
        session: Session::new(),
        stream,
        host,
        claim,
        parked: None,
        wants_room: None,
        writing_bytes: 0,
        running: Vec::new(),
        reading: None,
        writing: None,
        deadline,
        receives: true,
        speaks: true,
    };
    let mut visitor = Visitor { connection, export: None };
    while talk.advance(&mut visitor) {
        poll_fn(|context| talk.poll(context)).await;
    }
    talk.stream.shut_down();
    let Visitor { connection, export } = visitor;
    if let Some((export, guest)) = export {
        drop(guest);
        connection.engine.leave_export(&export, connection.client).await;
    }
    connection.server.leave(connection.client);
}

/// A request under way.
type Running = (Ticket, Pending<'static, Answer>);

struct Talk {
    session: Session,
    stream: Arc<dyn Stream>,
    host: Arc<dyn Host>,
    /// What we hold for the client.
    claim: Claim,
    /// A request that waits for room.
    parked: Option<(Ticket, Request)>,
    /// Something waits for room: what had changed before it was refused.
    wants_room: Option<u64>,
    writing_bytes: u64,
    running: Vec<Running>,
    reading: Option<Pending<'static, IoResult<Vec<u8>>>>,
    writing: Option<Pending<'static, IoResult<()>>>,
    /// When a client still in the handshake is sent away.
    deadline: Option<Pending<'static, ()>>,
    /// Whether more may come from the client.
    receives: bool,
    /// Whether the client takes what is sent.
    speaks: bool,
}

impl Talk {
    /// Begins everything that can begin. False: there is nothing more to wait for.
    fn advance(&mut self, visitor: &mut Visitor) -> bool {
        self.wants_room = None;
        self.take_steps(visitor);
        if !self.session.is_negotiating() {
            self.deadline = None;
        }
        if self.writing.is_none() {
            let output = self.output();
            self.writing_bytes = output.as_ref().map_or(0, |bytes| bytes.len() as u64);
            self.writing = output.map(|bytes| self.stream.write(bytes));
        }
        let may_read = self.receives && self.reading.is_none() && self.session.has_room();
        if may_read && self.parked.is_none() && self.has_memory(READ_BYTES as u64) {
            self.reading = Some(self.stream.read(READ_BYTES));
        }
        self.receives || self.writing.is_some() || self.parked.is_some() || !self.running.is_empty()
    }

    fn take_steps(&mut self, visitor: &mut Visitor) {
        loop {
            if self.parked.is_some() && !self.has_memory(0) {
                return;
            }
            if let Some((ticket, request)) = self.parked.take() {
                let (export, guest) = visitor.export.as_ref().expect("requests come after the handshake");
                let request = if export.writethrough { request.durable() } else { request };
                let answer = request::run(Arc::clone(export), Arc::clone(guest), request, ticket.headroom);
                self.running.push((ticket, answer));
            }
            match self.receives.then(|| self.session.next(visitor)).flatten() {
                None => return,
                Some(Step::Do(ticket, request)) => self.parked = Some((ticket, request)),
                Some(Step::Close) => self.hang_up(),
            }
        }
    }

    /// Whether there is memory for all that is held for the client, and so much more; if not, whoever gives some back
    /// is waited for.
    fn has_memory(&mut self, more: u64) -> bool {
        let reading = if self.reading.is_some() { READ_BYTES as u64 } else { 0 };
        let held = self.session.held_bytes() + self.writing_bytes + reading;
        let seen = self.claim.changes();
        let has = self.claim.hold(held + more);
        if !has {
            self.wants_room = Some(seen);
        }
        has
    }

    /// The next piece of output; small ones are put together.
    fn output(&mut self) -> Option<Vec<u8>> {
        const TOGETHER: usize = 16 << 10;
        let mut bytes = self.session.take_output().filter(|_| self.speaks)?;
        while bytes.len() < TOGETHER
            && let Some(more) = self.session.take_output()
        {
            bytes.extend(more);
        }
        Some(bytes)
    }

    /// Listens no more; what is under way is still answered.
    fn hang_up(&mut self) {
        self.receives = false;
        self.reading = None;
        self.deadline = None;
    }

    /// Ready when anything has happened.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let happened = [
            self.wants_room.is_some_and(|seen| self.claim.poll_changed(seen, context)),
            self.poll_deadline(context),
            self.poll_writing(context),
            self.poll_running(context),
            self.poll_reading(context),
        ];
        if happened.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_deadline(&mut self, context: &mut Context<'_>) -> bool {
        let over = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
        if over {
            self.hang_up();
            self.speaks = false;
            self.writing = None;
        }
        over
    }

    fn poll_writing(&mut self, context: &mut Context<'_>) -> bool {
        let Some(writing) = &mut self.writing else { return false };
        let Poll::Ready(written) = writing.as_mut().poll(context) else { return false };
        self.writing = None;
        self.writing_bytes = 0;
        // What was sent is held no more, which others may wait for.
        self.has_memory(0);
        if written.is_err() {
            self.speaks = false;
            self.hang_up();
        }
        true
    }

    fn poll_running(&mut self, context: &mut Context<'_>) -> bool {
        let before = self.running.len();
        for index in (0..before).rev() {
            if let Poll::Ready(answer) = self.running[index].1.as_mut().poll(context) {
                let (ticket, _) = self.running.swap_remove(index);
                self.session.answer(ticket, answer);
            }
        }
        self.running.len() < before
    }

    fn poll_reading(&mut self, context: &mut Context<'_>) -> bool {
        let Some(reading) = &mut self.reading else { return false };
        let Poll::Ready(read) = reading.as_mut().poll(context) else { return false };
        self.reading = None;
        match read {
            Ok(bytes) if !bytes.is_empty() => self.session.receive(&bytes),
            _ => {
                if let Some(why) = self.session.why_it_failed_at_the_end() {
                    warn(&*self.host, &format!("option negotiation failed: {why}"));
                }
                self.hang_up();
            }
        }
        true
    }
}
