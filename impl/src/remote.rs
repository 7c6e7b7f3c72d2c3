//! A disk behind an NBD server. A connection that is lost is made again; meanwhile requests wait as long as the operator
//! says, and then fail.

mod dial;
mod disk;
mod line;

pub(crate) use dial::NotOpened;

use crate::budget::Share;
use crate::nbd::client::{Export, Outcome, Wishes};
use crate::nbd::request::Command;
use crate::sync::either;
use crate::sync::ending::Ending;
use crate::sync::range_lock::RangeLock;
use crate::sync::shim::Mutex;
use crate::sync::signal::Signal;
use line::Line;
use seam::address::Address;
use seam::{Errno, Host, IoResult, Nanos};
use std::sync::Arc;

/// What a connection may hold.
pub(crate) const CONNECTION_BYTES: u64 = 2 << 20;
/// So long a server may take for an answer if the end has begun: a flush may take its time. Who has been silent so long by
/// then is not waited for at all.
const LAST_ANSWER_MAX: Nanos = Nanos(5 * Nanos::SECOND.0);
/// A server that a request ends would be ended by it for ever: so often it is made again.
const RERUNS_MAX: u32 = 16;

/// What the operator says of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Where it listens.
    pub address: Address,
    /// What is wanted of it.
    pub wishes: Wishes,
    /// How long requests wait for a connection that was lost.
    pub reconnect_delay: Nanos,
    /// How long the first connection is tried for; nothing: once.
    pub open_timeout: Nanos,
}

/// The disk.
#[derive(Debug)]
pub struct Remote {
    shared: Arc<Shared>,
    _share: Share,
}

/// What requests and the connection have in common.
#[derive(Debug)]
struct Shared {
    host: Arc<dyn Host>,
    server: Server,
    /// From then on nobody waits for a connection.
    ending: Ending,
    /// As the server described it first.
    export: Export,
    state: Mutex<State>,
    changed: Signal,
    /// Requests, where they must be widened to the server's blocks.
    blocks: RangeLock,
}

#[derive(Debug, Default)]
struct State {
    line: Option<Arc<Line>>,
    /// Somebody is making a new connection.
    is_dialing: bool,
    /// Since the connection was lost and somebody wanted it: how long requests wait for another one.
    waits_until: Option<Nanos>,
    /// Nobody uses the disk any more.
    is_closed: bool,
}

impl Remote {
    /// Connects for the first time.
    pub(crate) async fn open(
        host: &Arc<dyn Host>,
        server: Server,
        ending: &Ending,
        share: Share,
    ) -> Result<Arc<Remote>, NotOpened> {
        let line = dial::first(host, &server, ending).await?;
        let shared = Shared {
            host: host.clone(),
            server,
            ending: ending.clone(),
            export: *line.export(),
            state: Mutex::new(State { line: Some(line), ..State::default() }),
            changed: Signal::new(),
            blocks: RangeLock::new(),
        };
        Ok(Arc::new(Remote { shared: Arc::new(shared), _share: share }))
    }

    /// The short name of the export, as QEMU writes it: nothing in it is escaped.
    pub(crate) fn uri(&self) -> String {
        let Server { address, wishes, .. } = &self.shared.server;
        let export = if wishes.export.is_empty() { String::new() } else { format!("/{}", wishes.export) };
        match address {
            Address::Unix { path } => format!("nbd+unix://{export}?socket={path}"),
            Address::Inet { host, port, .. } => format!("nbd://{host}:{port}{export}"),
        }
    }

    /// The first of the operator's options that another server would have other than this one.
    pub(crate) fn first_other_option(&self, other: &Server) -> Option<&'static str> {
        let ours = &self.shared.server;
        let address = || match (&ours.address, &other.address) {
            (Address::Unix { .. }, Address::Unix { .. }) => "server.path",
            (Address::Inet { host, .. }, Address::Inet { host: theirs, .. }) if host != theirs => {
                "server.host"
            }
            (Address::Inet { .. }, Address::Inet { .. }) => "server.port",
            _ => "server.type",
        };
        [
            (ours.address != other.address, address()),
            (ours.wishes.export != other.wishes.export, "export"),
            (ours.wishes.context != other.wishes.context, "x-dirty-bitmap"),
            (ours.reconnect_delay != other.reconnect_delay, "reconnect-delay"),
            (ours.open_timeout != other.open_timeout, "open-timeout"),
        ]
        .into_iter()
        .find_map(|(differs, option)| differs.then_some(option))
    }

    /// Whether it is at least so long; a server decides that alone.
    pub(crate) fn holds(&self, len_bytes: u64) -> bool {
        len_bytes <= self.shared.export.len_bytes
    }

    /// Whether the server takes no changes.
    pub(crate) fn is_read_only(&self) -> bool {
        self.shared.export.is_read_only()
    }

    /// Whether the server knows the context that was wished for.
    pub(crate) fn has_context(&self) -> bool {
        self.shared.export.has_context()
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let line = {
            let mut state = self.shared.state.lock();
            state.is_closed = true;
            state.line.take()
        };
        line.iter().for_each(|line| line.leave());
        self.shared.changed.notify();
    }
}

impl Shared {
    /// Makes a request, again if need be.
    async fn ask(self: &Arc<Self>, offset: u64, command: Command) -> IoResult<Outcome> {
        let command = Arc::new(command);
        for _ in 0..RERUNS_MAX {
            let line = self.line().await?;
            let mut outcome = None;
            let asked = async { outcome = line.ask(offset, &command).await };
            either(asked, self.overdue(self.host.now())).await;
            if let Some(outcome) = outcome {
                return Ok(outcome);
            }
            if self.ending.has_begun() {
                line.break_off();
            }
            // It may have been done or not; whoever does not wait does not know.
            if self.server.reconnect_delay == Nanos(0) {
                break;
            }
        }
        Err(Errno::EIO)
    }

    /// The end has begun, and a server that has not answered what it was asked then is not waited for.
    async fn overdue(&self, asked: Nanos) {
        self.ending.begun().await;
        self.host.sleep_until(asked.plus(LAST_ANSWER_MAX)).await;
    }

    /// The connection, as soon as there is one.
    async fn line(self: &Arc<Self>) -> IoResult<Arc<Line>> {
        loop {
            let seen = self.changed.changes();
            let until = match self.line_or_wait() {
                Ok(line) => return Ok(line),
                Err(until) => until,
            };
            if self.host.now() >= until || self.ending.has_begun() {
                return Err(Errno::EIO);
            }
            let over = either(self.host.sleep_until(until), self.ending.begun());
            either(self.changed.changed_since(seen), over).await;
        }
    }

    /// The connection, or how long to wait for one. Whoever finds none has it made.
    fn line_or_wait(self: &Arc<Self>) -> Result<Arc<Line>, Nanos> {
        let now = self.host.now();
        let mut state = self.state.lock();
        if let Some(line) = state.line.take_if(|line| line.is_broken()) {
            line.leave();
        }
        if let Some(line) = &state.line {
            return Ok(line.clone());
        }
        let until = *state.waits_until.get_or_insert(now.plus(self.server.reconnect_delay));
        if !state.is_dialing && !state.is_closed {
            state.is_dialing = true;
            drop(state);
            self.host.spawn("nbd reconnect", Box::pin(dial::again(self.clone())));
        }
        Err(until)
    }

    /// There is a connection again; or, without one, nobody tries any more.
    fn connected(&self, line: Option<Arc<Line>>) {
        {
            let mut state = self.state.lock();
            state.is_dialing = false;
            match line {
                Some(line) if state.is_closed => line.leave(),
                Some(line) => (state.line, state.waits_until) = (Some(line), None),
                None => {}
            }
        }
        self.changed.notify();
    }

    /// Whether a server that describes its export so can take the place of the first one.
    fn fits(&self, export: &Export) -> bool {
        export.len_bytes >= self.export.len_bytes && export.block_bytes <= self.export.block_bytes
    }

    /// Nobody needs a connection any more.
    async fn over(&self) {
        loop {
            let seen = self.changed.changes();
            if self.state.lock_to_look().is_closed || self.ending.has_begun() {
                return;
            }
            either(self.changed.changed_since(seen), self.ending.begun()).await;
        }
    }
}
